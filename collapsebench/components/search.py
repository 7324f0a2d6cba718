"""What may be tuned of a method: for a hyperparameter, the range from which trials take its values.

A range maps shares to values. Shares that are spread evenly over [0, 1) give values that are spread evenly over it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collapsebench.syntax import ParameterValue

DIGITS = 3
"""The significant digits of a drawn number: labels are to be read."""


class SearchRange(ABC):
    """The values of a hyperparameter among which its best one is looked for.

    >>> from collapsebench import IntegerRange, OneOf, Range, SearchRange
    >>> [issubclass(each, SearchRange) for each in (Range, IntegerRange, OneOf)]
    [True, True, True]
    """

    @abstractmethod
    def at(self, share: float) -> ParameterValue:
        """Give the value at a share from 0 to 1 of the range."""

    def share(self, value: ParameterValue) -> float | None:
        """Give the share of the range that lies below a value; None for a value that is not between numbers."""
        del value
        return None

    @property
    @abstractmethod
    def text(self) -> str:
        """The range in words."""


@dataclass(frozen=True)
class Range(SearchRange):
    """Numbers from `low` to `high`, on a linear scale or on that of the logarithm.

    >>> from collapsebench import Range
    >>> Range(0.2, 0.8).at(0.5), Range(0.01, 100, log=True).at(0.5)
    (0.5, 1.0)
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a range without numbers, and for a logarithm of zero or less."""
        _check_ends(self.low, self.high, log=self.log)

    def at(self, share: float) -> float:
        """Give the number at a share of the range, with few digits."""
        value = _between(self.low, self.high, share, log=self.log)
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)

    def share(self, value: ParameterValue) -> float | None:
        """Give the share of the range that lies below a value.

        >>> Range(0.01, 100, log=True).share(1.0)
        0.5
        """
        return _below(self.low, self.high, value, log=self.log)

    @property
    def text(self) -> str:
        """The range in words."""
        return _words(self.low, self.high, log=self.log)


@dataclass(frozen=True)
class IntegerRange(SearchRange):
    """Integers from `low` to `high`, both included, on a linear scale or on that of the logarithm.

    >>> from collapsebench import IntegerRange
    >>> [IntegerRange(1, 4).at(share) for share in (0, 0.3, 0.5, 0.99)]
    [1, 2, 3, 4]
    """

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a range without integers, and for a logarithm of zero or less."""
        _check_ends(self.low, self.high, log=self.log)

    def at(self, share: float) -> int:
        """Give the integer at a share of the range. On a linear scale each has the same part of it."""
        return min(math.floor(_between(self.low, self.high + 1, share, log=self.log)), self.high)

    def share(self, value: ParameterValue) -> float | None:
        """Give the share of the range that lies below an integer."""
        return _below(self.low, self.high, value, log=self.log)

    @property
    def text(self) -> str:
        """The range in words."""
        return _words(self.low, self.high, log=self.log)


@dataclass(frozen=True)
class OneOf(SearchRange):
    """Some values, each as likely as the others.

    >>> from collapsebench import OneOf
    >>> OneOf("inputs", "features").at(0.7)
    'features'
    """

    values: tuple[ParameterValue, ...]

    def __init__(self, *values: ParameterValue) -> None:
        """Take the values. Raises ValueError for less than two."""
        if len(values) < 2:
            raise ValueError(f"a choice is of two values at least, got {len(values)}")
        object.__setattr__(self, "values", values)

    def at(self, share: float) -> ParameterValue:
        """Give the value at a share of the list."""
        return self.values[min(int(share * len(self.values)), len(self.values) - 1)]

    @property
    def text(self) -> str:
        """The values in words."""
        from collapsebench.syntax import print_value

        return "|".join(map(print_value, self.values))


def _check_ends(low: float, high: float, *, log: bool) -> None:
    if not (-math.inf < low < high < math.inf):
        raise ValueError(f"a range goes from a number to a larger one, got {low} and {high}")
    if log and low <= 0:
        raise ValueError(f"a logarithmic range begins above 0, got {low}")


def _between(low: float, high: float, share: float, *, log: bool) -> float:
    return low * (high / low) ** share if log else low + (high - low) * share


def _below(low: float, high: float, value: ParameterValue, *, log: bool) -> float | None:
    """Return the share of a range below a value of it; None for a value outside, or for one that is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        return None
    return math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)


def _words(low: float, high: float, *, log: bool) -> str:
    return f"{low:g} to {high:g}{', log' if log else ''}"
