"""Boards and curves read observations: plain values, as it takes long to validate a hundred thousand records."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import NamedTuple, Self

from collapsebench.estimates import Direction, Estimate
from collapsebench.record import Outcome, Point, RunRecord, Value
from collapsebench.spec import Protocol, identity


class ColumnHead(NamedTuple):
    """What tables say of a column of a metric."""

    metric: str
    column: str
    title: str
    unit: str
    direction: Direction


class MetricValue(NamedTuple):
    """One number of a run, with the head of its column."""

    head: ColumnHead
    value: float
    standard_error: float | None = None

    @classmethod
    def of(cls, value: Value) -> Self:
        """Take the number from a record."""
        error = value.standard_error
        head = ColumnHead(value.metric, value.column, value.title, value.unit, value.direction)
        return cls(head, float(value.estimate), None if error is None else float(error))


class TrajectoryPoint(NamedTuple):
    """A point of a trajectory, as plain numbers."""

    counters: Mapping[str, float]
    values: Mapping[str, float]

    @classmethod
    def of(cls, point: Point) -> Self:
        """Take the numbers from a record's point."""
        return cls(point.counters, {name: float(number) for name, number in point.values.items()})


class Observation(NamedTuple):
    """What boards and curves read of a run."""

    run_id: str
    protocol_id: str
    protocol: Protocol
    track: str
    contender: str
    contender_id: str
    """The digest that tells contenders apart which are written alike but differ in version or defaults."""
    seed: int
    outcome: Outcome
    message: str
    parameters: int
    environment: str
    """JSON with sorted keys."""
    points: tuple[TrajectoryPoint, ...]
    """The trajectory, or only its last point, without values."""
    values: tuple[MetricValue, ...]
    """The numbers of metrics that boards show."""
    entries: Mapping[str, Estimate]
    """Further numbers, by column, as far as they were asked for."""

    @classmethod
    def of(cls, record: RunRecord, entries: Collection[str] = ()) -> Self:
        """Take the observation from a record, with its trajectory and the named entries that boards do not show."""
        further = (MetricValue.of(value) for value in record.values if not value.board and value.column in entries)
        return cls(
            run_id=record.run_id,
            protocol_id=record.protocol_id,
            protocol=record.spec.protocol,
            track=record.track,
            contender=record.contender,
            contender_id=identity(record.spec.contender),
            seed=record.spec.seed,
            outcome=record.outcome,
            message=record.message,
            parameters=record.parameters,
            environment=json.dumps(record.environment, sort_keys=True),
            points=tuple(map(TrajectoryPoint.of, record.points)),
            values=tuple(MetricValue.of(value) for value in record.values if value.board),
            entries={value.head.column: Estimate(*value[1:]) for value in further},
        )

    @property
    def counters(self) -> Mapping[str, float]:
        """The counters at the end of training; empty before the first evaluation."""
        return self.points[-1].counters if self.points else {}
