"""`collapsebench run`: resolve a plan, run what is missing, store every run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from collapsebench.cli.grids import grid_options, work_through
from collapsebench.errors import UsageError
from collapsebench.syntax import BASELINE

if TYPE_CHECKING:
    from collapsebench.experiment.planning import Request


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
@click.option("--no-baseline", is_flag=True, help=f"Do not run the baseline '{BASELINE}' beside the contenders.")
@grid_options
def command(**given: Any) -> None:
    """Run contenders on a dataset under one budget, and store every run.

    The baseline 'vae' runs beside them. The same command again runs only what is missing, and goes on with what was
    interrupted, from its last checkpoint (FILE.checkpoints beside the store), to the same result. Several commands may
    work on one store at a time.
    """
    then = f"collapsebench leaderboard --dataset {given['dataset']}"
    work_through([_request(given)], given, then=then)


def _request(given: dict[str, Any]) -> Request:
    from collapsebench.experiment.planning import Request

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
