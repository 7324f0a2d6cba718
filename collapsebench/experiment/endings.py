"""The beginning and the end of a run's record, for those who compute runs and those who look after them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, Self

from collapsebench.experiment.environment import known_environment

if TYPE_CHECKING:
    from collapsebench.record import DeclinedColumn, Finding, Outcome, Point, RunRecord, Value
    from collapsebench.spec import RunSpec


class RunEnding(NamedTuple):
    """The end of a run: the fields of its record that are known only then."""

    outcome: Outcome
    message: str
    parameters: int = 0
    points: tuple[Point, ...] = ()
    values: tuple[Value, ...] = ()
    traceback: str = ""
    findings: tuple[Finding, ...] = ()
    declined: tuple[DeclinedColumn, ...] = ()

    @classmethod
    def failed(cls, message: str, traceback: str = "") -> Self:
        """Return the end of a run without a result."""
        from collapsebench.record import Outcome  # plugins of executors are imported by commands that need no records

        return cls(Outcome.FAILED, message, traceback=traceback)

    @classmethod
    def interrupted(cls, message: str) -> Self:
        """Return the end of a run that can go on."""
        from collapsebench.record import Outcome

        return cls(Outcome.INTERRUPTED, message)


def begun(spec: RunSpec, device: str) -> RunRecord:
    """Return the record of a run that is about to be handed out."""
    from collapsebench.record import RunRecord

    return RunRecord.started(spec, now(), known_environment(device))


def ended(record: RunRecord, ending: RunEnding) -> RunRecord:
    """Return the record of a run that is over."""
    return record.model_copy(update={"finished_at": now(), **ending._asdict()})


def timed_out(seconds: float) -> str:
    """Return the message of a run that was ended because it took too long."""
    return f"ran longer than its --timeout of {seconds:g} s; the same command goes on from its last checkpoint"


def now() -> datetime:
    """Return the time of records."""
    return datetime.now(UTC)
