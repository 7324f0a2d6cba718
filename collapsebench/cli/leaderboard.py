"""`collapsebench leaderboard`: one table a protocol, from the stored runs."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Unpack

import click

from collapsebench import catalog
from collapsebench.cli import options
from collapsebench.cli.files import destination
from collapsebench.errors import StoreError, UsageError
from collapsebench.leaderboard import (
    DIALECTS,
    ENTRIES,
    FORMATS,
    Cut,
    best_possible,
    compare_with,
    in_dialect,
    order,
    pieces,
    score,
    select,
)
from collapsebench.memory import uncollected
from collapsebench.syntax import BASELINE, parse_composition, print_composition

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from collapsebench.leaderboard import Board
    from collapsebench.metrics.dialects import Dialect
    from collapsebench.store import Filters, Store


@click.command("leaderboard")
@click.option("--dataset", "-d", default=None, help="Only this dataset.")
@click.option("--track", default=None, help="Only this track; a bare name includes its overrides.")
@click.option("--protocol", default=None, metavar="ID", help="Only this protocol: its id or the first digits.")
@click.option("--format", "format_", type=click.Choice(list(FORMATS)), default="table", show_default=True)
@click.option(
    "--sort",
    default=None,
    metavar="COLUMN",
    help="Rows by this column, the best (or lowest) first, below the contender that they are compared with.",
)
@click.option(
    "--against",
    default=None,
    metavar="CONTENDER",
    help=f"Paired differences to this contender, as in --method of `run`.  [default: {BASELINE}]",
)
@click.option(
    "--at",
    default=None,
    metavar="COUNTER=AMOUNT",
    help="Validation numbers where the runs had spent so much, as in flops=1e13 or seconds=60.",
)
@click.option(
    "--dialect",
    type=click.Choice(list(DIALECTS)),
    help="KL, MI and AU as this paper or program would have scored them.",
)
@click.option("--columns", default=None, metavar="A,B,…", help="Only these columns, in this order.  [default: all]")
@click.option("--suite", default=None, metavar="NAME", help="A suite beside the published numbers of its paper.")
@options.scale
@options.variant
@options.plugin
@options.output
@options.store
def command(output: Path | None, store: str, **given: Any) -> None:
    """Render one leaderboard for each protocol; runs of different protocols never share one.

    Results are means over seeds with 95 % intervals, and paired differences to the baseline 'vae' or, with --against,
    to another contender: with `--against sa-vae` the row of skip+sa-vae says what skip adds. Formats csv and json hold
    every seed's value in full precision. Where the data were generated, the best possible numbers stand below the
    contenders, with each one's regret and its share of the true information.

    With --dialect: the same runs as Dieng et al., their released program, He et al. or Li et al. would have scored
    them, to be read beside their tables.

    With --suite: what is stored of a suite (with --scale, --variant, --plugin) beside what its paper printed, the
    differences, and which of the numbers are comparable at all; by default the columns that the paper prints.
    """
    columns = [] if given["columns"] is None else [key.strip() for key in given["columns"].split(",")]
    width = shutil.get_terminal_size().columns if output is None and sys.stdout.isatty() else None
    text = (_suite if given["suite"] is not None else _protocols)(store, columns, width, given)
    with destination(output) as stream:
        stream.writelines(text)


def _suite(url: str, columns: list[str], width: int | None, given: dict[str, Any]) -> Iterator[str]:
    from collapsebench.cli.comparison import Asked, suite_pieces
    from collapsebench.store import Store

    _alone("suite", ("dataset", "track", "protocol", "sort", "against", "at", "dialect"), given)
    asked = Asked(given["suite"], given["scale"], given["variants"], given["plugins"])
    with Store.open(url, create=False) as store:
        return suite_pieces(asked, store, columns, given["format_"], width=width)


def _protocols(url: str, columns: list[str], width: int | None, given: dict[str, Any]) -> Iterator[str]:
    view = _view(given)
    boards = _boards(url, view, dataset=given["dataset"], track=given["track"], protocol=given["protocol"])
    if view == View():
        components = catalog.load(given["plugins"], kinds={"dataset"})
        boards = (replace(b, reference=best_possible(b.protocol, components)) for b in boards)
    if given["against"] is not None:
        boards = compare_with(boards, _label(given["against"]))
    if given["sort"] is not None:
        boards = order(boards, given["sort"])
    if columns:
        boards = select(boards, columns)
    begun = chain([next(boards)], boards)  # what is wrong with the options shows before anything is written
    return pieces(begun, given["format_"], width=width)


def _label(contender: str) -> str:
    """As boards print it, however it is spaced."""
    return print_composition(parse_composition(contender))


def _alone(option: str, others: Iterable[str], given: dict[str, Any]) -> None:
    """Raise UsageError if an option is given together with those that mean nothing beside it."""
    found = [f"--{other}" for other in others if given[other] is not None]
    if found:
        raise UsageError(f"--{option} does not go with {', '.join(found)}")


class View(NamedTuple):
    """What a board shows in place of the metrics' columns."""

    cut: Cut | None = None
    dialect: Dialect | None = None

    @property
    def absent(self) -> str:
        """What to say if no run has it."""
        if self.dialect is None:
            return f"no finished run was evaluated both before and after {self.cut}"
        return (
            f"no finished run was scored in the dialect {self.dialect.name}: that is done at the end of a run, by the "
            "metric 'dialects' of its track"
        )


def _view(given: dict[str, Any]) -> View:
    if given["dialect"] is not None:
        _alone("dialect", ("at",), given)
        return View(dialect=DIALECTS[given["dialect"]])
    return View() if given["at"] is None else View(cut=Cut.parse(given["at"]))


def _boards(url: str, view: View, **chosen: Unpack[Filters]) -> Iterator[Board]:
    """Whole boards, one in memory at a time: a protocol is shown with all its runs if any of them is meant."""
    from collapsebench.store import Store

    with Store.open(url, create=False) as store:
        protocols = store.protocols(**chosen)
        if not protocols:
            raise _no_runs(store, chosen)
        boards = (_board(store, protocol.protocol_id, view) for protocol in protocols)
        yield from boards if view == View() else _evaluated(boards, view)


@uncollected()
def _board(store: Store, protocol: str, view: View) -> Board:
    if view.cut is not None:
        runs = store.observations(protocol=protocol, trajectories=True)
        return replace(score(view.cut.through(runs)), at=str(view.cut))
    if view.dialect is not None:
        entries = (*ENTRIES, *(column.name for column in view.dialect.columns))
        runs = store.observations(protocol=protocol, entries=entries)
        return replace(score(in_dialect(runs, view.dialect)), dialect=view.dialect)
    return score(store.observations(protocol=protocol, entries=ENTRIES))


def _evaluated(boards: Iterator[Board], view: View) -> Iterator[Board]:
    """The boards, held back until one has numbers. Raises StoreError if none has."""
    empty: list[Board] = []
    for board in boards:
        if any(column.metric for column in board.columns):
            yield from (*empty, board)
            break
        empty.append(board)
    else:
        raise StoreError(view.absent)
    yield from boards


def _no_runs(store: Store, chosen: Filters) -> StoreError:
    stored = sorted({f"{protocol.dataset} {protocol.track}" for protocol in store.protocols()})
    wanted = " ".join(f"{name} '{value}'" for name, value in chosen.items() if value is not None)
    example = chosen.get("dataset") or "synthetic-text"
    return StoreError(
        f"no runs of {wanted or 'anything'} in the store (it has: {', '.join(stored) or 'none'}); "
        f"make some: collapsebench run --method skip --dataset {example}"
    )
