"""`--watch`: a board that is drawn again as runs are stored, until Ctrl-C."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import click

from collapsebench.cli.files import destination
from collapsebench.cli.grids import Duration
from collapsebench.errors import StoreError, UsageError

if TYPE_CHECKING:
    from collapsebench.reporting.queries import ProtocolQuery
    from collapsebench.store import Store

USUAL = 5.0
"""The seconds between two looks at the store."""
CLEAR = "\x1b[H\x1b[2J"
"""Moves to the first line of a terminal, and clears it."""

watch_option = click.option(
    "--watch",
    type=Duration(),
    is_flag=False,
    flag_value=f"{USUAL:g}s",
    default=None,
    metavar="[TIME]",
    help=f"Draw the board again as runs are stored, and say what is running, until Ctrl-C; alone every {USUAL:g} s.",
)


class Look(NamedTuple):
    """What is seen in the store."""

    board: str
    going: str
    """A line about the runs that are going on."""


def watch(
    name: str,
    render: Callable[[Store], Iterable[str]],
    query: ProtocolQuery,
    *,
    seconds: float,
    output: Path | None,
) -> NoReturn:
    """Draw what `render` makes of the store of this name whenever it has changed, with the runs that are going on.

    `query` are these runs. An `output` file is written anew each time. It ends by KeyboardInterrupt. That there is no
    board yet is no reason to end; raises UsageError for what the runs that go on will not make right.
    """
    before = Look("", "")
    while True:
        look = _looked(name, render, query)
        if look != before:
            _show(look, before, output)
        before = look
        time.sleep(seconds)


def _show(look: Look, before: Look, output: Path | None) -> None:
    """Draw a terminal anew; elsewhere, write what has changed."""
    if output is None and sys.stdout.isatty():
        click.echo(f"{CLEAR}{look.board}{look.going}")
        return
    if look.board != before.board:
        with destination(output) as stream:
            stream.write(look.board)
    click.echo(look.going)


def _looked(name: str, render: Callable[[Store], Iterable[str]], query: ProtocolQuery) -> Look:
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
