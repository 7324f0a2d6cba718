"""Samples: what a trained model makes of codes, as texts, images and rows of numbers. Values of them need no torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Content: TypeAlias = "str | NDArray[np.float32]"
"""A text, an image (C, H, W) from 0 to 1, or a row of numbers (P,)."""


class Part(StrEnum):
    """The parts of what is shown."""

    EXAMPLE = "example"
    """An example of the test split."""
    MODEL = "model"
    """Something that the model made."""


class Specimen(NamedTuple):
    """One thing to look at."""

    caption: str
    """What it is, as in `test example 3` and `z[5] = -2`."""
    content: Content
    part: Part


@dataclass(frozen=True)
class Samples:
    """What one run makes of some codes."""

    run_id: str
    contender: str
    seed: int
    """The seed of the run."""
    dataset: str
    what: str
    """What is shown, in words: `8 reconstructions of test examples`."""
    groups: tuple[tuple[Specimen, ...], ...]
    """Specimens that belong together, as an example and its reconstruction."""

    @property
    def specimens(self) -> Iterator[Specimen]:
        """All of them, group by group."""
        return (specimen for group in self.groups for specimen in group)

    @property
    def made(self) -> list[Content]:
        """What the model made."""
        return [each.content for each in self.specimens if each.part is Part.MODEL]

    @property
    def different(self) -> int:
        """The number of different things that the model made. A collapsed model makes one of all codes."""
        return len({each if isinstance(each, str) else each.tobytes() for each in self.made})

    @property
    def summary(self) -> str:
        """One line: the run, what is shown, and how much of it is different."""
        head = f"{self.contender} seed {self.seed} on {self.dataset} ({self.run_id}): {self.what}"
        return f"{head}; {self.different} of {len(self.made)} differ" if self.different > 1 else f"{head}; all are equal"

    def as_json(self) -> dict[str, Any]:
        """Return plain values: images and rows are nested lists of numbers."""
        head = {"run_id": self.run_id, "contender": self.contender, "seed": self.seed, "dataset": self.dataset}
        groups = [
            [{"caption": each.caption, "part": each.part.value, "content": _plain(each.content)} for each in group]
            for group in self.groups
        ]
        return head | {"what": self.what, "different": self.different, "groups": groups}


def _plain(content: Content) -> Any:
    return content if isinstance(content, str) else np.round(content.astype(float), 6).tolist()
