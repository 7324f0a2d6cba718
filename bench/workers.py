"""`python -m bench.workers`: one grid of small runs by two workers, against one process with two threads."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tabulate import tabulate

from collapsebench.record import Outcome
from collapsebench.store import Store

GRIDS = {
    "mlp": ("--dataset", "digits", "--budget", "15epochs", "--method", "skip"),
    "text": ("--dataset", "synthetic-text", "--track", "demo", "--budget", "100steps", "--method", "skip"),
}
"""Two runs for each seed, of three to four seconds each: the arguments of `run`."""
QUICK = {name: ("--dataset", name, "--method", "skip") for name in ("mnist", "yahoo-9k")}
"""Quick tracks of the same kinds of model, whose data is in files."""
ONE, TWO = ("--workers", "1", "--threads", "2"), ("--workers", "2", "--threads", "1")
MUST = 1.6
"""How much less time two workers should take."""


class Ran(NamedTuple):
    """One command."""

    wall: float
    """Seconds from its start to its end, imports and data included."""
    metered: float
    """Seconds of training, summed over its runs."""


def run(*arguments: str) -> Ran:
    """A real command into a fresh store. Raises if it fails, or a run of it does."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store.sqlite"
        command = [sys.executable, "-c", "from collapsebench import cli; cli.main()", "run", *arguments]
        begun = time.perf_counter()
        subprocess.run([*command, "--quiet", "--store", str(store)], check=True)  # noqa: S603 - fixed
        wall = time.perf_counter() - begun
        with Store.open(store) as opened:
            records = list(opened.find())
    assert {record.outcome for record in records} == {Outcome.FINISHED}  # noqa: S101 - a figure of nothing else
    return Ran(wall, sum(float(record.counters["seconds"]) for record in records))


def main() -> None:
    """Print both times of every round, and their ratio; the rounds alternate, so that a slow machine slows both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grid", action="append", choices=[*GRIDS, *QUICK], help="this grid; may be repeated")
    parser.add_argument("--data-dir", help="the folder of original data files, which quick tracks need")
    parser.add_argument("--rounds", type=int, default=3, help="how often each command is run")
    parser.add_argument("--seeds", type=int, default=4, help="how long the grid is; imports are paid once")
    given = parser.parse_args()
    rows = []
    data = () if given.data_dir is None else ("--data-dir", given.data_dir)
    for name in given.grid or GRIDS:
        grid = (*(GRIDS | QUICK)[name], "--seeds", str(given.seeds), *data)
        pairs = [(run(*grid, *ONE), run(*grid, *TWO)) for _ in range(given.rounds)]
        rows += [(name, *one, *two, one.wall / two.wall) for one, two in pairs]
        gain = statistics.median(one.wall / two.wall for one, two in pairs)
        print(f"{name}: {gain:.2f} times as fast, {'reached' if gain >= MUST else 'BELOW'} {MUST}", flush=True)
    headers = ("grid", "1 process, 2 threads: s", "metered s", "2 workers, 1 thread: s", "metered s", "ratio")
    print(tabulate(rows, headers=headers, tablefmt="github", floatfmt=".2f"))


if __name__ == "__main__":
    main()
