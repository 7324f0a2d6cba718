"""Executors work through the runs of a grid: in this process, or in several processes at a time."""

from __future__ import annotations

import os
import signal
import sys
from abc import abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import wait
from threading import Thread, current_thread, main_thread
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias

from pydantic import Field, PositiveInt

from collapsebench.components.hookspecs import hookimpl
from collapsebench.components.interfaces import Component
from collapsebench.errors import CollapsebenchError
from collapsebench.experiment.events import REMOTE_PULSE, Event, Finished, Skipped
from collapsebench.experiment.memory import keep_mapped
from collapsebench.record import Outcome

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerProcess
    from types import FrameType

    from collapsebench.experiment.events import Observer
    from collapsebench.experiment.runner import Runner
    from collapsebench.experiment.work import GridSetup
    from collapsebench.record import RunRecord
    from collapsebench.spec import RunSpec

PATIENCE = 30.0
"""An interrupted worker has this many seconds to store its run."""

PRELOADED = (
    "collapsebench.store",
    "collapsebench.experiment.work",
    "collapsebench.experiment.training",
    "torch._dynamo",
)
"""Modules that every worker needs. Torch imports the last one with its first optimizer, which takes seconds."""


Message: TypeAlias = Event | CollapsebenchError
"""A worker sends the events of its runs, and the error that ends it."""


@contextmanager
def torch_threads(number: int | None) -> Iterator[None]:
    """Let torch compute with this many threads, or leave the number alone if it is None; restore it in the end."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Executor(Component):
    """A way to work through the runs of a grid."""

    kind: ClassVar[str] = "executor"

    @abstractmethod
    def submit(self, setup: GridSetup, specs: Iterable[RunSpec], observe: Observer) -> Iterator[RunRecord]:
        """Run every spec, and yield its record as soon as the run is over.

        Each run goes through a runner that `setup` opens, here or in another process, as a setup can be pickled.
        `observe` is told the events of all runs; it is always called in this process.
        """


class InProcess(Executor):
    """Runs one spec after the other, in this process."""

    name: ClassVar[str] = "in-process"

    threads: PositiveInt | None = Field(None, description="threads of torch; default: as many as it takes by itself")

    def submit(self, setup: GridSetup, specs: Iterable[RunSpec], observe: Observer) -> Iterator[RunRecord]:
        """Run each spec in turn."""
        with setup.open(observe) as runner, torch_threads(self.threads):
            yield from map(runner.run, specs)


class Processes(Executor):
    """Runs several specs at a time, each in a worker process that stores what it ran.

    A worker that dies costs only the run it was at. Workers stop when this process ends, whatever ends it.
    """

    name: ClassVar[str] = "processes"

    workers: PositiveInt = Field(2, description="number of processes")
    threads: PositiveInt | None = Field(None, description="threads of torch in each; default: cores / workers")

    def submit(self, setup: GridSetup, specs: Iterable[RunSpec], observe: Observer) -> Iterator[RunRecord]:
        """Give each idle worker the next spec, and yield records as the runs end. Raises the error of a worker."""
        waiting = deque(specs)
        threads = self.threads or max(1, (os.cpu_count() or 1) // self.workers)
        with setup.open(observe) as runner, _worker_list() as running, _Interrupts() as interrupts:
            while waiting or running:
                while waiting and len(running) < self.workers:
                    running.append(_start_worker(setup, threads, observe))
                    running[-1].give(waiting.popleft())
                with interrupts.allowed():
                    ready = wait([worker.pipe for worker in running])
                for worker in [worker for worker in running if worker.pipe in ready]:
                    record = worker.receive(runner)
                    if record is None:
                        continue
                    yield record
                    if waiting and worker.process.is_alive():
                        worker.give(waiting.popleft())
                    else:
                        worker.dismiss()
                        running.remove(worker)


class _Interrupts:
    """Holds Ctrl-C back until it does no harm: a message that is read only in part would garble all later ones."""

    def __init__(self) -> None:
        self._allowed = self._pending = False
        self._former: Any = None

    def __enter__(self) -> Self:
        if current_thread() is main_thread():  # Ctrl-C comes to no other thread
            self._former = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, raised: type[BaseException] | None, *_: object) -> None:
        if self._former is not None:
            signal.signal(signal.SIGINT, self._former)
        if self._pending and raised is None:
            raise KeyboardInterrupt

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Let a Ctrl-C raise KeyboardInterrupt in the block; one that was held back does so at once."""
        self._allowed = True
        try:
            if self._pending:
                raise KeyboardInterrupt
            yield
        finally:
            self._allowed = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._pending = True
        if self._allowed:
            raise KeyboardInterrupt


