"""`collapsebench league`: the cells of a suite as the tasks of a league."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from collapsebench.cli import completing, options
from collapsebench.cli.files import destination
from collapsebench.cli.leaderboard import FORMATS
from collapsebench.syntax import MOST_RESAMPLES, MOST_SEEDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collapsebench.reporting.queries import SuiteQuery
    from collapsebench.store import Store

DIVISIONS = ("default", "tuned", "cured", "iso-kl")
UNITS = ("seeds", "runs")
RESAMPLES = 10_000
"""Named here, too, as their own modules take long to import."""


@dataclass(frozen=True)
class LeagueOptions:
    """The options of the command."""

    name: str
    scale: str
    variants: tuple[str, ...]
    cells: tuple[str, ...]
    divisions: tuple[str, ...]
    beside: str | None
    seeds: int | None
    against: str | None
    resamples: int
    bootstrap_seed: int
    unit: str
    format_: str
    plugins: tuple[Path, ...]
    output: Path | None
    store: str

    @property
    def query(self) -> SuiteQuery:
        """The cells that are meant."""
        from collapsebench.reporting.queries import SuiteQuery

        return SuiteQuery(self.name, self.scale, self.variants, self.plugins, cells=self.cells)

    @property
    def width(self) -> int | None:
        """The width of the terminal, None if the text goes elsewhere."""
        return options.page_width(self.output)


@click.command("league")
@click.argument("name", shell_complete=completing.suites)
@options.scale
@options.variant
@options.cell
@click.option(
    "--division",
    "divisions",
    multiple=True,
    type=click.Choice(DIVISIONS),
    help="Only this one: the defaults, or what a kind of rule has chosen of the trials. May be repeated.  "
    "[default: all]",
)
@click.option(
    "--beside",
    default=None,
    metavar="NAME",
    shell_complete=completing.suites,
    help="A variant, or another league with cells of the same names: does it order the defaults alike?",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1, max=MOST_SEEDS),
    default=None,
    help="Only seeds 1…N, as long as the others still run.  [default: all]",
)
@click.option(
    "--against",
    default=None,
    metavar="MODEL",
    shell_complete=completing.models,
    help="The model that others are compared with, as in 'KL annealing'.  [default: the baseline of the league]",
)
@click.option(
    "--resamples",
    type=click.IntRange(min=1, max=MOST_RESAMPLES),
    default=RESAMPLES,
    show_default=True,
    help="So many resamples of the bootstrap.",
)
@click.option(
    "--bootstrap-seed", type=click.IntRange(min=0), default=0, show_default=True, help="The seed of the bootstrap."
)
@click.option(
    "--unit",
    type=click.Choice(UNITS),
    default="seeds",
    show_default=True,
    help="What the bootstrap draws: seeds with the runs of all contenders, or the runs of each on its own.",
)
@click.option("--format", "format_", type=click.Choice(FORMATS), default="table", show_default=True)
@options.plugin
@options.output
@options.stored
@options.gathered(LeagueOptions)
def command(given: LeagueOptions) -> None:
    """Show the cells of a suite as the tasks of a league: NAME as in league/small, or a TOML file of the same form.

    Numbers of different tasks are never mixed. What goes over tasks: how probably a contender is better than the
    baseline, its mean rank, how near its runs come to the best of each task, and its share of the area below the front
    of likelihood and information. A run that is missing or has diverged counts as the worst, and is named.

    Contenders as their cards have them, and what each rule has chosen of their trials, are divisions of their own. Then
    come compositions beside their parts, and how much the orders of contenders agree: default and tuned, by bound and
    by likelihood, by active units and by what the decoder gains from z.

    Formats csv and json have the numbers of every run; json has every statistic, too.
    """
    from collapsebench.store import Store

    with Store.reading(given.store) as store:
        with destination(given.output) as stream:
            stream.writelines(_rendered(given, store))
        options.tell_unreadable(store.unreadable)


def _rendered(given: LeagueOptions, store: Store) -> Iterator[str]:
    from collapsebench.reporting.divisions import Division
    from collapsebench.reporting.league import Bootstrap, Unit
    from collapsebench.reporting.league_pages import league_pieces
    from collapsebench.reporting.leagues import LeagueView, read_league

    bootstrap = Bootstrap(given.resamples, given.bootstrap_seed, Unit(given.unit))
    divisions = tuple(map(Division, given.divisions))
    view = LeagueView(divisions, bootstrap, given.beside, given.seeds, given.against)
    found = read_league(store, given.query, view)
    return league_pieces(found, given.format_, width=given.width)
