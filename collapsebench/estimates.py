"""What a metric hands over: columns, and estimates with their errors."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

SATURATION = 0.1
"""An estimate of mutual information this near to log N, in nats, says no more than log N."""


class Direction(StrEnum):
    """Which way a metric is better; none for those that only describe."""

    LOWER = "lower"
    HIGHER = "higher"
    NONE = "none"


class Column(NamedTuple):
    """One column that a metric reports, with its unit and direction."""

    name: str
    unit: str
    direction: Direction
    title: str
    """What a table's head says."""


class Estimate(NamedTuple):
    """A value and the Monte Carlo standard error of its estimator, None where it is exact for this split."""

    value: float
    standard_error: float | None = None
