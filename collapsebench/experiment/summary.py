"""What ended badly in a grid, summed up at its end with the command that helps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from collapsebench.experiment.endings import timed_out
from collapsebench.printable import printable
from collapsebench.record import Outcome

if TYPE_CHECKING:
    from collapsebench.record import RunRecord

LONGEST = 100
"""The number of characters that are shown of a message."""
MOST = 3
"""So many messages are shown, with so many runs each."""
AGAIN = "again: the same command"
GOES_ON = f"{AGAIN}, which goes on from the last checkpoint"


class BadEnd(Enum):
    """A way in which a run ends badly: what is said of it, and how it is run again if it can be."""

    FAILED = "failed", AGAIN
    LATE = "took too long", GOES_ON
    DIVERGED = "diverged", ""
    INTERRUPTED = "interrupted", GOES_ON

    @property
    def words(self) -> str:
        """The words behind the number of runs."""
        return self.value[0]

    @property
    def again(self) -> str:
        """How the runs are run again; empty if that would change nothing."""
        return self.value[1]


BY_OUTCOME = {
    Outcome.FAILED: BadEnd.FAILED,
    Outcome.DIVERGED: BadEnd.DIVERGED,
    Outcome.INTERRUPTED: BadEnd.INTERRUPTED,
}


class EndedRun(NamedTuple):
    """A run that is over, under the name that the user knows."""

    label: str
    record: RunRecord

    def bad_end(self, timeout: float | None) -> BadEnd | None:
        """Return how it ended badly; None if it did not."""
        if timeout is not None and self.record.message == timed_out(timeout):
            return BadEnd.LATE
        return BY_OUTCOME.get(self.record.outcome)


class SummaryLine(NamedTuple):
    """A line of the summary."""

    text: str
    end: BadEnd
    """What it is about."""


def summary(runs: Iterable[EndedRun], total: int, *, timeout: float | None, store_option: str) -> Iterator[SummaryLine]:
    """Yield lines about the runs that ended badly, of so many in all.

    `timeout` is that of the grid, in seconds. `store_option` is what a command needs behind it to find the store.
    """
    bad: dict[BadEnd, list[EndedRun]] = {}
    for run in runs:
        end = run.bad_end(timeout)
        if end is not None:
            bad.setdefault(end, []).append(run)
    for end, those in bad.items():
        yield SummaryLine(f"{len(those)} of {total} runs {end.words}: {_listed(those, end)}", end)
        look = f"look: collapsebench runs show {those[0].record.run_id}{store_option}"
        helps = [end.again] if end is BadEnd.INTERRUPTED else [look, *filter(None, [end.again])]
        yield SummaryLine(f"  {' · '.join(helps)}", end)


def _listed(runs: Sequence[EndedRun], end: BadEnd) -> str:
    """Name the runs, those of one message together. Why runs are interrupted is known to who did it."""
    by_message: dict[str, list[str]] = {}
    for run in runs:
        message = "" if end is BadEnd.INTERRUPTED else _first_line(run.record.message)
        by_message.setdefault(message, []).append(run.label)
    groups = [f"{_some(labels)}{f' ({message})' if message else ''}" for message, labels in by_message.items()]
    return "; ".join(_some_of(groups))


def _some(labels: Sequence[str]) -> str:
    return ", ".join(_some_of(labels))


def _some_of(parts: Sequence[str]) -> list[str]:
    rest = len(parts) - MOST
    return [*parts[:MOST], f"and {rest} more"] if rest > 0 else list(parts)


def _first_line(message: str) -> str:
    line = printable(next(iter(message.splitlines()), ""))
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
