"""The executors that come with the harness, and how one is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collapsebench.components.hookspecs import hookimpl
from collapsebench.errors import UsageError
from collapsebench.experiment.executors import Executor, InProcess
from collapsebench.experiment.processes import Processes
from collapsebench.syntax import parse_composition

if TYPE_CHECKING:
    from collapsebench.components.catalog import Catalog
    from collapsebench.components.interfaces import Component
    from collapsebench.experiment.work import GridSetup


def executor_for(workers: int, threads: int | None = None) -> Executor:
    """Return what runs this many specs at a time: this process if it is one, worker processes if it is more."""
    return InProcess(threads=threads) if workers == 1 else Processes(workers=workers, threads=threads)


def executor_named(text: str, catalog: Catalog) -> Executor:
    """Return the executor of a text such as `slurm[partition=gpu]`. Raises UsageError for one that does not exist."""
    calls = parse_composition(text)
    if len(calls) > 1:
        raise UsageError(f"one executor works through a grid, got '{text}'")
    return catalog.create(Executor, calls[0])


def chosen(named: str | None, workers: int | None, threads: int | None, setup: GridSetup) -> Executor:
    """Return the executor that a user chooses for a grid, by its name or by the number of workers.

    Raises UsageError for one that does not exist, and if both are given.
    """
    if named is None:
        return executor_for(workers or 1, threads)
    if workers is not None or threads is not None:
        raise UsageError(
            f"workers and threads are parameters of an executor, as in processes[workers=2]; got '{named}', too"
        )
    return executor_named(named, setup.catalog)


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Return the executors that come with the harness."""
    return [InProcess, Processes]
