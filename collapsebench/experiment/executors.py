"""Executors work through the runs of a grid: in this process, in several processes, or on other machines."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Iterable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveInt

from collapsebench.components.interfaces import Component
from collapsebench.experiment.memory import uncollected
from collapsebench.experiment.worker import PRELOADED, torch_threads

if TYPE_CHECKING:
    from collapsebench.experiment.events import Observer
    from collapsebench.experiment.jobs import Ticket
    from collapsebench.experiment.work import GridSetup, RunSetup
    from collapsebench.record import RunRecord
    from collapsebench.spec import RunSpec


class Executor(Component):
    """A way to compute the runs of a grid."""

    kind: ClassVar[str] = "executor"

    @property
    @abstractmethod
    def at_once(self) -> int:
        """The number of runs that it computes at a time, or about that, for the time that a grid will take."""

    def warm_up(self) -> None:
        """Begin what needs no plan, while somebody else makes it. Raises CollapsebenchError if it cannot be used."""

    def check(self, setup: GridSetup) -> None:
        """Raise UsageError if it cannot compute the runs of a grid."""

    def preview(self, setup: RunSetup, specs: Sequence[RunSpec]) -> str:
        """Return what it would hand to another program for these runs, for people to read; empty if there is none."""
        del setup, specs
        return ""

    def follows(self, ticket: Ticket) -> bool:
        """Return True if it can follow a run that was handed out before, so that `submit` may get it."""
        del ticket
        return False

    @abstractmethod
    def submit(self, setup: RunSetup, specs: Iterable[RunSpec], observe: Observer) -> Generator[RunRecord, None, None]:
        """Compute every spec, and yield its record as soon as the run is over.

        Each run goes through the runner of `setup`, here or in another process, as a setup can be pickled. A spec is
        taken from `specs` only when there is room for it: from then on it counts as started. The record is stored by
        the caller. `observe` is told the events of all runs; it is always called in this process.
        """


class InProcess(Executor):
    """Runs one spec after the other, in this process."""

    name: ClassVar[str] = "in-process"

    threads: PositiveInt | None = Field(None, description="threads of torch; default: the processors it may use")

    @property
    def at_once(self) -> int:
        """One."""
        return 1

    def check(self, setup: GridSetup) -> None:
        """See Executor. The device must be here."""
        setup.check_workers(1)
        setup.check_devices()

    def submit(self, setup: RunSetup, specs: Iterable[RunSpec], observe: Observer) -> Generator[RunRecord, None, None]:
        """Run each spec in turn."""
        with uncollected():
            for module in PRELOADED:
                import_module(module)
        runner = setup.runner(observe)
        for spec in specs:
            with torch_threads(self.threads):
                record = runner.run(spec)
            yield record
