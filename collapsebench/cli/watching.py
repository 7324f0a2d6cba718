"""`--watch`: a board, or a list of runs, that is drawn again as something changes, until Ctrl-C."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from collapsebench.cli.files import destination
from collapsebench.cli.grids import Duration
from collapsebench.errors import StoreError, UsageError

if TYPE_CHECKING:
    from collapsebench.reporting.queries import ProtocolQuery
    from collapsebench.reporting.run_watch import RunWatch, WatchedRuns
    from collapsebench.store import Store

USUAL = 5.0
"""The seconds between two looks at the store."""
CLEAR = "\x1b[H\x1b[2J"
"""Moves to the first line of a terminal, and clears it."""

FRAME = 4
"""The lines of a terminal that are no runs: that of a head, an empty one, that of counts, and that of the cursor."""

_watch = partial(
    click.option, "--watch", type=Duration(), is_flag=False, flag_value=f"{USUAL:g}s", default=None, metavar="[TIME]"
)
board_option = _watch(
    help=f"Draw the board again as runs are stored, and say what is running, until Ctrl-C; alone every {USUAL:g} s."
)
runs_option = _watch(
    help=f"Draw the list again as something changes, until nothing runs or Ctrl-C; alone every {USUAL:g} s."
)


class Look(NamedTuple):
    """What is seen in the store."""

    shown: str
    """What a terminal is cleared for: a board, or a table of runs. Elsewhere it is written when it has changed."""
    going: str
    """A line about the runs that are going on."""
    over: bool = False
    """True if this is the last look."""


def watch_board(
    name: str,
    render: Callable[[Store], Iterable[str]],
    query: ProtocolQuery,
    *,
    seconds: float,
    output: Path | None,
) -> None:
    """Draw what `render` makes of the store of this name whenever it has changed, with the runs that are going on.

    `query` are these runs. An `output` file is written anew each time. It ends by KeyboardInterrupt. That there is no
    board yet is no reason to end; raises UsageError for what the runs that go on will not make right.
    """
    _redraw(partial(_board, name, render, query), seconds, output)


def watch_runs(name: str, watched: RunWatch, *, seconds: float) -> None:
    """Draw a table of runs whenever something has changed, until none of them waits or runs.

    Where there is no terminal, a line tells what is new of a run.
    """
    _redraw(partial(_terminal_of_runs if sys.stdout.isatty() else _lines_of_runs, name, watched), seconds)


def _redraw(look: Callable[[], Look], seconds: float, output: Path | None = None) -> None:
    before = Look("", "")
    while True:
        now = look()
        if now != before:
            _show(now, before, output)
        if now.over:
            return
        before = now
        time.sleep(seconds)


def _show(look: Look, before: Look, output: Path | None) -> None:
    """Draw a terminal anew; elsewhere, write what has changed."""
    if output is None and sys.stdout.isatty():
        click.echo(f"{CLEAR}{look.shown}{look.going}")
        return
    if look.shown != before.shown:
        with destination(output) as stream:
            stream.write(look.shown)
    click.echo(look.going)


def _board(name: str, render: Callable[[Store], Iterable[str]], query: ProtocolQuery) -> Look:
    from collapsebench.reporting.running import running, running_line
    from collapsebench.store import Store

    with Store.reading(name) as store:
        under_way = running(store, name, query)
        going = running_line(under_way) or "nothing is running"
        try:
            return Look("".join(render(store)), going)
        except (StoreError, UsageError) as error:
            if isinstance(error, UsageError) and not under_way:
                raise
            return Look(f"not yet: {error}\n", going)


def _terminal_of_runs(name: str, watched: RunWatch) -> Look:
    runs, (width, height) = _read(name, watched), shutil.get_terminal_size()
    return Look(f"{runs.as_text(width, max(1, height - FRAME))}\n\n", runs.line, over=not runs.goes_on)


def _lines_of_runs(name: str, watched: RunWatch) -> Look:
    runs = _read(name, watched)
    return Look("".join(f"{line}\n" for line in watched.news(runs)), runs.line, over=not runs.goes_on)


def _read(name: str, watched: RunWatch) -> WatchedRuns:
    from collapsebench.store import Store

    with Store.reading(name) as store:
        return watched.read(store)
