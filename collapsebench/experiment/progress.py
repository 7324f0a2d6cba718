"""Shows a grid to a user: a live line for each run in progress, and a plain line for each finished run.

Live lines are on a terminal, or below the cell of a notebook.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from html import escape
from importlib import import_module
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol, assert_never

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from collapsebench.experiment.events import (
    Evaluated,
    Finished,
    Resumed,
    Skipped,
    Started,
    Stepped,
    Testing,
    Warned,
)
from collapsebench.experiment.executors import executor_for
from collapsebench.experiment.grids import prepare, run_grid
from collapsebench.experiment.output import is_terminal, write_line
from collapsebench.printable import printable

if TYPE_CHECKING:
    from collapsebench.experiment.events import Event
    from collapsebench.experiment.grids import PlannedGrid
    from collapsebench.experiment.work import GridSetup
    from collapsebench.record import RunRecord

TEST_COLUMNS = ("neg_elbo", "iw_nll", "kl", "active_units")
"""The metrics in the line of a finished run, if the protocol has them."""


class LiveLines(Protocol):
    """Lines that are drawn again and again, one for each run in progress. rich's `Progress` is one kind."""

    def add_task(self, description: str, *, total: float, status: str) -> TaskID:
        """Add a line. `total` is the value of `completed` at the end of the budget."""

    def update(self, task_id: TaskID, *, completed: float, status: str) -> None:
        """Draw a line again."""

    def remove_task(self, task_id: TaskID) -> None:
        """Remove a line."""


class NotebookLines:
    """Live lines below the cell of a notebook, with one bar for each run in progress."""

    def __init__(self) -> None:
        display = import_module("IPython.display")  # every notebook has IPython

        self._html: Any = display.HTML
        self._numbers = count()
        self._lines: dict[TaskID, tuple[str, float, str]] = {}
        self._place: Any = display.display(self._html(""), display_id=True)

    def add_task(self, description: str, *, total: float, status: str) -> TaskID:
        """See LiveLines."""
        del total
        task_id = TaskID(next(self._numbers))
        self._lines[task_id] = description, 0.0, status
        self._draw()
        return task_id

    def update(self, task_id: TaskID, *, completed: float, status: str) -> None:
        """See LiveLines."""
        self._lines[task_id] = self._lines[task_id][0], completed, status
        self._draw()

    def remove_task(self, task_id: TaskID) -> None:
        """See LiveLines."""
        del self._lines[task_id]
        self._draw()

    def _draw(self) -> None:
        lines = (
            f"<div>{escape(label)} <progress max=1 value={completed:.4f}></progress> {escape(status)}</div>"
            for label, completed, status in self._lines.values()
        )
        self._place.update(self._html("".join(lines)))


@dataclass
class RunningLine:
    """The state of a run in progress, as the screen shows it."""

    label: str
    task: TaskID | None
    """Its live line; None if there are no live lines."""
    bound: str = "…"
    """The last negative ELBO on the validation split."""


