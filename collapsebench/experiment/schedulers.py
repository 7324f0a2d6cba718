"""Executors that hand runs to a scheduler, whose jobs go on without this process.

All that is known of a run lies in files (see `jobs`). So a driver that dies loses nothing: the next one finds the
records of the runs that are over and the tickets of those that are queued, asks the scheduler which of these are alive,
and hands out only what is missing.
"""

from __future__ import annotations

import math
import os
import shlex
import subprocess
import sys
import time
from abc import abstractmethod
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from pydantic import Field, PositiveInt

from collapsebench.errors import CollapsebenchError
from collapsebench.experiment.endings import RunEnding, begun, ended
from collapsebench.experiment.events import Started, Warned
from collapsebench.experiment.executors import Executor
from collapsebench.experiment.jobs import Batch, JobKey, Ticket, tail
from collapsebench.experiment.plans import FrozenPlan
from collapsebench.experiment.relay import EventFile
from collapsebench.experiment.worker import check_importable
from collapsebench.printable import printable
from collapsebench.syntax import parse_composition, print_call

if TYPE_CHECKING:
    from collapsebench.experiment.events import Observer
    from collapsebench.experiment.work import GridSetup, RunSetup
    from collapsebench.record import RunRecord
    from collapsebench.spec import RunSpec

TRIES: Final = 2
"""A run whose jobs were lost so many times has failed."""
STOPPED: Final = "stopped by the user"
"""The message of a run that `runs stop` has ended."""


class Job(NamedTuple):
    """A task that the scheduler knows, as it is waiting or running."""

    job_id: str
    """As the scheduler calls it."""
    running: bool
    node: str
    """Where it runs, or why it waits."""


