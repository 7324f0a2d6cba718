"""The executor that computes each run as a task of a Ray cluster. Ray is an extra of the package."""

from __future__ import annotations

import math
import os
import signal
import socket
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from importlib import metadata
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, cast

from pydantic import Field, NonNegativeInt, PositiveInt

from collapsebench import Component, hookimpl
from collapsebench.errors import CollapsebenchError, UsageError, error_line
from collapsebench.experiment.endings import RunEnding, begun, ended, timed_out
from collapsebench.experiment.events import Observer, Started
from collapsebench.experiment.executors import Executor
from collapsebench.experiment.processors import cores
from collapsebench.experiment.relay import EventFile
from collapsebench.experiment.signals import Interrupts
from collapsebench.experiment.worker import check_importable, compute

if TYPE_CHECKING:
    from collapsebench.experiment.work import GridSetup, RunSetup
    from collapsebench.record import RunRecord
    from collapsebench.spec import RunSpec

PULSE, STOPPING, PATIENCE = 0.5, 2.0, 10.0
"""The seconds between two looks, those for a last checkpoint, and those after which what gives no answer hangs."""


class Ray(Executor):
    """Computes each run as a task of a Ray cluster. A run whose worker or machine dies goes on from its checkpoint."""

    name: ClassVar[str] = "ray"
    citation: ClassVar[str] = "Moritz et al., Ray: A Distributed Framework for Emerging AI Applications, OSDI 2018"

    address: str = Field(
        "", pattern=r"^(auto|[\w.-]+:\d+)?$", description="HOST:PORT, or auto; empty: this machine alone"
    )
    cpus: PositiveInt = Field(1, description="processors of a run")
    gpus: float = Field(0, ge=0, le=1, description="GPUs of a run, with --device cuda; 0.5: two runs share one")
    threads: PositiveInt | None = Field(None, description="threads of torch in a run; default: cpus")
    retries: NonNegativeInt = Field(2, description="times that a run is tried again after its worker or machine died")

    @property
    def at_once(self) -> int:
        """The number of runs that this machine has room for. Only a cluster itself knows how large it is."""
        return max(1, cores() // self.cpus)

    def places(self, nodes: Iterable[Mapping[str, Any]]) -> int:
        """Return how many runs the machines that are alive, as Ray lists them, can compute at a time."""
        needs = [(what, need) for what, need in (("CPU", self.cpus), ("GPU", self.gpus)) if need]
        machines = [node["Resources"] for node in nodes if node["Alive"]]
        return sum(math.floor(min(machine.get(what, 0) / need for what, need in needs)) for machine in machines)

    def warm_up(self) -> None:
        """See Executor. Ray must be installed."""
        try:
            metadata.version("ray")  # a module of this name may also lie beside the plugin file of a user
        except metadata.PackageNotFoundError:
            raise UsageError("executor 'ray' needs the package ray: pip install 'collapsebench[ray]'") from None

    def check(self, setup: GridSetup) -> None:
        """See Executor. The device must fit the GPUs of a run, and a run this machine."""
        self.warm_up()
        check_importable(setup.components)
        if setup.device not in {"cpu", "cuda", "cuda:0"}:
            raise UsageError(f"a task of Ray sees its own GPU as cuda:0: give --device cuda, not {setup.device}")
        if (setup.device == "cpu") == (self.gpus > 0):
            raise UsageError(f"--device {setup.device} does not go with ray[gpus={self.gpus:g}]")
        if 0 < self.gpus < 1 and setup.timed:
            raise UsageError("a budget in seconds is for a GPU that no other run shares: give ray[gpus=1]")
        if not self.address and self.cpus > cores():
            raise UsageError(f"ray[cpus={self.cpus}] does not fit this machine, of which {cores()} may be used")

    def submit(self, setup: RunSetup, specs: Iterable[RunSpec], observe: Observer) -> Generator[RunRecord, None, None]:
        """See Executor. Signals are held back while Ray waits: there they would be another error."""
        waiting = iter(specs)
        with Interrupts() as interrupts, interrupts.held(), _connected(self) as ray:
            tasks = _Tasks(ray, self, setup, observe)
            try:
                interrupts.check()
                while tasks.employ(waiting):
                    yield from tasks.over()
                    interrupts.check()
            except KeyboardInterrupt:
                yield from tasks.stopped()
                raise


@dataclass
class _Task:
    record: RunRecord
    events: EventFile
    end: float = math.inf


class _Tasks:
    """The runs of a grid that the cluster is at, or that wait there for a machine."""

    def __init__(self, ray: Any, executor: Ray, setup: RunSetup, observe: Observer) -> None:
        """Raise UsageError if no machine has room for a run."""
        self._ray, self._executor, self._setup, self._observe = ray, executor, setup.absolute(), observe
        if not self._executor.places(self._ray.nodes()):
            raise UsageError(f"no machine of the cluster has {executor.cpus} CPUs and {executor.gpus:g} GPUs for a run")
        (folder := self._setup.jobs.folder / "ray").mkdir(parents=True, exist_ok=True)
        sources = setup.sources.frozen(folder / "plugins" / setup.sources.digest)
        self._given = ray.put(replace(self._setup, sources=sources)), executor.threads or executor.cpus
        needs = {"num_cpus": executor.cpus, "num_gpus": executor.gpus, "max_retries": executor.retries}
        self._compute, self._folder, self._running = ray.remote(compute).options(**needs), folder, dict[Any, _Task]()

    def employ(self, waiting: Iterator[RunSpec]) -> bool:
        """Give the cluster what it has room for, and return if it has any run. Without a machine one run waits."""
        for spec in islice(waiting, max(0, max(1, self._executor.places(self._ray.nodes())) - len(self._running))):
            path = self._folder / spec.run_id
            path.unlink(missing_ok=True)
            task = _Task(begun(spec, self._setup.device), EventFile(path))
            self._running[self._compute.remote(*self._given, task.events, spec)] = task
        return bool(self._running)

    def over(self) -> Iterator[RunRecord]:
        """Wait a moment, pass on the events, and yield the records of runs that are over."""
        ready, _ = self._ray.wait(list(self._running), timeout=PULSE)
        for reference, task in list(self._running.items()):
            for event in task.events.news():
                if isinstance(event, Started):
                    task.record = event.record
                    task.end = time.monotonic() + PATIENCE + (self._setup.timeout or math.inf)
                self._observe(event)
            if reference in ready or time.monotonic() >= task.end:
                del self._running[reference]
                yield self._result(reference, task, late=reference not in ready)
                (self._folder / task.record.run_id).unlink(missing_ok=True)

    def _result(self, reference: Any, task: _Task, *, late: bool) -> RunRecord:
        message = timed_out(self._setup.timeout or 0)
        try:
            if not late:
                return cast("RunRecord", self._ray.get(reference))
            self._ray.cancel(reference, force=True)
        except self._ray.exceptions.RayTaskError as error:
            message = f"its worker failed: {error_line(error.cause)}"
        except self._ray.exceptions.RayError as error:
            message = f"its worker died in each of {self._executor.retries + 1} tries ({type(error).__name__})"
        return ended(task.record, RunEnding.failed(message))

    def stopped(self) -> Iterator[RunRecord]:
        """Let the runs write their checkpoints, and yield the records of those that were over before."""
        for reference in self._running:
            self._ray.cancel(reference)
        for reference in self._ray.wait(list(self._running), num_returns=len(self._running), timeout=STOPPING)[0]:
            with suppress(self._ray.exceptions.RayError):
                yield self._ray.get(reference)


@contextmanager
def _connected(executor: Ray) -> Iterator[Any]:
    """Yield the module ray, connected to a cluster. A process that its user has connected already stays as it is."""
    before, handler = dict(os.environ), signal.getsignal(signal.SIGTERM)
    os.environ |= {"RAY_task_oom_retries": str(executor.retries)}
    if not executor.address:  # listen on the loopback alone; Ray reads this as it is imported, on Linux, too
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    import ray

    with ExitStack() as ending:
        ending.callback(os.environ.update, before)
        ending.callback(os.environ.clear)
        if not ray.is_initialized():
            ending.callback(ray.shutdown)
            _connect(ray, executor.address)
            with suppress(ValueError):  # of a thread that gets no signals
                signal.signal(signal.SIGTERM, handler)
        yield ray


def _connect(ray: Any, address: str) -> None:
    own = {} if address else {"num_cpus": cores(), "include_dashboard": False, "object_store_memory": 100 * 2**20}
    host, _, port = address.partition(":")
    try:
        if port:  # Ray itself would try for a minute
            socket.create_connection((host, int(port)), PATIENCE).close()
        ray.init(address or "local", log_to_driver=False, logging_level="CRITICAL", **own)
    except (OSError, RuntimeError, ValueError, OverflowError, ray.exceptions.RayError) as error:
        if address:
            raise UsageError(f"no Ray cluster at '{address}': {error_line(error)}") from error
        raise CollapsebenchError(f"cannot start Ray: {error_line(error)}") from error


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Name the executor of this plugin."""
    return [Ray]
