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
    logvar: NDArray[np.float32] | None
    """The logarithms of the variances, (N, D); None if the posteriors are no diagonal Gaussians."""
    labels: NDArray[np.int64] | None
    """The classes, (N,); None if the dataset has none."""

    @classmethod
    def of(cls, split: EvaluatedSplit) -> Codes:
        """Return the codes of a split under its model."""
        from collapsebench.model.distributions import DiagonalGaussian

        posterior = split.posterior
        logvar = posterior.logvar.float().numpy() if isinstance(posterior, DiagonalGaussian) else None
        return cls(posterior.mean.detach().float().numpy(), logvar, split.split.labels)

    def write(self, path: Path) -> None:
        """Write one numpy archive, which is whole or not there. Equal codes give equal bytes."""
        import numpy as np

        every = {"mean": self.mean, "logvar": self.logvar, "labels": self.labels}
        arrays: dict[str, NDArray[Any]] = {name: each for name, each in every.items() if each is not None}
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    @classmethod
    def read(cls, path: Path) -> Codes:
        """Read what `write` wrote. Raises DataError if the file is missing or something else."""
        import numpy as np

        try:
            with np.load(path, allow_pickle=False) as archive:
                found = cls(archive["mean"], archive.get("logvar"), archive.get("labels"))
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise DataError(f"cannot read the codes '{path}': {' '.join(str(error).split())}") from None
        found.check(path)
        return found

    def check(self, path: Path) -> None:
        """Raise DataError if the arrays of a file are not those of the same N examples, in numbers."""
        import numpy as np

        given = [each for each in (self.mean, self.logvar) if each is not None]
        numbers = all(np.issubdtype(each.dtype, np.floating) for each in given)
        fits = self.mean.ndim == 2 and all(each.shape == self.mean.shape for each in given)
        labelled = self.labels is None or (
            self.labels.shape == self.mean.shape[:1] and np.issubdtype(self.labels.dtype, np.integer)
        )
        if not (numbers and fits and labelled):
            raise DataError(f"cannot read the codes '{path}': means, log-variances and labels do not fit together")
