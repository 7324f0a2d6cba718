"""Shows a grid to a user: a live line for each run in progress, and a plain line for each finished run.

Live lines are on a terminal, or below the cell of a notebook.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from rich.console import Console

from collapsebench.experiment.events import (
    Evaluated,
    Finished,
    Resumed,
    Shielded,
    Skipped,
    Started,
    Stepped,
    Testing,
    ToAll,
    Warned,
)
from collapsebench.experiment.grids import hand_out_grid, prepare, run_grid
from collapsebench.experiment.live import LiveLine, NotebookLines, TerminalLines
from collapsebench.experiment.outlook import Outlook, in_words
from collapsebench.experiment.output import is_terminal, write_line
from collapsebench.experiment.summary import BadEnd, EndedRun, summary
from collapsebench.printable import printable
from collapsebench.record import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from collapsebench.experiment.events import Event, Observer
    from collapsebench.experiment.executors import Executor
    from collapsebench.experiment.grids import PlannedGrid
    from collapsebench.experiment.live import LiveLines
    from collapsebench.experiment.schedulers import Scheduler
    from collapsebench.experiment.work import GridSetup
    from collapsebench.record import RunRecord

TEST_COLUMNS = ("neg_elbo", "iw_nll", "kl", "active_units")
"""The metrics in the line of a finished run, if the protocol has them."""
SELDOM = 60.0
"""Without live lines, a line says at most once in so many seconds how far the grid is."""
SHARE = 0.02
"""The time between two such lines is at least this share of the time until then."""


@dataclass
class RunningLine:
    """The state of a run in progress, as the screen shows it."""

    label: str
    share: float = 0.0
    """The share of its budget that is spent."""
    status: str = ""
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
        self._ended: list[EndedRun] = []
        self._rarely = Rarely()
        self.outlook = Outlook(())
        """How far the grid is."""
        self.debug = False
        """True to show the tracebacks of failed runs."""
        self.timeout: float | None = None
        """The seconds after which a run is ended."""
        self.store_option = ""
        """What a command needs behind it to find the store of the runs."""

    def observe(self, event: Event) -> None:
        """Show an event of any run."""
        self.outlook.observe(event)
        match event:
            case Started(record):
                self._running[record.run_id] = RunningLine(self._label(record))
            case Skipped(record, reason):
                self._running.pop(record.run_id, None)
                self.say(f"skipped  {record.run_id}  {self._label(record)}: {reason}")
            case Warned(_, message):
                self.warn(message)
            case Resumed(run_id, steps):
                self.say(f"  {self._running[run_id].label}: goes on after step {steps}")
            case Stepped():
                self._step(event)
            case Evaluated():
                self._evaluate(event)
            case Testing(run_id):
                self._move(run_id, 1.0, "metrics on the test split")
            case Finished(record):
                self._finish(record)
            case _:
                assert_never(event)
        self._draw()

    def say(self, line: str, *, warning: bool = False) -> None:
        """Print a line, unless quiet."""
        if not self.quiet:
            self._print(line, err=warning)

    def warn(self, text: str) -> None:
        """Print a warning, unless quiet."""
        self.say(f"warning: {text}", warning=True)

    def sum_up(self) -> None:
        """Say which of several runs ended badly, and what helps."""
        if self.outlook.total > 1:
            total, timeout, option = self.outlook.total, self.timeout, self.store_option
            for line in summary(self._ended, total, timeout=timeout, store_option=option):
                self.say(line.text, warning=line.end is not BadEnd.INTERRUPTED)

    def _step(self, step: Stepped) -> None:
        bound = self._running[step.run_id].bound
        status = f"step {step.steps} · valid −ELBO {bound} · KL {step.kl:.2f} · loss {step.loss:.2f}"
        self._move(step.run_id, step.fraction, status)

    def _evaluate(self, evaluated: Evaluated) -> None:
        line, point = self._running[evaluated.run_id], evaluated.point
        bound, kl = float(point.values["neg_elbo"]), float(point.values["kl"])
        line.bound = f"{bound:.2f}"
        if self.verbose:
            counters = point.counters
            self.say(
                f"  {line.label}: step {counters['steps']:.0f}, {counters['seconds']:.1f} s, "
                f"valid −ELBO {bound:.3f}, KL {kl:.3f}"
            )

    def _move(self, run_id: str, share: float, status: str) -> None:
        line = self._running[run_id]
        line.share, line.status = share, status

    def _finish(self, record: RunRecord) -> None:
        self._running.pop(record.run_id, None)
        self._ended.append(EndedRun(self._label(record), record))
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

    def _draw(self) -> None:
        """Draw the live lines again. Without them, say now and then how far the grid is."""
        if self.live is not None:
            self.live.draw([*self._run_lines(), *self._grid_lines()])
        elif self.outlook.total and self._rarely.now():
            self.say("  " + ", ".join(filter(None, (self._progress(), *self._shares()))), warning=True)

    def _run_lines(self) -> Iterator[LiveLine]:
        for run_id, line in self._running.items():
            yield LiveLine(line.label, line.share, line.status, _left(self.outlook.left_of(run_id)))

    def _grid_lines(self) -> Iterator[LiveLine]:
        """Yield the line of the grid. One run is no grid."""
        if self.outlook.total > 1:
            yield LiveLine("grid", self.outlook.share, self._progress(), _left(self.outlook.left()))

    def _progress(self) -> str:
        """Say how many runs are over, and how many of these ended badly."""
        ended = self.outlook.ended.items()
        bad = [f"{number} {outcome.value}" for outcome, number in ended if outcome is not Outcome.FINISHED]
        return " · ".join([f"{self.outlook.done} of {self.outlook.total} runs done", *bad])

    def _shares(self) -> Iterator[str]:
        """Yield the time left, and what is running."""
        left = self.outlook.left()
        if left is not None:
            yield f"about {in_words(left)} left"
        for line in self._running.values():
            yield f"{line.label} {line.share:.0%}"

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


class Rarely:
    """Says when it is time again for a line: after a minute, and then ever more rarely."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = self._last = clock()

    def now(self) -> bool:
        """Return whether it is time."""
        time_ = self._clock()
        if time_ - self._last < max(SELDOM, SHARE * (time_ - self._began)):
            return False
        self._last = time_
        return True


