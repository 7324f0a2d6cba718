"""`python -m bench.startup`: what commands cost before they do anything, against an interpreter that imports click."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import click

from collapsebench.cli import COMMANDS

CALL = "from collapsebench.cli import main; main({arguments!r})"
REFUSED = """
from collapsebench.cli import main
try:
    main({arguments!r})
except SystemExit as stopped:
    assert stopped.code == 1
"""
HELP, METHODS, LEADERBOARD = 1.5, 4.0, 20.0
"""The bounds: how many times the yardstick a `--help`, the list of methods and a board of stored runs may take."""


class Line(NamedTuple):
    """One line of the table."""

    code: str
    """The program, as `python -c` takes it."""
    allowed: float | None = None
    """How many times the yardstick it may take; None for a line that is shown for comparison."""


def lines(store: Path) -> dict[str, Line]:
    """Return the lines of the table, by name."""
    helps = [["--help"], *([name, "--help"] for name in COMMANDS)]
    return {
        "import click": Line("import click"),
        "import pydantic's models": Line("from pydantic import BaseModel"),
        "import sqlalchemy's core": Line("import sqlalchemy"),
        **{" ".join(arguments): Line(CALL.format(arguments=arguments), HELP) for arguments in helps},
        "methods": Line(CALL.format(arguments=["methods"]), METHODS),
        "leaderboard": Line(CALL.format(arguments=["leaderboard", "--store", str(store)]), LEADERBOARD),
        "leaderboard, no store": Line(
            REFUSED.format(arguments=["leaderboard", "--store", f"{store}.missing"]), METHODS
        ),
    }


def seconds(code: str) -> float:
    """Measure the processor time of one interpreter, its start and end included. Raises CalledProcessError."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)  # noqa: S603
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@click.command(help=__doc__)
@click.option("--repeats", default=15, show_default=True, help="Turns, in each of which everything is run once.")
@click.option("--store", type=click.Path(path_type=Path, exists=True), help="Whose boards to draw; default: a new one.")
def main(repeats: int, store: Path | None) -> None:
    """Print the table: medians of processor time, and of the ratio to `import click` in the same turn."""
    with TemporaryDirectory() as folder:
        table = lines(store or _small_store(Path(folder)))
        turns = [{name: seconds(line.code) for name, line in table.items()} for _ in range(repeats)]
    for name, line in table.items():
        ratio = statistics.median(turn[name] / turn["import click"] for turn in turns)
        ms = 1e3 * statistics.median(turn[name] for turn in turns)
        above = "" if line.allowed is None or ratio <= line.allowed else f"  above {line.allowed:g}x"
        click.echo(f"{name:25s} {ms:6.0f} ms  {ratio:4.1f}x{above}")


def _small_store(folder: Path) -> Path:
    """Make a store of one run of two steps."""
    path = folder / "runs.sqlite"
    arguments = ["run", "--dataset", "linear-gaussian", "--budget", "2steps", "--store", str(path), "-q"]
    seconds(CALL.format(arguments=arguments))
    return path


if __name__ == "__main__":
    main()
