"""`collapsebench leaderboard`: boards of the stored runs. What makes boards is imported when one is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from collapsebench.cli import completing, options
from collapsebench.cli.files import destination
from collapsebench.cli.watching import board_option, watch_board
from collapsebench.errors import UsageError

if TYPE_CHECKING:
    from collapsebench.metrics.dialects import Dialect
    from collapsebench.reporting.boards import BoardView
    from collapsebench.reporting.leaderboard import Cut, Shown
    from collapsebench.reporting.queries import ProtocolQuery
    from collapsebench.store import Store

FORMATS = ("table", "markdown", "latex", "html", "csv", "json")
EXPORTS = ("csv", "json")
EVERY_COLUMN = "all"
DIALECTS = ("dieng2019", "skip-vae-released", "he2019", "li2019")
"""Named here, too, as their own module takes ten times as long to import as click."""


@dataclass(frozen=True)
class LeaderboardOptions:
    """The options of the command."""

    dataset: str | None
    track: str | None
    protocol: str | None
    format_: str
    sort: str | None
    against: str | None
    at: str | None
    dialect: str | None
    columns: str | None
    contenders: tuple[str, ...]
    labels: Mapping[str, str]
    print_differences: bool
    watch: float | None
    suite: str | None
    scale: str
    variants: tuple[str, ...]
    plugins: tuple[Path, ...]
    output: Path | None
    store: str

    @property
    def width(self) -> int | None:
        """The width of the terminal, None if the text goes elsewhere."""
        return options.page_width(self.output)


@click.command("leaderboard")
@options.dataset
@options.track
@options.protocol
@click.option("--format", "format_", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option(
    "--sort",
    default=None,
    metavar="COLUMN",
    shell_complete=completing.columns,
    help="Rows by this column, the best (or lowest) first, below the contender that they are compared with.  "
    "[default: the likelihood; in csv and json by name]",
)
@options.against
@click.option(
    "--at",
    default=None,
    metavar="COUNTER=AMOUNT",
    help="Validation numbers where the runs had spent so much, as in flops=1e13 or seconds=60.",
)
@click.option(
    "--dialect",
    type=click.Choice(DIALECTS),
    help="KL, MI and AU as this paper or program would have scored them.",
)
@click.option(
    "--columns",
    default=None,
    metavar="A,B,…",
    shell_complete=completing.columns,
    help="Only these columns, in this order, or `all`.  [default: the usual five; in csv and json all]",
)
@click.option(
    "--contender",
    "contenders",
    multiple=True,
    metavar="CONTENDER",
    shell_complete=completing.contenders,
    help="Only this contender, and the one that it is compared with. May be repeated.",
)
@options.labels
@click.option("--differences", "print_differences", is_flag=True, help="In latex: a second table, of the differences.")
@board_option
@options.suite
@options.scale
@options.variant
@options.plugin
@options.output
@options.stored
@options.gathered(LeaderboardOptions)
def command(given: LeaderboardOptions) -> None:
    """Render one leaderboard for each protocol; runs of different protocols never share one.

    Results are means over seeds with 95 % intervals, and paired differences to the baseline 'vae' or, with --against,
    to another contender: with `--against sa-vae` the row of skip+sa-vae says what skip adds. What cannot be told from
    the best is bold. A line below says what is decided, and how many seeds would decide the rest.

    By default people see the bound, the likelihood, KL, MI and active units. With --columns all they see every column,
    the costs and, where the data were generated, each one's regret and its share of the true information. Formats csv
    and json hold every column, and every seed's value in full precision.

    With --dialect: the same runs as Dieng et al., their released program, He et al. or Li et al. would have scored
    them, to be read beside their tables.

    With --suite: what is stored of a suite (with --scale, --variant, --plugin) beside what its paper printed, the
    differences, and which of the numbers are comparable at all; by default the columns that the paper prints.
    """
    from collapsebench.store import Store

    view = _view(given)
    if given.watch is not None:
        watch_board(
            given.store, partial(_rendered, given, view), _query(given), seconds=given.watch, output=given.output
        )
    with Store.reading(given.store) as store:
        with destination(given.output) as stream:
            stream.writelines(_rendered(given, view, store))
        if given.format_ in EXPORTS:  # other formats name them below their tables
            options.tell_unreadable(store.unreadable)


def _rendered(given: LeaderboardOptions, view: BoardView, store: Store) -> Iterator[str]:
    return _of_protocols(store, given, view) if given.suite is None else _of_suite(store, given, given.suite)


def _query(given: LeaderboardOptions) -> ProtocolQuery:
    from collapsebench.reporting.queries import ProtocolQuery

    return ProtocolQuery(given.dataset, given.track, given.protocol)


def _of_protocols(store: Store, given: LeaderboardOptions, view: BoardView) -> Iterator[str]:
    from collapsebench.reporting.boards import boards
    from collapsebench.reporting.leaderboard import pieces

    return pieces(boards(store, _query(given), view, given.plugins), given.format_, width=given.width)


def _of_suite(store: Store, given: LeaderboardOptions, suite: str) -> Iterator[str]:
    from collapsebench.reporting.queries import SuiteQuery
    from collapsebench.reporting.suite_boards import suite_boards, suite_pieces

    query = SuiteQuery(suite, given.scale, given.variants, given.plugins)
    return suite_pieces(suite_boards(store, query, _columns(given)), given.format_, width=given.width)


def _view(given: LeaderboardOptions) -> BoardView:
    """Return the view that the options ask for. Raises UsageError if they do not go together, or do not parse."""
    from collapsebench.reporting.boards import BoardView

    if given.suite is not None:
        options.refuse_beside(
            "suite",
            dataset=given.dataset,
            track=given.track,
            protocol=given.protocol,
            sort=given.sort,
            against=given.against,
            at=given.at,
            dialect=given.dialect,
            contender=given.contenders or None,
            label=given.labels or None,
            differences=given.print_differences or None,
        )
    if given.print_differences and given.format_ != "latex":
        raise UsageError(f"--differences goes with --format latex alone: {given.format_} has the differences")
    return BoardView(
        scored=_scored(given),
        against=given.against,
        sort=given.sort,
        columns=_columns(given),
        contenders=given.contenders,
        labels=given.labels,
        print_differences=given.print_differences,
    )


def _scored(given: LeaderboardOptions) -> Cut | Dialect | None:
    from collapsebench.reporting.leaderboard import DIALECTS, Cut

    if given.dialect is not None:
        options.refuse_beside("dialect", at=given.at)
        return DIALECTS[given.dialect]
    return None if given.at is None else Cut.parse(given.at)


def _columns(given: LeaderboardOptions) -> Shown | tuple[str, ...]:
    from collapsebench.reporting.leaderboard import Shown

    if given.columns is None:
        return Shown.USUAL
    return Shown.EVERY if given.columns == EVERY_COLUMN else options.names(given.columns)
