"""Examples: what a dataset hands over. Splits, their batches and their hashes, as numpy arrays (no torch)."""

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
    """Documents of token ids: x is int64 (B, T), BOS first and EOS last; ids 0 pad, 1 unknown, 2 BOS, 3 EOS."""

    vocabulary: int


@dataclass(frozen=True)
class ImageSpec:
    """Binary images: x is float32 (B, C, H, W) of zeros and ones."""

    shape: tuple[int, int, int]


@dataclass(frozen=True)
class VectorSpec:
    """Real vectors: x is float32 (B, P)."""

    dimension: int


DataSpec: TypeAlias = TextSpec | ImageSpec | VectorSpec


@dataclass(frozen=True)
class Batch:
    """Some examples of one split, all of one shape, and their positions in the split."""

    x: NDArray[np.generic]  # (B, …)
    index: NDArray[np.int64]  # (B,)

    def __len__(self) -> int:
        return len(self.index)


class Split(ABC):
    """A fixed set of examples."""

    @abstractmethod
    def __len__(self) -> int:
        """The number of examples N."""

    @property
    @abstractmethod
    def labels(self) -> NDArray[np.int64] | None:
        """A class per example (N,), never seen by a method, or None."""

    @property
    @abstractmethod
    def predictions(self) -> NDArray[np.int64]:
        """How many symbols each example's likelihood predicts (N,): tokens with EOS and without BOS, or pixels."""

    @abstractmethod
    def arrays(self) -> Iterator[NDArray[np.generic]]:
        """The arrays that make up the split, in a fixed order: what its hash covers."""

    @abstractmethod
    def batches(self, batch_size: int, seed: int | None = None) -> Iterator[Batch]:
        """Go through the split once, at most `batch_size` examples at a time.

        With a seed the order (and the binarization, where it is dynamic) is drawn from it; without one it is fixed.
        """

    def sha256(self) -> str:
        """The SHA-256 of shapes, types and values of `arrays()`: part of the protocol id."""
        digest = hashlib.sha256()
        for array in self.arrays():
            little_endian = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
            digest.update(f"{little_endian.dtype.str}{little_endian.shape}".encode())
            digest.update(little_endian.tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Splits:
    """Train, validation and test data of one dataset, and what its examples look like."""

    spec: DataSpec
    train: Split
    valid: Split
    test: Split

    def hashes(self) -> dict[str, str]:
        """The SHA-256 of every split."""
        return {"train": self.train.sha256(), "valid": self.valid.sha256(), "test": self.test.sha256()}