class Screen:
    """Shows the runs of a grid: live lines, plain lines on standard output, and errors on standard error.

    `observe` is the observer of the grid.
    """

    def __init__(
        self,
        *,
        live: LiveLines | None,
        quiet: bool,
        verbose: bool,
        names: Mapping[str, str],
        terminal: Console | None = None,
        shared: bool = False,
    ) -> None:
        """Show runs in `live` lines, or without them if None. `names` are the names of protocols, by id.

        `terminal` is the terminal of the live lines. `shared` is True if standard output goes to it, too. `quiet` shows
        only failures. `verbose` adds every scheduled evaluation.
        """
        self.live, self.quiet, self.verbose, self._names = live, quiet, verbose, names
        self._terminal, self._shared = terminal, shared
        self._running: dict[str, RunningLine] = {}
        self.debug = False
        """True to show the tracebacks of failed runs."""
        self.store_option = ""
        """What a command needs behind it to find the store of the runs."""

    def observe(self, event: Event) -> None:
        """Show an event of any run."""
        match event:
            case Started(record):
                self._start(record)
            case Skipped(record, reason):
                self.say(f"skipped  {record.run_id}  {self._label(record)}: {reason}")
            case Warned(_, message):
                self.say(f"warning: {message}", warning=True)
            case Resumed(run_id, steps):
                self.say(f"  {self._running[run_id].label}: goes on after step {steps}")
            case Stepped():
                self._show_step(event)
            case Evaluated():
                self._show_evaluation(event)
            case Testing(run_id):
                self._move(run_id, 1.0, "metrics on the test split")
            case Finished(record):
                self._finish(record)
            case _:
                assert_never(event)

    def say(self, line: str, *, warning: bool = False) -> None:
        """Print a line, unless quiet."""
        if not self.quiet:
            self._print(line, err=warning)

    def _start(self, record: RunRecord) -> None:
        label = self._label(record)
        task = None if self.live is None else self.live.add_task(label, total=1.0, status="")
        self._running[record.run_id] = RunningLine(label, task)

    def _show_step(self, step: Stepped) -> None:
        bound = self._running[step.run_id].bound
        status = f"step {step.steps} · loss {step.loss:.2f} · KL {step.kl:.2f} · valid −ELBO {bound}"
        self._move(step.run_id, step.fraction, status)

    def _show_evaluation(self, evaluated: Evaluated) -> None:
        line, point = self._running[evaluated.run_id], evaluated.point
        bound, kl = float(point.values["neg_elbo"]), float(point.values["kl"])
        line.bound = f"{bound:.2f}"
        if self.verbose:
            counters = point.counters
            self.say(
                f"  {line.label}: step {counters['steps']:.0f}, {counters['seconds']:.1f} s, "
                f"valid −ELBO {bound:.3f}, KL {kl:.3f}"
            )

    def _finish(self, record: RunRecord) -> None:
        line = self._running.pop(record.run_id, None)
        if self.live is not None and line is not None and line.task is not None:
            self.live.remove_task(line.task)
        found = {value.column: value for value in record.values}
        numbers = [f"{found[name].title} {float(found[name].estimate):.3f}" for name in TEST_COLUMNS if name in found]
        seconds = record.counters.get("seconds")
        clock = [] if seconds is None else [f"{seconds:.1f} s"]
        details = ", ".join([*numbers, *clock]) or record.message
        shown = f"{record.outcome.value}  {record.run_id}  {self._label(record)}: {details}"
        text = printable(" ".join(shown.split("\n")))
        if record.outcome == "failed":
            command = f"collapsebench runs show {record.run_id}{self.store_option}"
            self._print(f"{text}; its traceback: {command}" if record.traceback else text, err=True)
            if self.debug and record.traceback:
                self._print(record.traceback.rstrip(), err=True)
        elif record.outcome == "diverged":
            self._print(text, err=self.quiet)
        else:
            self.say(text)

    def _move(self, run_id: str, fraction: float, status: str) -> None:
        task = self._running[run_id].task
        if self.live is not None and task is not None:
            self.live.update(task, completed=fraction, status=status)

    def _label(self, record: RunRecord) -> str:
        """Return the contender and the seed of a run, after the name of its protocol if that has one."""
        run = f"{record.contender} seed {record.spec.seed}"
        name = self._names.get(record.protocol_id)
        return run if name is None else f"{name} · {run}"

    def _print(self, line: str, *, err: bool) -> None:
        """Print a line. On a terminal with live lines, print above them, because they would be drawn over it."""
        if self._terminal is not None and (err or self._shared):
            self._terminal.print(line, highlight=False, markup=False, soft_wrap=True)
        else:
            write_line(line, sys.stderr if err else sys.stdout)


@contextmanager
def progress(*, quiet: bool, verbose: bool, names: Mapping[str, str]) -> Iterator[Screen]:
    """Open a screen. It has live lines only on a terminal and in a notebook. If quiet, it shows only errors.

    `names` are the names of protocols, by id; empty for runs of one protocol.
    """
    console = Console(stderr=True)
    if console.is_jupyter and not quiet:
        yield Screen(live=NotebookLines(), quiet=quiet, verbose=verbose, names=names)
        return
    if quiet or not is_terminal(sys.stderr):
        yield Screen(live=None, quiet=quiet, verbose=verbose, names=names)
        return
    columns = (
        TextColumn("{task.description}", markup=False),  # brackets of contenders are not markup
        BarColumn(),
        TextColumn("{task.fields[status]}", markup=False),
        TimeRemainingColumn(),
    )
    shared = is_terminal(sys.stdout)
    live = Progress(*columns, console=console, refresh_per_second=4, transient=True, redirect_stdout=shared)
    try:
        live.start()
        yield Screen(live=live, quiet=quiet, verbose=verbose, names=names, terminal=console, shared=shared)
    finally:
        with suppress(OSError):  # the terminal may be gone
            live.stop()


def _outdated(grid: PlannedGrid) -> Iterator[str]:
    """Yield what is to be said of stored runs that are not what this grid would make."""
    for name, run_ids in grid.changed.items():
        yield f"the code of {name} changed since {len(run_ids)} stored runs were made"
    if uncoded := grid.without_codes:
        yield f"{len(uncoded)} stored runs have kept no codes"


def _store_option(setup: GridSetup) -> str:
    from collapsebench.store.connection import store_option  # what a plan that fails needs no time for

    return store_option(setup.store)


def run_on_screen(
    setup: GridSetup,
    workers: int = 1,
    threads: int | None = None,
    *,
    quiet: bool = False,
    verbose: bool = False,
    debug: bool = False,
) -> list[RunRecord]:
    """Run what is missing of a grid and store it, and show the runs. See `run_grid`.

    `workers` processes run the grid, and each run has so many `threads` of torch; None stands for processors / workers.
    `debug` shows the tracebacks of failed runs. Raises UsageError if so many workers do not fit the devices,
    or one of these is not there.
    """
    executor = executor_for(workers, threads)
    executor.warm_up()
    setup.check_workers(workers)
    setup.check_devices()
    with progress(quiet=quiet, verbose=verbose, names=setup.plan.protocol_names) as screen:
        screen.debug = debug
        grid = prepare(setup)
        screen.store_option = _store_option(setup)
        total, missing = len(grid.plan.specs), len(grid.missing)
        screen.say(f"{total} runs, {total - missing} already stored, {missing} to run")
        for line in _outdated(grid):
            screen.say(f"warning: {line}; to run them again: --rerun", warning=True)
        return run_grid(grid, executor, screen.observe)
