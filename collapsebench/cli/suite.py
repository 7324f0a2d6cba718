"""`collapsebench suite`: the tables and figures of papers, as grids of runs."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click

from collapsebench.cli import options
from collapsebench.cli.grids import GridOptions, grid_options, work_through
from collapsebench.experiment import suites
from collapsebench.experiment.suites import Cell, Suite


@click.group("suite")
def command() -> None:
    """List and show the suites, and run them. A suite is a table or figure of a paper as a grid of runs."""


@command.command("list")
@options.as_json
def list_(*, as_json: bool) -> None:
    """List the suites with their scales and what these take: hours for three seeds on two cores."""
    from tabulate import tabulate

    known = [suites.suite(name) for name in suites.suite_names()]
    if as_json:
        click.echo(json.dumps([suite.model_dump(mode="json") for suite in known], indent=2))
        return
    rows = [(suite.name, _scales(suite), suite.title) for suite in known]
    click.echo(tabulate(rows, headers=("suite", "scales", "what"), tablefmt="plain"))


def _scales(suite: Suite) -> str:
    return ", ".join(f"{name} ({scale.hours:g} h)" for name, scale in suite.scales.items())


@command.command("show")
@click.argument("name")
@click.option("--scale", default=None, help="Only this scale.")
@options.variant
@options.as_json
def show(name: str, scale: str | None, variants: tuple[str, ...], *, as_json: bool) -> None:
    """Show one suite: what it follows, its variants, and the runs of each scale."""
    suite = suites.suite(name)
    scales = _meant(suite, variants) if scale is None else [scale]
    cells = {each: suite.cells(each, variants) for each in scales}
    if as_json:
        shown = {each: suite.scales[each].model_copy(update={"cells": cells[each]}) for each in scales}
        click.echo(suite.model_copy(update={"scales": shown}).model_dump_json(indent=2))
        return
    click.echo(f"{suite.name}: {suite.title}\nsource:  {suite.source}\nfollows: {suite.follows}")
    for each, meant in suite.variants.items():
        click.echo(f"variant {each}: {meant.description}")
    for each in scales:
        click.echo("\n".join(_scale(suite, each, cells[each])))


def _meant(suite: Suite, variants: tuple[str, ...]) -> list[str]:
    """Return the scales that have all of these variants. If none has, return all, so that the error is told."""
    having = [name for name in suite.scales if set(variants) <= set(suite.known_variants(name))]
    return having or list(suite.scales)


def _scale(suite: Suite, name: str, cells: tuple[Cell, ...]) -> Iterator[str]:
    scale = suite.scales[name]
    yield f"\nscale {name}, about {scale.hours:g} hours for three seeds on two cores: {scale.description}"
    if scale.departs:
        yield f"departs from the published setting: {scale.departs}"
    for variant, meant in scale.variants.items():
        yield f"variant {variant}: {meant.description}"
    for cell in cells:
        against = f" against {cell.against}" if cell.against else ""
        yield f"  {cell.name}{against}: {_command(cell)}"


def _command(cell: Cell) -> str:
    """Return the `run` command of a cell."""
    words = [f"--dataset {cell.dataset} --track {cell.track}"]
    words += [f"--budget {cell.budget}"] if cell.budget else []
    words += [f"--set {setting}" for setting in cell.settings]
    words += [f"--method {contender}" for contender in cell.contenders.values()]
    return f"collapsebench run {' '.join(words)} --no-baseline"


@command.command("run")
@click.argument("name")
@options.scale
@options.variant
@click.option(
    "--cell", "only", multiple=True, metavar="NAME", help="Only this cell (see `suite show`). May be repeated."
)
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Run seeds 1…N.")
@grid_options
def run(name: str, scale: str, variants: tuple[str, ...], only: tuple[str, ...], seeds: int, grid: GridOptions) -> None:
    """Run what is missing of a suite: NAME as in dieng-2019/table-3, or a TOML file of the same form.

    What was interrupted goes on from its last checkpoint. All seeds of all cells are one grid, seed by seed.
    """
    suite = suites.suite(name)
    cells = suite.cells(scale, variants, only)
    grid = grid._replace(keep_codes=grid.keep_codes or suite.keep_codes)
    asked = "".join(f" --variant {each}" for each in variants)
    then = f"collapsebench leaderboard --suite {name} --scale {scale}{asked}"
    work_through([cell.request(tuple(range(1, seeds + 1))) for cell in cells], grid, then=then)
