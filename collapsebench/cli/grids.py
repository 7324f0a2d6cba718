"""What commands that run grids share: their options, the plan as text, and the work itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from collapsebench.cli import options
from collapsebench.errors import UsageError

if TYPE_CHECKING:
    from collapsebench.experiment.planning import Plan, Request
    from collapsebench.experiment.work import GridSetup
    from collapsebench.record import Outcome, RunRecord
    from collapsebench.spec import RunSpec

F = TypeVar("F", bound=Callable[..., Any])

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


def grid_options(command: F) -> F:
    """Where the data and the store are, and how runs are worked through."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def work_through(requests: Iterable[Request], given: Mapping[str, Any], then: str) -> None:
    """Run what is missing, or print the plan of a dry run; exit code 1 if a run failed.

    `then` is the command that a user may want next.
    """
    setup = _setup(requests, given)
    if given["dry_run"]:
        stored = _stored(setup.plan, given["store"])
        click.echo((_as_json if given["as_json"] else _as_text)(setup.plan, stored))
        return
    records = _run(setup, given)
    if not given["quiet"]:
        store = "" if given["store"] == options.DEFAULT_STORE else f" --store {given['store']}"
        click.echo(f"next: {then}{store}")
    if any(record.outcome == "failed" for record in records):
        raise click.exceptions.Exit(1)


def _setup(requests: Iterable[Request], given: Mapping[str, Any]) -> GridSetup:
    from collapsebench.data.files import data_folder
    from collapsebench.experiment.work import GridSetup

    check_device(given["device"])
    return GridSetup(
        requests=tuple(requests),
        plugins=given["plugins"],
        data_folder=data_folder(given["data_dir"]),
        store=given["store"],
        device=given["device"],
        keep_checkpoints=given["keep_checkpoints"],
        keep_codes=given["keep_codes"],
    )


def check_device(name: str) -> None:
    """Raise UsageError for what is no device name at all; whether it is there, torch will say."""
    kind, _, index = name.partition(":")
    if kind not in {"cpu", "cuda", "mps", "xpu"} or (index and not index.isdigit()):
        raise UsageError(f"unknown device '{name}'. Known: cpu, cuda, cuda:0, mps, xpu")


def _run(setup: GridSetup, given: Mapping[str, Any]) -> list[RunRecord]:
    from collapsebench.cli.progress import progress
    from collapsebench.experiment.executors import InProcess, Processes
    from collapsebench.experiment.memory import keep_mapped

    keep_mapped()
    specs, threads, workers = setup.plan.specs, given["threads"], given["workers"]
    executor = InProcess(threads=threads) if workers == 1 else Processes(workers=workers, threads=threads)
    with progress(quiet=given["quiet"], verbose=given["verbose"], names=setup.plan.protocol_names) as screen:
        with setup.open(screen.observe) as runner:
            missing = runner.missing(specs)
            uncoded = [spec.run_id for spec in specs if spec not in missing and runner.lacks_codes(spec)]
        screen.say(f"{len(specs)} runs, {len(specs) - len(missing)} already stored, {len(missing)} to run")
        if uncoded:
            screen.say(
                f"warning: {len(uncoded)} stored runs have kept no codes; to run them again: "
                f"collapsebench runs delete {' '.join(uncoded)}",
                warning=True,
            )
        return list(executor.submit(setup, missing, screen.observe)) if missing else []


def _stored(plan: Plan, location: str) -> dict[str, Outcome]:
    """What is stored of the plan's runs; a store that does not exist yet is not made."""
    from collapsebench.store import Store, connection

    if not connection.exists(connection.store_url(location)):
        return {}
    with Store.open(location) as store:
        return store.outcomes(spec.run_id for spec in plan.specs)


def _grids(plan: Plan) -> list[list[RunSpec]]:
    """The runs of each protocol."""
    grids: dict[str, list[RunSpec]] = {}
    for spec in plan.specs:
        grids.setdefault(spec.protocol.protocol_id, []).append(spec)
    return list(grids.values())


def _status(spec: RunSpec, stored: Mapping[str, Outcome]) -> str:
    outcome = stored.get(spec.run_id)
    if outcome is None:
        return "to run"
    return f"stored: {outcome.value}" if outcome.settled else f"to run again: {outcome.value}"


def _as_text(plan: Plan, stored: Mapping[str, Outcome]) -> str:
    from tabulate import tabulate

    def table(grid: list[RunSpec]) -> str:
        protocol = grid[0].protocol
        rows = [(spec.run_id, spec.contender.label, spec.seed, _status(spec, stored)) for spec in grid]
        head = [plan.protocol_names[protocol.protocol_id]] if plan.protocol_names else []
        head += [protocol.dataset.name, protocol.track_label, str(protocol.budget), f"protocol {protocol.protocol_id}"]
        shown = tabulate(rows, headers=("run", "contender", "seed", "status"), disable_numparse=True)
        return f"{' · '.join(head)}\n{shown}"

    return "\n\n".join(map(table, _grids(plan)))


def _as_json(plan: Plan, stored: Mapping[str, Outcome]) -> str:
    def grid(specs: list[RunSpec]) -> dict[str, Any]:
        protocol = specs[0].protocol
        named = {"name": plan.protocol_names[protocol.protocol_id]} if plan.protocol_names else {}
        runs = [
            {
                "run_id": spec.run_id,
                "contender": spec.contender.label,
                "seed": spec.seed,
                "status": _status(spec, stored),
            }
            for spec in specs
        ]
        return named | {
            "protocol_id": protocol.protocol_id,
            "protocol": protocol.model_dump(mode="json"),
            "runs": runs,
        }

    grids = [grid(specs) for specs in _grids(plan)]
    return json.dumps(grids if plan.protocol_names else grids[0], indent=2)
