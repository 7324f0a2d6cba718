"""Codes: the posteriors of a run's test split in a file of their own, for figures and for classifiers of labels."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collapsebench.data.files import replacing
from collapsebench.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from collapsebench.metrics.evaluation import EvaluatedSplit

ARTIFACT = "codes"
"""What the file is called among the artifacts of its run."""


def codes_file(folder: Path, run_id: str) -> Path:
    """Where the codes of one run are, in the folder of all."""
    return folder / f"{run_id}.npz"


@dataclass(frozen=True)
class Codes:
    """The contender's own posterior of every example, in the order of the split."""

    mean: NDArray[np.float32]
    """(N, D)."""
    logvar: NDArray[np.float32]
    """(N, D)."""
    labels: NDArray[np.int64] | None
    """(N,), None where the dataset has none."""

    @classmethod
    def of(cls, split: EvaluatedSplit) -> Codes:
        """The codes of a split that has been evaluated."""
        mean, logvar = (part.float().numpy() for part in split.posterior.parameters)
        return cls(mean, logvar, split.split.labels)

    def write(self, path: Path) -> None:
        """One numpy archive, whole or not there; equal codes give equal bytes."""
        import numpy as np

        arrays: dict[str, NDArray[Any]] = {"mean": self.mean, "logvar": self.logvar}
        if self.labels is not None:
            arrays["labels"] = self.labels
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    @classmethod
    def read(cls, path: Path) -> Codes:
        """What `write` wrote. Raises DataError if the file is missing or another."""
        import numpy as np

        try:
            with np.load(path, allow_pickle=False) as archive:
                return cls(archive["mean"], archive["logvar"], archive.get("labels"))
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise DataError(f"cannot read the codes '{path}': {' '.join(str(error).split())}") from None
