"""What shipped datasets have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from collapsebench.components.interfaces import Dataset
from collapsebench.estimates import Estimate

if TYPE_CHECKING:
    from collapsebench.examples import Splits
    from collapsebench.spec import Setting


Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""A seed of numpy's generators: a whole number from 0 to 2^32 - 1.

>>> from pydantic import TypeAdapter
>>> from collapsebench import Seed
>>> TypeAdapter(Seed).validate_python(7)
7
"""


class FromFiles(Dataset):
    """A dataset parsed from original files."""

    @abstractmethod
    def originals(self) -> list[str]:
        """The names of the files that it reads."""

    @abstractmethod
    def parse(self, contents: Mapping[str, bytes]) -> Splits:
        """The splits, from the content of every original file by name. Raises DataError."""

    def load(self, folder: Path) -> Splits:
        """See Dataset."""
        from collapsebench.data.loading import load_files

        return load_files(self, self.originals(), self.parse, folder)


class Generated(Dataset):
    """A dataset drawn from a known distribution: no files, and the truth can be computed."""

    @abstractmethod
    def truth(self) -> Mapping[str, Estimate]:
        """`entropy`, H(x), which no model beats in expectation, and `mutual-information`, I(x; z); nats per example."""

    def best_possible(self, setting: Setting) -> Mapping[str, Estimate]:
        """What the best model of a setting scores on the test split, by column of the metrics: the truth, by default.

        Standard errors are those of an estimated truth; None where the number is that of the test split itself.
        """
        del setting
        truth = self.truth()
        return {
            "iw_nll": truth["entropy"],
            "mi_lower": truth["mutual-information"],
            "mi_upper": truth["mutual-information"],
        }
