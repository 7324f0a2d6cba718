"""The options of commands that run grids, and the work itself."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from collapsebench.cli import options
from collapsebench.errors import UsageError
from collapsebench.experiment.processors import MOST
from collapsebench.syntax import seconds

if TYPE_CHECKING:
    from collapsebench.experiment.events import Observer
    from collapsebench.experiment.executors import Executor
    from collapsebench.experiment.planning import Request
    from collapsebench.experiment.work import GridSetup
    from collapsebench.record import RunRecord
    from collapsebench.reporting.queries import SuiteQuery


@dataclass(frozen=True)
class GridOptions:
    """The choices of a user for a grid, whatever its runs are."""

    plugins: tuple[Path, ...]
    data_dir: Path | None
    store: str
    device: str
    work_dir: Path | None
    executor: str | None
    detach: bool
    workers: int | None
    per_device: int
    threads: int | None
    timeout: float | None
    resume_anywhere: bool
    rerun: bool
    keep_checkpoints: bool
    keep_codes: bool
    no_weights: bool
    logs: tuple[str, ...]
    fetch: bool
    dry_run: bool
    as_json: bool
    quiet: bool
    verbose: bool

    def setup(self, requests: Iterable[Request]) -> GridSetup:
        """Return what the runs of these requests need, with their data if they are to be fetched.

        Raises UsageError for an unknown device or dataset, and for JSON without a dry run. Raises DataError, too.
        """
        if self.as_json and not self.dry_run:
            raise UsageError("--json prints the plan: it goes with --dry-run")
        from collapsebench.data.files import data_folder
        from collapsebench.experiment.work import GridSetup

        setup = GridSetup(
            requests=tuple(requests),
            plugins=self.plugins,
            data_folder=data_folder(self.data_dir),
            store=self.store,
            device=self.device,
            keep_checkpoints=self.keep_checkpoints,
            keep_codes=self.keep_codes,
            weights=not self.no_weights,
            work_folder=self.work_dir,
            timeout=self.timeout,
            resume_anywhere=self.resume_anywhere,
            rerun=self.rerun,
            per_device=self.per_device,
        )
        if self.fetch:
            from collapsebench.data.fetching import fetch_for_runs

            fetch_for_runs([request.dataset for request in setup.requests], setup.catalog, setup.data_folder)
        return setup

    def chosen_executor(self, setup: GridSetup) -> Executor:
        """Return what computes the runs. Raises UsageError for one that does not exist."""
        from collapsebench.experiment.engines import chosen

        return chosen(self.executor, self.workers, self.threads, setup)


class Duration(click.ParamType):  # type: ignore[type-arg]
    """A time in seconds, minutes or hours, as in 90s, 30m and 1.5h; a bare number is one of seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds. Raises UsageError."""
        del param, ctx
        return value if isinstance(value, float) else seconds(value)


grid_options = options.gathered(
    GridOptions,
    options.plugin,
    options.data_dir,
    options.store,
    click.option(
        "--device",
        default="cpu",
        show_default=True,
        metavar="DEVICE[,DEVICE…]",
        help="Where torch computes: cpu, cuda, or with as many --workers cuda:0,cuda:1. Only cpu is tested.",
    ),
    click.option(
        "--work-dir",
        type=options.PATH,
        default=None,
        metavar="FOLDER",
        help="The folder of claims, checkpoints, codes and weights, for this store alone; machines may share it.  "
        "[default: beside the store]",
    ),
    click.option(
        "--executor",
        default=None,
        metavar="NAME[KEY=VALUE]",
        help="What computes the runs: in-process, processes, and as extras slurm and ray, as in "
        "'slurm[partition=gpu,minutes=720]'; `collapsebench components executor` has them all.  [default: in-process]",
    ),
    click.option(
        "--detach",
        is_flag=True,
        help="Hand the runs to an executor whose jobs go on without this command, as slurm, and return. The same "
        "command takes in later what is finished.",
    ),
    click.option(
        "--workers",
        type=click.IntRange(min=1, max=MOST),
        default=None,
        help="Processes that run the grid, short for --executor 'processes[workers=N]'.  [default: 1]",
    ),
    click.option(
        "--per-device",
        type=click.IntRange(min=1, max=MOST),
        default=1,
        show_default=True,
        help="So many workers may share a GPU, but for budgets in seconds.",
    ),
    click.option(
        "--threads",
        type=click.IntRange(min=1, max=MOST),
        default=None,
        help="Threads of torch in each run.  [default: processors that may be used / workers]",
    ),
    click.option(
        "--timeout",
        type=Duration(),
        default=None,
        metavar="TIME",
        help="End a run that takes longer, as in 30m or 2h: it is stored as failed, and goes on when it is run again. "
        "One that hangs is ended only with --workers 2 or more.",
    ),
    click.option(
        "--resume-anywhere",
        is_flag=True,
        help="Go on from checkpoints of another environment (versions, processor), and note that in the record.",
    ),
    click.option(
        "--rerun",
        is_flag=True,
        help="Run again the stored runs of other code than there is now, or without codes that --keep-codes asks for.",
    ),
    click.option("--keep-checkpoints", is_flag=True, help="Keep the last checkpoint of every run that is finished."),
    click.option(
        "--keep-codes",
        is_flag=True,
        help="Write posterior means, log-variances and labels of the test split to FILE.codes beside the store, or "
        "to --work-dir.",
    ),
    click.option(
        "--no-weights",
        is_flag=True,
        help="Do not keep the trained weights, which are written to FILE.weights beside the store, or to --work-dir.",
    ),
    click.option(
        "--log",
        "logs",
        multiple=True,
        metavar="KIND[=FOLDER]",
        help="Log each run while it goes on, for TensorBoard (an extra), as CSV or as JSON lines: tensorboard, csv or "
        "jsonl. May be repeated.  [default folder: FILE.logs beside the store]",
    ),
    click.option("--fetch", is_flag=True, help="Fetch missing data first, as `collapsebench data fetch` does."),
    click.option("--dry-run", is_flag=True, help="Print the plan and what is already stored; start nothing."),
    options.as_json,
    click.option("-q", "--quiet", is_flag=True, help="Print errors only."),
    click.option("-v", "--verbose", is_flag=True, help="Print every scheduled evaluation."),
)


def work_through(requests: Iterable[Request], grid: GridOptions, then: str) -> None:
    """Run what is missing, or print the plan of a dry run. Exits with code 1 if a run failed or diverged.

    `then` is the command that a user may want next.
    """
    records = worked_through(grid.setup(requests), grid)
    if records is None:
        return
    if not grid.quiet:
        from collapsebench.store.connection import store_option

        click.echo(f"next: {then}{store_option(grid.store)}")
    if any(record.outcome in {"failed", "diverged"} for record in records):
        raise click.exceptions.Exit(1)


def try_guards(requests: Iterable[Request], grid: GridOptions, query: SuiteQuery) -> None:
    """Run the trials of a suite, and print what the guards did. Exits with code 1 if they did not what they should."""
    if worked_through(grid.setup(requests), grid) is None or grid.detach:
        return
    from collapsebench.reporting.trials import trial_results, trials_text
    from collapsebench.store import Store

    with Store.reading(grid.store) as store:
        results = trial_results(store, query)
    click.echo(trials_text(results))
    if not all(result.expected for result in results):
        raise click.exceptions.Exit(1)


def worked_through(setup: GridSetup, grid: GridOptions) -> list[RunRecord] | None:
    """Run what is missing, or hand it out, and return the records; None after the plan of a dry run."""
    if grid.dry_run:
        _print_plan(setup, grid)
        return None
    return _detached(setup, grid) if grid.detach else _run(setup, grid)


def _run(setup: GridSetup, grid: GridOptions) -> list[RunRecord]:
    from collapsebench.experiment.memory import keep_mapped
    from collapsebench.experiment.output import keep_writing
    from collapsebench.experiment.progress import run_on_screen

    keep_mapped()
    keep_writing()
    debug = bool(click.get_current_context().find_root().obj)
    logs = _logs(setup, grid.logs) if grid.logs else []
    executor = grid.chosen_executor(setup)
    return run_on_screen(setup, executor, quiet=grid.quiet, verbose=grid.verbose, debug=debug, logs=logs)


def _detached(setup: GridSetup, grid: GridOptions) -> list[RunRecord]:
    """Hand the runs to a scheduler, and say what became of them. Return the records that were taken in."""
    from collapsebench.experiment.progress import hand_out_on_screen
    from collapsebench.experiment.schedulers import Scheduler

    executor = grid.chosen_executor(setup)
    if not isinstance(executor, Scheduler):
        raise UsageError("--detach is for an executor whose jobs go on without this command: --executor slurm")
    if grid.logs:
        raise UsageError("--log follows runs, and --detach does not: give one of them")
    return hand_out_on_screen(setup, executor, quiet=grid.quiet, verbose=grid.verbose)


def _logs(setup: GridSetup, wanted: Iterable[str]) -> list[Observer]:
    """Return the logs that a user wants. The usual folder lies beside the store, and it takes long to say where."""
    from collapsebench.experiment.logs import LogRequest

    usual = setup.logs_folder
    return [request.observer(usual) for request in LogRequest.parsed(wanted, usual)]


def _print_plan(setup: GridSetup, grid: GridOptions) -> None:
    """Print the plan, and what an executor would hand to another program."""
    from collapsebench.experiment.grids import look_up
    from collapsebench.reporting.plan_page import plan_json, plan_text

    executor, plan = grid.chosen_executor(setup), look_up(setup)
    if grid.as_json:
        click.echo(json.dumps(plan_json(plan), indent=2))
    else:
        click.echo("\n\n".join(filter(None, (plan_text(plan), executor.preview(setup.runs, plan.missing)))))
