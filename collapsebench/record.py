"""What a run leaves behind: its spec, what became of it, its trajectory and its metrics. Values, no storage."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, Self

from pydantic import Field, NonNegativeInt, model_validator

from collapsebench.components.interfaces import Direction, Estimate
from collapsebench.spec import Frozen, Protocol, RunSpec, identity


class Outcome(StrEnum):
    """What became of a run. Only finished and diverged runs are results; the others are run again."""

    STARTED = "started"
    FINISHED = "finished"
    DIVERGED = "diverged"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    @property
    def settled(self) -> bool:
        """Whether running the same spec again would change nothing."""
        return self in {Outcome.FINISHED, Outcome.DIVERGED}


class Kind(StrEnum):
    """What a stored number is; SQL and JSON cannot hold the last three."""

    FINITE = "finite"
    NAN = "nan"
    POSITIVE_INFINITY = "+inf"
    NEGATIVE_INFINITY = "-inf"


class Number(Frozen):
    """A float as it is stored: its kind, and its value if it is finite."""

    kind: Kind
    value: float | None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if (self.kind is Kind.FINITE) != (self.value is not None and math.isfinite(self.value)):
            raise ValueError(f"a number is finite and has a value, or neither, got {self.kind.value} and {self.value}")
        return self

    @classmethod
    def of(cls, value: float) -> Self:
        """Take a float apart."""
        if math.isfinite(value):
            return cls(kind=Kind.FINITE, value=value)
        if math.isnan(value):
            return cls(kind=Kind.NAN, value=None)
        return cls(kind=Kind.POSITIVE_INFINITY if value > 0 else Kind.NEGATIVE_INFINITY, value=None)

    def __float__(self) -> float:
        return self.value if self.value is not None else float(self.kind.value)


class Value(Frozen):
    """One column of one metric: the estimate, its standard error, and what a table needs to show it."""

    metric: str
    column: str
    estimate: Number
    standard_error: Number | None = None
    unit: str = ""
    title: str = ""
    direction: Direction = Direction.NONE
    board: bool = False
    """Whether leaderboards show it; other entries (KL of one unit, a point of a curve) are for `runs show`."""

    @classmethod
    def of(cls, metric: str, column: str, estimate: Estimate, **shown: Any) -> Self:
        """Keep an estimate as what it is, NaN and infinities included."""
        error = estimate.standard_error
        return cls(
            metric=metric,
            column=column,
            estimate=Number.of(estimate.value),
            standard_error=None if error is None else Number.of(error),
            **shown,
        )


class Point(Frozen):
    """One scheduled evaluation on the validation split: the counters there, and the plain negative ELBO."""

    counters: dict[str, float]
    """By counter of the meter: steps, epochs, examples, seconds, encoder_evaluations, …"""
    values: dict[str, Number]
    """Of the validation split: neg_elbo, kl and the columns of metrics.TRACKED; and loss, the mean training objective
    since the last point."""
    selected: bool = False
    """Whether the evaluated parameters are those of this point."""


class RunRecord(Frozen):
    """One row of the store."""

    run_id: str
    protocol_id: str
    spec: RunSpec
    contender: str
    """The canonical label, as in `skip+sa-vae[steps=20]`."""
    track: str
    """The canonical label of the track, as in `quick[decoder.layers=3]`."""
    outcome: Outcome
    message: str = ""
    traceback: str = ""
    started_at: datetime
    finished_at: datetime | None = None
    environment: dict[str, Any] = Field(default_factory=dict)
    parameters: NonNegativeInt = 0
    points: tuple[Point, ...] = ()
    values: tuple[Value, ...] = ()

    @classmethod
    def started(cls, spec: RunSpec, at: datetime, environment: dict[str, Any]) -> Self:
        """The record that is stored before training, so that a crash stays visible."""
        return cls(
            run_id=spec.run_id,
            protocol_id=spec.protocol.protocol_id,
            spec=spec,
            contender=spec.contender.label,
            track=spec.protocol.track_label,
            outcome=Outcome.STARTED,
            started_at=at,
            environment=environment,
        )

    @property
    def counters(self) -> dict[str, float]:
        """The counters at the end of training; empty before the first evaluation."""
        return self.points[-1].counters if self.points else {}


class Shown(NamedTuple):
    """What tables say about a column of a metric."""

    metric: str
    column: str
    title: str
    unit: str
    direction: Direction


class Reading(NamedTuple):
    """One number of a run in a table."""

    shown: Shown
    value: float
    standard_error: float | None = None

    @classmethod
    def of(cls, value: Value) -> Self:
        """The number of a record."""
        error = value.standard_error
        shown = Shown(value.metric, value.column, value.title, value.unit, value.direction)
        return cls(shown, float(value.estimate), None if error is None else float(error))


class Evaluated(NamedTuple):
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
    points: tuple[Evaluated, ...]
    """The trajectory, or the counters of its last point alone."""
    readings: tuple[Reading, ...]
    """What boards show of the metrics."""
    entries: Mapping[str, Estimate]
    """What they do not show, as far as it was asked for, by column."""

    @classmethod
    def of(cls, record: RunRecord, entries: Collection[str] = ()) -> Self:
        """What is read of a record, with its trajectory, and the named entries that boards do not show."""
        further = (Reading.of(value) for value in record.values if not value.board and value.column in entries)
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
            points=tuple(map(Evaluated.of, record.points)),
            readings=tuple(Reading.of(value) for value in record.values if value.board),
            entries={reading.shown.column: Estimate(*reading[1:]) for reading in further},
        )

    @property
    def counters(self) -> Mapping[str, float]:
        """The counters at the end of training; empty before the first evaluation."""
        return self.points[-1].counters if self.points else {}
