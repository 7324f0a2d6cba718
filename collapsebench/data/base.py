"""The base classes of the shipped datasets."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from pydantic import Field

from collapsebench.components.interfaces import Dataset
from collapsebench.errors import DataError
from collapsebench.estimates import Estimate

if TYPE_CHECKING:
    from collapsebench.examples import Splits
    from collapsebench.spec import Setting


SPLITS = ("train", "valid", "test")
"""The names of the splits, in their order."""

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
        """Return the names of the files that the dataset reads."""

    @abstractmethod
    def parse(self, contents: Mapping[str, bytes]) -> Splits:
        """Return the splits that the original files hold. `contents` has their bytes by name. Raises DataError."""

    def make(self, name: str, archives: Mapping[str, bytes]) -> bytes:
        """Return the content of a file that the facts call `made_from` archives. `archives` has their bytes by name.

        Raises DataError.
        """
        del archives
        raise DataError(f"dataset '{self.name}' does not know how to make the file '{name}'")

    def load(self, folder: Path) -> Splits:
        """See Dataset."""
        from collapsebench.data.loading import load_files

        return load_files(self, self.originals(), self.parse, folder)


class TrueLikelihood(NamedTuple):
    """What the examples of a split cost under the distribution that they were drawn from, in nats per example."""

    nll: Estimate
    """The mean of -log p(x). A standard error is that of the examples; None if the mean is exact for these examples."""
    examples: int | None = None
    """The number of examples; None if it is not known without drawing them."""


class Generated(Dataset):
    """A dataset drawn from a known distribution. It needs no files, and its truth can be computed."""

    @abstractmethod
    def truth(self) -> Mapping[str, Estimate]:
        """Return `entropy`, H(x), and `mutual-information`, I(x; z), in nats per example.

        No model beats the entropy in expectation.
        """

    def true_likelihood(self, split: Literal["valid", "test"]) -> TrueLikelihood:
        """Return the likelihood of the true distribution, which no model beats but by chance (see `plausibility`).

        By default this is the entropy, for both splits.
        """
        del split
        return TrueLikelihood(self.truth()["entropy"])

    def best_possible(self, setting: Setting) -> Mapping[str, Estimate]:
        """Return the scores of the best model of a setting on the test split, by column of the metrics.

        By default these are the truth. A standard error is that of an estimated truth; it is None if the number is
        exact for the test split.
        """
        del setting
        truth = self.truth()
        return {
            "iw_nll": truth["entropy"],
            "mi_lower": truth["mutual-information"],
            "mi_upper": truth["mutual-information"],
        }
