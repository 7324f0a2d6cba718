"""What becomes of runs that are stored as started: whether they run or wait, where, and how far they are.

It is read from pulses, claims, tickets and records, which lie in files, and from the schedulers that have runs. So it
needs no accounting, and no command that follows the runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from collapsebench.experiment.asking import Schedulers
from collapsebench.experiment.claims import Claims
from collapsebench.experiment.jobs import JOBS, RECORDS, JobFiles
from collapsebench.experiment.pulses import Pulse, read_pulse
from collapsebench.experiment.work import folder_of
from collapsebench.record import json_number
from collapsebench.reporting.running import share_in_words
from collapsebench.syntax import parse_composition

if TYPE_CHECKING:
    from collapsebench.experiment.jobs import JobKey, Ticket
    from collapsebench.experiment.schedulers import Job
    from collapsebench.store import Store


class State(StrEnum):
    """What becomes of a run, those first that people look for first."""

    RUNNING = "running"
    STOPPING = "stopping"
    HANDED = "handed to"
    """To a scheduler that cannot be asked on this machine."""
    QUEUED = "queued"
    OVER = "over, not taken in"
    """Its record is there. The same command stores it."""
    SILENT = "no sign"
    """Nobody computes it any more, as far as can be seen."""

    @property
    def goes_on(self) -> bool:
        """True if something will still change without a further command."""
        return self not in {State.OVER, State.SILENT}


class RunState(NamedTuple):
    """What is known of a run."""

    state: State
    scheduler: str = ""
    """The name of the scheduler that has it; empty if none has."""
    node: str = ""
    """The machine that computes it, or why it waits."""
    pulse: Pulse | None = None

    @property
    def words(self) -> str:
        """The state, as people read it."""
        return f"{self.state} {self.scheduler}" if self.state is State.HANDED else self.state.value

    @property
    def cells(self) -> tuple[str, ...]:
        """State, machine, steps, share and bound, as a table has them; what is not known is empty."""
        if self.pulse is None:
            return self.words, self.node, "", "", ""
        steps, bound = self.pulse.steps, self.pulse.bound
        numbers = ("" if steps is None else str(steps), self._share, "" if bound is None else f"{bound:.2f}")
        return self.words, self.node, *numbers

    @property
    def _share(self) -> str:
        """The share, and how old it is if the run should go on."""
        if self.pulse is None:
            return ""
        return share_in_words(self.pulse.share, self.pulse.silent if self.state in {State.RUNNING, State.SILENT} else 0)

    def as_json(self) -> dict[str, Any]:
        """Give the same as JSON has it."""
        pulse = self.pulse or Pulse(0.0, 0.0)
        known = self.pulse is not None
        return {
            "state": self.words,
            "node": self.node or None,
            "steps": pulse.steps,
            "share": pulse.share if known else None,
            "valid_neg_elbo": json_number(pulse.bound),
            "silent_seconds": round(pulse.silent, 1) if known else None,
        }


class StateReader:
    """Reads the states of the runs of one store."""

    def __init__(self, name: str, work_folder: Path | None = None, plugins: Iterable[Path] = ()) -> None:
        """`name` is the file or the URL of the store. The runs' files lie beside it, or in a folder of work.

        `plugins` are Python files with schedulers that are not installed.
        """
        self._jobs = JobFiles(folder_of(JOBS, name, work_folder), folder_of(RECORDS, name, work_folder))
        self._checkpoints = folder_of("checkpoints", name, work_folder)
        self._schedulers = Schedulers(plugins)

    def read(self, store: Store, run_ids: Iterable[str]) -> dict[str, RunState]:
        """Return the states of runs that the store has as started, by run id."""
        ids = list(run_ids)
        found = {run_id: self._jobs.ticket(run_id) for run_id in ids}
        tickets = {run_id: ticket for run_id, ticket in found.items() if ticket is not None}
        alive = {text: self._schedulers.alive(text) for text in {each.executor for each in tickets.values()}}
        over = self._jobs.arrived()  # after the question, as a job that ends between the two has left its record
        taken = (store if store.has_claims else Claims(self._checkpoints)).taken(ids)
        return {
            run_id: self._state(run_id, tickets.get(run_id), alive, over=run_id in over, taken=run_id in taken)
            for run_id in ids
        }

    def _state(
        self,
        run_id: str,
        ticket: Ticket | None,
        alive: Mapping[str, Mapping[JobKey, Job] | None],
        *,
        over: bool,
        taken: bool,
    ) -> RunState:
        pulse = read_pulse(self._checkpoints, run_id)
        node = pulse.node if pulse is not None else ""
        if over:
            return RunState(State.OVER, node=node, pulse=pulse)
        if ticket is None:
            return RunState(_state_here(pulse, taken=taken), node=node, pulse=pulse)
        scheduler, jobs = parse_composition(ticket.executor)[0].name, alive[ticket.executor]
        job = jobs.get(ticket.key) if jobs is not None else None
        if job is None:
            state = State.HANDED if jobs is None else State.QUEUED if taken else State.SILENT
            fresh = pulse is not None and pulse.fresh
            return RunState(State.RUNNING if fresh else state, scheduler, node, pulse)
        state = State.RUNNING if job.running and self._jobs.progress(ticket).exists() else State.QUEUED
        return RunState(State.STOPPING if ticket.stopped else state, scheduler, job.node, pulse)


def _state_here(pulse: Pulse | None, *, taken: bool) -> State:
    """Return the state of a run that no scheduler has. One that is taken and has told nothing waits for its turn."""
    if pulse is not None and (taken or pulse.fresh):
        return State.RUNNING
    return State.QUEUED if taken else State.SILENT
