"""`python -m bench.run`: where the time of a whole `collapsebench run` goes, from the command to the stored numbers.

Each number is of a process of its own, which trains one contender. Its time is split by what it does: start and
imports, training steps, scheduled evaluations, guards, each metric of the test split, and the rest (data, store,
output).

Processor seconds are those of one thread. Wall seconds are those at the default number of threads.
"""

from __future__ import annotations

import builtins
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

import click

ROOT = Path(__file__).parents[1]
IMPORTS, TRAINING, VALIDATION = "start and imports", "training", "scheduled evaluation"
GUARDS, REST, END = "guards", "rest", "end of the process"
MUST = {"demo": 6.0, "mnist": 20.0, "yahoo-9k": 14.0}
"""The bounds of everything that is not training, in processor seconds of one thread."""
MUST_IMPORT = 3.5

CLOCKS = ("processor", "wall")

RUNS = {
    "demo": ("--dataset", "synthetic-text", "--track", "demo"),
    "mnist": ("--dataset", "mnist", "--track", "quick"),
    "yahoo-9k": ("--dataset", "yahoo-9k", "--track", "quick"),
}
"""The tracks, by name."""

Seconds: TypeAlias = dict[str, float]
"""By part."""


class Stopwatch:
    """Splits the time of a process among named parts. A part that begins inside another one interrupts it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._open = clock, [REST]
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.seconds[IMPORTS] = self._since = clock()

    def _note(self) -> None:
        now = self._clock()
        self.seconds[self._open[-1]] += now - self._since
        self._since = now

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Give the time of the block to this part."""
        self._note()
        self._open.append(name)
        try:
            yield
        finally:
            self._note()
            self._open.pop()

    def watch(self, owner: object, function: str, name: Callable[..., str]) -> None:
        """Give the time of a function to the part that `name` finds from its arguments."""
        watched = getattr(owner, function)

        def timed(*arguments: Any, **given: Any) -> Any:
            with self.part(name(*arguments)):
                result = watched(*arguments, **given)
                return tuple(result) if isinstance(result, Iterator) else result

        setattr(owner, function, timed)

    def watch_imports(self) -> None:
        """Give the time of imports to their part."""
        importing = builtins.__import__

        def timed(name: str, *arguments: Any, **given: Any) -> Any:
            if self._open[-1] == IMPORTS:
                return importing(name, *arguments, **given)
            with self.part(IMPORTS):
                return importing(name, *arguments, **given)

        builtins.__import__ = timed

    def end(self) -> Seconds:
        """Return the seconds of all parts."""
        self._note()
        return dict(self.seconds)


def run_here(arguments: list[str], clock: str, began: float) -> Seconds:
    """Run a command in this process, and return where its time went. `began` is when the process was started."""
    watch = Stopwatch(time.process_time if clock == "processor" else lambda: time.time() - began)
    watch.watch_imports()
    from collapsebench import cli
    from collapsebench.experiment import guarding, runner, training
    from collapsebench.guards import traces

    for owner, functions in (
        (guarding, ("check_before_training", "findings_after_training", "check_after_testing")),
        (traces, ("fingerprint", "Belongings")),
    ):
        for function in vars(owner).keys() & set(functions):  # an earlier commit may have fewer
            watch.watch(owner, function, lambda *_, **__: GUARDS)
    watch.watch(training, "_evaluate", lambda *_: VALIDATION)
    watch.watch(training, "step", lambda *_: TRAINING)
    watch.watch(runner, "metric_values", lambda metric, *_: metric.name)
    try:
        cli.main(arguments)
    except SystemExit as stopped:
        if stopped.code:
            raise
    return watch.end()


def measured(checkout: Path, arguments: tuple[str, ...], clock: str) -> Seconds:
    """Run the command of a checkout in a process of its own.

    Raises ClickException if it fails.
    """
    threads = {"OMP_NUM_THREADS": "1"} if clock == "processor" else {}
    paths = os.pathsep.join(map(str, (checkout, checkout / "plugins")))
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "seconds.json"
        given = ["run", *arguments, "--no-baseline", "-q", "--store", f"{folder}/runs.sqlite"]
        command = [sys.executable, __file__, "--in", str(output), clock, repr(time.time()), *given]
        environment = os.environ | threads | {"PYTHONPATH": paths}
        before = _used(clock)
        done = subprocess.run(command, check=False, cwd=checkout, env=environment, stdout=sys.stderr)  # noqa: S603
        if done.returncode:
            raise click.ClickException(f"the run ended with exit code {done.returncode}: {' '.join(given)}")
        used = _used(clock) - before
        seconds: Seconds = json.loads(output.read_text())
    return seconds | {END: used - sum(seconds.values())}


