"""The outlook of a grid while it goes on: how many runs are over, and how long the rest will take."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple, Self

from collapsebench.experiment.events import Finished, Resumed, Skipped, Started, Stepped, Testing
from collapsebench.record import Outcome

if TYPE_CHECKING:
    from collapsebench.experiment.events import Event
    from collapsebench.spec import RunSpec, Unit

SEEN = 0.02
"""The time of a run is not foreseen before it has spent this share of its budget here."""


class RunKind(NamedTuple):
    """What the time of a run depends on: all but its seed."""

    contender: str
    protocol_id: str
    unit: Unit
    amount: float

    @classmethod
    def of(cls, spec: RunSpec) -> Self:
        """Return the kind of a run."""
        budget = spec.protocol.budget
        return cls(spec.contender.label, spec.protocol.protocol_id, budget.unit, budget.amount)


@dataclass
class RunClock:
    """The time and the share of the budget of a run in progress. One that was resumed begins with a share."""

    kind: RunKind
    began: float
    """When it began, in seconds of the clock."""
    resumed: bool = False
    """True if it went on from a checkpoint, and has not yet reported from where."""
    first: float = 0.0
    """The share of the budget that it began with."""
    share: float = 0.0
    """The share of the budget that is spent."""

    def move(self, share: float) -> None:
        """Take note of the share that is spent."""
        if self.resumed:
            self.first, self.resumed = min(share, 1 - SEEN), False
        self.share = share

    def whole(self, now: float) -> float | None:
        """Return the seconds that the whole run would take at this speed; None if that cannot be said yet."""
        spent = self.share - self.first
        return (now - self.began) / spent if spent > SEEN else None

    def left(self, now: float) -> float | None:
        """Return the seconds until the budget is spent; None if that cannot be said yet."""
        whole = self.whole(now)
        return None if whole is None or self.share >= 1 else whole * (1 - self.share)


class RunTimes:
    """The times of whole runs, as they were measured or are foreseen."""

    def __init__(self) -> None:
        self._shares: dict[Hashable, list[float]] = {}
        """The seconds for one unit of the budget, by what runs have in common; the whole seconds of all runs."""

    def add(self, kind: RunKind, seconds: float) -> None:
        """Take note of the time of a run."""
        for common in _in_common(kind):
            self._shares.setdefault(common, []).append(seconds / kind.amount)
        self._shares.setdefault(None, []).append(seconds)

    def __bool__(self) -> bool:
        return bool(self._shares)

    def has(self, kind: RunKind) -> bool:
        """Say if there is a run of this kind."""
        return _in_common(kind)[0] in self._shares

    def expected(self, kind: RunKind) -> float:
        """Return the seconds of a run, by the runs that are most like it."""
        for common in _in_common(kind):
            if common in self._shares:
                return fmean(self._shares[common]) * kind.amount
        return fmean(self._shares[None])


def _in_common(kind: RunKind) -> tuple[Hashable, ...]:
    """Return what runs may have in common with this one, the most telling first."""
    return (kind.contender, kind.protocol_id), kind.protocol_id, kind.unit


class Outlook:
    """Counts the runs of a grid by how they ended, and estimates the time that is left.

    The time of a run that waits is that of finished runs, or else of runs in progress: of its contender and protocol if
    there are any, else of its protocol, else of its unit of budget, in proportion to the budgets.
    """

    def __init__(
        self,
        specs: Iterable[RunSpec],
        *,
        stored: int = 0,
        workers: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`specs` are the runs to run, beside so many `stored` ones, `workers` at a time. `clock` tells seconds."""
        self._waiting = {spec.run_id: RunKind.of(spec) for spec in specs}
        self._workers, self._clock = workers, clock
        self._running: dict[str, RunClock] = {}
        self._measured = RunTimes()
        self.total = stored + len(self._waiting)
        """The number of all runs."""
        self.done = stored
        """The number of runs that are over, or were stored before."""
        self.ended: dict[Outcome, int] = {}
        """The number of runs that ended now, by outcome."""

    def observe(self, event: Event) -> None:
        """Take note of an event of any run."""
        match event:
            case Started(record):
                kind = self._waiting.pop(record.run_id, None) or RunKind.of(record.spec)
                self._running[record.run_id] = RunClock(kind, self._clock())
            case Skipped(record):
                self._waiting.pop(record.run_id, None)
                self._running.pop(record.run_id, None)
                self.done += 1
            case Resumed(run_id) if run_id in self._running:
                self._running[run_id].resumed = True
            case Stepped(run_id) if run_id in self._running:
                self._running[run_id].move(event.fraction)
            case Testing(run_id) if run_id in self._running:
                self._running[run_id].move(1.0)
            case Finished(record):
                self._end(record.run_id, record.outcome)

    def _end(self, run_id: str, outcome: Outcome) -> None:
        self._waiting.pop(run_id, None)
        clock = self._running.pop(run_id, None)
        self.done += 1
        self.ended[outcome] = self.ended.get(outcome, 0) + 1
        if clock is not None and outcome is Outcome.FINISHED:
            self._measured.add(clock.kind, (self._clock() - clock.began) / (1 - clock.first))

    @property
    def share(self) -> float:
        """The share of the runs that are over, with the shares of those in progress."""
        going = sum(clock.share for clock in self._running.values())
        return min(1.0, (self.done + going) / self.total) if self.total else 1.0

    @property
    def running(self) -> int:
        """The number of runs in progress."""
        return len(self._running)

    def left_of(self, run_id: str) -> float | None:
        """Return the seconds that a run in progress will train; None if that cannot be said yet."""
        clock = self._running.get(run_id)
        return None if clock is None else clock.left(self._clock())

    def left(self) -> float | None:
        """Return the seconds that the grid will take; None if that cannot be said yet."""
        now = self._clock()
        known = self._measured or self._foreseen(now)
        if not known:
            return None if self._waiting or self._running else 0.0
        going = [_left(clock, known, now) for clock in self._running.values()]
        coming = sum(known.expected(kind) * number for kind, number in Counter(self._waiting.values()).items())
        return max([0.0, *going, (sum(going) + coming) / self._workers])

    def _foreseen(self, now: float) -> RunTimes:
        """Return the times that the runs in progress will take."""
        times = RunTimes()
        for clock in self._running.values():
            whole = clock.whole(now)
            if whole is not None:
                times.add(clock.kind, whole)
        return times


def _left(clock: RunClock, known: RunTimes, now: float) -> float:
    """Return the seconds of a run in progress: by runs of its kind, or else by its own speed."""
    own = clock.left(now)
    if own is not None and not known.has(clock.kind):
        return own
    return max(0.0, known.expected(clock.kind) * (1 - clock.first) - (now - clock.began))


UNITS = (("s", 1, 0, 100), ("min", 60, 1, 600), ("min", 60, 0, 6000), ("h", 3600, 1, 48 * 3600))
"""The units of times below two days: name, seconds, decimals, and the seconds from which on the next one is used."""


def in_words(seconds: float) -> str:
    """Write a time with its largest unit, as a person would say it.

    >>> in_words(0.4), in_words(75), in_words(200), in_words(9000), in_words(200_000)
    ('1 s', '75 s', '3.3 min', '2.5 h', '2.3 d')
    """
    for unit, size, digits, most in UNITS:
        if seconds < most:
            return f"{max(1, seconds / size):.{digits}f} {unit}"
    return f"{seconds / 86400:.1f} d"