def _left(seconds: float | None) -> str:
    return "" if seconds is None else in_words(seconds)


@contextmanager
def progress(*, quiet: bool, verbose: bool, names: Mapping[str, str]) -> Iterator[Screen]:
    """Open a screen. It has live lines only on a terminal and in a notebook. If quiet, it shows only errors.

    `names` are the names of protocols, by id; empty for runs of one protocol.
    """
    console = Console(stderr=True)
    shared = is_terminal(sys.stdout)
    live: LiveLines | None = None
    if not quiet and console.is_jupyter:
        live = NotebookLines()
    elif not quiet and is_terminal(sys.stderr):
        live = TerminalLines(console, shared=shared)
    terminal = console if isinstance(live, TerminalLines) else None
    try:
        yield Screen(live=live, quiet=quiet, verbose=verbose, names=names, terminal=terminal, shared=shared)
    finally:
        if live is not None:
            live.close()


def _outdated(grid: PlannedGrid) -> Iterator[str]:
    """Yield what is to be said of stored runs that are not what this grid would make."""
    for name, run_ids in grid.changed.items():
        yield f"the code of {name} changed since {len(run_ids)} stored runs were made"
    if uncoded := grid.without_codes:
        yield f"{len(uncoded)} stored runs have kept no codes"


def _store_option(setup: GridSetup) -> str:
    from collapsebench.store.connection import store_option  # what a plan that fails needs no time for

    return store_option(setup.store)


@contextmanager
def grid_on_screen(
    setup: GridSetup, executor: Executor, *, quiet: bool, verbose: bool, debug: bool = False
) -> Iterator[tuple[PlannedGrid, Screen]]:
    """Yield a grid that is ready to be worked through, and the screen that shows it.

    Raises UsageError if the executor cannot compute these runs.
    """
    executor.warm_up()
    executor.check(setup)
    with progress(quiet=quiet, verbose=verbose, names=setup.plan.protocol_names) as screen:
        screen.debug = debug
        grid = prepare(setup)
        screen.store_option, screen.timeout = _store_option(setup), setup.timeout
        screen.outlook = Outlook(grid.missing, stored=len(grid.settled), workers=executor.at_once)
        total, missing = len(grid.plan.specs), len(grid.missing)
        screen.say(f"{total} runs, {total - missing} already stored, {missing} to run")
        for line in _outdated(grid):
            screen.warn(f"{line}; to run them again: --rerun")
        yield grid, screen


def run_on_screen(
    setup: GridSetup,
    executor: Executor,
    *,
    quiet: bool = False,
    verbose: bool = False,
    debug: bool = False,
    logs: Iterable[Observer] = (),
) -> list[RunRecord]:
    """Run what is missing of a grid and store it, and show the runs. See `run_grid`.

    `debug` shows the tracebacks of failed runs. `logs` follow the runs, too; their errors are lines. Raises UsageError
    if the executor cannot compute these runs.
    """
    with grid_on_screen(setup, executor, quiet=quiet, verbose=verbose, debug=debug) as (grid, screen):
        shielded = (Shielded(log, "a log", screen.warn) for log in logs)
        try:
            return run_grid(grid, executor, ToAll([*shielded, screen.observe]))
        finally:
            screen.sum_up()


def hand_out_on_screen(
    setup: GridSetup, scheduler: Scheduler, *, quiet: bool = False, verbose: bool = False
) -> list[RunRecord]:
    """Hand what is missing of a grid to a scheduler, say what became of it, and return what was over before.

    Raises UsageError if the scheduler cannot compute these runs.
    """
    with grid_on_screen(setup, scheduler, quiet=quiet, verbose=verbose) as (grid, screen):
        records, handout = hand_out_grid(grid, scheduler, screen.observe)
        for job_id, number in handout.submitted.items():
            screen.say(f"submitted {number} runs to {scheduler.name} as array {job_id}")
        if waiting := len(handout.waiting):
            screen.say(f"{waiting} runs are queued or running; the same command takes in later what is over")
        return records
