"""What a user sees of a grid: one live line a run on a terminal, one plain line a finished run anywhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from collapsebench.budget import Meter
    from collapsebench.record import Point, RunRecord
    from collapsebench.vae import Terms

SHOWN = ("neg_elbo", "iw_nll", "kl", "active_units")
"""The test metrics in a finished run's line, where the protocol has them."""


class Lines:
    """An observer of runs that prints lines, and moves the live line if there is one."""

    def __init__(self, *, live: Progress | None, quiet: bool, verbose: bool) -> None:
        self._live, self._quiet, self._verbose = live, quiet, verbose
        self._task = TaskID(0)
        self._label = ""
        self._bound = "…"

    def planned(self, total: int, missing: int) -> None:
        """The plan is known."""
        self._say(f"{total} runs, {total - missing} already stored, {missing} to run")

    def started(self, record: RunRecord) -> None:
        """See runner.Observer."""
        self._label, self._bound = f"{record.contender} seed {record.spec.seed}", "…"
        if self._live is not None:
            self._task = self._live.add_task(self._label, total=1.0, status="")

    def stepped(self, meter: Meter, terms: Terms) -> None:
        """See runner.Observer."""
        if self._live is not None:
            kl = float(terms.kl.sum(-1).mean())
            status = f"step {meter.steps} · loss {float(terms.loss):.2f} · KL {kl:.2f} · valid −ELBO {self._bound}"
            self._live.update(self._task, completed=meter.progress().fraction, status=status)

    def evaluated(self, point: Point) -> None:
        """See runner.Observer."""
        bound, kl = float(point.values["neg_elbo"]), float(point.values["kl"])
        self._bound = f"{bound:.2f}"
        if self._verbose:
            counters = point.counters
            self._say(
                f"  {self._label}: step {counters['steps']:.0f}, {counters['seconds']:.1f} s, "
                f"valid −ELBO {bound:.3f}, KL {kl:.3f}"
            )

    def testing(self) -> None:
        """See runner.Observer."""
        if self._live is not None:
            self._live.update(self._task, completed=1.0, status="metrics on the test split")

    def finished(self, record: RunRecord) -> None:
        """See runner.Observer."""
        if self._live is not None:
            self._live.remove_task(self._task)
        found = {value.column: value for value in record.values}
        numbers = [f"{found[name].title} {float(found[name].estimate):.3f}" for name in SHOWN if name in found]
        seconds = record.counters.get("seconds")
        clock = [] if seconds is None else [f"{seconds:.1f} s"]
        details = ", ".join([*numbers, *clock]) or record.message
        line = f"{record.outcome.value}  {record.run_id}  {record.contender} seed {record.spec.seed}: {details}"
        if record.outcome == "failed":
            click.echo(" ".join(line.split("\n")), err=True)
        else:
            self._say(line)

    def _say(self, line: str) -> None:
        if self._quiet:
            return
        if self._live is not None:
            self._live.console.print(line, highlight=False, markup=False, soft_wrap=True)
        else:
            click.echo(line)


@contextmanager
def progress(*, quiet: bool, verbose: bool) -> Iterator[Lines]:
    """The observer of one command: live lines only on a terminal, nothing but errors if quiet."""
    if quiet or not sys.stderr.isatty():
        yield Lines(live=None, quiet=quiet, verbose=verbose)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[status]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=4, transient=True) as live:
        yield Lines(live=live, quiet=quiet, verbose=verbose)
