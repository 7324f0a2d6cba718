"""The executor that computes several runs at a time, each in a worker process of this machine."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import islice
from multiprocessing import forkserver, get_context, parent_process, resource_tracker
from multiprocessing.connection import wait
from threading import Thread
from types import ModuleType
from typing import TYPE_CHECKING, ClassVar, Self, TypeAlias

from pydantic import Field, PositiveInt

from collapsebench.errors import CollapsebenchError, Interrupted, error_line
from collapsebench.experiment.endings import RunEnding, begun, ended, timed_out
from collapsebench.experiment.events import Event, Started
from collapsebench.experiment.executors import Executor
from collapsebench.experiment.placement import least_used
from collapsebench.experiment.processors import processors
from collapsebench.experiment.signals import Interrupts
from collapsebench.experiment.worker import PRELOADED, at_work
from collapsebench.record import RunRecord

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerProcess

    from collapsebench.experiment.events import Observer
    from collapsebench.experiment.work import GridSetup, RunSetup
    from collapsebench.spec import RunSpec

PATIENCE = 30.0
"""A worker that was told to stop has this many seconds to do so."""
STARTING = 120.0
"""A worker that has a timeout may take this many seconds more until its run starts."""
GRACE = 5.0
"""A worker that is still at its run so many seconds after its timeout hangs: it would have ended at a step."""

Message: TypeAlias = Event | RunRecord | CollapsebenchError | str
"""A worker sends the events of its runs, their records, and the error that ends it, or what the system says of it."""


class Processes(Executor):
    """Runs several specs at a time, each in a worker process.

    A worker that dies costs only the run it was at. Workers stop when this process ends, whatever ends it.
    """

    name: ClassVar[str] = "processes"

    workers: PositiveInt = Field(2, description="number of processes")
    threads: PositiveInt | None = Field(None, description="threads of torch in each; default: cores / workers")

    @property
    def at_once(self) -> int:
        """The number of processes."""
        return self.workers

    def check(self, setup: GridSetup) -> None:
        """See Executor. The devices must be here, and have room for the workers."""
        setup.check_workers(self.workers)
        setup.check_devices()

    def warm_up(self) -> None:
        """Start the process that workers are forked from: it imports what they need. Raises CollapsebenchError."""
        with _starting():
            forkserver.ensure_running()

    def submit(self, setup: RunSetup, specs: Iterable[RunSpec], observe: Observer) -> Generator[RunRecord, None, None]:
        """Give each idle worker the next spec, and yield records as the runs end. Raises the error of a worker."""
        threads = self.threads or max(1, processors() // self.workers)
        with (
            _Crew(lambda device: _start_worker(replace(setup, device=device), threads, observe), setup.devices) as crew,
            Interrupts() as interrupts,
            interrupts.held(),
        ):
            waiting = iter(specs)
            try:
                while crew.employ(islice(waiting, self.workers - len(crew.busy))):
                    with interrupts.allowed():
                        ready = crew.wait()
                    yield from crew.received(ready)
            except KeyboardInterrupt:
                yield from crew.stop()
                raise


class _Crew:
    """The worker processes of one grid."""

    def __init__(self, start: Callable[[str], _Worker], devices: Sequence[str]) -> None:
        """`start` starts a worker on one of the devices."""
        self._start, self._devices = start, devices
        self.busy: list[_Worker] = []
        self._idle: list[_Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.employ(())
        list(self.stop())

    def employ(self, specs: Iterable[RunSpec]) -> bool:
        """Give each spec to an idle worker or to a new one, and dismiss the idle ones left. Return if any is busy."""
        for spec in specs:
            worker = self._idle.pop() if self._idle else self._start(self._free_device())
            self.busy.append(worker)
            worker.give(spec)
        while self._idle:
            self._idle.pop().dismiss()
        return bool(self.busy)

    def _free_device(self) -> str:
        return least_used(self._devices, [worker.setup.device for worker in self.busy])

    def wait(self) -> list[_Worker]:
        """Wait until one worker at least has something to say, is dead, or has used up its time."""
        end = min(worker.end for worker in self.busy)
        patience = None if end == math.inf else max(0.0, end - time.monotonic())
        ready = wait([each for worker in self.busy for each in worker.signs], patience)
        return [worker for worker in self.busy if worker.late or any(sign in ready for sign in worker.signs)]

    def received(self, workers: Iterable[_Worker]) -> Iterator[RunRecord]:
        """Yield the records of runs that are over."""
        for worker in workers:
            record = worker.receive()
            if record is not None:
                self.busy.remove(worker)
                if worker.process.is_alive():
                    self._idle.append(worker)
                else:
                    worker.dismiss()
                yield record

    def stop(self) -> Iterator[RunRecord]:
        """Tell all workers to stop, and yield the records of the runs that were over before."""
        for worker in self.busy:
            worker.process.terminate()
        while self.busy:
            record = self.busy.pop().await_end()
            if record is not None:
                yield record


@dataclass
class _Worker:
    """A worker process, as the process that started it sees it."""

    process: ForkServerProcess
    pipe: Connection
    observe: Observer
    setup: RunSetup
    record: RunRecord | None = None
    """Of the run that it is at, without a result."""
    end: float = math.inf
    """When it is too late for the run, on the monotonic clock."""
    reason: str = ""
    """Why it ends, if it could say so."""

    @property
    def signs(self) -> tuple[Connection, int]:
        """What is ready when the worker has something to say, and when it is dead."""
        return self.pipe, self.process.sentinel

    def give(self, spec: RunSpec) -> None:
        """Give the worker the next spec."""
        self.record = begun(spec, self.setup.device)
        self._allow(STARTING)
        with suppress(OSError):  # it may die at any moment; `receive` tells
            self.pipe.send(spec)

    def receive(self) -> RunRecord | None:
        """Pass on one message; return the record if it ends a run. Raises the error that ended the worker.

        A child of a dead worker may hold the pipe open. So nobody waits for the rest of a message then.
        """
        alive = self.process.is_alive()
        try:
            if not alive:
                os.set_blocking(self.pipe.fileno(), False)
            if self.pipe.poll():
                return self._read()
        except (EOFError, OSError):
            return self._lost()
        return self._lost() if self.late or not alive else None

    @property
    def late(self) -> bool:
        """True if the run takes too long."""
        return time.monotonic() >= self.end

    def _allow(self, more: float) -> None:
        """Let the run take its time from now on, and so many seconds more."""
        if self.setup.timeout is not None:
            self.end = time.monotonic() + self.setup.timeout + more

    def _read(self) -> RunRecord | None:
        message: Message = self.pipe.recv()
        match message:
            case str():
                self.reason = message
                return None
            case CollapsebenchError():
                raise message
            case RunRecord():
                return message
            case Started(record):
                self.record = record
                self._allow(GRACE)
        self.observe(message)
        return None

    def dismiss(self) -> None:
        """End the worker: there is no spec left."""
        with suppress(OSError):
            self.pipe.send(None)
        self._end()

    def await_end(self) -> RunRecord | None:
        """Wait for the worker, which was told to stop, and pass on its last messages."""
        record = None
        with suppress(EOFError, OSError, CollapsebenchError):
            while record is None and self.pipe.poll(PATIENCE):
                record = self._read()
        self._end()
        return record

    def _end(self) -> None:
        self.process.join(PATIENCE)
        self.process.kill()
        self.process.join()
        self.pipe.close()

    def _lost(self) -> RunRecord | None:
        late = self.late and self.setup.timeout is not None and self.process.is_alive()
        if late:
            self.process.kill()
        self.process.join()
        if self.record is None:
            return None
        message = timed_out(self.setup.timeout or 0) if late else f"its worker process ended {self._cause()}"
        return ended(self.record, RunEnding.failed(message))

    def _cause(self) -> str:
        if self.reason:
            return f"by {self.reason}"
        code = self.process.exitcode or 0
        return f"with signal {_signal_name(-code)}" if code < 0 else f"with exit code {code}"


def _signal_name(number: int) -> str:
    """Return the name of a signal; those for real time have none."""
    return next((each.name for each in signal.Signals if each == number), str(number))


def _start_worker(setup: RunSetup, threads: int, observe: Observer) -> _Worker:
    """Start a worker. It is a fork of a process that has imported what workers need, so that it is ready at once.

    Ctrl-C reaches all processes of a terminal. A worker is started with that signal blocked, and stops when told to.
    """
    context = get_context("forkserver")
    ours, its = context.Pipe()
    process = context.Process(target=_serve, args=(its, setup, threads), daemon=True)
    with _starting():
        process.start()
    its.close()  # so that its death is the end of the pipe
    return _Worker(process, ours, observe, setup)


@contextmanager
def _starting() -> Iterator[None]:
    """Start processes in the block, and say it in one line if the system refuses."""
    get_context("forkserver").set_forkserver_preload(list(PRELOADED))
    resource_tracker.ensure_running()  # it would unblock the signal
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with _without_main():
            yield
    except (OSError, EOFError) as error:
        raise CollapsebenchError(f"cannot start a worker: {error_line(error)}; give fewer --workers") from error
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@contextmanager
def _without_main() -> Iterator[None]:
    """Start a process that needs nothing of the user's script, which would run in it once more if it were imported."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _serve(pipe: Connection, setup: RunSetup, threads: int) -> None:
    """Compute the specs that come through the pipe, until there is none or the worker is told to stop."""
    interrupts = Interrupts((signal.SIGTERM,))

    def relay(message: Message) -> None:
        """Send what the worker has to say. Without a parent it goes nowhere, which `_follow_parent` sees to."""
        with interrupts.held(), suppress(OSError):
            pipe.send(message)

    try:
        with interrupts, at_work(setup, threads, relay) as runner:
            os.register_at_fork(after_in_child=pipe.close)
            Thread(target=_follow_parent, daemon=True).start()
            while (spec := pipe.recv()) is not None:
                relay(runner.run(spec))
    except CollapsebenchError as error:
        relay(error)
    except (Interrupted, EOFError):
        return
    except BaseException as error:  # noqa: BLE001 - the last word of this process
        relay(error_line(error))
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # `_follow_parent` may still send it while the process ends


def _follow_parent() -> None:
    """Stop this process when its parent has ended."""
    parent = parent_process()
    if parent is not None:
        parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
