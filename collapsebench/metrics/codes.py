"""Codes: the posteriors of a run's test split in a file of their own, for figures and for classifiers of labels."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collapsebench.errors import DataError
from collapsebench.files import replacing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from collapsebench.metrics.evaluation import EvaluatedSplit

ARTIFACT = "codes"
"""The name of the file among the artifacts of its run."""


def codes_file(folder: Path, run_id: str) -> Path:
    """Return the file for the codes of one run, in the folder of all runs."""
    return folder / f"{run_id}.npz"


@dataclass(frozen=True)
class Codes:
    """The contender's own posterior of each of N examples over D units, in the order of the split."""

    mean: NDArray[np.float32]
    """The means, (N, D)."""
    logvar: NDArray[np.float32]
    """The logarithms of the variances, (N, D)."""
    labels: NDArray[np.int64] | None
    """The classes, (N,); None if the dataset has none."""

    @classmethod
    def of(cls, split: EvaluatedSplit) -> Codes:
        """Return the codes of a split under its model."""
        mean, logvar = (part.float().numpy() for part in split.posterior.parameters)
        return cls(mean, logvar, split.split.labels)

    def write(self, path: Path) -> None:
        """Write one numpy archive, which is whole or not there. Equal codes give equal bytes."""
        import numpy as np

        arrays: dict[str, NDArray[Any]] = {"mean": self.mean, "logvar": self.logvar}
        if self.labels is not None:
            arrays["labels"] = self.labels
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    @classmethod
    def read(cls, path: Path) -> Codes:
        """Read what `write` wrote. Raises DataError if the file is missing or something else."""
        import numpy as np

        try:
            with np.load(path, allow_pickle=False) as archive:
                found = cls(archive["mean"], archive["logvar"], archive.get("labels"))
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise DataError(f"cannot read the codes '{path}': {' '.join(str(error).split())}") from None
        found.check(path)
        return found

    def check(self, path: Path) -> None:
        """Raise DataError if the arrays of a file are not those of the same N examples, in numbers."""
        import numpy as np

        numbers = all(np.issubdtype(each.dtype, np.floating) for each in (self.mean, self.logvar))
        fits = self.mean.ndim == 2 and self.logvar.shape == self.mean.shape
        labelled = self.labels is None or (
            self.labels.shape == self.mean.shape[:1] and np.issubdtype(self.labels.dtype, np.integer)
        )
        if not (numbers and fits and labelled):
            raise DataError(f"cannot read the codes '{path}': means, log-variances and labels do not fit together")
