"""The tasks of a grid, as the driver of a Ray cluster sees them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from collapsebench.errors import CollapsebenchError, UsageError, error_line
from collapsebench.experiment.endings import RunEnding, begun, ended, timed_out
from collapsebench.experiment.events import Started, Warned
from collapsebench.record import Outcome
from collapsebench_plugins.ray import places
from collapsebench_plugins.ray_worker import Mailbox, compute

if TYPE_CHECKING:
    from collapsebench.experiment.events import Event, Observer
    from collapsebench.experiment.work import RunSetup
    from collapsebench.record import RunRecord
    from collapsebench.spec import RunSpec
    from collapsebench_plugins.ray import Ray

PULSE = 0.5
"""The seconds after which the driver looks again for events and signals."""
PATIENCE = 10.0
"""The seconds that the driver waits for events."""
STOPPING = 2.0
"""The seconds that a run which is told to stop has for its checkpoint."""
GRACE = 10.0
"""A run that goes on so many seconds after its timeout hangs: it would have ended at a step."""


@dataclass
class _Task:
    """A run that the cluster is at, or that waits there for a machine."""

    reference: Any
    record: RunRecord
    """Of the run, without a result."""
    started: bool = False
    end: float = math.inf
    """When it is too late for the run, on the monotonic clock."""


class Tasks:
    """The tasks of one grid."""

    def __init__(self, executor: Ray, setup: RunSetup, observe: Observer) -> None:
        """Raise UsageError if no machine of the cluster has room for a run."""
        self._executor, self._setup, self._observe = executor, setup, observe
        if not self._places():
            raise UsageError(f"no machine of the cluster has {executor.cpus} CPUs and {executor.gpus:g} GPUs for a run")
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._mailbox = ray.remote(Mailbox).options(num_cpus=0, max_restarts=-1, scheduling_strategy=here).remote()
        self._compute = ray.remote(compute).options(
            num_cpus=executor.cpus, num_gpus=executor.gpus, max_retries=executor.retries
        )
        sources = setup.sources.frozen(setup.jobs.folder / "plugins" / setup.sources.digest)
        self._shared = ray.put(replace(setup.absolute(), sources=sources))
        self._running: dict[str, _Task] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._cancel(force=True)

    def _places(self) -> int:
        """Return how many runs the machines that are there now can compute at a time."""
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        return sum(places(machine, self._executor.cpus, self._executor.gpus) for machine in machines)

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
        """Wait a moment, pass on the events, and yield the records of runs that are over. Raises a worker's error."""
        ready, _ = ray.wait(self._references, timeout=PULSE)
        self._pass_on()
        for run_id, task in list(self._running.items()):
            late = time.monotonic() >= task.end
            if task.reference in ready or late:
                del self._running[run_id]
                yield self._result(task) if task.reference in ready else self._timed_out(task)

    @property
    def _references(self) -> list[Any]:
        return [task.reference for task in self._running.values()]

    def _pass_on(self) -> None:
        """Pass on the events that came. A mailbox that died is started again by Ray, without any."""
        events: list[Event] = []
        with suppress(ray.exceptions.RayError):
            events = ray.get(self._mailbox.take.remote(), timeout=PATIENCE)
        for event in events:
            task = self._running.get(event.run_id)
            if task is not None and self._begun(task, event):
                self._observe(event)

    def _begun(self, task: _Task, event: Event) -> bool:
        """Take note of the beginning of a run, be it that of another try. Return if it has begun."""
        if isinstance(event, Started):
            if task.started:
                self._observe(Warned(event.run_id, f"the worker of run {event.run_id} died; the run is tried again"))
            task.record, task.started = event.record, True
            task.end = time.monotonic() + GRACE + (math.inf if self._setup.timeout is None else self._setup.timeout)
        return task.started

    def _result(self, task: _Task) -> RunRecord:
        """Return the record of a run, whatever has become of its worker."""
        tries = self._executor.retries + 1
        try:
            answer: RunRecord | CollapsebenchError = ray.get(task.reference)
        except ray.exceptions.RayTaskError as error:
            return _failed(task, f"its worker failed: {error_line(error.cause)}")
        except ray.exceptions.RayError as error:
            died = f"died {tries} times" if tries > 1 else "died"
            return _failed(task, f"its worker {died} ({type(error).__name__})")
        if isinstance(answer, CollapsebenchError):
            raise answer
        return answer

    def _timed_out(self, task: _Task) -> RunRecord:
        ray.cancel(task.reference, force=True)
        return _failed(task, timed_out(self._setup.timeout or 0))

    def stop(self) -> Iterator[RunRecord]:
        """Let the runs write their checkpoints and stop, and yield the records of those that were over before."""
        if not self._running:
            return
        self._cancel(force=False)
        ready = ray.wait(self._references, num_returns=len(self._running), timeout=STOPPING)[0]
        for reference in ready:
            with suppress(ray.exceptions.RayError):
                if not isinstance(answer := ray.get(reference), CollapsebenchError):
                    yield answer

    def _cancel(self, *, force: bool) -> None:
        for reference in self._references:
            ray.cancel(reference, force=force)


def _failed(task: _Task, message: str) -> RunRecord:
    return ended(task.record, RunEnding(Outcome.FAILED, message))
