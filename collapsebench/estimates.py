"""The results of metrics: columns, and estimates with their standard errors."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from collapsebench.printable import printable

SATURATION = 0.1
"""The distance to log N, in nats, within which an estimate of mutual information has reached its limit log N."""

LONGEST_REASON = 100
"""A reason why there is no number has at most so many characters."""


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


@dataclass(frozen=True)
class Declined:
    """The reason why a metric has no number for a column: what the number would mean, the contender does not have.

    It is one line of 1 to 100 characters that can be seen, in lower case and without a full stop. Boards and
    `runs show` print it. Raises ValueError for another text.

    >>> from collapsebench import Declined
    >>> Declined("no latent units").reason
    'no latent units'
    """

    reason: str

    def __post_init__(self) -> None:
        text = self.reason
        if not text.strip() or len(text) > LONGEST_REASON or printable(text) != text:
            raise ValueError(f"a reason is one line of 1 to {LONGEST_REASON} visible characters, got {text!r:.80}")
