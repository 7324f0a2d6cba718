"""A page of the list of stored runs, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Unpack

from collapsebench.printable import printable
from collapsebench.record import Outcome

if TYPE_CHECKING:
    from collapsebench.observation import Unreadable
    from collapsebench.reporting.job_states import RunState, StateReader
    from collapsebench.store import Filters, RunSummary, Store

COLUMNS = ("run_id", "outcome", "dataset", "track", "budget", "contender", "seed", "started_at", "message")
"""The columns of the table. That of messages is left out if there are none."""

MESSAGE = 60
"""The table shows this many characters of a message."""

GOING_ON = ("run_id", "run", "state", "node", "step", "share", "valid −ELBO")
"""The columns of the table of runs that are not over."""
DIGITS = 8
"""So many digits of an id are shown there; commands take them for the whole."""
NAME, NODE = 12, 10
"""Where there is no room, a name and a machine get so many cells of a terminal."""


class RunList(NamedTuple):
    """Some of the runs that are meant, the newest first."""

    runs: list[RunSummary]
    offset: int
    """The number of newer runs that are left out."""
    total: int
    """The number of all runs that match."""
    left_out: tuple[Unreadable, ...] = ()
    """The runs of this page that cannot be read."""
    states: Mapping[str, RunState] = MappingProxyType({})
    """What becomes of the runs that are not over, by run id."""

    def as_json(self) -> list[dict[str, Any]]:
        """Give the runs as JSON has them. One that is not over has its progress, too."""
        return [_as_json(run, self.states.get(run.run_id)) for run in self.runs]

    def as_text(self, width: int | None = None) -> str:
        """Write a table with a line for each run, below one of those that are not over.

        The latter is no wider than `width`, if it can be.
        """
        going = in_order((run for run in self.runs if run.run_id in self.states), self.states)
        others = [run for run in self.runs if run.run_id not in self.states]
        tables = (states_table(going, self.states, width) if going else "", _table(others) if others else "")
        return "\n\n".join(filter(None, tables))

    @property
    def position(self) -> str:
        """The position of these runs among all, in words."""
        if not self.runs and not self.left_out:
            return f"no runs ({self.total} before this page)" if self.total else "no runs"
        end = self.offset + len(self.runs) + len(self.left_out)
        rest = f"; more with --offset {end}" if end < self.total else ""
        return f"runs {self.offset + 1} to {end} of {self.total}{rest}"


def read_run_list(
    store: Store, *, limit: int, offset: int = 0, states: StateReader | None = None, **filters: Unpack[Filters]
) -> RunList:
    """Read at most `limit` of the runs that are meant, without the `offset` newest.

    `states` says what becomes of those that are not over.
    """
    total = store.count(**filters)
    runs = store.summaries(limit=limit, offset=offset, **filters)
    return RunList(runs, offset, total, store.unreadable, _states(store, states, runs))


def _states(store: Store, reader: StateReader | None, runs: Iterable[RunSummary]) -> Mapping[str, RunState]:
    started = [run.run_id for run in runs if run.outcome is Outcome.STARTED]
    return reader.read(store, started) if reader is not None and started else {}


def in_order(runs: Iterable[RunSummary], states: Mapping[str, RunState]) -> list[RunSummary]:
    """Return runs that are not over, the running ones first."""
    from collapsebench.reporting.job_states import State

    return sorted(runs, key=lambda run: tuple(State).index(states[run.run_id].state))


def _as_json(run: RunSummary, state: RunState | None) -> dict[str, Any]:
    content = {key: str(value) if isinstance(value, datetime) else value for key, value in run._asdict().items()}
    return content if state is None else content | {"progress": state.as_json()}


def _table(runs: Sequence[RunSummary]) -> str:
    from tabulate import tabulate

    shown = COLUMNS if any(run.message for run in runs) else COLUMNS[:-1]
    return tabulate([_row(run, shown) for run in runs], shown, disable_numparse=True)


def _row(run: RunSummary, columns: Sequence[str]) -> list[str]:
    shown = run._asdict() | {
        "started_at": f"{run.started_at:%Y-%m-%d %H:%M:%S}Z",
        "message": " ".join(run.message.split())[:MESSAGE],
    }
    return [printable(str(shown[column])) for column in columns]


def states_table(runs: Sequence[RunSummary], states: Mapping[str, RunState], width: int | None) -> str:
    """Write a table of runs with their states; those that are over have their outcome.

    Names and machines are cut in their middle where it is wider than `width`.
    """
    from tabulate import tabulate

    rows = [state_row(run, name, states) for run, name in zip(runs, names(runs), strict=True)]
    if width is not None:
        rows = _cut(rows, width)
    alignment = ("left",) * 4 + ("right",) * 3
    return tabulate([GOING_ON, *rows], tablefmt="plain", disable_numparse=True, colalign=alignment)


def state_row(run: RunSummary, name: str, states: Mapping[str, RunState]) -> list[str]:
    """Return the cells of one run, under the columns of GOING_ON."""
    state = states.get(run.run_id)
    cells = (run.outcome.value, "", "", "", "") if state is None else state.cells
    return [printable(text) for text in (run.run_id[:DIGITS], name, *cells)]


def names(runs: Sequence[RunSummary]) -> list[str]:
    """Return the contenders and seeds of runs, behind what is not the same in all protocols."""
    protocols = [(run.dataset, run.track, run.budget) for run in runs]
    differing = [len(set(part)) > 1 for part in zip(*protocols, strict=True)]
    shown = [[part for part, differs in zip(parts, differing, strict=True) if differs] for parts in protocols]
    return [" · ".join((*parts, f"{run.contender} seed {run.seed}")) for parts, run in zip(shown, runs, strict=True)]


def _cut(rows: Sequence[Sequence[str]], width: int) -> list[list[str]]:
    """Cut machines to a few cells, and names to what is left of the width."""
    from rich.cells import cell_len

    from collapsebench.experiment.live import cut

    short = [[*row[:3], cut(row[3], NODE), *row[4:]] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(GOING_ON, *short, strict=True)]
    room = max(NAME, width - sum(widths) + widths[1] - 2 * (len(GOING_ON) - 1))
    return [[row[0], cut(row[1], room), *row[2:]] for row in short]
