"""How a grid of runs is worked through: in this process, or in several that each run one spec after the other."""

from __future__ import annotations

import os
import signal
import sys
from abc import abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import parent_process
from threading import Thread
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias

from pydantic import Field, PositiveInt

from collapsebench.components.hookspecs import hookimpl
from collapsebench.components.interfaces import Component
from collapsebench.errors import CollapsebenchError
from collapsebench.experiment.events import REMOTE_PULSE, Event, Finished, Skipped
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
"""Seconds that an interrupted worker has to store its run."""

PRELOADED = ("collapsebench.store", "collapsebench.experiment.training", "torch._dynamo")
"""Modules that every worker needs. The last one torch imports with its first optimizer, which takes seconds."""


Message: TypeAlias = Event | CollapsebenchError
"""What a worker sends: events of its runs, and the error that ends it."""


@contextmanager
def torch_threads(number: int | None) -> Iterator[None]:
    """Let torch compute with so many threads, None for as many as it does anyway; in the end with as many as before."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Executor(Component):
    """How a grid of runs is worked through."""

    kind: ClassVar[str] = "executor"

    @abstractmethod
    def submit(self, setup: GridSetup, specs: Iterable[RunSpec], observe: Observer) -> Iterator[RunRecord]:
        """Run each spec with a runner that `setup`, which can be pickled, opens; give its record as soon as it is over.

        `observe` is told of all runs.
        """


class InProcess(Executor):
    """One run after the other, in this process."""

    name: ClassVar[str] = "in-process"

    threads: PositiveInt | None = Field(None, description="threads of torch; default: as many as it takes by itself")

    def submit(self, setup: GridSetup, specs: Iterable[RunSpec], observe: Observer) -> Iterator[RunRecord]:
        """Run each spec in turn."""
        with setup.open(observe) as runner, torch_threads(self.threads):
            yield from map(runner.run, specs)


class Processes(Executor):
    """Several runs at a time, each in a process of its own, which stores what it ran.

    A worker that dies fails only the run it was at. Workers stop with this process, whatever ends it.
    """

    name: ClassVar[str] = "processes"

    workers: PositiveInt = Field(2, description="number of processes")
    threads: PositiveInt | None = Field(None, description="threads of torch in each; default: cores / workers")

    def submit(self, setup: GridSetup, specs: Iterable[RunSpec], observe: Observer) -> Iterator[RunRecord]:
        """Give each idle worker the next spec; records come as the runs end. Raises the error that ends a worker."""
        from multiprocessing.connection import wait

        waiting = deque(specs)
        threads = self.threads or max(1, (os.cpu_count() or 1) // self.workers)
        with setup.open(observe) as runner, _crew() as crew, _Interrupts() as interrupts:
            while waiting or crew:
                while waiting and len(crew) < self.workers:
                    crew.append(_hire(setup, threads, observe))
                    crew[-1].take(waiting.popleft())
                with interrupts.allowed():
                    ready = wait([worker.pipe for worker in crew])
                for worker in [worker for worker in crew if worker.pipe in ready]:
                    record = worker.hear(runner)
                    if record is None:
                        continue
                    yield record
                    if waiting and worker.process.is_alive():
                        worker.take(waiting.popleft())
                    else:
                        worker.dismiss()
                        crew.remove(worker)


class _Interrupts:
    """Holds Ctrl-C back until it does no harm: a message that is half read would garble all that follow."""

    def __init__(self) -> None:
        self._allowed = self._pending = False
        self._former: Any = None

    def __enter__(self) -> Self:
        self._former = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, raised: type[BaseException] | None, *_: object) -> None:
        signal.signal(signal.SIGINT, self._former)
        if self._pending and raised is None:
            raise KeyboardInterrupt

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Where a Ctrl-C, also an earlier one, is a KeyboardInterrupt."""
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
    """One process, seen from this one."""

    process: ForkServerProcess
    pipe: Connection
    observe: Observer
    spec: RunSpec | None = None

    def take(self, spec: RunSpec) -> None:
        """Give it the next spec."""
        self.spec = spec
        with suppress(OSError):  # it may die at any moment; `hear` tells
            self.pipe.send(spec)

    def hear(self, runner: Runner) -> RunRecord | None:
        """Take in one message: the record, if it ends a run. Raises the error that ended the worker."""
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
        """End it: there is no spec left."""
        with suppress(OSError):
            self.pipe.send(None)
        self._end()

    def see_off(self) -> None:
        """Wait for a worker that was told to stop, and pass on its last words."""
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


def _hire(setup: GridSetup, threads: int, observe: Observer) -> _Worker:
    """Start a worker, as a fork of a process that has imported what workers need, and nothing else: it starts at once.

    Ctrl-C reaches the whole process group: a worker is born deaf to it and stops when told to.
    """
    from multiprocessing import get_context, resource_tracker

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
def _crew() -> Iterator[list[_Worker]]:
    """The workers; those that are left in the end are stopped."""
    crew: list[_Worker] = []
    try:
        yield crew
    finally:
        for worker in crew:
            worker.process.terminate()
        for worker in crew:
            worker.see_off()


def _serve(pipe: Connection, setup: GridSetup, threads: int) -> None:
    """The life of a worker: run what comes through the pipe, until told to stop."""
    from collapsebench.experiment.memory import keep_mapped

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


def _follow_parent() -> None:
    """Stop when the parent has gone."""
    parent = parent_process()
    if parent is not None:
        parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


class _Relay:
    """The observer of a worker: it sends every message to the parent."""

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
        """Handle the signal to stop: once, and never in the middle of a message."""
        del frame
        signal.signal(number, signal.SIG_IGN)
        if not self._sending:
            raise KeyboardInterrupt
        self._stopped = True


def executor_for(workers: int, threads: int | None = None) -> Executor:
    """The executor of so many runs at a time: one runs in this process, more run in worker processes."""
    return InProcess(threads=threads) if workers == 1 else Processes(workers=workers, threads=threads)


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """The executors that come with the harness."""
    return [InProcess, Processes]