def _used(clock: str) -> float:
    """Return the processor seconds of all processes that were started here and have ended, or the time."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime if clock == "processor" else time.time()


@contextmanager
def checkout_of(revision: str) -> Iterator[Path]:
    """Check out a commit in a folder of its own, for as long as the block takes."""
    git = ["git", "-C", str(ROOT), "worktree"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkout"
        subprocess.run([*git, "add", "--detach", "--quiet", str(path), revision], check=True)  # noqa: S603
        try:
            yield path
        finally:
            subprocess.run([*git, "remove", "--force", str(path)], check=True)  # noqa: S603


def medians(repeats: list[Seconds]) -> Seconds:
    """Return the median of every part."""
    names = dict.fromkeys(name for seconds in repeats for name in seconds)
    return {name: statistics.median(seconds.get(name, 0.0) for seconds in repeats) for name in names}


def not_training(seconds: Seconds) -> float:
    """Return the seconds of everything but training steps."""
    return sum(seconds.values()) - seconds.get(TRAINING, 0.0)


def print_table(name: str, columns: dict[str, Seconds]) -> None:
    """Print the parts of one run, with a column for each measurement."""
    click.echo(f"\n{name:24s}" + "".join(f"{title:>24s}" for title in columns))
    first, last = (IMPORTS, TRAINING, VALIDATION), (REST, END)
    parts = dict.fromkeys([*first, *(part for each in columns.values() for part in each if part not in last), *last])
    for part in parts:
        click.echo(f"{part:24s}" + "".join(f"{each.get(part, 0.0):24.2f}" for each in columns.values()))
    click.echo(f"{'all':24s}" + "".join(f"{sum(each.values()):24.2f}" for each in columns.values()))
    click.echo(f"{'all but training':24s}" + "".join(f"{not_training(each):24.2f}" for each in columns.values()))


def compared(checkouts: dict[str, Path], arguments: tuple[str, ...], clock: str, repeats: int) -> dict[str, Seconds]:
    """Run a command of every checkout in turns, and return the medians by checkout."""
    turns = [{name: measured(path, arguments, clock) for name, path in checkouts.items()} for _ in range(repeats)]
    return {name: medians([turn[name] for turn in turns]) for name in checkouts}


def above_bounds(name: str, seconds: Seconds) -> bool:
    """Return whether the processor seconds of a track are above what is allowed."""
    return not_training(seconds) > MUST[name] or seconds[IMPORTS] > MUST_IMPORT


@click.command(help=__doc__)
@click.option("--only", "names", multiple=True, type=click.Choice(list(RUNS)), help="These tracks; default: all.")
@click.option(
    "--repeats",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Processes for each number: their median is shown.",
)
@click.option("--clock", "clocks", multiple=True, type=click.Choice(CLOCKS), help="This time; default: both.")
@click.option("--against", metavar="REVISION", help="Measure this commit, too, in turns with the checkout.")
@click.option("--data-dir", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Where the data lie.")
@click.option("--method", default="vae", show_default=True, help="The contender.")
@click.option("--budget", help="The budget; default: that of the track.")
@click.option("--history", is_flag=True, help="Add a line to results/bench/runs.jsonl.")
def main(
    names: tuple[str, ...],
    clocks: tuple[str, ...],
    repeats: int,
    against: str | None,
    history: bool,
    data_dir: Path | None,
    **given: Any,
) -> None:
    """Print a table for each track. The exit code is 1 if one is above its bound."""
    data = {} if data_dir is None else {"data-dir": data_dir.resolve()}
    options = {f"--{name}": str(value) for name, value in (given | data).items() if value is not None}
    arguments = tuple(part for option in options.items() for part in option)
    above, rows = [], []
    with ExitStack() as stack:
        checkouts = {"here": ROOT} | ({against: stack.enter_context(checkout_of(against))} if against else {})
        for name, clock in product(names or RUNS, clocks or CLOCKS):
            columns = compared(checkouts, (*RUNS[name], *arguments), clock, repeats)
            print_table(f"{name}, {clock} s", columns)
            rows.append({"run": name, **given, "clock": clock, "seconds": columns})
            if clock == "processor" and above_bounds(name, columns["here"]):
                above.append(name)
    if history:
        from bench.history import remember

        remember("runs", repeats=repeats, rows=rows)
    if above:
        click.echo(f"\nabove the bound: {', '.join(above)}")
    sys.exit(bool(above))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--in"]:
        output, clock, began, *arguments = sys.argv[2:]
        sys.path.pop(0)  # this folder, whose modules have names of others
        Path(output).write_text(json.dumps(run_here(arguments, clock, float(began))))
    else:
        main()
