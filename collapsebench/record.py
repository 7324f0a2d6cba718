"""What a run leaves behind: its spec, what became of it, its trajectory and its metrics. Values, no storage."""

from __future__ import annotations

import math
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from pydantic import Field, NonNegativeInt, model_validator

from collapsebench.estimates import Direction, Estimate
from collapsebench.spec import Frozen, RunSpec


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
