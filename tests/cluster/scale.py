"""How long each engine takes for many runs of two steps, two runs at a time.

    PYTHONPATH=tests python tests/cluster/scale.py [NUMBER]

prints a table: the seconds of the command, from its start to its end, and what it takes for each run.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import ray_bed
import slurm_bed
from tabulate import tabulate
from trials import ALONE, TINY, Grid, ended

RUNS = 200
PATIENCE = 3600.0
"""The seconds that a command may take."""


def seconds(grid: Grid, *options: str) -> float:
    """Run a grid, and return how long that took."""
    begun = time.perf_counter()
    answer = ended(grid.start(*options), PATIENCE)
    taken = time.perf_counter() - begun
    if answer.code:
        sys.exit(answer.out)
    return taken


def measured(folder: Path, runs: int) -> Iterator[tuple[str, float]]:
    """Yield each engine, as a user writes it, with its seconds. They must have stored the same values."""
    with slurm_bed.slurm() as slurm:
        first = Grid(slurm, folder, (*TINY, *ALONE, "--seeds", str(runs)), "processes[workers=2,threads=1]")
        yield first.executor, seconds(first)
        second = _beside(first, f"slurm[runs_per_job={max(1, runs // 10)}]", "slurm")
        yield second.executor, seconds(second)
        _compare(first, second)
    with ray_bed.ray() as ray:
        third = replace(_beside(first, f"ray[address={ray_bed.ADDRESS}]", "ray"), bed=ray)
        yield third.executor, seconds(third)
        _compare(first, third)
        fourth = _beside(third, "ray", "alone")
        yield fourth.executor, seconds(fourth)
        _compare(first, fourth)


def _beside(grid: Grid, executor: str, name: str) -> Grid:
    """Return the same grid with another engine and another store, in a folder of its own."""
    folder = grid.folder / name
    folder.mkdir()
    return replace(grid, executor=executor, folder=folder)


def _compare(one: Grid, other: Grid) -> None:
    if one.values() != other.values():
        sys.exit(f"{other.executor} has other values than {one.executor}")


if __name__ == "__main__":
    number = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    with tempfile.TemporaryDirectory(prefix="scale-") as temporary:
        rows = [(name, taken, taken / number) for name, taken in measured(Path(temporary), number)]
    print(tabulate(rows, headers=("executor", "seconds", "seconds a run"), floatfmt=".2f"))
