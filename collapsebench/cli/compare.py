"""`collapsebench compare`: two contenders side by side."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from collapsebench.cli import completing, options

if TYPE_CHECKING:
    from pathlib import Path

    from collapsebench.reporting.queries import ProtocolQuery


@dataclass(frozen=True)
class CompareOptions:
    """The protocols on which contenders are compared."""

    dataset: str | None
    track: str | None
    protocol: str | None
    plugins: tuple[Path, ...]

    @property
    def query(self) -> ProtocolQuery:
        """The protocols that are meant."""
        from collapsebench.reporting.queries import ProtocolQuery

        return ProtocolQuery(self.dataset, self.track, self.protocol)


@click.command("compare")
@click.argument("first", metavar="A", shell_complete=completing.contenders)
@click.argument("second", metavar="B", shell_complete=completing.contenders)
@options.gathered(CompareOptions, options.dataset, options.track, options.protocol, options.plugin)
@options.as_json
@options.stored
def command(given: CompareOptions, first: str, second: str, store: str, as_json: bool) -> None:
    """Compare contender A with contender B on every protocol that has runs of both.

    For each column: both means, the paired difference A − B with its 95 % interval, what it decides, or about how many
    seeds would decide it. Then what each of them costs, and in which parameters their methods differ.
    """
    from collapsebench.reporting.duels import read_duels
    from collapsebench.store import Store

    with Store.reading(store) as opened:
        found = read_duels(opened, given.query, first, second, given.plugins)
    if as_json:
        click.echo(json.dumps(found.as_json(), indent=2))
    else:
        click.echo(found.as_text(options.terminal_width()), nl=False)
    options.tell_unreadable(opened.unreadable)
