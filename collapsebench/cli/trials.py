"""Grids with trials: what rules choose of them is printed, or run with the seeds of a suite."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from collapsebench.cli.grids import GridOptions, worked_through

if TYPE_CHECKING:
    from collapsebench.experiment.planning import Request
    from collapsebench.experiment.suites import Cell
    from collapsebench.experiment.work import GridSetup
    from collapsebench.record import RunRecord
    from collapsebench.reporting.tuning import Selected


def tune(request: Request, grid: GridOptions) -> None:
    """Run what is missing of trials, and print what is chosen of them. Exits with code 1 if a run failed."""
    setup = grid.setup([request])
    records = worked_through(setup, grid)
    if records is None or grid.detach:
        return
    if not grid.quiet:
        from collapsebench.reporting.tuning import tuning_text

        click.echo(tuning_text(_choices(setup)))
    _exit_if_failed(records)


def run_tuned(cells: Sequence[Cell], seeds: tuple[int, ...], grid: GridOptions, then: str) -> None:
    """Run the contenders of cells and their trials, and then what rules choose of these, with the same seeds.

    `then` is the command that a user may want next. Exits with code 1 if a run failed.
    """
    trials = {cell.name: request for cell in cells if (request := cell.trial_request()) is not None}
    setup = grid.setup([*(cell.request(seeds) for cell in cells), *trials.values()])
    records = worked_through(setup, grid)
    if records is None or not _all_ended(setup):
        return
    chosen = [cell.chosen_request(_labels(setup, trials[cell.name]), seeds) for cell in cells if cell.name in trials]
    records += worked_through(replace(setup, requests=tuple(chosen)), grid) or []
    if not grid.quiet:
        from collapsebench.store.connection import store_option

        click.echo(f"next: {then}{store_option(grid.store)}")
    _exit_if_failed(records)


def _all_ended(setup: GridSetup) -> bool:
    """Return whether all runs have ended, with a result or without: those that were handed out may go on."""
    from collapsebench.record import Outcome
    from collapsebench.store import Store

    runs = [spec.run_id for spec in setup.plan.specs]
    with Store.reading(setup.store) as store:
        outcomes = store.outcomes(runs)
    return all(outcomes.get(run) in {Outcome.FINISHED, Outcome.DIVERGED, Outcome.FAILED} for run in runs)


def _labels(setup: GridSetup, request: Request) -> list[str]:
    """Return the settings that rules choose of the trials of a request, each once."""
    found = _choices(replace(setup, requests=(request,)))
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
