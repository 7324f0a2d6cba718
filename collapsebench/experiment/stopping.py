"""Stops runs that a scheduler has. Their checkpoints stay, so that the command that made them goes on with them.

A task of a scheduler may have several runs. It is ended if it is at one of the runs that are to stop, or if it has no
other runs left. Otherwise it goes on, and leaves out what was stopped. The others of a task that is ended have lost
nothing either: their driver, or the next command, hands them out again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from collapsebench.errors import CollapsebenchError
from collapsebench.experiment.asking import Schedulers
from collapsebench.experiment.claims import Claims
from collapsebench.experiment.ledger import Ledger
from collapsebench.experiment.pulses import read_pulse
from collapsebench.experiment.schedulers import STOPPED, stop_jobs
from collapsebench.experiment.signals import Interrupts
from collapsebench.experiment.work import GridSetup
from collapsebench.record import Outcome
from collapsebench.store import Store

if TYPE_CHECKING:
    from collapsebench.experiment.events import Event
    from collapsebench.experiment.jobs import JobKey, Ticket


class Stopped(NamedTuple):
    """What became of runs that were to stop."""

    stopped: tuple[str, ...]
    """The ids of those that were stopped."""
    others: tuple[str, ...]
    """The ids of further runs, whose jobs ended with these."""
    refused: tuple[str, ...]
    """A line for each of those that were not stopped."""

    @property
    def text(self) -> str:
        """Say in words what was stopped."""
        again = f"; {len(self.others)} more runs of their jobs ended with them, and are queued again by their command"
        return f"{len(self.stopped)} runs stopped{again if self.others else ''}"


def stop_runs(
    store: str, named: Sequence[str] | None, work_folder: Path | None = None, plugins: Iterable[Path] = ()
) -> Stopped:
    """Stop runs, by their ids or the first digits; None means all that schedulers have.

    Their files lie beside the store or in `work_folder`. `plugins` are Python files with schedulers that are not
    installed. Raises UsageError if an id means no run or several, and then stops nothing. Raises StoreError.
    """
    setup = GridSetup((), tuple(plugins), Path(), store, work_folder=work_folder)
    with Interrupts() as interrupts, Ledger.open(setup, _ignore, interrupts) as ledger:
        refused = dict(_refused(setup, named))
        handed = [each for each in _meant(setup, named) if each not in refused]
        stopping = _Stopping(setup, handed)
        stopping.end_jobs(Schedulers(plugins))
        for run_id in stopping.stopped:
            ledger.stop(run_id, STOPPED)
    return Stopped(tuple(stopping.stopped), tuple(stopping.others), (*refused.values(), *stopping.refused))


def _ignore(event: Event) -> None:
    del event


def _meant(setup: GridSetup, named: Sequence[str] | None) -> list[str]:
    """Return the ids of the runs that are meant."""
    if named is None:
        over = setup.jobs.arrived()
        return [ticket.run_id for ticket in setup.jobs.tickets() if ticket.run_id not in over]
    with Store.reading(setup.store) as store:
        return list(dict.fromkeys(map(store.resolve, named)))


def _refused(setup: GridSetup, named: Sequence[str] | None) -> Iterator[tuple[str, str]]:
    """Yield the runs that no scheduler has, each with the line that says so."""
    with Store.reading(setup.store) as store:
        started = [run.run_id for run in store.summaries(outcome=Outcome.STARTED)] if named is None else []
        meant = [*started, *_meant(setup, named)]
        outcomes = store.outcomes(meant)
        taken = (store if store.has_claims else Claims(setup.checkpoints.folder)).taken(meant)
    over = setup.jobs.arrived()
    for run_id in meant:
        if run_id in over and named is not None:
            yield run_id, f"run {run_id} is over: its command takes it in"
        elif setup.jobs.ticket(run_id) is not None:
            continue
        elif outcomes.get(run_id) is Outcome.STARTED and run_id in taken:
            pulse = read_pulse(setup.checkpoints.folder, run_id)
            where = f" on {pulse.node}" if pulse is not None and pulse.node else ""
            yield run_id, f"run {run_id} is computed by a command{where}: end that"
        elif named is not None:
            what = "is computed by nobody" if outcomes[run_id] is Outcome.STARTED else f"is {outcomes[run_id]}"
            yield run_id, f"run {run_id} {what}: there is nothing to stop"


class _Stopping:
    """Ends the tasks of runs that have tickets."""

    def __init__(self, setup: GridSetup, run_ids: Iterable[str]) -> None:
        self._jobs = setup.jobs
        found = {run_id: self._jobs.ticket(run_id) for run_id in run_ids}
        self._tickets = {run_id: ticket for run_id, ticket in found.items() if ticket is not None}
        self.stopped: list[str] = []
        self.others: list[str] = []
        self.refused: list[str] = []

    def end_jobs(self, schedulers: Schedulers) -> None:
        """End what is to end, scheduler by scheduler. One that cannot be asked refuses its runs."""
        by_scheduler: defaultdict[str, list[Ticket]] = defaultdict(list)
        for ticket in self._tickets.values():
            by_scheduler[ticket.executor].append(ticket)
        for text, tickets in by_scheduler.items():
            try:
                self._end(schedulers, text, tickets)
            except CollapsebenchError as error:
                self.refused.append(f"{len(tickets)} runs were handed to {text}, which does not stop them: {error}")

    def _end(self, schedulers: Schedulers, text: str, tickets: Sequence[Ticket]) -> None:
        """End the tasks of one scheduler. Tickets are marked before, so that nobody hands the runs out again."""
        scheduler = schedulers.named(text)
        scheduler.jobs()  # one that cannot be asked leaves the tickets as they are
        for ticket in tickets:
            self._jobs.write_ticket(ticket._replace(stopped=True))
        others = self._others(tickets)
        ending = {key for key, left in others.items() if not left or self._is_at(key, tickets)}
        try:
            stop_jobs(scheduler, ending)
        except CollapsebenchError:
            for ticket in tickets:
                self._jobs.write_ticket(ticket)
            raise
        over = self._jobs.arrived()
        for ticket in tickets:
            if ticket.run_id in over:
                self.refused.append(f"run {ticket.run_id} was over before: its command takes it in")
            else:
                self.stopped.append(ticket.run_id)
        self.others += [run_id for key in ending for run_id in others[key]]

    def _others(self, tickets: Sequence[Ticket]) -> Mapping[JobKey, list[str]]:
        """Return the runs of the same tasks that are neither stopped nor over, by task."""
        over = self._jobs.arrived()
        found = {ticket.key: self._runs_of(ticket) for ticket in tickets}
        return {
            key: [run_id for run_id in run_ids if run_id not in over and self._waits(run_id, key)]
            for key, run_ids in found.items()
        }

    def _runs_of(self, ticket: Ticket) -> Sequence[str]:
        with suppress(OSError, ValueError, LookupError):
            return self._jobs.batch(ticket).tasks[ticket.task]
        return ()

    def _waits(self, run_id: str, key: JobKey) -> bool:
        ticket = self._jobs.ticket(run_id)
        return ticket is not None and ticket.key == key and not ticket.stopped

    def _is_at(self, key: JobKey, tickets: Iterable[Ticket]) -> bool:
        """Return True if a task has begun one of its runs that are to stop, or begins it just now."""
        own = [ticket for ticket in tickets if ticket.key == key]
        begun = any(self._jobs.progress(ticket).exists() for ticket in own)
        return begun or bool(Claims(self._jobs.folder).taken(ticket.run_id for ticket in own))
