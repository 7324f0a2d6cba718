"""The runs of a store as those see them who look on until nothing runs any more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from collapsebench.record import Outcome
from collapsebench.reporting.run_list import in_order, names, state_row, states_table

if TYPE_CHECKING:
    from collapsebench.reporting.job_states import RunState, StateReader
    from collapsebench.store import Filters, RunSummary, Store

PARTS = 10
"""Without a terminal, a line tells of a run again when another one of so many parts of its budget is spent."""


class WatchedRuns(NamedTuple):
    """The runs that are meant, as they are now: those that run first, those that are over last."""

    runs: list[RunSummary]
    states: dict[str, RunState]
    """What becomes of those that are not over, by run id."""
    counts: Counter[str]
    """How many runs there are of each state and outcome."""

    @property
    def goes_on(self) -> bool:
        """True if a run waits or runs."""
        return any(state.state.goes_on for state in self.states.values())

    @property
    def line(self) -> str:
        """The counts in one line."""
        return ", ".join(f"{number} {words}" for words, number in self.counts.items()) or "no runs"

    def as_text(self, width: int, rows: int) -> str:
        """Write a table that is no wider than `width`, if it can be, with so many runs."""
        return states_table(self.runs[:rows], self.states, width) if self.runs else ""

    def lines(self) -> dict[str, tuple[object, str]]:
        """Return what is to be told of each run in a line, and of what a change is worth another line, by run id."""
        found: dict[str, tuple[object, str]] = {}
        for run, name in zip(self.runs, names(self.runs), strict=True):
            state, text = self.states.get(run.run_id), "  ".join(filter(None, state_row(run, name, self.states)))
            part = 0 if state is None or state.pulse is None else int(PARTS * state.pulse.share)
            found[run.run_id] = (run.outcome if state is None else state.words, part), text
        return found


class RunWatch:
    """Looks at the runs of a store again and again."""

    def __init__(self, states: StateReader, filters: Filters, limit: int) -> None:
        """`filters` say which runs are meant. Of those that are over, at most `limit` are seen."""
        self._states, self._filters, self._limit = states, filters, limit
        self._told: dict[str, object] = {}

    def read(self, store: Store) -> WatchedRuns:
        """Look at the store."""
        chosen = self._filters.get("outcome")
        outcomes = [each for each in Outcome if chosen in {None, each}]
        going = store.summaries(**self._filters | {"outcome": Outcome.STARTED}) if Outcome.STARTED in outcomes else []
        over = [
            run for run in store.summaries(**self._filters, limit=self._limit) if run.outcome is not Outcome.STARTED
        ]
        states = self._states.read(store, (run.run_id for run in going))
        ordered = in_order(going, states)
        counts = Counter(states[run.run_id].words for run in ordered)
        for outcome in outcomes:
            if outcome is not Outcome.STARTED:
                counts[outcome.value] = store.count(**self._filters | {"outcome": outcome})
        return WatchedRuns([*ordered, *over], states, +counts)

    def news(self, runs: WatchedRuns) -> Iterator[str]:
        """Yield a line for each run of which there is something new since the last call."""
        for run_id, (what, line) in runs.lines().items():
            if self._told.get(run_id) != what:
                self._told[run_id] = what
                yield line
