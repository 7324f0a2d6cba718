"""What a check is: one entry of one metric beside its exact value."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from collapsebench.estimates import Estimate
from collapsebench.metrics.evaluation import EvaluatedSplit
from collapsebench.metrics.metric import Metric

LIMIT = 5.0
"""How many standard errors an estimate may be off: 1 of 1.7 million is, if nothing is wrong."""

ROUNDING = 1e-5
"""What float32 networks may add to that, relative to values above 1 nat."""


class Relation(StrEnum):
    """What the mean of an estimate is to the exact value."""

    EQUAL = "="
    AT_MOST = "≤"
    AT_LEAST = "≥"


class Exact(NamedTuple):
    """An exact value."""

    value: float
    relation: Relation = Relation.EQUAL
    slack: float = 0.0
    """What the mean of the estimate may differ from it by: the order of a bias that is known to vanish with N or K."""


@dataclass(frozen=True)
class Case:
    """A model with set parameters on a split, and what is known of its metrics."""

    name: str
    split: EvaluatedSplit
    metrics: Sequence[Metric]
    exact: Mapping[str, Exact]
    """By entry."""

    def checks(self) -> Iterator[Check]:
        """Evaluate the metrics as a run does, and compare every entry whose exact value is known."""
        for metric in self.metrics:
            found = metric.evaluate(self.split)
            for entry in (entry for entry in self.exact if entry in found):
                yield Check(self.name, metric.name, entry, found[entry], self.exact[entry])


@dataclass(frozen=True)
class Check:
    """One estimate beside its exact value."""

    case: str
    metric: str
    entry: str
    estimate: Estimate
    exact: Exact

    @property
    def rounding(self) -> float:
        """The tolerance for rounding alone."""
        return ROUNDING * max(1.0, abs(self.exact.value))

    @property
    def standard_error(self) -> float | None:
        """The metric's own; None where there is none, or where it is lost in rounding."""
        error = self.estimate.standard_error
        return None if error is None or error <= self.rounding else error

    @property
    def difference(self) -> float:
        """Estimate - exact value."""
        return self.estimate.value - self.exact.value

    @property
    def errors(self) -> float | None:
        """The difference in standard errors; None without one."""
        return None if self.standard_error is None else self.difference / self.standard_error

    @property
    def passed(self) -> bool:
        """Whether the difference is within 5 standard errors, the slack and the rounding. Only finite numbers are."""
        allowed = LIMIT * (self.standard_error or 0.0) + self.exact.slack + self.rounding
        low = -math.inf if self.exact.relation is Relation.AT_MOST else -allowed
        high = math.inf if self.exact.relation is Relation.AT_LEAST else allowed
        return math.isfinite(self.difference) and math.isfinite(allowed) and low <= self.difference <= high
