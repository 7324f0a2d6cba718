"""`collapsebench run` resolves a plan, runs what is missing and stores every run."""

from __future__ import annotations

import click

from collapsebench.cli.grids import GridOptions, grid_options, work_through
from collapsebench.cli.requests import RequestOptions, request_options
from collapsebench.errors import UsageError
from collapsebench.syntax import LARGEST_SEED, MOST_SEEDS


@click.command("run")
@request_options
@click.option("--seeds", type=click.IntRange(min=1, max=MOST_SEEDS), default=None, help="Run seeds 1…N.  [default: 1]")
@click.option(
    "--seed",
    "seed_list",
    type=click.IntRange(min=0, max=LARGEST_SEED),
    multiple=True,
    help="Run this seed. May be repeated.",
)
@grid_options
def command(grid: GridOptions, asked: RequestOptions, *, seeds: int | None, seed_list: tuple[int, ...]) -> None:
    """Run contenders on a dataset under one budget, and store every run.

    The baseline 'vae' runs beside them. The same command again runs only what is missing, and goes on with what was
    interrupted, from its last checkpoint (FILE.checkpoints beside the store), to the same result. Several commands may
    work on one store at a time.
    """
    from collapsebench.experiment.planning import Request

    request = Request(
        methods=asked.methods,
        dataset=asked.dataset,
        track=asked.track,
        budget=asked.budget,
        seeds=_seeds(seeds, seed_list),
        settings=asked.settings,
        baseline=not asked.no_baseline,
    )
    work_through([request], grid, then=f"collapsebench leaderboard --dataset {asked.dataset}")


def _seeds(number: int | None, listed: tuple[int, ...]) -> tuple[int, ...]:
    """Return the seeds that a user asks for. Raises UsageError if they are given in both ways."""
    if number is not None and listed:
        raise UsageError("give --seeds N or --seed S, not both")
    return listed or tuple(range(1, (number or 1) + 1))
