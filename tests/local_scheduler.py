"""A scheduler of this machine alone, for tests: it runs two jobs at a time, each in a process of its own.

As a program it is the scheduler itself, which outlives those who hand jobs to it. As a plugin it is the executor
`local`, and methods that wait or die while they train. Files in its folder make it refuse jobs, or give no answer.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, NamedTuple

from pydantic import Field, PositiveInt

from collapsebench import Component, Method, Progress, hookimpl
from collapsebench.errors import CollapsebenchError
from collapsebench.experiment.jobs import AGAIN, Batch, JobKey, tail
from collapsebench.experiment.schedulers import Job, Scheduler

PLUGIN = Path(__file__)
SLOTS = 2
"""The jobs that run at a time."""
REFUSE, SILENT, FORGET, INTERRUPT, HOLD, FRESH = "refuse", "silent", "forget", "interrupt", "hold", "fresh"
FAULTS = (REFUSE, SILENT, FORGET, INTERRUPT, HOLD, FRESH)
"""Files in the folder of a scheduler: so many more batches are taken; so many questions get no answer; one answer knows
no job; Ctrl-C comes when a batch is taken; no job is started; jobs are programs of their own instead of forks."""


class Local(Scheduler):
    """Each job is a process of this machine."""

    name: ClassVar[str] = "local"

    folder: str = Field(description="folder of the scheduler")
    most: PositiveInt = Field(100, description="tasks of one batch")

    look: ClassVar[float] = 0.05
    ask: ClassVar[float] = 0.1
    lateness: ClassVar[float] = 0.3
    patience: ClassVar[float] = 1.0
    again: ClassVar[float] = 0.5
    ending: ClassVar[float] = 30.0

    @property
    def at_once(self) -> int:
        return SLOTS

    def script(self, batch: Batch) -> str:
        return f"{len(batch.tasks)} jobs of {batch.name}"

    def launch(self, batch: Batch) -> str:
        refuse = Path(self.folder) / REFUSE
        if refuse.exists():
            if refuse.read_text() == "0":
                raise CollapsebenchError("the queue is full")
            count_down(refuse)
        job_id = self._told("launch", str(batch.folder), batch.number, len(batch.tasks))
        if (Path(self.folder) / INTERRUPT).exists():
            signal.raise_signal(signal.SIGINT)
        return str(job_id)

    def jobs(self) -> Mapping[JobKey, Job]:
        forget = Path(self.folder) / FORGET
        told = [] if forget.exists() else self._told("jobs")
        forget.unlink(missing_ok=True)
        return {JobKey(batch, task): Job(job_id, running, "here") for batch, task, job_id, running, _ in told}

    def cancel(self, jobs: Collection[Job]) -> None:
        self._told("cancel", [job.job_id for job in jobs])

    def output(self, key: JobKey, batch: Batch) -> str:
        return tail(Path(self.folder) / f"{key.batch}-{key.task}.out")

    def most_tasks(self) -> int:
        return self.most

    def _told(self, *question: Any) -> Any:
        silent = Path(self.folder) / SILENT
        if silent.exists():
            count_down(silent)
            if silent.read_text() == "0":
                silent.unlink()
            raise CollapsebenchError("the scheduler gives no answer")
        return ask(Path(self.folder), *question)


class Pause(Method):
    """It waits at one step until there is a file `go`, and says in another file who waits."""

    name: ClassVar[str] = "pause"

    folder: str = Field(description="where the files are")
    at: int = Field(3, description="the step")

    @hookimpl
    def kl_weight(self, progress: Progress) -> float:
        folder = Path(self.folder)
        if progress.step == self.at and not (folder / "go").exists():
            (folder / f"{os.getpid()}.waits").touch()
            while not (folder / "go").exists():
                time.sleep(0.01)
        return 1.0


class Perish(Method):
    """Its process dies at one step, so many times."""

    name: ClassVar[str] = "perish"

    folder: str = Field(description="where the deaths are counted")
    times: int = Field(1, description="how often it dies")
    at: int = Field(5, description="the step")

    @hookimpl
    def kl_weight(self, progress: Progress) -> float:
        died = Path(self.folder) / f"{self.times}.died"
        if progress.step == self.at and (deaths := died.stat().st_size if died.exists() else 0) < self.times:
            died.write_bytes(bytes(deaths + 1))
            print("the kernel needs the memory", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        return 1.0


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    return [Local, Pause, Perish]


def count_down(path: Path) -> None:
    """Take one from the number in a file."""
    path.write_text(str(int(path.read_text()) - 1))


def ask(folder: Path, *question: Any) -> Any:
    """Ask the scheduler of a folder, and return its answer. Raises CollapsebenchError if there is none."""
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(folder / "socket"))
            with line.makefile("rw", encoding="utf-8") as file:
                file.write(json.dumps(question) + "\n")
                file.flush()
                return json.loads(file.readline())
    except (OSError, ValueError) as error:
        raise CollapsebenchError(f"the scheduler gives no answer: {error}") from error


class Entry(NamedTuple):
    """A job that waits or runs."""

    job_id: str
    folder: str
    number: int
    task: int

    @property
    def batch(self) -> str:
        return f"{Path(self.folder).name}-{self.number}"


class Daemon:
    """The scheduler itself."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: deque[Entry] = deque()
        self._running: dict[int, Entry] = {}
        """By process id."""
        self._batches = 0

    def serve(self) -> None:
        """Answer, start and reap, until the process is ended."""
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(self._folder / "socket"))
            listening.listen()
            listening.settimeout(0.02)
            while True:
                with suppress(TimeoutError):
                    line, _ = listening.accept()
                    line.settimeout(None)
                    with line, line.makefile("rw", encoding="utf-8") as file, suppress(OSError):
                        what, *given = json.loads(file.readline())
                        file.write(json.dumps(getattr(self, what)(*given)) + "\n")
                self._reap()
                self._start()

    def launch(self, folder: str, number: int, tasks: int) -> str:
        self._batches += 1
        self._waiting.extend(Entry(f"{self._batches}_{task}", folder, number, task) for task in range(tasks))
        return str(self._batches)

    def jobs(self) -> list[tuple[str, int, str, bool, int]]:
        running = [(entry, pid) for pid, entry in self._running.items()]
        return [
            (entry.batch, entry.task, entry.job_id, pid > 0, pid)
            for entry, pid in [*running, *((entry, 0) for entry in self._waiting)]
        ]

    def cancel(self, ids: list[str]) -> None:
        self._waiting = deque(entry for entry in self._waiting if entry.job_id not in ids)
        for pid, entry in self._running.items():
            if entry.job_id in ids:
                os.kill(pid, signal.SIGTERM)

    def _reap(self) -> None:
        while self._running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            entry, code = self._running.pop(pid), os.waitstatus_to_exitcode(status)
            with (self._folder / "codes").open("a") as file:
                file.write(f"{code}\n")
            if code == AGAIN:
                self._waiting.append(entry)

    def _start(self) -> None:
        while self._waiting and len(self._running) < SLOTS and not (self._folder / HOLD).exists():
            entry = self._waiting.popleft()
            pid = os.fork()
            if pid == 0:
                self._be(entry)
            self._running[pid] = entry

    def _be(self, entry: Entry) -> None:
        """Become a job."""
        os.setsid()
        out = os.open(self._folder / f"{entry.batch}-{entry.task}.out", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for number in (1, 2):
            os.dup2(out, number)
        words = [entry.folder, str(entry.number), str(entry.task)]
        if (self._folder / FRESH).exists():
            os.execv(sys.executable, [sys.executable, "-m", "collapsebench.experiment.job", *words])  # noqa: S606
        from collapsebench.experiment.job import main

        try:
            code = main(words)
        except BaseException:  # noqa: BLE001 - the last word of this process
            traceback.print_exc()
            code = 1
        sys.stderr.flush()
        os._exit(code)


@contextmanager
def local_scheduler() -> Iterator[Path]:
    """Start a scheduler, and yield its folder. In the end, nothing of it is alive."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        with subprocess.Popen([sys.executable, __file__, name]) as daemon:
            try:
                while not (folder / "socket").exists():
                    assert daemon.poll() is None
                    time.sleep(0.05)
                yield folder
            finally:
                with suppress(CollapsebenchError):
                    clear(folder)
                daemon.kill()


def pids(folder: Path) -> list[int]:
    """The processes of all jobs that run."""
    return [pid for *_, pid in ask(folder, "jobs") if pid]


def clear(folder: Path) -> None:
    """End all jobs, and remove all that makes the scheduler misbehave."""
    ask(folder, "cancel", [job_id for _, _, job_id, _, _ in ask(folder, "jobs")])
    while left := pids(folder):
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    for name in (*FAULTS, "codes"):
        (folder / name).unlink(missing_ok=True)


def wait_until(done: Callable[[], object]) -> None:
    """Until it is so; fails after a minute."""
    end = time.monotonic() + 60
    while not done():
        assert time.monotonic() < end
        time.sleep(0.02)


def main() -> None:
    """Be a scheduler. What jobs import is imported once, so that each is a fork that starts at once."""
    from importlib import import_module

    import killing
    import torch

    from collapsebench.components import discovery

    for module in (*killing.PRELOADED, "collapsebench.experiment.job", "collapsebench.store.interchange"):
        import_module(module)
    discovery.load([])
    torch.set_num_threads(1)
    Daemon(Path(sys.argv[1])).serve()


if __name__ == "__main__":
    main()
