"""`collapsebench run` resolves a plan, runs what is missing and stores every run."""

from __future__ import annotations

import click

from collapsebench.cli import completing
from collapsebench.cli.grids import GridOptions, grid_options, work_through
from collapsebench.errors import UsageError
from collapsebench.syntax import BASELINE, LARGEST_SEED, MOST_SEEDS


@click.command("run")
@click.option(
    "--method",
    "-m",
    "methods",
    multiple=True,
    metavar="A+B[KEY=VALUE]@rate=R",
    shell_complete=completing.contenders,
    help="A contender: methods joined by +, parameters in brackets, and a factor of the track's learning rate behind "
    "@rate; 'a[key=1|2]' and 'a@rate=1|2' are one for each value. May be repeated.",
)
@click.option(
    "--dataset",
    "-d",
    required=True,
    shell_complete=completing.datasets,
    help="The dataset (see `collapsebench data list`).",
)
@click.option(
    "--track",
    default="quick",
    show_default=True,
    metavar="NAME|FILE",
    shell_complete=completing.tracks,
    help="The dataset's setting, or a file with another one, as in mine.toml.",
)
@click.option(
    "--budget",
    default=None,
    metavar="AMOUNT UNIT",
    help="Instead of the track's, in steps, epochs, examples, seconds or flops, as in 350steps or 5e13flops.",
)
@click.option("--seeds", type=click.IntRange(min=1, max=MOST_SEEDS), default=None, help="Run seeds 1…N.  [default: 1]")
@click.option(
    "--seed",
    "seed_list",
    type=click.IntRange(min=0, max=LARGEST_SEED),
    multiple=True,
    help="Run this seed. May be repeated.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a track, as in decoder.layers=3 and decoder=mlp[layers=3,hidden=64]. May be repeated.",
)
@click.option("--no-baseline", is_flag=True, help=f"Do not run the baseline '{BASELINE}' beside the contenders.")
@grid_options
def command(  # noqa: PLR0913 - one argument for each option
    grid: GridOptions,
    *,
    methods: tuple[str, ...],
    dataset: str,
    track: str,
    budget: str | None,
    seeds: int | None,
    seed_list: tuple[int, ...],
    settings: tuple[str, ...],
    no_baseline: bool,
) -> None:
    """Run contenders on a dataset under one budget, and store every run.

    The baseline 'vae' runs beside them. The same command again runs only what is missing, and goes on with what was
    interrupted, from its last checkpoint (FILE.checkpoints beside the store), to the same result. Several commands may
    work on one store at a time.
    """
    from collapsebench.experiment.planning import Request

    numbers = _seeds(seeds, seed_list)
    request = Request(methods, dataset, track, budget, numbers, settings, baseline=not no_baseline)
    work_through([request], grid, then=f"collapsebench leaderboard --dataset {dataset}")


def _seeds(number: int | None, listed: tuple[int, ...]) -> tuple[int, ...]:
    """Return the seeds that a user asks for. Raises UsageError if they are given in both ways."""
    if number is not None and listed:
        raise UsageError("give --seeds N or --seed S, not both")
    return listed or tuple(range(1, (number or 1) + 1))
