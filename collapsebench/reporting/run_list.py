"""A page of the list of stored runs, as text and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Unpack

from collapsebench.printable import printable

if TYPE_CHECKING:
    from collapsebench.observation import Unreadable
    from collapsebench.store import Filters, RunSummary, Store

COLUMNS = ("run_id", "outcome", "dataset", "track", "budget", "contender", "seed", "started_at", "message")
"""The columns of the table. That of messages is left out if there are none."""

MESSAGE = 60
"""The table shows this many characters of a message."""


class RunList(NamedTuple):
    """Some of the runs that are meant, the newest first."""

    runs: list[RunSummary]
    offset: int
    """The number of newer runs that are left out."""
    total: int
    """The number of all runs that match."""
    left_out: tuple[Unreadable, ...] = ()
    """The runs of this page that cannot be read."""

    def as_json(self) -> list[dict[str, Any]]:
        """Give the runs as JSON has them."""
        return [{key: _as_json(value) for key, value in run._asdict().items()} for run in self.runs]

    def as_text(self) -> str:
        """Write a table with a line for each run."""
        from tabulate import tabulate

        shown = COLUMNS if any(run.message for run in self.runs) else COLUMNS[:-1]
        return tabulate([_row(run, shown) for run in self.runs], shown, disable_numparse=True)

    @property
    def position(self) -> str:
        """The position of these runs among all, in words."""
        if not self.runs and not self.left_out:
            return f"no runs ({self.total} before this page)" if self.total else "no runs"
        end = self.offset + len(self.runs) + len(self.left_out)
        rest = f"; more with --offset {end}" if end < self.total else ""
        return f"runs {self.offset + 1} to {end} of {self.total}{rest}"


def read_run_list(store: Store, *, limit: int, offset: int = 0, **filters: Unpack[Filters]) -> RunList:
    """Read at most `limit` of the runs that are meant, without the `offset` newest."""
    total = store.count(**filters)
    runs = store.summaries(limit=limit, offset=offset, **filters)
    return RunList(runs, offset, total, store.unreadable)


def _as_json(value: Any) -> Any:
    return str(value) if isinstance(value, datetime) else value


def _row(run: RunSummary, columns: Sequence[str]) -> list[str]:
    shown = run._asdict() | {
        "started_at": f"{run.started_at:%Y-%m-%d %H:%M:%S}Z",
        "message": " ".join(run.message.split())[:MESSAGE],
    }
    return [printable(str(shown[column])) for column in columns]
