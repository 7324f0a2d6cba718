"""`collapsebench diff`: in what two runs or two protocols differ."""

from __future__ import annotations

import json

import click

from collapsebench.cli import completing, options


@click.command("diff")
@click.argument("first", metavar="ID", shell_complete=completing.runs)
@click.argument("second", metavar="ID", shell_complete=completing.runs)
@options.as_json
@options.stored
def command(first: str, second: str, store: str, as_json: bool) -> None:
    """Say in what two protocols differ, or two runs: why these two boards are two.

    Each ID is that of a protocol, as in the head of a board, or that of a run, or its first digits. Every field of the
    spec that differs has a line with both values; of runs, those of their environments and of their code, too.
    """
    from collapsebench.reporting.differences import read_differences
    from collapsebench.store import Store

    with Store.reading(store) as opened:
        found = read_differences(opened, first, second)
    click.echo(json.dumps(found.as_json(), indent=2) if as_json else found.as_text())
