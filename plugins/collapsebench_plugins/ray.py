"""Runs on the machines of a Ray cluster. Ray is an extra: `pip install 'collapsebench[ray]'`."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, NonNegativeInt, PositiveInt

from collapsebench import Component, hookimpl
from collapsebench.errors import CollapsebenchError, UsageError, error_line
from collapsebench.experiment.endings import RunEnding, begun, ended, timed_out
from collapsebench.experiment.events import Event, Started, Warned
from collapsebench.experiment.executors import Executor
from collapsebench.experiment.processors import cores
from collapsebench.experiment.signals import Interrupts
from collapsebench.record import Outcome, RunRecord
from collapsebench_plugins.ray_connection import PATIENCE, connected

if TYPE_CHECKING:
    from collapsebench.experiment.events import Observer
    from collapsebench.experiment.work import GridSetup, RunSetup
    from collapsebench.spec import RunSpec

PULSE = 0.5
"""The seconds after which the driver looks for events and signals."""
STOPPING = 2.0
"""The seconds that a run which is told to stop has to write its checkpoint."""
GRACE = 10.0
"""A task that is still at its run so many seconds after its timeout hangs: it would have ended at a step."""


class Ray(Executor):
    """Computes runs on the machines of a Ray cluster, each run as a task of its own.

    A run whose worker or machine dies is tried again, from its checkpoint. The machines have the same packages, and
    share the folders of work, data and plugins.
    """

    name: ClassVar[str] = "ray"

    address: str = Field(
        "",
        pattern=r"^(auto|[\w.-]+:\d+)?$",
        description="HOST:PORT of a running cluster, or auto for the one of this machine; empty: this machine alone",
    )
    cpus: PositiveInt = Field(1, description="CPUs of a run")
    gpus: float = Field(0, ge=0, le=1, description="GPUs of a run; with 0.5, two runs share one")
    threads: PositiveInt | None = Field(None, description="threads of torch in a run; default: cpus")
    retries: NonNegativeInt = Field(2, description="times that a run is tried again after its worker or machine died")

    @property
    def at_once(self) -> int:
        """The number of runs that this machine has room for. What a cluster has room for, only the cluster knows."""
        return max(1, cores() // self.cpus)

    def warm_up(self) -> None:
        """Raise UsageError if Ray is not installed."""
        try:
            metadata.version("ray")
        except metadata.PackageNotFoundError:
            raise UsageError("executor 'ray' needs the package ray: pip install 'collapsebench[ray]'") from None

    def check(self, setup: GridSetup) -> None:
        """Raise UsageError if the device does not fit the GPUs of a run, or a run this machine."""
        self.warm_up()
        if setup.device not in {"cpu", "cuda", "cuda:0"}:
            raise UsageError(f"executor 'ray' gives each run a GPU as cuda:0: --device cuda, got '{setup.device}'")
        if (setup.device == "cpu") != (self.gpus == 0):
            raise UsageError(f"--device {setup.device} does not go with ray[gpus={self.gpus:g}]")
        if not self.address and self.cpus > cores():
            raise UsageError(f"ray[cpus={self.cpus}] is more than the {cores()} processors of this machine")

    def submit(self, setup: RunSetup, specs: Iterable[RunSpec], observe: Observer) -> Generator[RunRecord, None, None]:
        """Give the cluster as many runs as it has room for, and yield records as the runs end."""
        with (
            Interrupts() as interrupts,
            interrupts.held(),
            connected(self.address),
            _Tasks(self, setup, observe) as tasks,
        ):
            waiting = iter(specs)
            try:
                while tasks.employ(islice(waiting, tasks.room())):
                    yield from tasks.received()
                    interrupts.check()  # and not while Ray waits: it would raise another error
            except KeyboardInterrupt:
                yield from tasks.stop()
                raise


class _Mailbox:
    """Holds the events of all runs until the driver takes them. It is an actor beside the driver."""

    def __init__(self) -> None:
        self._events: list[Event] = []

    def put(self, event: Event) -> None:
        self._events.append(event)

    def take(self) -> list[Event]:
        events, self._events = self._events, []
        return events


def _compute(setup: RunSetup, threads: int, mailbox: Any, spec: RunSpec) -> RunRecord | CollapsebenchError:
    """Compute a run in a worker of the cluster, and return its record, or the error for which there can be none."""
    import ray

    from collapsebench.experiment.worker import at_work

    last: list[Any] = []

    def relay(event: Event) -> None:
        last[:] = [mailbox.put.remote(event)]

    try:
        with (
            Interrupts((signal.SIGINT, signal.SIGTERM)) as interrupts,
            at_work(setup, threads, relay, interrupts) as runner,
        ):
            record = runner.run(spec)
    except CollapsebenchError as error:
        return error
    ray.wait(last, timeout=PATIENCE)  # so that the events are there before the record
    return record


@dataclass
class _Task:
    """A run that the cluster is at, or that waits there for a machine."""

    reference: Any
    record: RunRecord
    """Of the run, without a result."""
    started: bool = False
    end: float = math.inf
    """When it is too late for the run, on the monotonic clock."""


class _Tasks:
    """The tasks of one grid."""

    def __init__(self, executor: Ray, setup: RunSetup, observe: Observer) -> None:
        """Raise UsageError if no machine of the cluster has room for a run."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._ray, self._executor, self._setup, self._observe = ray, executor, setup, observe
        self._mailbox = ray.remote(_Mailbox).options(num_cpus=0, max_restarts=-1, scheduling_strategy=here).remote()
        self._compute = ray.remote(_compute).options(
            num_cpus=executor.cpus, num_gpus=executor.gpus, max_retries=executor.retries, retry_exceptions=False
        )
        self._shared = ray.put(setup)
        self._running: dict[str, _Task] = {}
        if not self._places():
            raise UsageError(f"no machine of the cluster has {executor.cpus} CPUs and {executor.gpus:g} GPUs for a run")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._cancel(force=True)

    def _places(self) -> int:
        """Return how many runs the machines that are there now can compute at a time."""
        machines = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        return sum(_places(machine, self._executor.cpus, self._executor.gpus) for machine in machines)

    def room(self) -> int:
        """Return for how many further runs there is room. If all machines have gone, one run waits for others."""
        return max(0, max(1, self._places()) - len(self._running))

    def employ(self, specs: Iterable[RunSpec]) -> bool:
        """Give the cluster these runs. Return if it has any."""
        threads = self._executor.threads or self._executor.cpus
        for spec in specs:
            reference = self._compute.remote(self._shared, threads, self._mailbox, spec)
            self._running[spec.run_id] = _Task(reference, begun(spec, self._setup.device))
        return bool(self._running)

    def received(self) -> Iterator[RunRecord]:
        """Wait a moment for runs that end. Pass on all events, and yield the records of runs that are over.

        Raises the error of a worker that can compute no run.
        """
        ready, _ = self._ray.wait(self._references, timeout=PULSE)
        self._pass_on()
        for run_id, task in list(self._running.items()):
            if task.reference in ready:
                yield self._result(task)
            elif time.monotonic() >= task.end:
                self._ray.cancel(task.reference, force=True)
                yield ended(task.record, RunEnding(Outcome.FAILED, timed_out(self._setup.timeout or 0)))
            else:
                continue
            del self._running[run_id]

    @property
    def _references(self) -> list[Any]:
        return [task.reference for task in self._running.values()]

    def _pass_on(self) -> None:
        """Pass on the events that are there. A mailbox that has died is empty, and Ray starts it again."""
        events: list[Event] = []
        with suppress(self._ray.exceptions.RayError):
            events = self._ray.get(self._mailbox.take.remote(), timeout=PATIENCE)
        for event in events:
            task = self._running.get(event.run_id)
            if isinstance(event, Started) and task is not None:
                self._begin(task, event.record)
            if task is not None and task.started:
                self._observe(event)

    def _begin(self, task: _Task, record: RunRecord) -> None:
        if task.started:
            self._observe(Warned(record.run_id, f"the worker of run {record.run_id} died; the run is tried again"))
        task.record, task.started = record, True
        if self._setup.timeout is not None:
            task.end = time.monotonic() + self._setup.timeout + GRACE

    def _result(self, task: _Task) -> RunRecord:
        """Return the record of a run that is over, whatever has become of its worker. Raises the error of a worker."""
        try:
            answer: RunRecord | CollapsebenchError = self._ray.get(task.reference)
        except self._ray.exceptions.RayTaskError as error:
            reason = f"its worker failed: {error_line(error.cause)}"
        except self._ray.exceptions.RayError as error:
            reason = f"its worker died {self._executor.retries + 1} times ({type(error).__name__})"
        else:
            if isinstance(answer, CollapsebenchError):
                raise answer
            return answer
        return ended(task.record, RunEnding(Outcome.FAILED, reason))

    def stop(self) -> Iterator[RunRecord]:
        """Let the runs write their checkpoints and stop, and yield the records of those that were over before."""
        self._cancel(force=False)
        ready, _ = self._ray.wait(self._references, num_returns=len(self._running), timeout=STOPPING)
        for reference in ready:
            with suppress(self._ray.exceptions.RayError):
                answer = self._ray.get(reference)
                if isinstance(answer, RunRecord):
                    yield answer

    def _cancel(self, *, force: bool) -> None:
        for task in self._running.values():
            self._ray.cancel(task.reference, force=force)


def _places(machine: Mapping[str, float], cpus: int, gpus: float) -> int:
    """Return how many runs a machine can compute at a time.

    >>> _places({"CPU": 16.0, "GPU": 1.0}, cpus=2, gpus=0.25)
    4
    """
    places = machine.get("CPU", 0) / cpus
    return math.floor(min(places, machine.get("GPU", 0) / gpus) if gpus else places)


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Name the executor of this plugin."""
    return [Ray]
