"""The values that a dataset hands over: splits of examples, their batches and their hashes, in numpy (no torch)."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class TextSpec:
    """Documents of token ids: x is int64 (B, T), BOS first and EOS last. Id 0 is padding, 1 unknown, 2 BOS, 3 EOS.

    >>> from collapsebench import TextSpec
    >>> TextSpec(vocabulary=20_000).vocabulary
    20000
    """

    vocabulary: int


@dataclass(frozen=True)
class ImageSpec:
    """Binary images: x is float32 (B, C, H, W) of zeros and ones.

    >>> from collapsebench import ImageSpec
    >>> ImageSpec(shape=(1, 28, 28)).shape
    (1, 28, 28)
    """

    shape: tuple[int, int, int]


@dataclass(frozen=True)
class VectorSpec:
    """Real vectors: x is float32 (B, P).

    >>> from collapsebench import VectorSpec
    >>> VectorSpec(dimension=10).dimension
    10
    """

    dimension: int


@dataclass(frozen=True)
class LevelImageSpec:
    """Grey or colour images of several levels: x is float32 (B, C, H, W) of k / (levels - 1), k = 0 … levels - 1.

    >>> from collapsebench import LevelImageSpec
    >>> LevelImageSpec(shape=(3, 32, 32)).levels
    256
    """

    shape: tuple[int, int, int]
    levels: int = 256


@dataclass(frozen=True)
class CountSpec:
    """Vectors of counts: x is float32 (B, P) of whole numbers from zero on.

    >>> from collapsebench import CountSpec
    >>> CountSpec(dimension=2000).dimension
    2000
    """

    dimension: int


DataSpec: TypeAlias = TextSpec | ImageSpec | LevelImageSpec | VectorSpec | CountSpec
"""The kind and the size of a dataset's examples, from which networks are built.

>>> from collapsebench import DataSpec, TextSpec
>>> isinstance(TextSpec(7), DataSpec)
True
"""


@dataclass(frozen=True)
class Batch:
    """Some examples of one split, all of one shape, and their positions in the split.

    >>> import numpy as np
    >>> from collapsebench import Batch
    >>> len(Batch(x=np.zeros((3, 2), np.float32), index=np.arange(3)))
    3
    """

    x: NDArray[np.generic]
    """(B, …)."""
    index: NDArray[np.int64]
    """(B,)."""

    def __len__(self) -> int:
        return len(self.index)


class Split(ABC):
    """A fixed set of examples.

    >>> from collapsebench.data.generated import LinearGaussian
    >>> split = LinearGaussian(test=5).load(None).test
    >>> [batch.x.shape for batch in split.batches(batch_size=3)]
    [(3, 10), (2, 10)]
    """

    @abstractmethod
    def __len__(self) -> int:
        """Give the number of examples N."""

    @property
    @abstractmethod
    def labels(self) -> NDArray[np.int64] | None:
        """A class for each example (N,), or None. No method sees it."""

    @property
    @abstractmethod
    def predictions(self) -> NDArray[np.int64]:
        """The number of symbols that each likelihood predicts (N,): tokens with EOS and without BOS, or pixels."""

    @abstractmethod
    def arrays(self) -> Iterator[NDArray[np.generic]]:
        """Give the arrays of the split in a fixed order. Its hash covers them."""

    @abstractmethod
    def batches(self, batch_size: int, seed: int | None = None) -> Iterator[Batch]:
        """Go through the split once, at most `batch_size` examples at a time.

        A seed draws the order, and the binarization if that is dynamic. Without a seed both are fixed.
        """

    def sha256(self) -> str:
        """Give the SHA-256 of shapes, types and values of `arrays()`. It is a part of the protocol id."""
        digest = hashlib.sha256()
        for array in self.arrays():
            little_endian = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
            digest.update(f"{little_endian.dtype.str}{little_endian.shape}".encode())
            digest.update(little_endian.tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Splits:
    """Training, validation and test data of one dataset, and the kind and size of its examples.

    >>> from collapsebench.data.generated import LinearGaussian
    >>> splits = LinearGaussian(train=8, valid=4, test=4).load(None)
    >>> splits.spec, len(splits.train)
    (VectorSpec(dimension=10), 8)
    """

    spec: DataSpec
    train: Split
    valid: Split
    test: Split

    def hashes(self) -> dict[str, str]:
        """Give the SHA-256 of every split."""
        return {"train": self.train.sha256(), "valid": self.valid.sha256(), "test": self.test.sha256()}
