"""What commands that run grids share: their options, the plan as text, and the work itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from collapsebench.cli import options
from collapsebench.files import DEFAULT_STORE

if TYPE_CHECKING:
    from collapsebench.experiment.grids import PlannedGrid
    from collapsebench.experiment.planning import Request
    from collapsebench.experiment.work import GridSetup
    from collapsebench.record import RunRecord
    from collapsebench.spec import RunSpec

OPTIONS = (
    options.plugin,
    options.data_dir,
    options.store,
    click.option("--device", default="cpu", show_default=True, help="Where torch computes. Only cpu is tested."),
    click.option(
        "--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes that run the grid."
    ),
    click.option(
        "--threads",
        type=click.IntRange(min=1),
        default=None,
        help="Threads of torch in each run.  [default: cores / workers]",
    ),
    click.option("--keep-checkpoints", is_flag=True, help="Keep the last checkpoint of every run that is finished."),
    click.option(
        "--keep-codes",
        is_flag=True,
        help="Write posterior means, log-variances and labels of the test split to FILE.codes beside the store.",
    ),
    click.option("--dry-run", is_flag=True, help="Print the plan and what is already stored; start nothing."),
    options.as_json,
    click.option("-q", "--quiet", is_flag=True, help="Print errors only."),
    click.option("-v", "--verbose", is_flag=True, help="Print every scheduled evaluation."),
)


class GridOptions(NamedTuple):
    """What a user chooses for a grid, whatever its runs are: the values of OPTIONS."""

    plugins: tuple[Path, ...]
    data_dir: Path | None
    store: str
    device: str
    workers: int
    threads: int | None
    keep_checkpoints: bool
    keep_codes: bool
    dry_run: bool
    as_json: bool
    quiet: bool
    verbose: bool

    def setup(self, requests: Iterable[Request]) -> GridSetup:
        """Return what the runs of these requests need. Raises UsageError for an unknown device."""
        from collapsebench.data.files import data_folder
        from collapsebench.experiment.work import GridSetup

        return GridSetup(
            requests=tuple(requests),
            plugins=self.plugins,
            data_folder=data_folder(self.data_dir),
            store=self.store,
            device=self.device,
            keep_checkpoints=self.keep_checkpoints,
            keep_codes=self.keep_codes,
        )


def grid_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of every grid; their values come as one argument, `grid`, a GridOptions."""

    @wraps(command)
    def with_grid(**given: Any) -> None:
        grid = GridOptions(**{name: given.pop(name) for name in GridOptions._fields})
        command(**given, grid=grid)

    for option in reversed(OPTIONS):
        with_grid = option(with_grid)
    return with_grid


def work_through(requests: Iterable[Request], grid: GridOptions, then: str) -> None:
    """Run what is missing, or print the plan of a dry run. Exits with code 1 if a run failed.

    `then` is the command that a user may want next.
    """
    from collapsebench.experiment.grids import look_up

    setup = grid.setup(requests)
    if grid.dry_run:
        click.echo((_as_json if grid.as_json else _as_text)(look_up(setup)))
        return
    records = _run(setup, grid)
    if not grid.quiet:
        store = "" if grid.store == DEFAULT_STORE else f" --store {grid.store}"
        click.echo(f"next: {then}{store}")
    if any(record.outcome == "failed" for record in records):
        raise click.exceptions.Exit(1)


def _run(setup: GridSetup, chosen: GridOptions) -> list[RunRecord]:
    from collapsebench.experiment.executors import executor_for
    from collapsebench.experiment.grids import prepare, run_grid
    from collapsebench.experiment.memory import keep_mapped
    from collapsebench.experiment.progress import progress

    keep_mapped()
    with progress(quiet=chosen.quiet, verbose=chosen.verbose, names=setup.plan.protocol_names) as screen:
        grid = prepare(setup)
        total, missing = len(grid.plan.specs), len(grid.missing)
        screen.say(f"{total} runs, {total - missing} already stored, {missing} to run")
        if uncoded := grid.without_codes:
            screen.say(
                f"warning: {len(uncoded)} stored runs have kept no codes; to run them again: "
                f"collapsebench runs delete {' '.join(uncoded)}",
                warning=True,
            )
        return run_grid(grid, executor_for(chosen.workers, chosen.threads), screen.observe)


def _by_protocol(grid: PlannedGrid) -> list[list[RunSpec]]:
    """Return the runs of each protocol, in the order of the plan."""
    specs: dict[str, list[RunSpec]] = {}
    for spec in grid.plan.specs:
        specs.setdefault(spec.protocol.protocol_id, []).append(spec)
    return list(specs.values())


def _status(spec: RunSpec, grid: PlannedGrid) -> str:
    outcome = grid.stored.get(spec.run_id)
    if outcome is None:
        return "to run"
    return f"stored: {outcome.value}" if outcome.settled else f"to run again: {outcome.value}"


def _as_text(grid: PlannedGrid) -> str:
    from tabulate import tabulate

    names = grid.plan.protocol_names

    def table(specs: list[RunSpec]) -> str:
        protocol = specs[0].protocol
        rows = [(spec.run_id, spec.contender.label, spec.seed, _status(spec, grid)) for spec in specs]
        head = [names[protocol.protocol_id]] if names else []
        head += [protocol.dataset.name, protocol.track_label, str(protocol.budget), f"protocol {protocol.protocol_id}"]
        shown = tabulate(rows, headers=("run", "contender", "seed", "status"), disable_numparse=True)
        return f"{' · '.join(head)}\n{shown}"

    return "\n\n".join(map(table, _by_protocol(grid)))


def _as_json(grid: PlannedGrid) -> str:
    names = grid.plan.protocol_names

    def as_object(specs: list[RunSpec]) -> dict[str, Any]:
        protocol = specs[0].protocol
        named = {"name": names[protocol.protocol_id]} if names else {}
        runs = [
            {
                "run_id": spec.run_id,
                "contender": spec.contender.label,
                "seed": spec.seed,
                "status": _status(spec, grid),
            }
            for spec in specs
        ]
        return named | {
            "protocol_id": protocol.protocol_id,
            "protocol": protocol.model_dump(mode="json"),
            "runs": runs,
        }

    found = list(map(as_object, _by_protocol(grid)))
    return json.dumps(found if names else found[0], indent=2)
