"""`python -m bench.startup`: what commands cost before they do anything, against an interpreter that imports click."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import click

YARDSTICK = ("import click",)
CALL = "from collapsebench.cli import main; main({arguments!r})"
REFUSED = """
from collapsebench.cli import main
try:
    main({arguments!r})
except SystemExit as stopped:
    assert stopped.code == 1
"""
ALLOWED = 4.0
"""How many times as much as the yardstick."""


def commands(store: Path) -> dict[str, Sequence[str]]:
    """What is run, by its name in the table: arguments of `python -c`."""
    lines = {
        " ".join(line): line for line in (["--help"], ["methods", "--help"], ["leaderboard", "--help"], ["methods"])
    }
    lines["leaderboard"] = ["leaderboard", "--store", str(store)]
    return {
        "import click": YARDSTICK,
        "import pydantic's models": ("from pydantic import BaseModel",),
        "import sqlalchemy's core": ("import sqlalchemy",),
        **{name: (CALL.format(arguments=arguments),) for name, arguments in lines.items()},
        "leaderboard, no store": (REFUSED.format(arguments=["leaderboard", "--store", f"{store}.missing"]),),
    }


def seconds(arguments: Sequence[str]) -> float:
    """Processor time of one interpreter, its start and end included. Raises CalledProcessError if it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", *arguments], check=True, capture_output=True)  # noqa: S603
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@click.command(help=__doc__)
@click.option("--repeats", default=15, show_default=True, help="Turns, in each of which everything is run once.")
@click.option("--store", type=click.Path(path_type=Path, exists=True), help="Whose boards to draw; default: a new one.")
def main(repeats: int, store: Path | None) -> None:
    """Print the table: medians of processor time, and of the ratio to the yardstick of the same turn."""
    with TemporaryDirectory() as folder:
        chosen = commands(store or _small_store(Path(folder)))
        turns = [{name: seconds(arguments) for name, arguments in chosen.items()} for _ in range(repeats)]
    for name in chosen:
        ratio = statistics.median(turn[name] / turn["import click"] for turn in turns)
        ms = 1e3 * statistics.median(turn[name] for turn in turns)
        click.echo(f"{name:25s} {ms:6.0f} ms  {ratio:4.1f}x{'' if ratio <= ALLOWED else f'  above {ALLOWED:g}x'}")


def _small_store(folder: Path) -> Path:
    """One run of two steps."""
    path = folder / "runs.sqlite"
    arguments = ["run", "--dataset", "linear-gaussian", "--budget", "2steps", "--store", str(path), "-q"]
    seconds((CALL.format(arguments=arguments),))
    return path


if __name__ == "__main__":
    main()
