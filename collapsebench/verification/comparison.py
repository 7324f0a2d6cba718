"""Compares two records of one run, number by number, and says how far they may be apart.

Two machines round in another order, and training makes small differences larger. How large they become is measured:
`python -m bench.tolerance` prints the table of docs/trust.md, from which the tolerances here are taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from collapsebench.plausibility import PERPLEXITIES, ColumnRole, role
from collapsebench.record import Guard, RunRecord, Value

SECONDS: Final = "seconds"
"""The counter that no two runs share."""

TIMED: Final = frozenset({Guard.WORK, Guard.OVERSHOOT, Guard.ENVIRONMENT})
"""The guards that judge times, chances or machines. Their findings differ from run to run."""


class NumberRole(StrEnum):
    """What a number is, as far as it matters for a comparison."""

    COUNT = "counts"
    """Counters, the number of points and parameters, and which point is selected. They are equal everywhere."""
    LIKELIHOOD = "likelihoods"
    """−ELBO, IW-NLL, reconstruction, loss and perplexity. The distance is relative."""
    INFORMATION = "other nats"
    """KL, MI and all other numbers without a role of their own: the distance is relative above 1, absolute below."""
    UNITS = "units"
    """Counts of latent units. The distance is a number of units."""
    PERCENT = "percent"
    """Shares. The distance is in percentage points."""
    ERROR = "standard errors"
    """The distance is relative above 1, absolute below."""


MEASURED: Final[Mapping[NumberRole, float]] = MappingProxyType(
    {
        NumberRole.COUNT: 0.0,
        NumberRole.LIKELIHOOD: 0.00023,
        NumberRole.INFORMATION: 0.005,
        NumberRole.UNITS: 0.0,
        NumberRole.PERCENT: 0.25,
        NumberRole.ERROR: 0.0025,
    }
)
"""The largest distances that `python -m bench.tolerance` has seen between environments, as in the table of
docs/trust.md."""

MARGIN: Final = 2.0
"""Distances of other runs may be so many times as large as the measured ones."""

ONE_UNIT: Final = 1.0
"""The activity of a unit may be at the threshold, and fall to either side."""


class Pair(NamedTuple):
    """One number of two records. None stands for a number that a record does not have."""

    where: str
    role: NumberRole
    stored: float | None
    again: float | None

    @property
    def equal(self) -> bool:
        """True if the numbers are the same to the last bit. Two NaN are."""
        return self.distance == 0

    @property
    def distance(self) -> float:
        """The distance of the numbers, as their role measures it."""
        if self.stored is None or self.again is None:
            return math.inf
        if self.stored == self.again or (math.isnan(self.stored) and math.isnan(self.again)):
            return 0.0
        difference = abs(self.stored - self.again)
        if not math.isfinite(difference):
            return math.inf
        return difference / _scale(self.role, abs(self.stored))

    @property
    def within(self) -> bool:
        """True if the distance is no larger than those between environments."""
        return self.distance <= tolerance(self.role)

    def __str__(self) -> str:
        return f"{self.where}: {_shown(self.stored)} is {_shown(self.again)} here"


def tolerance(role: NumberRole) -> float:
    """Return how far two numbers may be apart that were computed in different environments."""
    return max(ONE_UNIT if role is NumberRole.UNITS else 0.0, MARGIN * MEASURED[role])


def pairs(stored: RunRecord, again: RunRecord) -> Iterator[Pair]:
    """Yield every number of two records of one run but seconds."""
    left, right = numbers(stored), numbers(again)
    for where in left | right:
        yield Pair(where, (left | right)[where][0], _number(left, where), _number(right, where))


def numbers(record: RunRecord) -> dict[str, tuple[NumberRole, float]]:
    """Return every number of a record but seconds, by where it stands, with its role."""
    found = {"parameters": (NumberRole.COUNT, float(record.parameters))}
    found["points"] = (NumberRole.COUNT, float(len(record.points)))
    for index, point in enumerate(record.points, start=1):
        found[f"point {index} selected"] = (NumberRole.COUNT, float(point.selected))
        for name, count in point.counters.items():
            if name != SECONDS:
                found[f"point {index} {name}"] = (NumberRole.COUNT, count)
        for name, number in point.values.items():
            found[f"point {index} {name}"] = (_role(name), float(number))
    for value in record.values:
        found.update(_of_value(value))
    return found


def unequal_findings(stored: RunRecord, again: RunRecord) -> tuple[str, ...]:
    """Return the findings that only one of two records has, but those that depend on times and machines."""
    left, right = ({item.text for item in run.findings if item.guard not in TIMED} for run in (stored, again))
    return tuple(sorted(left ^ right))


def other_reasons(stored: RunRecord, again: RunRecord) -> tuple[str, ...]:
    """Return what the stored record declines, and the other one does not for the same reason.

    A record that is older than the reasons has none, and is not blamed for that.
    """
    missing = (each for each in stored.declined if each not in again.declined)
    return tuple(f"{each.metric} {each.column}: {each.reason}" for each in missing)


def _of_value(value: Value) -> Iterator[tuple[str, tuple[NumberRole, float]]]:
    where = f"{value.metric} {value.column}"
    yield where, (_role(value.column, value.unit), float(value.estimate))
    if value.standard_error is not None:
        yield f"standard error of {where}", (NumberRole.ERROR, float(value.standard_error))


def _role(column: str, unit: str = "") -> NumberRole:
    if role(column) is ColumnRole.LIKELIHOOD or column in {*PERPLEXITIES, "reconstruction", "loss"}:
        return NumberRole.LIKELIHOOD
    if role(column) is ColumnRole.UNITS:
        return NumberRole.UNITS
    return NumberRole.PERCENT if unit == "%" else NumberRole.INFORMATION


def _scale(role: NumberRole, size: float) -> float:
    if role in {NumberRole.COUNT, NumberRole.UNITS, NumberRole.PERCENT}:
        return 1.0
    return size if role is NumberRole.LIKELIHOOD and size else max(1.0, size)


def _number(found: Mapping[str, tuple[NumberRole, float]], where: str) -> float | None:
    return found[where][1] if where in found else None


def _shown(number: float | None) -> str:
    return "missing" if number is None else f"{number:.9g}"
