"""The report of the stored runs that a query selects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from collapsebench.reporting.boards import BoardView, boards
from collapsebench.reporting.queries import EVERY_PROTOCOL, SuiteQuery
from collapsebench.reporting.report.content import content
from collapsebench.reporting.report.page import render
from collapsebench.reporting.report.sampling import reconstructions
from collapsebench.reporting.running import running
from collapsebench.reporting.suite_boards import suite_boards

if TYPE_CHECKING:
    from collapsebench.reporting.queries import Query
    from collapsebench.reporting.report.sampling import SampleRequest
    from collapsebench.reporting.samples import Samples
    from collapsebench.reporting.suite_boards import SuiteBoards
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


def make_report(
    store: Store,
    name: str,
    query: Query,
    plugins: Sequence[Path] = (),
    *,
    against: str | None = None,
    sampled: SampleRequest | None = None,
) -> Report:
    """Make the report of all selected protocols, or of a suite beside the numbers of its paper.

    `name` is the file or the URL of the store: beside it, runs that are going on say how far they are. `against` is the
    contender that is subtracted from the others on boards that are no suite's; the baseline if None. `sampled` says
    which samples of trained models stand below the boards; none if it is None. Raises StoreError if no run is selected,
    UsageError for a suite, scale, variant or contender that does not exist, and what `reconstructions` raises.
    """
    suite: SuiteBoards | None = None
    if isinstance(query, SuiteQuery):
        suite = suite_boards(store, query)
        found = iter(suite.boards)
    else:
        found = boards(store, query, BoardView(against=against), plugins)
    samples: tuple[Samples, ...] = ()
    if sampled is not None:
        shown = list(found)
        found, samples = iter(shown), tuple(reconstructions(sampled, shown))
    return _report(content(store, found, suite, samples, running(store, name, EVERY_PROTOCOL)))


def _report(content: Mapping[str, Any]) -> Report:
    runs = sum(len(row["runs"]) for board in content["boards"] for row in board["rows"])
    return Report(render(content), len(content["boards"]), runs)
