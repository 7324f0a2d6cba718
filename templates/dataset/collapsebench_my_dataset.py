"""The dataset my-dataset."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field, PositiveInt

from collapsebench import Dataset, Splits, Vectors, VectorSpec, hookimpl


class MyDataset(Dataset):
    """Two clusters of points: say here in one line what your data are."""

    name: ClassVar[str] = "my-dataset"
    facts: ClassVar[Path] = Path(__file__).with_suffix(".toml")

    examples: PositiveInt = Field(500, description="points of the training split")

    def load(self, folder):
        """Give the splits. `folder` is the data folder, from which files are read; these points are generated."""
        import numpy as np

        def split(number, seed):
            generator = np.random.default_rng(seed)
            labels = generator.integers(0, 2, number)
            points = generator.standard_normal((number, 4)) + 3 * labels[:, None]
            return Vectors(points.astype(np.float32))

        return Splits(VectorSpec(4), split(self.examples, 0), split(100, 1), split(100, 2))


@hookimpl
def collapsebench_components():
    """Name what this plugin adds."""
    return [MyDataset]
