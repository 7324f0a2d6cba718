"""Numbers as text. They are rounded to the digits that are certain, and no interval leaves what is possible."""

from __future__ import annotations

import math
from typing import NamedTuple

from collapsebench.estimates import Estimate
from collapsebench.plausibility import ColumnRole, role
from collapsebench.reporting.leaderboard.scoring import Board, BoardColumn, Place, SeedSample

MANY = 1e9
"""Counts from this number on, such as FLOPs, are written as powers of ten."""
NORMAL = 1.96
"""The 95 % interval of a normal distribution has this many standard errors on either side."""
NEGLIGIBLE = 1e-12
"""An uncertainty below this share of a number says nothing about its digits."""
BLANK = "—"
"""What stands in place of a number that is missing."""


class Range(NamedTuple):
    """The values that a number can have."""

    least: float = -math.inf
    most: float = math.inf

    def clip(self, number: float) -> float:
        """Return the possible value that is next to a number. NaN stays NaN."""
        return number if math.isnan(number) else min(max(number, self.least), self.most)

    def holds(self, number: float) -> bool:
        """Return True for a possible value, and for NaN."""
        return math.isnan(number) or self.clip(number) == number


ANY = Range()
"""The range of numbers that can have any value."""


def possible(board: Board, column: BoardColumn) -> Range:
    """Return the values that a column can have: KL and MI are at least 0, units are at most those of the model."""
    name = column.key.removeprefix(f"{column.metric}.")
    if role(name) is ColumnRole.UNITS:
        return Range(0, board.protocol.setting.latent_dim)
    if name == "kl" or role(name) is ColumnRole.INFORMATION or name == "mi_upper":
        return Range(0)
    return Range(0, 100) if column.unit == "%" else ANY


def leaves(sample: SeedSample, within: Range) -> bool:
    """Return True if a mean or its interval is partly outside of what is possible."""
    half_width = sample.half_width
    around = 0.0 if half_width is None or not math.isfinite(half_width) else half_width
    return not (within.holds(sample.mean - around) and within.holds(sample.mean + around))


def rounded(number: float, uncertainty: float | None, most: int | None = None) -> str:
    """Round to the second significant digit of the uncertainty, or to four digits if it is unknown or negligible.

    `most` is the largest number of decimals.
    """
    if not math.isfinite(number):
        return str(number).replace("-", "−")
    if uncertainty is None or not math.isfinite(uncertainty) or uncertainty <= abs(number) * NEGLIGIBLE:
        return _four_digits(number, most)
    return _fixed(number, _at_most(_decimals(uncertainty, 2), most))


def with_interval(sample: SeedSample, *, signed: bool = False, within: Range = ANY, most: int | None = None) -> str:
    """Write `98.41 ± 0.31`, or `0.05 [0, 0.12]` if the interval would leave the possible values.

    The interval is left out for one seed, and if it is not finite. `most` is the largest number of decimals.
    """
    mean, half_width = within.clip(sample.mean), sample.half_width
    text = rounded(mean, sample.uncertainty, most)
    text = _signed(text) if signed and mean > 0 else text
    if half_width is None or not math.isfinite(half_width):
        return text
    if leaves(sample, within):
        ends = (sample.mean - half_width, sample.mean + half_width)
        return f"{text} [{', '.join(_end(end, half_width, within, most) for end in ends)}]"
    negligible = half_width <= abs(mean) * NEGLIGIBLE
    return f"{text} ± {f'{half_width:.1g}' if negligible else rounded(half_width, half_width, most)}"


def _end(number: float, half_width: float, within: Range, most: int | None) -> str:
    """Write an end of an interval; the limit itself, as it is exact, where the end is beyond it."""
    return rounded(number, half_width, most) if within.holds(number) else rounded(within.clip(number), None)


def bracket(
    lower: SeedSample, upper: SeedSample, *, signed: bool = False, within: Range = ANY, most: int | None = None
) -> str:
    """Write `[2.55, 2.59]`: the means of a lower and of an upper bound, without their intervals."""
    texts = []
    for sample in (lower, upper):
        mean = within.clip(sample.mean)
        text = rounded(mean, sample.uncertainty, most)
        texts.append(_signed(text) if signed and mean > 0 else text)
    return f"[{', '.join(texts)}]"


def with_error(best: Estimate, most: int | None = None) -> str:
    """Write an estimate, with its 95 % interval if it has an error."""
    if best.standard_error is None:
        return rounded(best.value, None, most)
    half_width = NORMAL * best.standard_error
    return f"{rounded(best.value, half_width, most)} ± {rounded(half_width, half_width, most)}"


def cost(sample: SeedSample | None, *, signed: bool = False) -> str:
    """Write the mean of a cost: a count with commas, or a power of ten."""
    if sample is None:
        return BLANK
    mean = sample.mean
    whole = math.isfinite(mean) and (abs(mean) >= 1000 or mean == round(mean))
    text = f"{mean:z,.0f}" if abs(mean) < MANY else _power_of_ten(mean)
    text = text.replace("-", "−") if whole else rounded(mean, None)
    return _signed(text) if signed and mean > 0 else text


def place_text(place: Place) -> str:
    """Write where a value lies, as in `rate 62 %`, and `rate 94 % (high)` at the border of what was tried."""
    border = f"({place.border})" if place.border else ""
    return " ".join(filter(None, (place.name, "" if place.share is None else f"{place.share:.0%}", border)))


def _power_of_ten(number: float) -> str:
    mantissa, _, exponent = f"{number:.3e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def _signed(text: str) -> str:
    return f"+{text}" if text.strip("0.") else text


def _four_digits(number: float, most: int | None) -> str:
    if number == round(number) and abs(number) < 1e15:
        return _fixed(number, 0)
    if most is None and not 1e-4 <= abs(number) < 1e7:
        return f"{number:.3e}".replace("-", "−")
    return _fixed(number, _at_most(max(0, _decimals(number, 4)), most))


def _at_most(decimals: int, most: int | None) -> int:
    return decimals if most is None else min(decimals, most)


def _decimals(number: float, digits: int) -> int:
    """Return the number of decimals that show so many digits of the rounded number: 0.0996 is 0.10 and has two."""
    return digits - 1 - int(f"{number:.{digits - 1}e}".partition("e")[2])


def _fixed(number: float, decimals: int) -> str:
    return f"{round(number, decimals):z.{max(decimals, 0)}f}".replace("-", "−")
