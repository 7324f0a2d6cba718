"""Splits of text, images and vectors: read-only arrays with their batches and hashes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from collapsebench.examples import Batch, Split

Ints: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ArraySplit(Split):
    """A split whose fields are its arrays, in the order in which they are hashed. The last fields may be None.

    The arrays are made read-only, so that a computed hash stays true.
    """

    def __post_init__(self) -> None:
        for array in self.arrays():
            array.flags.writeable = False

    def arrays(self) -> Iterator[NDArray[np.generic]]:
        """See Split."""
        values = (getattr(self, field.name) for field in fields(self))
        return (value for value in values if value is not None)

    def sha256(self) -> str:
        """See Split. The hash is computed once."""
        return self._sha256

    @cached_property
    def _sha256(self) -> str:
        return super().sha256()


@dataclass(frozen=True, eq=False)
class TextSplit(ArraySplit):
    """Documents of token ids, BOS and EOS included, in the order of the file, and the class of each if there are any.

    A batch holds documents of one length, so that no padding enters a recurrent network. The documents are sorted by
    length (a stable sort) and cut into contiguous chunks, as in the released preprocessing of Kim et al. 2018. A seed
    permutes the order of the batches. It does not change which documents share a batch.

    >>> import numpy as np
    >>> from collapsebench import TextSplit
    >>> tokens = np.array([2, 7, 3, 2, 5, 6, 3], np.int32)  # BOS and EOS are 2 and 3
    >>> split = TextSplit(tokens, lengths=np.array([3, 4], np.int32))
    >>> [batch.x.tolist() for batch in split.batches(batch_size=8)]
    [[[2, 7, 3]], [[2, 5, 6, 3]]]
    """

    tokens: NDArray[np.int32]  # (sum of lengths,)
    lengths: NDArray[np.int32]  # (N,)
    classes: NDArray[np.int64] | None = None  # (N,)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """See Split."""
        return self.classes

    @property
    def predictions(self) -> NDArray[np.int64]:
        """See Split: every token but BOS."""
        return self.lengths.astype(np.int64) - 1

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """The positions of the documents, sorted by length."""
        return np.argsort(self.lengths, kind="stable")

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        return np.cumsum(self.lengths, dtype=np.int64) - self.lengths

    def bounds(self, batch_size: int) -> NDArray[np.int64]:
        """Return the places in `order` where the batches begin, and the end of the last one: (batches + 1,)."""
        changes = np.flatnonzero(np.diff(self.lengths[self.order], prepend=0))
        ends = [*changes[1:].tolist(), len(self)]
        starts = [at for start, end in zip(changes.tolist(), ends, strict=True) for at in range(start, end, batch_size)]
        return np.array([*starts, len(self)], dtype=np.int64)

    def batches(self, batch_size: int, seed: int | None = None) -> Iterator[Batch]:
        """See Split. x is int64 (B, T)."""
        bounds = self.bounds(batch_size)
        count = len(bounds) - 1
        for i in range(count) if seed is None else np.random.default_rng(seed).permutation(count):
            index = self.order[bounds[i] : bounds[i + 1]]
            positions = self._starts[index][:, None] + np.arange(self.lengths[index[0]])
            yield Batch(self.tokens[positions].astype(np.int64), index)


def _chunks(size: int, batch_size: int, rng: np.random.Generator | None) -> Iterator[NDArray[np.int64]]:
    """Yield all positions, at most `batch_size` at a time: in order, or permuted by `rng`."""
    order = np.arange(size) if rng is None else rng.permutation(size)
    return (order[at : at + batch_size] for at in range(0, size, batch_size))


@dataclass(frozen=True, eq=False)
class _Images(ArraySplit):
    """Images of one channel, and the class of each image; None if the original has no classes."""

    pixels: NDArray[np.generic]  # (N, H, W)
    classes: NDArray[np.int64] | None = None  # (N,)

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """See Split."""
        return self.classes

    @property
    def predictions(self) -> NDArray[np.int64]:
        """See Split: every pixel."""
        return np.full(len(self), self.pixels[0].size, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class BinaryImages(_Images):
    """Images of zeros and ones (uint8). Every pass sees the same images.

    >>> import numpy as np
    >>> from collapsebench import BinaryImages
    >>> split = BinaryImages(np.eye(4, dtype=np.uint8)[None], classes=np.array([7]))
    >>> next(split.batches(batch_size=1)).x.shape, split.labels.tolist()
    ((1, 1, 4, 4), [7])
    """

    def batches(self, batch_size: int, seed: int | None = None) -> Iterator[Batch]:
        """See Split. x is float32 (B, 1, H, W)."""
        rng = None if seed is None else np.random.default_rng(seed)
        for index in _chunks(len(self), batch_size, rng):
            yield Batch(self.pixels[index, None].astype(np.float32), index)


@dataclass(frozen=True, eq=False)
class GreyImages(_Images):
    """Grey images (uint8 in 0…255, or float32 in [0, 1]). Every pass binarizes them anew.

    A pixel is 1 with the probability of its grey value. Without a seed, the draws are those of seed 0.

    >>> import numpy as np
    >>> from collapsebench import GreyImages
    >>> split = GreyImages(np.full((1, 2, 2), 255, np.uint8))
    >>> next(split.batches(batch_size=1, seed=3)).x.sum()
    np.float32(4.0)
    """

    def batches(self, batch_size: int, seed: int | None = None) -> Iterator[Batch]:
        """See Split. x is float32 (B, 1, H, W)."""
        rng = np.random.default_rng(0 if seed is None else seed)
        for index in _chunks(len(self), batch_size, None if seed is None else rng):
            probability = ink(self.pixels[index, None])
            yield Batch((rng.random(probability.shape, np.float32) < probability).astype(np.float32), index)


def ink(pixels: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return the probability of ink: grey / 255 for bytes, and the value itself for numbers in [0, 1]."""
    scale = 255 if pixels.dtype == np.uint8 else 1
    return pixels.astype(np.float32) / np.float32(scale)


@dataclass(frozen=True, eq=False)
class Vectors(ArraySplit):
    """Real vectors.

    >>> import numpy as np
    >>> from collapsebench import Vectors
    >>> split = Vectors(np.zeros((3, 2), np.float32))
    >>> len(split), next(split.batches(batch_size=2)).x.shape
    (3, (2, 2))
    """

    values: NDArray[np.float32]  # (N, P)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def labels(self) -> None:
        """See Split."""

    @property
    def predictions(self) -> NDArray[np.int64]:
        """See Split: every coordinate."""
        return np.full(len(self), self.values.shape[1], dtype=np.int64)

    def batches(self, batch_size: int, seed: int | None = None) -> Iterator[Batch]:
        """See Split. x is float32 (B, P)."""
        rng = None if seed is None else np.random.default_rng(seed)
        for index in _chunks(len(self), batch_size, rng):
            yield Batch(self.values[index], index)
