"""The results of metrics: columns, and estimates with their standard errors."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

SATURATION = 0.1
"""The distance to log N, in nats, within which an estimate of mutual information has reached its limit log N."""


class Direction(StrEnum):
    """The direction in which a metric is better. `NONE` is for metrics that only describe.

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
    """A value, and the Monte Carlo standard error of its estimator. The error is None if the value is exact.

    >>> from collapsebench import Estimate
    >>> Estimate(3.25, standard_error=0.04).value
    3.25
    """

    value: float
    standard_error: float | None = None
