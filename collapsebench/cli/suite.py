"""`collapsebench suite`: the tables and figures of papers, as grids of runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from collapsebench.cli import completing, options
from collapsebench.cli.files import destination
from collapsebench.cli.grids import GridOptions, grid_options, try_guards, work_through
from collapsebench.cli.leaderboard import FORMATS
from collapsebench.cli.trials import run_tuned
from collapsebench.syntax import MOST_SEEDS

if TYPE_CHECKING:
    from collapsebench.experiment.suites import Cell, Suite
    from collapsebench.reporting.queries import SuiteQuery
    from collapsebench.store import Store


@click.group("suite")
def command() -> None:
    """List and show the suites, and run them. A suite is a table or figure of a paper as a grid of runs."""


@command.command("list")
@options.as_json
def list_(*, as_json: bool) -> None:
    """List the suites with their scales and what these take: hours for three seeds on two cores."""
    from collapsebench.experiment.suites import all_suites
    from collapsebench.reporting.suite_page import suite_list_text

    suites = all_suites()
    if as_json:
        click.echo(json.dumps([suite.model_dump(mode="json") for suite in suites], indent=2))
    else:
        click.echo(suite_list_text(suites))


@command.command("show")
@click.argument("name", shell_complete=completing.suites)
@click.option("--scale", default=None, help="Only this scale.")
@options.variant
@options.as_json
def show(name: str, scale: str | None, variants: tuple[str, ...], *, as_json: bool) -> None:
    """Show one suite: what it follows, its variants, and the runs of each scale."""
    from collapsebench.experiment.suites import suite
    from collapsebench.reporting.suite_page import suite_text

    shown = suite(name).narrowed(scale, variants)
    click.echo(shown.model_dump_json(indent=2) if as_json else suite_text(shown, name, variants))


@command.command("run")
@click.argument("name", shell_complete=completing.suites)
@options.scale
@options.variant
@options.cell
@click.option(
    "--seeds", type=click.IntRange(min=1, max=MOST_SEEDS), default=3, show_default=True, help="Run seeds 1…N."
)
@grid_options
def run(
    grid: GridOptions, name: str, scale: str, variants: tuple[str, ...], cells: tuple[str, ...], seeds: int
) -> None:
    """Run what is missing of a suite: NAME as in dieng-2019/table-3, or a TOML file of the same form.

    What was interrupted goes on from its last checkpoint. All seeds of all cells are one grid, seed by seed. A suite of
    trials (trust/unfair) says in the end what the guards did. One whose contenders are tuned (league/small) runs their
    trials, and then what is chosen of these.
    """
    from collapsebench.experiment.suites import suite
    from collapsebench.reporting.queries import SuiteQuery

    asked = suite(name)
    query = SuiteQuery(name, scale, variants, grid.plugins, cells=cells)
    plugins = (*grid.plugins, *asked.plugin_files)
    grid = replace(grid, keep_codes=grid.keep_codes or asked.keep_codes, plugins=plugins)
    _work(asked, asked.cells(scale, variants, cells), tuple(range(1, seeds + 1)), grid, query)


def _work(asked: Suite, cells: Sequence[Cell], seeds: tuple[int, ...], grid: GridOptions, query: SuiteQuery) -> None:
    """Run cells with these seeds, as the kind of the suite wants it."""
    requests = [cell.request(seeds) for cell in cells]
    then = query.league_command if asked.league else query.board_command
    if asked.trials:
        try_guards(requests, grid, query)
    elif any(cell.trials for cell in cells):
        run_tuned(cells, seeds, grid, then)
    else:
        work_through(requests, grid, then)


@dataclass(frozen=True)
class TuningOptions:
    """The options of `suite tuning`."""

    name: str
    scale: str
    variants: tuple[str, ...]
    cells: tuple[str, ...]
    models: tuple[str, ...]
    format_: str
    plugins: tuple[Path, ...]
    output: Path | None
    store: str


@command.command("tuning")
@click.argument("name", shell_complete=completing.suites)
@options.scale
@options.variant
@options.cell
@click.option(
    "--model",
    "models",
    multiple=True,
    shell_complete=completing.models,
    help="Only this model, as the suite calls it. May be repeated.",
)
@click.option("--format", "format_", type=click.Choice(FORMATS), default="table", show_default=True)
@options.plugin
@options.output
@options.stored
@options.gathered(TuningOptions)
def tuning(given: TuningOptions) -> None:
    """Show what was tried for the contenders of a suite (league/small), and what each rule chose of it."""
    from collapsebench.reporting.queries import SuiteQuery
    from collapsebench.store import Store

    query = SuiteQuery(given.name, given.scale, given.variants, given.plugins, cells=given.cells)
    with Store.reading(given.store) as store:
        with destination(given.output) as stream:
            stream.writelines(_tried(given, query, store))
        options.tell_unreadable(store.unreadable)


def _tried(given: TuningOptions, query: SuiteQuery, store: Store) -> Iterator[str]:
    from collapsebench.reporting.suite_tuning import tried_pieces, tried_settings

    found = tried_settings(store, query, given.models)
    return tried_pieces(found, query, given.format_, width=options.page_width(given.output))
