"""The cost of a step on a batch shape that was not counted, from the costs of shapes that were.

A counted step takes longer, on the clock and within a budget in seconds. Text has many shapes, one for each length and
one more for the last batch of a length. Of the 42 shapes in 200 steps of yahoo-9k quick, 10 are counted, and the costs
of the other 32 follow from them. `python -m bench.loop --dataset yahoo-9k --steps 200 --calls 6` measures what the loop
adds to all bare steps together, and with `--every-shape` what it adds if all shapes are counted. With one thread on a
loaded AMD machine it added:

    contender          10 shapes counted    42 shapes counted
    vae                0.9 % (0.3 to 2.3)   4.4 % (3.7 to 4.8)
    sa-vae[steps=5]    2.5 % (one call)     12.9 % (one call)

Without this, a method whose steps make many operations would lose more of a budget in seconds than the others. And a
budget in FLOPs could be overdrawn by a last step on a new shape, as nobody would know its cost before it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from itertools import product
from math import gcd, prod
from typing import TypeAlias

Shape: TypeAlias = tuple[int, ...]

PROOFS = 2
"""A size may vary when the prediction was right for this many counted shapes in which the size was new."""

REACH = 2
"""A size may be this many times smaller or larger than those counted."""


class CostPolynomial:
    """The costs of a shape as polynomials in its sizes, no size to a higher power than one, in exact integers.

    For a shape (B, T) a cost is a + bT + cB + dBT. The counted shapes determine the coefficients, as far as they can.
    The polynomial is trusted in a size only when it has predicted `PROOFS` counted shapes in which the size was new.
    So a cost that is quadratic in a size, such as that of products between examples or between tokens, is noticed.
    """

    def __init__(self) -> None:
        self._rows: list[tuple[int, list[int]]] = []  # in echelon form, each with the column of its first entry
        self._sizes: list[set[int]] = []
        self._proofs: Counter[int] = Counter()

    def add(self, shape: Shape, costs: Sequence[int]) -> bool:
        """Learn from a shape that was counted for the first time. Return False if the prediction was wrong."""
        predicted = self._solve(shape)
        self._sizes = self._sizes or [set() for _ in shape]
        if predicted is None:
            row = self._eliminated([*_monomials(shape), *costs, 0])
            common = gcd(*row)
            self._rows.append((next(i for i, entry in enumerate(row) if entry), [entry // common for entry in row]))
        else:
            self._proofs.update(i for i, size in enumerate(shape) if size not in self._sizes[i])
        for sizes, size in zip(self._sizes, shape, strict=True):
            sizes.add(size)
        return predicted is None or predicted == tuple(costs)

    def predict(self, shape: Shape) -> tuple[int, ...] | None:
        """Return the costs of a shape, or None if they do not follow from the counted shapes."""
        trusted = all(map(self._reaches, range(len(self._sizes)), shape))
        costs = self._solve(shape) if trusted else None
        if costs is None or any(cost.denominator != 1 for cost in costs):
            return None
        return tuple(map(int, costs))

    def _reaches(self, dimension: int, size: int) -> bool:
        """Return True if a size is the only one so far, or a proven one that is not far from those counted."""
        counted = self._sizes[dimension]
        near = min(counted) <= REACH * size and size <= REACH * max(counted)
        return counted == {size} or (self._proofs[dimension] >= PROOFS and near)

    def _solve(self, shape: Shape) -> tuple[Fraction, ...] | None:
        if not self._rows:
            return None
        columns = _monomials(shape)
        *row, scale = self._eliminated([*columns, *[0] * (len(self._rows[0][1]) - len(columns) - 1), 1])
        if any(row[: len(columns)]):
            return None
        return tuple(Fraction(-entry, scale) for entry in row[len(columns) :])

    def _eliminated(self, row: list[int]) -> list[int]:
        """The row minus multiples of the known ones, scaled as a whole to stay in whole numbers."""
        for column, known in self._rows:
            if row[column]:
                row = [known[column] * a - row[column] * b for a, b in zip(row, known, strict=True)]
        return row


def _monomials(shape: Shape) -> list[int]:
    """1, T, B and BT for (B, T)."""
    return [prod(factors) for factors in product(*((1, size) for size in shape))]
