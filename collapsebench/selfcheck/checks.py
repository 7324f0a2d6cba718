"""A check: one entry of one metric beside its exact value."""

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
"""An estimate may be off by this many standard errors. By chance, one in 1.7 million is off by more."""

ROUNDING = 1e-5
"""The further error that networks in float32 may have, relative for values above 1 nat."""


class Relation(StrEnum):
    """The relation of the mean of an estimate to the exact value."""

    EQUAL = "="
    AT_MOST = "≤"
    AT_LEAST = "≥"


class Exact(NamedTuple):
    """An exact value."""

    value: float
    relation: Relation = Relation.EQUAL
    slack: float = 0.0
    """The largest distance of the mean from it: the size of a bias that is known to vanish with N or K."""


@dataclass(frozen=True)
class Case:
    """A model with fixed parameters on a split, and the exact values of its metrics."""

    name: str
    split: EvaluatedSplit
    metrics: Sequence[Metric]
    exact: Mapping[str, Exact]
    """The exact values by entry."""

    def checks(self) -> Iterator[Check]:
        """Evaluate the metrics as a run does, and yield a check for every entry with an exact value."""
        for metric in self.metrics:
            found = metric.evaluate(self.split)
            for entry, exact in self.exact.items():
                if isinstance(estimate := found.get(entry), Estimate):
                    yield Check(self.name, metric.name, entry, estimate, exact)


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
        """The standard error of the metric, or None if there is none or it is below the rounding."""
        error = self.estimate.standard_error
        return None if error is None or error <= self.rounding else error

    @property
    def difference(self) -> float:
        """Estimate - exact value."""
        return self.estimate.value - self.exact.value

    @property
    def errors(self) -> float | None:
        """The difference in standard errors, or None without a standard error."""
        return None if self.standard_error is None else self.difference / self.standard_error

    @property
    def passed(self) -> bool:
        """True if the difference is finite, and within 5 standard errors, the slack and the rounding."""
        allowed = LIMIT * (self.standard_error or 0.0) + self.exact.slack + self.rounding
        low = -math.inf if self.exact.relation is Relation.AT_MOST else -allowed
        high = math.inf if self.exact.relation is Relation.AT_LEAST else allowed
        return math.isfinite(self.difference) and math.isfinite(allowed) and low <= self.difference <= high
