"""What a user sees of a grid: one live line a run on a terminal, one plain line a finished run anywhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from collapsebench.experiment.runner import Step
    from collapsebench.record import Point, RunRecord

SHOWN = ("neg_elbo", "iw_nll", "kl", "active_units")
"""The test metrics in a finished run's line, where the protocol has them."""


class Screen:
    """Where the lines of all runs go: live ones to a terminal, others to standard output, errors to standard error."""

    def __init__(
        self,
        *,
        live: Progress | None,
        quiet: bool,
        verbose: bool,
        names: Mapping[str, str],
        shared: bool = False,
    ) -> None:
        """`shared`: whether standard output is the terminal of the live lines."""
        self.live, self.quiet, self.verbose, self._names, self._shared = live, quiet, verbose, names, shared

    def label(self, record: RunRecord) -> str:
        """A run in words; with the name of its protocol where that has one."""
        run = f"{record.contender} seed {record.spec.seed}"
        name = self._names.get(record.protocol_id)
        return run if name is None else f"{name} · {run}"

    def planned(self, total: int, missing: int) -> None:
        """The plan is known."""
        self.say(f"{total} runs, {total - missing} already stored, {missing} to run")

    def say(self, line: str, *, warning: bool = False) -> None:
        """Print a line, unless quiet."""
        if not self.quiet:
            self._print(line, err=warning)

    def fail(self, line: str) -> None:
        """Print what went wrong, even if quiet."""
        self._print(line, err=True)

    def _print(self, line: str, *, err: bool) -> None:
        """Above the live lines where it goes to their terminal, as they are drawn over what is written beside them."""
        if self.live is not None and (err or self._shared):
            self.live.console.print(line, highlight=False, markup=False, soft_wrap=True)
        else:
            click.echo(line, err=err)

    def lines(self) -> Lines:
        """An observer for runs that follow one another."""
        return Lines(self)


class Lines:
    """An observer of runs that prints lines, and moves its live line if there is one."""

    def __init__(self, screen: Screen) -> None:
        self._screen, self._live = screen, screen.live
        self._task: TaskID | None = None
        self._label = ""
        self._bound = "…"

    def started(self, record: RunRecord) -> None:
        """See runner.Observer."""
        self._label, self._bound = self._screen.label(record), "…"
        if self._live is not None:
            self._task = self._live.add_task(self._label, total=1.0, status="")

    def skipped(self, record: RunRecord, reason: str) -> None:
        """See runner.Observer."""
        self._screen.say(f"skipped  {record.run_id}  {self._screen.label(record)}: {reason}")

    def warned(self, message: str) -> None:
        """See runner.Observer."""
        self._screen.say(f"warning: {message}", warning=True)

    def resumed(self, steps: int) -> None:
        """See runner.Observer."""
        self._screen.say(f"  {self._label}: goes on after step {steps}")

    def stepped(self, step: Step) -> None:
        """See runner.Observer."""
        status = f"step {step.steps} · loss {step.loss:.2f} · KL {step.kl:.2f} · valid −ELBO {self._bound}"
        self._move(step.fraction, status)

    def evaluated(self, point: Point) -> None:
        """See runner.Observer."""
        bound, kl = float(point.values["neg_elbo"]), float(point.values["kl"])
        self._bound = f"{bound:.2f}"
        if self._screen.verbose:
            counters = point.counters
            self._screen.say(
                f"  {self._label}: step {counters['steps']:.0f}, {counters['seconds']:.1f} s, "
                f"valid −ELBO {bound:.3f}, KL {kl:.3f}"
            )

    def testing(self) -> None:
        """See runner.Observer."""
        self._move(1.0, "metrics on the test split")

    def finished(self, record: RunRecord) -> None:
        """See runner.Observer."""
        if self._live is not None and self._task is not None:
            self._live.remove_task(self._task)
            self._task = None
        found = {value.column: value for value in record.values}
        numbers = [f"{found[name].title} {float(found[name].estimate):.3f}" for name in SHOWN if name in found]
        seconds = record.counters.get("seconds")
        clock = [] if seconds is None else [f"{seconds:.1f} s"]
        details = ", ".join([*numbers, *clock]) or record.message
        line = f"{record.outcome.value}  {record.run_id}  {self._screen.label(record)}: {details}"
        if record.outcome == "failed":
            self._screen.fail(" ".join(line.split("\n")))
        else:
            self._screen.say(line)

    def _move(self, fraction: float, status: str) -> None:
        if self._live is not None and self._task is not None:
            self._live.update(self._task, completed=fraction, status=status)


@contextmanager
def progress(*, quiet: bool, verbose: bool, names: Mapping[str, str]) -> Iterator[Screen]:
    """The screen of one command: live lines only on a terminal, nothing but errors if quiet.

    `names` are of protocols, by their ids, where runs of several are shown.
    """
    if quiet or not sys.stderr.isatty():
        yield Screen(live=None, quiet=quiet, verbose=verbose, names=names)
        return
    columns = (
        TextColumn("{task.description}", markup=False),  # a contender's brackets are no markup
        BarColumn(),
        TextColumn("{task.fields[status]}", markup=False),
        TimeRemainingColumn(),
    )
    shared = sys.stdout.isatty()
    console = Console(stderr=True)
    with Progress(*columns, console=console, refresh_per_second=4, transient=True, redirect_stdout=shared) as live:
        yield Screen(live=live, shared=shared, quiet=quiet, verbose=verbose, names=names)
