"""The runs that are still going on, for those who look at boards meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from collapsebench.experiment.outlook import in_words
from collapsebench.experiment.pulses import SILENT, read_pulse
from collapsebench.printable import printable
from collapsebench.record import Outcome
from collapsebench.store.connection import companion, store_url

if TYPE_CHECKING:
    from collections.abc import Iterable

    from collapsebench.reporting.queries import ProtocolQuery
    from collapsebench.store import Store


class RunningRun(NamedTuple):
    """A run that is stored as started."""

    run_id: str
    protocol_id: str
    contender: str
    seed: int
    share: float | None
    """The share of its budget that is spent; None if that is not known, as where another machine computes it."""
    silent: float | None
    """The seconds since it said so."""

    @property
    def progress(self) -> str:
        """How far it is, as in `47%`, and when it said so if that is long ago; empty if it is not known."""
        return "" if self.share is None else share_in_words(self.share, self.silent or 0.0)

    def __str__(self) -> str:
        return printable(f"{self.contender} seed {self.seed}{f', {self.progress}' if self.progress else ''}")


def running(store: Store, name: str, query: ProtocolQuery) -> list[RunningRun]:
    """Return the runs of a query that are going on, those that began first in front.

    `name` is the file or the URL of the store. Its folder of checkpoints says how far the runs are.
    """
    folder = companion(store_url(name), "checkpoints")
    found = []
    for run in reversed(store.summaries(outcome=Outcome.STARTED, **query._asdict())):
        pulse = read_pulse(folder, run.run_id)
        share, silent = (None, None) if pulse is None else (pulse.share, pulse.silent)
        found.append(RunningRun(run.run_id, run.protocol_id, run.contender, run.seed, share, silent))
    return found


def share_in_words(share: float, silent: float) -> str:
    """Write a share, and how many seconds ago it was told if that is long.

    >>> share_in_words(0.471, 3.0), share_in_words(0.471, 600.0)
    ('47%', '47% (10 min ago)')
    """
    return f"{share:.0%}{f' ({in_words(silent)} ago)' if silent > SILENT else ''}"


def running_line(runs: Iterable[RunningRun]) -> str:
    """Write the runs in one line; an empty text if there are none."""
    listed = "; ".join(map(str, runs))
    return f"running: {listed}" if listed else ""
