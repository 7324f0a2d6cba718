"""Mean and standard deviation, correctly rounded: those of Python's `statistics`, several times as fast.

Floats are integers times a power of two. Sums and squares of integers are exact, and one division rounds at the end.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection

DIGITS = 53
"""Binary digits of a float."""


def mean(values: Collection[float]) -> float:
    """The mean of one or more numbers; NaN and infinities as arithmetic has them."""
    try:
        integers, scale = _integers(values)
    except (OverflowError, ValueError):  # not finite, or too far from each other
        return statistics.mean(values)
    return sum(integers) / (len(integers) * scale)


def deviation(values: Collection[float]) -> float:
    r"""\(s = \sqrt{\sum (x - \bar x)^2 / (n - 1)}\) of two or more finite numbers."""
    try:
        integers, scale = _integers(values)
    except OverflowError:
        return statistics.stdev(values)
    n, total = len(integers), sum(integers)
    return _root(n * sum([x * x for x in integers]) - total * total, n * (n - 1) * scale * scale)


def _integers(values: Collection[float]) -> tuple[list[int], int]:
    """The values times a power of two, and that power. Raises OverflowError or ValueError if those are no floats."""
    smallest = min(map(abs, filter(None, values)), default=1.0)
    digits = max(0, DIGITS - math.frexp(smallest)[1])
    return [int(math.ldexp(value, digits)) for value in values], 1 << digits


def _root(numerator: int, denominator: int) -> float:
    """The root of a fraction, correctly rounded.

    Its integer part has two digits more than a float, the last of them odd if anything was cut off, so that the one
    division that rounds sees on which side of a tie the root lies.
    """
    digits = max(0, 2 * DIGITS + 3 - numerator.bit_length() + denominator.bit_length())
    digits += digits % 2
    whole, rest = divmod(numerator << digits, denominator)
    root = math.isqrt(whole)
    exact = root * root == whole and not rest
    return (root if exact else root | 1) / (1 << digits // 2)
