"""What runs on the machines of a Ray cluster: a task for each run, and a mailbox for the events of all."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from collapsebench.errors import CollapsebenchError, Interrupted
from collapsebench.experiment.signals import Interrupts
from collapsebench.experiment.worker import at_work

if TYPE_CHECKING:
    from collapsebench.experiment.events import Event
    from collapsebench.experiment.work import RunSetup, Sources
    from collapsebench.record import RunRecord
    from collapsebench.spec import RunSpec

PATIENCE = 10.0
"""A worker waits at most so many seconds until its last event has arrived."""


class Mailbox:
    """Holds events until the driver takes them. It is an actor."""

    def __init__(self) -> None:
        self._events: list[Event] = []

    def put(self, event: Event) -> None:
        """Keep an event."""
        self._events.append(event)

    def take(self) -> list[Event]:
        """Return what came since the last call."""
        events, self._events = self._events, []
        return events


@lru_cache(maxsize=1)
def _kept(sources: Sources) -> Sources:
    """Return the sources of the last run if they are equal: these have loaded plugins and data already."""
    return sources


def compute(setup: RunSetup, threads: int, mailbox: Any, spec: RunSpec) -> RunRecord | CollapsebenchError:
    """Compute a run, and return its record, or the error for which there is none. It is a task.

    If it is cancelled, or its machine ends, the run writes its checkpoint first.
    """
    import ray

    setup = replace(setup, sources=_kept(setup.sources))
    last: list[Any] = []

    def relay(event: Event) -> None:
        last[:] = [mailbox.put.remote(event)]

    try:
        with Interrupts((signal.SIGINT, signal.SIGTERM)) as stop, at_work(setup, threads, relay, stop) as runner:
            record = runner.run(spec)
    except CollapsebenchError as error:
        return error
    except Interrupted as signalled:
        if signalled.exit_code != 128 + signal.SIGTERM:
            raise
        os._exit(1)  # Ray tries again what dies, and nothing that raises an error
    ray.wait(last, timeout=PATIENCE)  # so that the record is not there before the events
    return record
