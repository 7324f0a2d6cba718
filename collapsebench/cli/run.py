"""`collapsebench run`: resolve a plan, run what is missing, store every run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from collapsebench.cli import options
from collapsebench.errors import UsageError
from collapsebench.spec import BASELINE

if TYPE_CHECKING:
    from collapsebench.executors import Work
    from collapsebench.planning import Plan, Request
    from collapsebench.record import Outcome, RunRecord
    from collapsebench.spec import RunSpec


@click.command("run")
@click.option(
    "--method",
    "-m",
    "methods",
    multiple=True,
    metavar="A+B[KEY=VALUE]",
    help="A contender: methods joined by +, parameters in brackets. May be repeated.",
)
@click.option("--dataset", "-d", required=True, help="The dataset (see `collapsebench data list`).")
@click.option("--track", default="quick", show_default=True, help="The dataset's setting.")
@click.option(
    "--budget", default=None, metavar="AMOUNT UNIT", help="Instead of the track's: 350steps, 90seconds, 5e13flops."
)
@click.option("--seeds", type=click.IntRange(min=1), default=None, help="Run seeds 1…N.  [default: 1]")
@click.option("--seed", "seed_list", type=click.IntRange(min=0), multiple=True, help="Run this seed. May be repeated.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a track, as in decoder.layers=3.")
@options.plugin
@options.data_dir
@options.store
@click.option("--device", default="cpu", show_default=True, help="Where torch computes. Only cpu is tested.")
@click.option(
    "--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes that run the grid."
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=None,
    help="Threads of torch in each run.  [default: cores / workers]",
)
@click.option("--keep-checkpoints", is_flag=True, help="Keep the last checkpoint of every run that is finished.")
@click.option("--no-baseline", is_flag=True, help=f"Do not run the baseline '{BASELINE}' beside the contenders.")
@click.option("--dry-run", is_flag=True, help="Print the plan and what is already stored; start nothing.")
@options.as_json
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
@click.option("-v", "--verbose", is_flag=True, help="Print every scheduled evaluation.")
def command(**given: Any) -> None:
    """Run contenders on a dataset under one budget, and store every run.

    The baseline 'vae' runs beside them. The same command again runs only what is missing, and goes on with what was
    interrupted, from its last checkpoint (FILE.checkpoints beside the store), to the same result. Several commands may
    work on one store at a time.
    """
    from collapsebench.data.files import data_folder
    from collapsebench.executors import Work

    check_device(given["device"])
    work = Work(
        request=_request(given),
        plugins=given["plugins"],
        folder=data_folder(given["data_dir"]),
        store=given["store"],
        device=given["device"],
        keep_checkpoints=given["keep_checkpoints"],
    )
    if given["dry_run"]:
        stored = _stored(work.plan, given["store"])
        click.echo(_as_json(work.plan, stored) if given["as_json"] else _as_text(work.plan, stored))
        return
    records = _run(work, given)
    if any(record.outcome == "failed" for record in records):
        raise click.exceptions.Exit(1)


def check_device(name: str) -> None:
    """Raise UsageError for what is no device name at all; whether it is there, torch will say."""
    kind, _, index = name.partition(":")
    if kind not in {"cpu", "cuda", "mps", "xpu"} or (index and not index.isdigit()):
        raise UsageError(f"unknown device '{name}'. Known: cpu, cuda, cuda:0, mps, xpu")


def _request(given: dict[str, Any]) -> Request:
    from collapsebench.planning import Request

    if given["seeds"] is not None and given["seed_list"]:
        raise UsageError("give --seeds N or --seed S, not both")
    return Request(
        methods=given["methods"],
        dataset=given["dataset"],
        track=given["track"],
        budget=given["budget"],
        seeds=given["seed_list"] or tuple(range(1, (given["seeds"] or 1) + 1)),
        settings=given["settings"],
        baseline=not given["no_baseline"],
    )


def _run(work: Work, given: dict[str, Any]) -> list[RunRecord]:
    from collapsebench.cli.progress import progress
    from collapsebench.executors import InProcess, Processes
    from collapsebench.memory import keep_mapped

    keep_mapped()
    threads = given["threads"]
    workers = given["workers"]
    executor = InProcess(threads=threads) if workers == 1 else Processes(workers=workers, threads=threads)
    with progress(quiet=given["quiet"], verbose=given["verbose"]) as screen:
        with work.open(screen.lines()) as runner:
            missing = runner.missing(work.plan.specs)
        screen.planned(total=len(work.plan.specs), missing=len(missing))
        records = list(executor.submit(work, missing, screen.lines)) if missing else []
    if not given["quiet"]:
        store_option = "" if given["store"] == options.DEFAULT_STORE else f" --store {given['store']}"
        click.echo(f"next: collapsebench leaderboard --dataset {given['dataset']}{store_option}")
    return records


def _stored(plan: Plan, location: str) -> dict[str, Outcome]:
    """What is stored of the plan's runs; a store that does not exist yet is not made."""
    from collapsebench.store import Store, connection

    if not connection.exists(connection.store_url(location)):
        return {}
    with Store.open(location) as store:
        return store.outcomes(spec.run_id for spec in plan.specs)


def _status(spec: RunSpec, stored: dict[str, Outcome]) -> str:
    outcome = stored.get(spec.run_id)
    if outcome is None:
        return "to run"
    return f"stored: {outcome.value}" if outcome.settled else f"to run again: {outcome.value}"


def _as_text(plan: Plan, stored: dict[str, Outcome]) -> str:
    protocol = plan.specs[0].protocol
    from tabulate import tabulate

    rows = [(spec.run_id, spec.contender.label, spec.seed, _status(spec, stored)) for spec in plan.specs]
    head = f"{protocol.dataset.name} · {protocol.track_label} · {protocol.budget} · protocol {protocol.protocol_id}"
    return f"{head}\n{tabulate(rows, headers=('run', 'contender', 'seed', 'status'), disable_numparse=True)}"


def _as_json(plan: Plan, stored: dict[str, Outcome]) -> str:
    protocol = plan.specs[0].protocol
    runs = [
        {
            "run_id": spec.run_id,
            "contender": spec.contender.label,
            "seed": spec.seed,
            "status": _status(spec, stored),
        }
        for spec in plan.specs
    ]
    return json.dumps(
        {"protocol_id": protocol.protocol_id, "protocol": protocol.model_dump(mode="json"), "runs": runs}, indent=2
    )