@dataclass
class _Worker:
    """A worker process, as the process that started it sees it."""

    process: ForkServerProcess
    pipe: Connection
    observe: Observer
    spec: RunSpec | None = None

    def give(self, spec: RunSpec) -> None:
        """Give the worker the next spec."""
        self.spec = spec
        with suppress(OSError):  # it may die at any moment; `receive` tells
            self.pipe.send(spec)

    def receive(self, runner: Runner) -> RunRecord | None:
        """Pass on one message; return the record if it ends a run. Raises the error that ended the worker."""
        try:
            message: Message = self.pipe.recv()
        except (EOFError, OSError):
            return self._lost(runner)
        if isinstance(message, CollapsebenchError):
            raise message
        self.observe(message)
        match message:
            case Skipped(record):
                return record
            case Finished(record) if record.outcome is not Outcome.INTERRUPTED:
                return record
            case _:  # a worker that was told to stop says so of its run and ends: `_lost` is the last word on that one
                return None

    def dismiss(self) -> None:
        """End the worker: there is no spec left."""
        with suppress(OSError):
            self.pipe.send(None)
        self._end()

    def await_end(self) -> None:
        """Wait for the worker, which was told to stop, and pass on its last messages."""
        with suppress(EOFError, OSError):
            while self.pipe.poll(PATIENCE):
                message: Message = self.pipe.recv()
                if not isinstance(message, CollapsebenchError):
                    self.observe(message)
        self._end()

    def _end(self) -> None:
        self.process.join(PATIENCE)
        self.process.kill()
        self.process.join()
        self.pipe.close()

    def _lost(self, runner: Runner) -> RunRecord | None:
        self.process.join()
        code = self.process.exitcode or 0
        reason = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        if self.spec is None:
            return None
        record = runner.lost(self.spec, f"its worker process ended with {reason}")
        self.observe(Finished(record))
        return record


def _start_worker(setup: GridSetup, threads: int, observe: Observer) -> _Worker:
    """Start a worker. It is a fork of a process that has imported what workers need, so that it is ready at once.

    Ctrl-C reaches all processes of a terminal. A worker is started with that signal blocked, and stops when told to.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    resource_tracker.ensure_running()  # it would unblock the signal
    ours, its = context.Pipe()
    process = context.Process(target=_serve, args=(its, setup, threads), daemon=True)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with _without_main():
            process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    its.close()  # so that its death is the end of the pipe
    return _Worker(process, ours, observe)


@contextmanager
def _without_main() -> Iterator[None]:
    """Start a process that needs nothing of the user's script, which would run in it once more if it were imported."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def _worker_list() -> Iterator[list[_Worker]]:
    """Hold the workers in a list; those that are left in it in the end are stopped."""
    running: list[_Worker] = []
    try:
        yield running
    finally:
        for worker in running:
            worker.process.terminate()
        for worker in running:
            worker.await_end()


def _serve(pipe: Connection, setup: GridSetup, threads: int) -> None:
    """Run the specs that come through the pipe, until there is none or the worker is told to stop."""
    keep_mapped()
    relay = _Relay(pipe)
    try:
        signal.signal(signal.SIGTERM, relay.stop)
        Thread(target=_follow_parent, daemon=True).start()
        with setup.open(relay, REMOTE_PULSE) as runner, torch_threads(threads):
            while (spec := pipe.recv()) is not None:
                runner.run(spec)
    except CollapsebenchError as error:
        relay(error)
    except (KeyboardInterrupt, EOFError, OSError):
        return
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # `_follow_parent` may still send it while the process ends


def _follow_parent() -> None:
    """Stop this process when its parent has ended."""
    parent = parent_process()
    if parent is not None:
        parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


class _Relay:
    """Sends what a worker has to say to its parent. It is the observer of the worker's runs."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._sending = self._stopped = False

    def __call__(self, message: Message) -> None:
        """Send one message."""
        self._sending = True
        with suppress(OSError):  # the parent has gone, which `_follow_parent` sees to
            self._pipe.send(message)
        self._sending = False
        if self._stopped:
            self._stopped = False
            raise KeyboardInterrupt

    def stop(self, number: int, frame: FrameType | None) -> None:
        """Handle the signal to stop: once, and not while a message is being sent."""
        del frame
        signal.signal(number, signal.SIG_IGN)
        if not self._sending:
            raise KeyboardInterrupt
        self._stopped = True


def executor_for(workers: int, threads: int | None = None) -> Executor:
    """Return what runs this many specs at a time: this process if it is one, worker processes if it is more."""
    return InProcess(threads=threads) if workers == 1 else Processes(workers=workers, threads=threads)


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Return the executors that come with the harness."""
    return [InProcess, Processes]
