"""The files by which a driver and the jobs of a scheduler work together. They need not live at the same time.

jobs/PLAN/plan.pickle         the setup and the specs, frozen when they were handed out
jobs/PLAN/plugins/            the plugin files as they were then
jobs/PLAN/N.json              the run ids of every task of one batch
jobs/PLAN/N/RUN_ID.jsonl      the events of a run, one a line
jobs/runs/RUN_ID.json         the ticket of a run: where it was handed to
jobs/logs/RUN_ID.log          what its processes printed
records/RUN_ID.json           the record of a run that is over, until a driver takes it in
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Final, NamedTuple

from collapsebench.errors import CollapsebenchError, UsageError
from collapsebench.files import replacing
from collapsebench.syntax import parse_composition

if TYPE_CHECKING:
    from collapsebench.record import RunRecord

JOBS, RECORDS = "jobs", "records"
"""The names of the two folders, as those of codes and checkpoints."""


AGAIN: Final = os.EX_TEMPFAIL
"""The exit code of a job that wants to go on in another one."""


NAME_OF_BATCH: Final = re.compile(r"\w+-\d+", re.ASCII)
"""The name of a plan's folder, and the number of the batch. Nothing else is ever part of a file's name."""


class JobKey(NamedTuple):
    """The name of one task of a scheduler: that of its batch, and its number there."""

    batch: str
    task: int


class Ticket(NamedTuple):
    """Where a run was handed to, until its record is taken in."""

    run_id: str
    batch: str
    task: int
    executor: str
    """The executor, as a user writes it."""
    lost: int = 0
    """So many of its jobs ended without its record, and without being told to."""
    stopped: bool = False
    """True if a user has stopped it."""

    @property
    def key(self) -> JobKey:
        """The task that computes it."""
        return JobKey(self.batch, self.task)


@dataclass(frozen=True)
class Batch:
    """Tasks that are handed to a scheduler together. Every task computes its runs one after the other."""

    folder: Path
    """The folder of the plan."""
    number: int
    tasks: tuple[tuple[str, ...], ...]
    """The run ids of every task."""

    @property
    def name(self) -> str:
        """A name that no other batch has."""
        return f"{self.folder.name}-{self.number}"

    @classmethod
    def read(cls, folder: Path, number: int) -> Batch:
        """Read a batch. Raises OSError or ValueError if it is not there."""
        tasks = json.loads((folder / f"{number}.json").read_text(encoding="utf-8"))
        return cls(folder, number, tuple(map(tuple, tasks)))

    @property
    def events(self) -> Path:
        """The folder of the events of its runs."""
        return self.folder / str(self.number)

    def progress(self, run_id: str) -> Path:
        """The file of a run's events."""
        return self.events / f"{run_id}.jsonl"

    def begun(self) -> set[str]:
        """Return the ids of the runs that have told something. One look at a folder is less than one at every file."""
        return _names(self.events, ".jsonl")

    def discard(self) -> None:
        """Forget a batch that was refused. Its number stays taken, as a scheduler may have heard of it all the same."""
        with suppress(OSError):
            (self.folder / f"{self.number}.json").write_text("", encoding="utf-8")
            self.events.rmdir()


