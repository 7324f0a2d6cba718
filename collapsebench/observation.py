"""Observations are the plain values that boards and curves read: it takes too long to validate many records."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, Self

from collapsebench.estimates import Direction, Estimate
from collapsebench.record import DeclinedColumn, Finding, Outcome, Point, RunRecord, Value
from collapsebench.spec import MethodChoice, Protocol, identity

RUN_ID = re.compile(r"[0-9a-f]{16}")
"""The ids of runs and protocols. No other text is ever part of the name of a file."""

LISTED = 10
"""A line names at most this many runs."""


class Unreadable(NamedTuple):
    """A stored run that cannot be read. It is left out of boards and lists, and named."""

    run_id: str
    """The id as it can be printed. It may be anything in a store that was edited."""
    reason: str

    def __str__(self) -> str:
        return f"{self.run_id} ({self.reason})"

    @property
    def removal(self) -> str:
        """The command that removes the run."""
        named = self.run_id if RUN_ID.fullmatch(self.run_id) else "--unreadable"
        return f"collapsebench runs delete {named}"


def unreadable_line(runs: Sequence[Unreadable]) -> str:
    """Write one line about runs that cannot be read: which they are, why, and how they are removed."""
    listed = ", ".join(map(str, runs[:LISTED]))
    more = f", and {len(runs) - LISTED} more" if len(runs) > LISTED else ""
    if len(runs) == 1:
        return f"1 run cannot be read: {listed}; `{runs[0].removal}` removes it"
    return f"{len(runs)} runs cannot be read: {listed}{more}; `collapsebench runs delete --unreadable` removes them"


class ColumnHead(NamedTuple):
    """The head of a column of a metric in tables."""

    metric: str
    column: str
    title: str
    unit: str
    direction: Direction


class MetricValue(NamedTuple):
    """One number of a run, with the head of its column and its standard error."""

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
    """A point of a trajectory, in plain numbers."""

    counters: Mapping[str, float]
    values: Mapping[str, float]

    @classmethod
    def of(cls, point: Point) -> Self:
        """Take the numbers from a record's point."""
        return cls(point.counters, {name: float(number) for name, number in point.values.items()})


class Observation(NamedTuple):
    """The values of a run that boards and curves read."""

    run_id: str
    protocol_id: str
    protocol: Protocol
    track: str
    contender: str
    contender_id: str
    """A digest. It differs between contenders with equal labels but different versions or defaults."""
    methods: tuple[MethodChoice, ...]
    """The methods of the contender, with all their parameters."""
    seed: int
    outcome: Outcome
    message: str
    started_at: datetime
    parameters: int
    environment: str
    """The environment as JSON with sorted keys."""
    points: tuple[TrajectoryPoint, ...]
    """The trajectory, or only its last point, without values."""
    values: tuple[MetricValue, ...]
    """The numbers of metrics that boards show."""
    code: Mapping[str, str]
    """The hashes of the code of components that do not come with the harness, by kind and name."""
    findings: tuple[Finding, ...]
    """What the guards found."""
    declined: tuple[DeclinedColumn, ...]
    """The columns and groups of entries that have no number, with the reasons."""
    entries: Mapping[str, Estimate]
    """The requested numbers that boards do not show, by column."""

    @classmethod
    def of(cls, record: RunRecord, entries: Collection[str] = ()) -> Self:
        """Take the observation from a record, with its trajectory.

        `entries` are the columns of the numbers that are read although boards do not show them.
        """
        further = (MetricValue.of(value) for value in record.values if not value.board and value.column in entries)
        return cls(
            run_id=record.run_id,
            protocol_id=record.protocol_id,
            protocol=record.spec.protocol,
            track=record.track,
            contender=record.contender,
            contender_id=identity(record.spec.contender),
            methods=record.spec.contender.methods,
            seed=record.spec.seed,
            outcome=record.outcome,
            message=record.message,
            started_at=record.started_at.astimezone(UTC),
            parameters=record.parameters,
            environment=json.dumps(record.environment, sort_keys=True),
            points=tuple(map(TrajectoryPoint.of, record.points)),
            values=tuple(MetricValue.of(value) for value in record.values if value.board),
            code=record.code,
            findings=record.findings,
            declined=record.declined,
            entries={value.head.column: Estimate(*value[1:]) for value in further},
        )

    @property
    def counters(self) -> Mapping[str, float]:
        """The counters at the end of training; empty before the first evaluation."""
        return self.points[-1].counters if self.points else {}
