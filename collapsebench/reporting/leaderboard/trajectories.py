"""Cuts runs at one point of their trajectories: the point at which a counter reaches an amount.

The values are those of the validation split. Values and counters are interpolated linearly between two scheduled
evaluations. A run has no value if it has not reached the amount, or has passed it before its first evaluation.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Self

from collapsebench.errors import UsageError, unknown
from collapsebench.estimates import Direction
from collapsebench.experiment.counters import COUNTERS
from collapsebench.metrics import TRACKED
from collapsebench.observation import ColumnHead, MetricValue, Observation, TrajectoryPoint
from collapsebench.plausibility import VALIDATION

if TYPE_CHECKING:
    from collapsebench.record import RunRecord

Curve = Sequence[tuple[float, float]]
"""Pairs of a counter and a value, in the order of the counter."""


VALIDATION_COLUMNS = {
    head.column: head
    for head in (
        ColumnHead(VALIDATION, "neg_elbo", "valid −ELBO", "nats", Direction.LOWER),
        ColumnHead(VALIDATION, "kl", "valid KL", "nats", Direction.NONE),
        *(
            ColumnHead(VALIDATION, column.name, f"valid {column.title}", column.unit, column.direction)
            for metric in TRACKED
            for column in metric.columns
        ),
    )
}
"""The columns of the validation split at a point of a trajectory, by their names in `record.Point`."""

TRAJECTORY_COLUMNS = VALIDATION_COLUMNS | {
    "loss": ColumnHead("training", "loss", "training loss", "nats", Direction.LOWER)
}
"""All columns at a point of a trajectory, by name."""


def check_counter(name: str) -> None:
    """Raise UsageError for a counter that the meter does not have."""
    if name not in COUNTERS:
        raise UsageError(unknown("counter", name, COUNTERS))


def curve(points: Iterable[TrajectoryPoint], counter: str, column: str) -> Curve:
    """Return pairs of one counter and one value, from the points that have both."""
    return [
        (point.counters[counter], point.values[column])
        for point in points
        if counter in point.counters and column in point.values
    ]


def value_at(values: Curve, amount: float) -> float | None:
    """Interpolate the value at which the counter is `amount`. Return None outside of the curve."""
    place = bisect_right(values, amount, key=itemgetter(0))
    if place == 0:
        return None
    before, value = values[place - 1]
    if before == amount:
        return value
    if place == len(values) or values[place][0] <= before:
        return None
    after, next_value = values[place]
    if after == before:  # the counter does not rise, as in no run of the harness
        return None
    return value + (next_value - value) * (amount - before) / (after - before)


def validated(record: RunRecord) -> Observation:
    """Return a run with the numbers of the validation split at its selected parameters, in place of those of tests."""
    point = next((point for point in record.points if point.selected), None)
    known = {} if point is None else TrajectoryPoint.of(point).values
    values = (MetricValue(head, known[name]) for name, head in VALIDATION_COLUMNS.items() if name in known)
    return Observation.of(record)._replace(values=tuple(values), declined=())


@dataclass(frozen=True)
class Cut:
    """A cut compares runs at the point at which one counter has reached an amount."""

    counter: str
    amount: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a text such as `flops=1e13`. Raises UsageError for an unknown counter, and for a wrong amount."""
        counter, equals, amount = text.partition("=")
        try:
            cut = cls(counter.strip(), float(amount))
        except ValueError:
            cut = cls(counter.strip(), math.nan)
        if not equals or not 0 < cut.amount < math.inf:
            raise UsageError(f"cannot read '{text}': write a counter and an amount, as in flops=1e13 or seconds=60")
        check_counter(cut.counter)
        return cut

    def __str__(self) -> str:
        return f"{self.counter}={self.amount:.12g}"

    def through(self, observations: Iterable[Observation]) -> Iterator[Observation]:
        """Cut runs. They get the counters and the numbers of the validation split at the cut."""
        for run in observations:
            yield run._replace(values=tuple(self._values(run)), declined=(), points=self._point(run))

    def _values(self, run: Observation) -> Iterator[MetricValue]:
        for name, head in VALIDATION_COLUMNS.items():
            value = value_at(curve(run.points, self.counter, name), self.amount)
            if value is not None:
                yield MetricValue(head, value)

    def _point(self, run: Observation) -> tuple[TrajectoryPoint, ...]:
        counted = [point.counters for point in run.points if self.counter in point.counters]
        found = {
            name: value_at([(counts[self.counter], counts[name]) for counts in counted if name in counts], self.amount)
            for name in (counted[0] if counted else ())
        }
        counters = {name: value for name, value in found.items() if value is not None}
        return (TrajectoryPoint(counters, {}),) if counters else ()
