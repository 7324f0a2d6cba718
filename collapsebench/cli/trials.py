"""Grids with trials: what rules choose of them is printed, or run with the seeds of a suite."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from collapsebench.cli.grids import GridOptions, worked_through
from collapsebench.syntax import parse_setting

if TYPE_CHECKING:
    from collapsebench.experiment.planning import Request
    from collapsebench.experiment.suites import Cell
    from collapsebench.experiment.work import GridSetup
    from collapsebench.record import RunRecord
    from collapsebench.reporting.tuning import Selected

SEEDS = 5
"""The number of seeds that are proposed for what is chosen."""


def tune(request: Request, grid: GridOptions) -> None:
    """Run what is missing of trials, and print what is chosen of them. Exits with code 1 if a run failed."""
    setup = grid.setup([request])
    records = worked_through(setup, grid)
    if records is None or grid.detach:
        return
    if not grid.quiet:
        _tell(request, _choices(setup), grid)
    _exit_if_failed(records)


def _tell(request: Request, found: Sequence[Selected], grid: GridOptions) -> None:
    """Print what is chosen, and the command that runs it with other seeds."""
    from collapsebench.reporting.tuning import tuning_text
    from collapsebench.store.connection import store_option

    click.echo(tuning_text(found))
    if chosen := _labels(found):
        click.echo(f"next: {_run_command(request, chosen, grid)}{store_option(grid.store)}")


def _run_command(request: Request, contenders: Iterable[str], grid: GridOptions) -> str:
    """Return the command that runs contenders with the seeds of the test, as their trials were run."""
    from collapsebench.experiment.tuning import SELECTION

    words = ["collapsebench", "run", "--dataset", request.dataset, "--track", request.track]
    words += [] if request.budget is None else ["--budget", request.budget]
    for setting in request.settings:
        words += [] if parse_setting(setting)[0] == SELECTION else ["--set", setting]
    for contender in contenders:
        words += ["--method", contender]
    for plugin in grid.plugins:
        words += ["--plugin", str(plugin)]
    words += [] if grid.data_dir is None else ["--data-dir", str(grid.data_dir)]
    return shlex.join([*words, "--no-baseline", "--seeds", str(SEEDS)])


def run_tuned(cells: Sequence[Cell], seeds: tuple[int, ...], grid: GridOptions, then: str) -> None:
    """Run the contenders of cells and their trials, and then what rules choose of these, with the same seeds.

    `then` is the command that a user may want next. Exits with code 1 if a run failed.
    """
    trials = {cell.name: request for cell in cells if (request := cell.trial_request()) is not None}
    setup = grid.setup([*(cell.request(seeds) for cell in cells), *trials.values()])
    records = worked_through(setup, grid)
    if records is None:
        if trials:
            click.echo("what rules choose of the trials is run after these, and is not in this plan", err=True)
        return
    if _all_ended(setup):
        records += _run_chosen(cells, trials, seeds, setup, grid)
        if not grid.quiet:
            from collapsebench.store.connection import store_option

            click.echo(f"next: {then}{store_option(grid.store)}")
    _exit_if_failed(records)


def _run_chosen(
    cells: Sequence[Cell], trials: Mapping[str, Request], seeds: tuple[int, ...], setup: GridSetup, grid: GridOptions
) -> list[RunRecord]:
    """Run what rules choose of the trials of cells. A cell in which they choose nothing has nothing to run."""
    chosen = {name: _labels(_choices(replace(setup, requests=(request,)))) for name, request in trials.items()}
    requests = [cell.chosen_request(chosen[cell.name], seeds) for cell in cells if chosen.get(cell.name)]
    return worked_through(replace(setup, requests=tuple(requests)), grid) or [] if requests else []


def _all_ended(setup: GridSetup) -> bool:
    """Return whether all runs have ended, with a result or without: those that were handed out may go on."""
    from collapsebench.record import Outcome
    from collapsebench.store import Store

    runs = [spec.run_id for spec in setup.plan.specs]
    with Store.reading(setup.store) as store:
        outcomes = store.outcomes(runs)
    return all(outcomes.get(run) in {Outcome.FINISHED, Outcome.DIVERGED, Outcome.FAILED} for run in runs)


def _labels(found: Iterable[Selected]) -> list[str]:
    """Return the settings that rules choose, each once."""
    return list(dict.fromkeys(each.chosen.contender.label for each in found if each.chosen is not None))


def _choices(setup: GridSetup) -> list[Selected]:
    from collapsebench.reporting.tuning import stored_choices
    from collapsebench.store import Store

    with Store.reading(setup.store) as store:
        return stored_choices(store, setup)


def _exit_if_failed(records: Iterable[RunRecord]) -> None:
    """Exit with code 1 if a run failed. One that diverged has told what its setting is worth."""
    if any(record.outcome == "failed" for record in records):
        raise click.exceptions.Exit(1)
