"""What a metric hands over: columns, and estimates with their errors."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

SATURATION = 0.1
"""An estimate of mutual information this near to log N, in nats, says no more than log N."""


class Direction(StrEnum):
    """Which way a metric is better. `NONE` is for metrics that only describe.

    >>> from collapsebench import Direction
    >>> Direction("lower") is Direction.LOWER
    True
    """

    LOWER = "lower"
    HIGHER = "higher"
    NONE = "none"


class Column(NamedTuple):
    """One column that a metric reports, with its unit and direction.

    >>> from collapsebench import Column, Direction
    >>> Column("kl", "nats", Direction.NONE, title="KL").unit
    'nats'
    """

    name: str
    unit: str
    direction: Direction
    title: str
    """The text in the head of a table."""


class Estimate(NamedTuple):
    """A value, and the Monte Carlo standard error of its estimator. The error is None where the value is exact.

    >>> from collapsebench import Estimate
    >>> Estimate(3.25, standard_error=0.04).value
    3.25
    """

    value: float
    standard_error: float | None = None