class Scheduler(Executor):
    """An executor whose jobs go on without this process."""

    runs_per_job: PositiveInt = Field(1, description="runs that one job computes, one after the other")
    threads: PositiveInt | None = Field(None, description="threads of torch in each run; default: those of the job")

    look: ClassVar[float] = 1.0
    """The seconds between two looks at the files of jobs."""
    ask: ClassVar[float] = 5.0
    """The seconds between two questions to the scheduler."""
    lateness: ClassVar[float] = 10.0
    """The seconds that a job's files may come late, or that a scheduler may not know a job which it requeues."""
    patience: ClassVar[float] = 60.0
    """The seconds for which the scheduler may give no answer."""
    again: ClassVar[float] = 60.0
    """The seconds after which a scheduler that takes no more jobs is asked again."""
    ending: ClassVar[float] = 10.0
    """The seconds that jobs which were cancelled may take to end."""

    @abstractmethod
    def script(self, batch: Batch) -> str:
        """Return what is handed to the scheduler for a batch."""

    @abstractmethod
    def launch(self, batch: Batch) -> str:
        """Hand a batch to the scheduler, and return its id. Raises CollapsebenchError if that is refused."""

    @abstractmethod
    def jobs(self) -> Mapping[JobKey, Job]:
        """Return the tasks of this user that wait or run. Raises CollapsebenchError if there is no answer."""

    @abstractmethod
    def cancel(self, jobs: Collection[Job]) -> None:
        """End tasks. Those that are over already are no error. Raises CollapsebenchError if that is refused."""

    @abstractmethod
    def output(self, key: JobKey, batch: Batch) -> str:
        """Return the last lines that the processes of a task printed outside of runs."""

    @abstractmethod
    def most_tasks(self) -> int:
        """Return the largest number of tasks of one batch."""

    def check(self, setup: GridSetup) -> None:
        """See Executor. A job must be able to import the classes of the runs."""
        check_importable(setup.components)

    def preview(self, setup: RunSetup, specs: Sequence[RunSpec]) -> str:
        """Return the script of the first batch. Nothing is written."""
        self.warm_up()
        tasks = self._tasks([spec.run_id for spec in specs])[: self.most_tasks()]
        return self.script(Batch(setup.jobs.folder.absolute() / "PLAN", 0, tasks)) if tasks else ""

    def follows(self, ticket: Ticket) -> bool:
        """True for runs that an executor of this name was handed, with whatever parameters."""
        return parse_composition(ticket.executor)[0].name == self.name

    def submit(self, setup: RunSetup, specs: Iterable[RunSpec], observe: Observer) -> Generator[RunRecord, None, None]:
        """Hand all runs out, and yield their records as they come. An interrupt ends the jobs, an error leaves them."""
        following = Following(self, setup, observe, {spec.run_id: spec for spec in specs})
        try:
            with following.stopped_at_an_interrupt():
                while following.open:
                    yield from following.look()
                    time.sleep(self.look)
        except KeyboardInterrupt:
            yield from following.arrived()
            raise

    def hand_out(self, setup: RunSetup, specs: Iterable[RunSpec], observe: Observer) -> Handout:
        """Hand runs out, and return what became of them. Those that are queued or running already stay so."""
        following = Following(self, setup, observe, {spec.run_id: spec for spec in specs})
        with following.stopped_at_an_interrupt():
            records = list(following.look())
            while not following.clear:
                time.sleep(self.look)
                records += following.look()
        return Handout(tuple(records), following.submitted, following.alive)

    def batches(self, setup: RunSetup, specs: Sequence[RunSpec]) -> Iterator[Batch]:
        """Freeze runs into batches that the scheduler takes."""
        folder = FrozenPlan(setup, tuple(specs), self.threads).freeze()
        tasks, most = self._tasks([spec.run_id for spec in specs]), self.most_tasks()
        for start in range(0, len(tasks), most):
            yield setup.jobs.new_batch(folder, tasks[start : start + most])

    def _tasks(self, run_ids: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        size = self.runs_per_job
        return tuple(tuple(run_ids[start : start + size]) for start in range(0, len(run_ids), size))


class Handout(NamedTuple):
    """What became of runs that were handed out."""

    records: tuple[RunRecord, ...]
    """The records of those that are over."""
    submitted: Mapping[str, int]
    """The ids of new batches, with the number of their runs."""
    waiting: frozenset[str]
    """The ids of the runs that are queued or running now. Others were refused."""


class Following:
    """Follows runs through the files of their jobs until their records are there."""

    def __init__(self, scheduler: Scheduler, setup: RunSetup, observe: Observer, specs: dict[str, RunSpec]) -> None:
        """`specs` are the runs, by id. Some may have been handed out before."""
        self._scheduler, self._setup, self._jobs, self._observe = scheduler, setup, setup.jobs, observe
        self.open = specs
        """The runs that are not over, by id."""
        found = {run_id: self._jobs.ticket(run_id) for run_id in specs}
        self._tickets = {run_id: ticket for run_id, ticket in found.items() if ticket is not None}
        self._lost = dict.fromkeys(specs, 0) | {run_id: ticket.lost for run_id, ticket in self._tickets.items()}
        self._events: dict[str, EventFile] = {}
        self._records: dict[str, RunRecord] = {}
        self.submitted: dict[str, int] = {}
        """The ids of the batches that were handed out here, with the number of their runs."""
        self._gone: dict[str, float] = {}
        """The runs whose jobs were gone at the last question, without a record, and since when that is so."""
        self._asked, self._unanswered, self._refused = -math.inf, math.inf, -math.inf
        """When the scheduler was asked, since when it gives no answer, and when it refused jobs."""
        self._compared = False

    @property
    def clear(self) -> bool:
        """True if it is known of every run whether it waits, runs, was refused or is over."""
        return not self.open or (self._compared and not self._gone)

    @property
    def alive(self) -> frozenset[str]:
        """The ids of the runs that are queued or running."""
        return frozenset(self._tickets)

    def look(self) -> Iterator[RunRecord]:
        """Pass on what is new, yield the records that came, and hand out what is missing."""
        self._pass_on()
        yield from self.arrived()
        if self.open and time.monotonic() - self._asked >= self._scheduler.ask:
            yield from self._compare(self._alive())

    def arrived(self) -> Iterator[RunRecord]:
        """Yield the records that are there."""
        for run_id in sorted(self.open.keys() & self._jobs.arrived()):
            record = self._jobs.read_record(run_id)
            if record is not None:
                self._tell_news(run_id)  # the last of what it told came since the last look
                yield self._over(record)

    @contextmanager
    def stopped_at_an_interrupt(self) -> Iterator[None]:
        """End the jobs of all runs if the block is interrupted or left. An error leaves them to the next driver."""
        try:
            yield
        except KeyboardInterrupt:
            self._stop()
            raise
        except GeneratorExit as left:
            if not isinstance(left.__context__, Exception):
                self._stop()
            raise

    def _stop(self) -> None:
        with suppress(CollapsebenchError):
            stop_jobs(self._scheduler, {ticket.key for ticket in self._tickets.values()})
        for run_id in self._tickets:
            self._jobs.drop_ticket(run_id)

    def _over(self, record: RunRecord) -> RunRecord:
        for known in (self.open, self._tickets, self._events, self._records, self._gone):
            known.pop(record.run_id, None)
        return record

    def _pass_on(self) -> None:
        """Tell the observer what runs have told since the last look."""
        for run_id in sorted(self._tickets.keys() & self._jobs.begun(self._tickets.values())):
            self._tell_news(run_id)

    def _tell_news(self, run_id: str) -> None:
        if run_id in self._tickets and run_id not in self._events:
            self._events[run_id] = EventFile(self._jobs.progress(self._tickets[run_id]))
        for event in self._events[run_id].news() if run_id in self._events else ():
            if isinstance(event, Started):
                self._records[run_id] = event.record
            self._observe(event)

    def _alive(self) -> Mapping[JobKey, Job] | None:
        """Ask the scheduler; None if it gives no answer. Raises its error if it has given none for long."""
        self._asked = time.monotonic()
        try:
            alive = self._scheduler.jobs()
        except CollapsebenchError:
            self._unanswered = min(self._unanswered, self._asked)
            if self._asked - self._unanswered >= self._scheduler.patience:
                raise
            return None
        self._unanswered = math.inf
        return alive

    def _compare(self, alive: Mapping[JobKey, Job] | None) -> Iterator[RunRecord]:
        """Compare the open runs with the jobs that are alive. What has none is handed out, or over."""
        if alive is None:
            return
        gone = [run_id for run_id, ticket in self._tickets.items() if ticket.key not in alive]
        self._gone = {run_id: self._gone.get(run_id, self._asked) for run_id in gone}
        yield from self.arrived()
        late = [run_id for run_id, since in self._gone.items() if self._asked - since >= self._scheduler.lateness]
        tickets = [self._jobs.ticket(run_id) or self._tickets[run_id] for run_id in late]
        for ticket, blamed in [(ticket, self._to_blame(ticket)) for ticket in tickets]:  # before events are removed
            yield from self._without_result(ticket, blamed=blamed)
        self._submit([spec for run_id, spec in self.open.items() if run_id not in self._tickets])
        self._compared = True

    def _without_result(self, ticket: Ticket, *, blamed: bool) -> Iterator[RunRecord]:
        """Go on where the job of a run is gone. The run was stopped, has failed, or is to be handed out again."""
        run_id = ticket.run_id
        self._lost[run_id] = ticket.lost + blamed
        if ticket.stopped:
            yield self._over(self._ended(ticket, RunEnding.interrupted(STOPPED)))
        elif self._lost[run_id] >= TRIES:
            yield self._over(self._ended(ticket, self._failure(ticket)))
        else:
            if blamed:
                self._observe(Warned(run_id, f"the job of run {run_id} ended without its result: it is queued again"))
            for known in (self._tickets, self._events, self._gone):
                known.pop(run_id, None)

    def _to_blame(self, ticket: Ticket) -> bool:
        """Return True if a job ended at this run without being told to, or before it came to any run at all."""
        with suppress(OSError, ValueError, LookupError):
            batch = self._jobs.batch(ticket)
            others = batch.tasks[ticket.task]
            if any(batch.progress(run_id).exists() for run_id in others):
                return EventFile(batch.progress(ticket.run_id)).abandoned()
        return True

    def _failure(self, ticket: Ticket) -> RunEnding:
        log = tail(self._jobs.log(ticket.run_id))
        with suppress(OSError, ValueError):
            log = "\n".join(filter(None, (log, self._scheduler.output(ticket.key, self._jobs.batch(ticket)))))
        last = next((printable(line) for line in reversed(log.splitlines()) if line.strip()), "it printed nothing")
        return RunEnding.failed(f"its job ended without its result, {TRIES} times: {last:.300}", log)

    def _ended(self, ticket: Ticket, ending: RunEnding) -> RunRecord:
        record = self._records.get(ticket.run_id)
        return ended(record or begun(self.open[ticket.run_id], self._setup.device), ending)

    def _submit(self, specs: Sequence[RunSpec]) -> None:
        """Hand out runs. If the scheduler takes no more for now, those that it has go on, and it is asked again."""
        refused_lately = self._asked - self._refused < self._scheduler.again
        if not specs or (refused_lately and self._tickets):
            return
        for batch in self._scheduler.batches(self._setup, specs):
            tickets = self._tickets_of(batch)
            self._tickets |= {ticket.run_id: ticket for ticket in tickets}  # a signal from here on takes them back
            try:
                for ticket in tickets:
                    self._jobs.write_ticket(ticket)
                self.submitted[self._scheduler.launch(batch)] = len(tickets)
            except CollapsebenchError as error:
                self._take_back(batch, tickets)
                if not self._tickets:
                    raise
                self._tell_refusal(error, tickets[0].run_id)
                return

    def _take_back(self, batch: Batch, tickets: Sequence[Ticket]) -> None:
        """Undo what was written for a batch that was refused."""
        for ticket in tickets:
            self._jobs.drop_ticket(ticket.run_id)
            self._tickets.pop(ticket.run_id)
        batch.discard()

    def _tell_refusal(self, error: CollapsebenchError, run_id: str) -> None:
        if self._refused == -math.inf:
            self._observe(Warned(run_id, f"{self._scheduler.name} takes no more jobs for now: {error}"))
        self._refused = self._asked

    def _tickets_of(self, batch: Batch) -> list[Ticket]:
        text = print_call(self._scheduler.name, self._scheduler.model_dump(mode="json", exclude_defaults=True))
        return [
            Ticket(run_id, batch.name, task, text, self._lost[run_id])
            for task, run_ids in enumerate(batch.tasks)
            for run_id in run_ids
        ]


def job_command(batch: Batch, task: str) -> str:
    """Write the shell command that computes a task, of which the shell knows the number, as `$TASK`."""
    program = shlex.join([sys.executable, "-u", "-m", "collapsebench.experiment.job", str(batch.folder)])
    return f"{program} {batch.number} {task}"


def answer(*command: str, without: tuple[str, ...] = ()) -> Sequence[str]:
    """Return what a command of a scheduler prints, as lines. It has 40 s, as that of Slurm gives up after 30.

    It gets no variable whose name begins with one of `without`. Raises CollapsebenchError.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith(without)}
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=40, env=env)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None)
        raise CollapsebenchError(f"{command[0]} failed: {last_line(said or str(error))}") from error
    return done.stdout.splitlines()


def last_line(text: str) -> str:
    """Return the last line that is not empty."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it said nothing")


def stop_jobs(scheduler: Scheduler, keys: Collection[JobKey]) -> None:
    """End the jobs of these tasks, and wait for that a while. Raises CollapsebenchError if the scheduler refuses."""
    alive = _living(scheduler, keys)
    if alive:
        scheduler.cancel(alive)
    end = time.monotonic() + scheduler.ending
    while alive and time.monotonic() < end:
        time.sleep(scheduler.look / 2)
        alive = _living(scheduler, keys)


def _living(scheduler: Scheduler, keys: Collection[JobKey]) -> list[Job]:
    return [job for key, job in scheduler.jobs().items() if key in keys]
