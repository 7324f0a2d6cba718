"""The record of a run: its spec, its outcome, its trajectory and its metrics. Plain values, no storage."""

from __future__ import annotations

import math
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from pydantic import (
    Field,
    NonNegativeInt,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from collapsebench.estimates import Declined, Direction, Estimate
from collapsebench.spec import Frozen, RunSpec


class Outcome(StrEnum):
    """The outcome of a run. Only finished and diverged runs are results. The others are run again.

    >>> from collapsebench import Outcome
    >>> [outcome.value for outcome in Outcome if outcome.settled]
    ['finished', 'diverged']
    """

    STARTED = "started"
    FINISHED = "finished"
    DIVERGED = "diverged"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    @property
    def settled(self) -> bool:
        """True if running the same spec again would change nothing."""
        return self in {Outcome.FINISHED, Outcome.DIVERGED}


class NumberKind(StrEnum):
    """The kind of a stored number. SQL and JSON cannot hold the last three.

    >>> from collapsebench import Number
    >>> Number.of(float("inf")).kind.value
    '+inf'
    """

    FINITE = "finite"
    NAN = "nan"
    POSITIVE_INFINITY = "+inf"
    NEGATIVE_INFINITY = "-inf"


class Number(Frozen):
    """A float as it is stored: its kind, and its value if it is finite.

    >>> from collapsebench import Number
    >>> float(Number.of(0.5)), Number.of(float("nan")).value
    (0.5, None)
    """

    kind: NumberKind
    value: float | None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if (self.kind is NumberKind.FINITE) != (self.value is not None and math.isfinite(self.value)):
            raise ValueError(f"a number is finite and has a value, or neither, got {self.kind.value} and {self.value}")
        return self

    @classmethod
    def of(cls, value: float) -> Self:
        """Take a float apart, into its kind and its value."""
        if math.isfinite(value):
            return cls(kind=NumberKind.FINITE, value=value)
        if math.isnan(value):
            return cls(kind=NumberKind.NAN, value=None)
        return cls(kind=NumberKind.POSITIVE_INFINITY if value > 0 else NumberKind.NEGATIVE_INFINITY, value=None)

    def __float__(self) -> float:
        return self.value if self.value is not None else float(self.kind.value)


def json_number(value: float | None) -> float | str | None:
    """Return the number as JSON can hold it: NaN and infinities become the text of their kind, None stays."""
    return value if value is None or math.isfinite(value) else Number.of(value).kind.value


class Value(Frozen):
    """One column of one metric: the estimate, its standard error, and the title and unit that a table shows.

    >>> from collapsebench import Estimate, Value
    >>> value = Value.of("kl", "kl", Estimate(2.5, standard_error=0.1), unit="nats", board=True)
    >>> float(value.estimate), value.unit
    (2.5, 'nats')
    """

    metric: str
    column: str
    estimate: Number
    standard_error: Number | None = None
    unit: str = ""
    title: str = ""
    direction: Direction = Direction.NONE
    board: bool = False
    """True if leaderboards show it. Other entries (the KL of one unit, a point of a curve) are for `runs show`."""

    @classmethod
    def of(cls, metric: str, column: str, estimate: Estimate, **shown: Any) -> Self:
        """Store an estimate, NaN and infinities included."""
        error = estimate.standard_error
        return cls(
            metric=metric,
            column=column,
            estimate=Number.of(estimate.value),
            standard_error=None if error is None else Number.of(error),
            **shown,
        )


class DeclinedColumn(Frozen):
    """One column of one metric, or a group of entries, that has no number; with the reason that the metric gave.

    >>> from collapsebench import DeclinedColumn
    >>> DeclinedColumn(metric="probe", column="probe", reason="no labels").reason
    'no labels'
    """

    metric: str
    column: str
    """The name of the column, or of a group of entries, such as `kl[j]`."""
    reason: str

    @field_validator("reason")
    @classmethod
    def _is_shown(cls, reason: str) -> str:
        return Declined(reason).reason


class Point(Frozen):
    """One scheduled evaluation on the validation split: the counters at that step, and the values.

    >>> from collapsebench import Number, Point
    >>> point = Point(counters={"steps": 10.0}, values={"neg_elbo": Number.of(31.5)})
    >>> point.counters["steps"], float(point.values["neg_elbo"])
    (10.0, 31.5)
    """

    counters: dict[str, float]
    """The counters of the meter by name: steps, epochs, examples, seconds, encoder_evaluations, …"""
    values: dict[str, Number]
    """The values by name: neg_elbo, kl, the columns of metrics.TRACKED, and loss, the mean training objective since the
    last point."""
    selected: bool = False
    """True if the parameters of this point are those that the test split sees."""


class Guard(StrEnum):
    """The guard that a finding comes from (see `docs/trust.md`).

    >>> from collapsebench import Guard
    >>> Guard("overshoot").name
    'OVERSHOOT'
    """

    WORK = "work"
    """Work was done where the meter did not look, and is charged by estimate."""
    OPERATIONS = "operations"
    """Operations were used that the meter has no formula for."""
    OVERSHOOT = "overshoot"
    """The run spent more than its budget, by more than a step."""
    LIKELIHOOD = "likelihood"
    """A likelihood is better than the known entropy allows."""
    SCHEDULE = "schedule"
    """A schedule of the method had not ended at the selected parameters."""
    ENVIRONMENT = "environment"
    """The run went on in another environment than it began in."""
    USE = "use"
    """The decoder gains far less from z than the KL."""


class Finding(Frozen):
    """What a guard has found about a run that has a result. Boards mark the row.

    >>> from collapsebench import Finding, Guard
    >>> Finding(guard=Guard.OPERATIONS, text="uncounted operations: cdist").guard.value
    'operations'
    """

    guard: Guard
    text: str
    """The finding in one line."""


class RunRecord(Frozen):
    """All that is stored of one run.

    >>> import collapsebench
    >>> (run,) = collapsebench.run(dataset="linear-gaussian", budget="2steps", store="e.sqlite", progress=False)
    >>> record = run.record
    >>> record.outcome.value, len(record.points), record.spec.protocol.budget.amount
    ('finished', 1, 2.0)
    """

    run_id: str
    protocol_id: str
    spec: RunSpec
    contender: str
    """The canonical label, such as `skip+sa-vae[steps=20]`."""
    track: str
    """The canonical label of the track, such as `quick[decoder.layers=3]`."""
    outcome: Outcome
    message: str = ""
    traceback: str = ""
    started_at: datetime
    finished_at: datetime | None = None
    environment: dict[str, Any] = Field(default_factory=dict)
    parameters: NonNegativeInt = 0
    points: tuple[Point, ...] = ()
    values: tuple[Value, ...] = ()
    code: dict[str, str] = Field(default_factory=dict)
    """The hashes of the code of components that do not come with the harness, by kind and name (`method my-method`)."""
    findings: tuple[Finding, ...] = ()
    declined: tuple[DeclinedColumn, ...] = ()
    """The columns and groups of entries that have no number, with the reasons."""

    @model_serializer(mode="wrap")
    def _brief(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what came later if it is empty: a record without it reads as it always did."""
        content: dict[str, Any] = dump(self)
        return {key: value for key, value in content.items() if value or key not in {"code", "findings", "declined"}}

    @classmethod
    def started(
        cls, spec: RunSpec, at: datetime, environment: dict[str, Any], code: dict[str, str] | None = None
    ) -> Self:
        """Make the record that is stored before training, so that a crash stays visible."""
        return cls(
            run_id=spec.run_id,
            protocol_id=spec.protocol.protocol_id,
            spec=spec,
            contender=spec.contender.label,
            track=spec.protocol.track_label,
            outcome=Outcome.STARTED,
            started_at=at,
            environment=environment,
            code=code or {},
        )

    @property
    def counters(self) -> dict[str, float]:
        """The counters at the end of training, empty before the first evaluation."""
        return self.points[-1].counters if self.points else {}
