"""The report of the stored runs that a query selects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from collapsebench.reporting.boards import boards
from collapsebench.reporting.queries import SuiteQuery
from collapsebench.reporting.report.content import content
from collapsebench.reporting.report.page import render
from collapsebench.reporting.suite_boards import suite_boards

if TYPE_CHECKING:
    from collapsebench.reporting.queries import Query
    from collapsebench.reporting.samples import Samples
    from collapsebench.store import Store


class Report(NamedTuple):
    """A report, and how much it holds."""

    html: str
    boards: int
    runs: int

    @property
    def what(self) -> str:
        """The content in words, as in `2 boards of 45 runs, 130 kB`."""
        plural = "" if self.boards == 1 else "s"
        return f"{self.boards} board{plural} of {self.runs} runs, {len(self.html.encode()) / 1000:.0f} kB"


def make_report(store: Store, query: Query, plugins: Sequence[Path] = (), samples: Sequence[Samples] = ()) -> Report:
    """Make the report of all selected protocols, or of a suite beside the numbers of its paper.

    `samples` of trained models are shown below the boards of their runs.
    Raises StoreError if no run is selected, and UsageError for a suite, scale or variant that does not exist.
    """
    if isinstance(query, SuiteQuery):
        found = suite_boards(store, query)
        made = content(store, found.boards, found, samples)
    else:
        made = content(store, boards(store, query, plugins=plugins), samples=samples)
    runs = sum(len(row["runs"]) for board in made["boards"] for row in board["rows"])
    return Report(render(made), len(made["boards"]), runs)
