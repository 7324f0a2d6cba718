"""Divides the examples of one file into splits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

import numpy as np

from collapsebench.data.base import SPLITS
from collapsebench.data.splits import Ints
from collapsebench.errors import UsageError

EXAMPLE = "0.8,0.1,0.1"


class Rows(Protocol):
    """Examples that can be counted and chosen."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Ints, /) -> Self: ...


R = TypeVar("R", bound=Rows)


@dataclass(frozen=True)
class Division:
    """The shares of splits, and the seed that draws which example goes where."""

    shares: tuple[float, ...]
    seed: int = 0

    @classmethod
    def parse(cls, text: str, seed: int = 0) -> Self:
        """Read `0.8,0.1,0.1`. Raises UsageError unless these are two or three shares whose sum is 1."""
        try:
            shares = tuple(float(share) for share in text.split(","))
        except ValueError:
            shares = ()
        if len(shares) not in {2, 3} or not all(0 < share < 1 for share in shares) or not math.isclose(sum(shares), 1):
            raise UsageError(f"cannot read --split '{text}': write shares whose sum is 1, as in {EXAMPLE}")
        return cls(shares, seed)

    def rows(self, size: int) -> list[Ints]:
        """Return which of `size` examples go into each split, in their order. Raises UsageError if a split gets none.

        The draws are of numpy's legacy generator, whose stream never changes.
        """
        sizes = [round(share * size) for share in self.shares[1:]]
        sizes = [size - sum(sizes), *sizes]
        if min(sizes) < 1:
            written = ",".join(f"{share:g}" for share in self.shares)
            raise UsageError(f"--split {written} leaves a split without an example: there are {size}")
        order = np.random.RandomState(self.seed).permutation(size).astype(np.int64)
        return [np.sort(part) for part in np.split(order, np.cumsum(sizes)[:-1])]


def into_splits(parts: Sequence[R], division: Division | None) -> list[R]:
    """Return train, valid and test. They are given, or one part is divided, or the first of train and test.

    Raises UsageError if the number of parts does not fit the number of shares.
    """
    if len(parts) not in {1, 2, 3}:
        raise UsageError(f"give one, two or three files (three: {', '.join(SPLITS)}), got {len(parts)}")
    if len(parts) == 3:
        if division is not None:
            raise UsageError(f"--split does not go with three files, which are {', '.join(SPLITS)}")
        return list(parts)
    if division is None or len(division.shares) != 4 - len(parts):
        needs = {1: f"one file or folder of all examples needs --split {EXAMPLE} (train, valid, test)"}
        needs[2] = "train and test alone need --split 0.9,0.1, which divides train into train and valid"
        raise UsageError(needs[len(parts)])
    first, *others = parts
    return [*(first[rows] for rows in division.rows(len(first))), *others]
