"""A grid of runs: plans it, looks up its stored runs, and runs the missing ones."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from threading import RLock
from typing import TYPE_CHECKING

from collapsebench.experiment.events import Shielded
from collapsebench.experiment.signals import Interrupts
from collapsebench.metrics.codes import codes_file

if TYPE_CHECKING:
    from collapsebench.experiment.events import Observer
    from collapsebench.experiment.executors import Executor
    from collapsebench.experiment.planning import Plan
    from collapsebench.experiment.schedulers import Handout, Scheduler
    from collapsebench.experiment.work import GridSetup
    from collapsebench.record import Outcome, RunRecord
    from collapsebench.spec import RunSpec
    from collapsebench.store import Store


ONE_GRID = RLock()
"""Torch's generator and its number of threads belong to the process: threads that run grids take turns."""


@dataclass(frozen=True)
class PlannedGrid:
    """The runs that a setup asks for, with the outcomes of the stored ones."""

    setup: GridSetup
    stored: Mapping[str, Outcome]
    """The outcomes of the stored runs, by run id."""
    code: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The hashes of code that the stored runs were made with, by run id."""

    @property
    def plan(self) -> Plan:
        """All runs of the grid, stored or not."""
        return self.setup.plan

    @property
    def settled(self) -> tuple[str, ...]:
        """The ids of the runs that have a result. They are not run again."""
        run_ids = (spec.run_id for spec in self.plan.specs)
        return tuple(run_id for run_id in run_ids if run_id in self.stored and self.stored[run_id].settled)

    @property
    def missing(self) -> tuple[RunSpec, ...]:
        """The runs that have no result yet."""
        settled = set(self.settled)
        return tuple(spec for spec in self.plan.specs if spec.run_id not in settled)

    @property
    def without_codes(self) -> tuple[str, ...]:
        """The ids of the runs that have a result, but lack the codes that the setup asks for."""
        folder, trials = self.setup.codes_folder, {spec.run_id for spec in self.plan.specs if spec.protocol.of_trials}
        if folder is None:
            return ()
        return tuple(each for each in self.settled if each not in trials and not codes_file(folder, each).is_file())

    @property
    def changed(self) -> dict[str, tuple[str, ...]]:
        """The runs that have a result of other code than there is now, by the kind and name of each component."""
        found: dict[str, list[str]] = {}
        settled = set(self.settled)
        for spec in self.plan.specs:
            stored = self.code.get(spec.run_id, {}) if spec.run_id in settled else {}
            for name, now in self.setup.catalog.code_of(spec).items() if stored else ():
                if stored.get(name, now) != now:
                    found.setdefault(name, []).append(spec.run_id)
        return {name: tuple(run_ids) for name, run_ids in found.items()}

    @property
    def outdated(self) -> tuple[str, ...]:
        """The ids of the runs that `rerun` runs again: of other code, or without the codes that are asked for."""
        return tuple(dict.fromkeys([*chain.from_iterable(self.changed.values()), *self.without_codes]))


def look_up(setup: GridSetup) -> PlannedGrid:
    """Plan a grid and look up its stored runs. This changes nothing, and does not create a missing store.

    Raises UsageError, DataError, PluginError or StoreError.
    """
    _ = setup.plan  # its errors come before the import of what reads stores, which takes many times as long
    from collapsebench.store import connection

    if not connection.exists(connection.store_url(setup.store)):
        return PlannedGrid(setup, {})
    from collapsebench.store import Store

    with Store.reading(setup.store) as store:
        return _of_store(setup, store)


def prepare(setup: GridSetup) -> PlannedGrid:
    """Prepare a grid for `run_grid`: create a missing store, and delete the checkpoints of settled runs.

    With `rerun`, outdated runs are deleted, so that they are run again. Raises UsageError, DataError, PluginError or
    StoreError.
    """
    grid = _beside_store(setup)
    if setup.rerun and (outdated := grid.outdated):
        from collapsebench.store.deletion import delete_runs

        delete_runs(setup.store, outdated, work_folder=setup.work_folder)
        grid = _beside_store(setup)
    for run_id in grid.settled:
        setup.checkpoints.settle(run_id)
    for run_id in setup.jobs.arrived().intersection(grid.settled):  # of a driver that was killed before it did so
        setup.jobs.forget(run_id)
    return grid


def _beside_store(setup: GridSetup) -> PlannedGrid:
    """Plan a grid, and open the store, which is made if there is none, for what it has of it."""
    _ = setup.plan
    from collapsebench.store import Store

    with Store.open(setup.store) as store:
        return _of_store(setup, store)


def _of_store(setup: GridSetup, store: Store) -> PlannedGrid:
    """Return the grid with what an open store has of it."""
    run_ids = [spec.run_id for spec in setup.plan.specs]
    return PlannedGrid(setup, store.outcomes(run_ids), store.code_of(run_ids))


def run_grid(grid: PlannedGrid, executor: Executor, observe: Observer) -> list[RunRecord]:
    """Run and store the missing runs of a grid. Return their records in the order in which the runs end.

    `observe` gets the events of every run. If a run fails, the others go on, and its record has the outcome `failed`. A
    run that another process computes is not run here, and its record has the outcome `started`. An error of `observe`
    is a warning. Raises StoreError, and Interrupted, a KeyboardInterrupt, if a signal ends the grid.
    """
    if not grid.missing:
        return []
    from collapsebench.experiment.ledger import Ledger

    with ONE_GRID, Interrupts() as interrupts, Ledger.open(grid.setup, Shielded(observe), interrupts) as ledger:
        specs = ledger.begun(grid.missing, executor.follows)
        with closing(executor.submit(grid.setup.runs, specs, ledger.observe)) as records:
            for record in records:
                ledger.finish(record)
    return ledger.records


def hand_out_grid(grid: PlannedGrid, scheduler: Scheduler, observe: Observer) -> tuple[list[RunRecord], Handout]:
    """Hand the missing runs of a grid to a scheduler, and return without waiting for them.

    Returns the records of the runs that are over meanwhile, and what became of the others. See `run_grid`.
    """
    from collapsebench.experiment.ledger import Ledger

    with ONE_GRID, Interrupts() as interrupts, Ledger.open(grid.setup, Shielded(observe), interrupts) as ledger:
        specs = ledger.begun(grid.missing, scheduler.follows)
        handout = scheduler.hand_out(grid.setup.runs, specs, ledger.observe)
        for record in handout.records:
            ledger.finish(record)
        ledger.release(handout.waiting)
    return ledger.records, handout
