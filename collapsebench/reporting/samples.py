"""Samples: what a trained model makes of codes, as texts, images and rows of numbers. Values of them need no torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Content: TypeAlias = "str | NDArray[np.float32]"
"""A text, an image (C, H, W) from 0 to 1, or a row of numbers (P,)."""


def is_image(content: Content) -> bool:
    """Return whether a content is an image."""
    return not isinstance(content, str) and content.ndim == 3


class Part(StrEnum):
    """The parts of what is shown."""

    EXAMPLE = "example"
    """An example of the test split."""
    MODEL = "model"
    """Something that the model made."""


class Specimen(NamedTuple):
    """One thing to look at."""

    caption: str
    """What it is, as in `test 3` and `z[5] = -2`."""
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
        return self._of(Part.MODEL)

    @property
    def different(self) -> int:
        """The number of different things that the model made. A collapsed model makes one of all codes.

        Numbers are equal if they are as 256 levels from 0 to 1.
        """
        return len({each if isinstance(each, str) else np.round(255 * each).tobytes() for each in self.made})

    @property
    def spread(self) -> float | None:
        """How much the numbers that the model made vary, as a share of how much those of the examples do.

        It is the root of the ratio of their variances over the specimens, summed over all numbers. None for texts, and
        if there are no two examples that differ. A model that uses its code fully has nearly one, a collapsed one zero.
        """
        made, examples = (_variance(part) for part in (self.made, self._of(Part.EXAMPLE)))
        return math.sqrt(made / examples) if examples and made is not None else None

    @property
    def verdict(self) -> str:
        """How much of what the model made is different, in words."""
        if self.different == 1:
            return "all are equal"
        if self.spread is None:
            return f"{self.different} of {len(self.made)} differ"
        return f"they vary by {self.spread:.1%} of what the examples do"

    @property
    def title(self) -> str:
        """The run, and what is shown."""
        return f"{self.contender} seed {self.seed} on {self.dataset} ({self.run_id}): {self.what}"

    def rows(self, most: int) -> list[list[Specimen]]:
        """Return the specimens as rows of a grid of at most so many columns.

        Of several groups, each is a column. A single one is cut into rows.
        """
        if len(self.groups) == 1:
            return [list(self.groups[0][start : start + most]) for start in range(0, len(self.groups[0]), most)]
        places = range(0, len(self.groups), most)
        return [list(row) for start in places for row in zip(*self.groups[start : start + most], strict=True)]

    def _of(self, part: Part) -> list[Content]:
        return [each.content for each in self.specimens if each.part is part]

    def as_json(self) -> dict[str, Any]:
        """Return plain values: images and rows are nested lists of numbers."""
        head = {"run_id": self.run_id, "contender": self.contender, "seed": self.seed, "dataset": self.dataset}
        groups = [
            [{"caption": each.caption, "part": each.part.value, "content": _plain(each.content)} for each in group]
            for group in self.groups
        ]
        return head | {"what": self.what, "different": self.different, "spread": self.spread, "groups": groups}


def _variance(contents: Sequence[Content]) -> float | None:
    """Return the variance over contents, summed over their numbers; None for texts and for fewer than two."""
    arrays = [each for each in contents if not isinstance(each, str)]
    return float(np.var(arrays, axis=0, dtype=np.float64).sum()) if len(arrays) > 1 else None


def _plain(content: Content) -> Any:
    return content if isinstance(content, str) else np.round(content.astype(float), 6).tolist()
