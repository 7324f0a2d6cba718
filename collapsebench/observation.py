"""What boards and curves read of a run: plain values, as it takes long to validate a hundred thousand records."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import NamedTuple, Self

from collapsebench.estimates import Direction, Estimate
from collapsebench.record import Outcome, Point, RunRecord, Value
from collapsebench.spec import Protocol, identity


class ColumnHead(NamedTuple):
    """What tables say about a column of a metric."""

    metric: str
    column: str
    title: str
    unit: str
    direction: Direction


class MetricValue(NamedTuple):
    """One number of a run in a table."""

    head: ColumnHead
    value: float
    standard_error: float | None = None

    @classmethod
    def of(cls, value: Value) -> Self:
        """The number of a record."""
        error = value.standard_error
        head = ColumnHead(value.metric, value.column, value.title, value.unit, value.direction)
        return cls(head, float(value.estimate), None if error is None else float(error))


class TrajectoryPoint(NamedTuple):
    """A point of a trajectory as plain numbers."""

    counters: Mapping[str, float]
    values: Mapping[str, float]

    @classmethod
    def of(cls, point: Point) -> Self:
        """The numbers of a record's point."""
        return cls(point.counters, {name: float(number) for name, number in point.values.items()})


class Observation(NamedTuple):
    """What boards and curves read of a run: plain values, as it takes long to validate a hundred thousand records."""

    run_id: str
    protocol_id: str
    protocol: Protocol
    track: str
    contender: str
    contender_id: str
    """Which tells apart versions and defaults of contenders that are written alike."""
    seed: int
    outcome: Outcome
    message: str
    parameters: int
    environment: str
    """As JSON with sorted keys."""
    points: tuple[TrajectoryPoint, ...]
    """The trajectory, or the counters of its last point alone."""
    values: tuple[MetricValue, ...]
    """What boards show of the metrics."""
    entries: Mapping[str, Estimate]
    """What they do not show, as far as it was asked for, by column."""

    @classmethod
    def of(cls, record: RunRecord, entries: Collection[str] = ()) -> Self:
        """What is read of a record, with its trajectory, and the named entries that boards do not show."""
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