@dataclass(frozen=True)
class JobFiles:
    """The files of all jobs of one store."""

    folder: Path
    records: Path

    @classmethod
    def below(cls, folder: Path) -> JobFiles:
        """Return the files of jobs in one folder of work."""
        return cls(folder / JOBS, folder / RECORDS)

    def absolute(self) -> JobFiles:
        """Return the same for a process with another working folder."""
        return JobFiles(self.folder.absolute(), self.records.absolute())

    def new_batch(self, folder: Path, tasks: Sequence[Sequence[str]]) -> Batch:
        """Write the next batch of a plan. Raises CollapsebenchError if that cannot be written."""
        number = 0
        with writing(folder):
            while True:
                try:
                    with (folder / f"{number}.json").open("x", encoding="utf-8") as file:
                        json.dump(tasks, file)
                except FileExistsError:
                    number += 1
                else:
                    break
            batch = Batch(folder, number, tuple(map(tuple, tasks)))
            batch.events.mkdir(exist_ok=True)
        return batch

    def batch(self, ticket: Ticket) -> Batch:
        """Return the batch of a ticket. Raises OSError or ValueError if it is gone."""
        return Batch.read(*self._place(ticket))

    def progress(self, ticket: Ticket) -> Path:
        """The file of the events of a run."""
        return Batch(*self._place(ticket), ()).progress(ticket.run_id)

    def begun(self, tickets: Iterable[Ticket]) -> set[str]:
        """Return the ids of the runs that have told something in the batches of these tickets."""
        return set().union(*(Batch(*place, ()).begun() for place in set(map(self._place, tickets))))

    def _place(self, ticket: Ticket) -> tuple[Path, int]:
        plan, _, number = ticket.batch.rpartition("-")
        return self.folder / plan, int(number)

    def write_ticket(self, ticket: Ticket) -> None:
        """Write down where a run was handed to. A power cut may take it; what has no ticket is handed out again.

        Raises CollapsebenchError if it cannot be written.
        """
        path = self._ticket(ticket.run_id)
        with writing(path.parent), replacing(path, lasting=False) as partial:
            partial.write_text(json.dumps(ticket._asdict()), encoding="utf-8")

    def ticket(self, run_id: str) -> Ticket | None:
        """Return where a run was handed to; None if it was not, or if nobody can read it."""
        with suppress(OSError, ValueError, TypeError, AttributeError, UsageError):
            ticket = Ticket(**json.loads(self._ticket(run_id).read_text(encoding="utf-8")))
            whole = isinstance(ticket.task, int) and isinstance(ticket.lost, int) and parse_composition(ticket.executor)
            if whole and ticket.run_id == run_id and NAME_OF_BATCH.fullmatch(ticket.batch):
                return ticket
        return None

    def tickets(self) -> Iterator[Ticket]:
        """Yield all tickets."""
        for path in sorted((self.folder / "runs").glob("*.json")):
            ticket = self.ticket(path.stem)
            if ticket is not None:
                yield ticket

    def record(self, run_id: str) -> Path:
        """The file of the record of a run that is over."""
        return self.records / f"{run_id}.json"

    def write_record(self, record: RunRecord) -> None:
        """Write a record, whole or not at all. Raises CollapsebenchError if it cannot be written."""
        from collapsebench.experiment.relay import packed

        with writing(self.records), replacing(self.record(record.run_id)) as partial:
            partial.write_bytes(packed(record))

    def read_record(self, run_id: str) -> RunRecord | None:
        """Return the record of a run that is over, None if there is none yet.

        What is damaged, of another run or no file is set aside. A file that cannot be read now may be readable later.
        """
        from collapsebench.experiment.relay import unpacked

        path = self.record(run_id)
        with suppress(OSError):
            content = path.read_bytes() if S_ISREG(path.lstat().st_mode) else b""  # a pipe would be read for ever
            with suppress(ValueError):
                record = unpacked(content)
                if record.run_id == run_id == record.spec.run_id:
                    return record
            path.replace(path.with_suffix(".set-aside"))
        return None

    def log(self, run_id: str) -> Path:
        """The file of what the processes of a run printed."""
        return self.folder / "logs" / f"{run_id}.log"

    def arrived(self) -> set[str]:
        """Return the ids of the runs whose records are there."""
        return _names(self.records, ".json")

    def forget(self, run_id: str) -> None:
        """Remove record, ticket and events of a run whose record is stored. Its log stays."""
        ticket = self.ticket(run_id)
        if ticket is not None:
            self.progress(ticket).unlink(missing_ok=True)
        self.drop_ticket(run_id)
        self.record(run_id).unlink(missing_ok=True)

    def drop_ticket(self, run_id: str) -> None:
        """Remove the ticket of a run. What its job may still write is left alone."""
        self._ticket(run_id).unlink(missing_ok=True)

    def _ticket(self, run_id: str) -> Path:
        return self.folder / "runs" / f"{run_id}.json"


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Say in one line that a folder cannot be written to."""
    try:
        yield
    except OSError as error:
        raise CollapsebenchError(f"cannot write jobs to '{folder}': {error.strerror}") from error


def _names(folder: Path, ending: str) -> set[str]:
    """Return the names, without this ending, of the files of a folder; none if there is no folder."""
    with suppress(OSError):
        return {path.stem for path in folder.iterdir() if path.suffix == ending}
    return set()


def tail(path: Path, lines: int = 20, most: int = 4000) -> str:
    """Return the last lines of a file, at most so many bytes of them; empty if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - most))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
