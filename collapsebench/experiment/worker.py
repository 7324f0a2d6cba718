"""A worker: a process that computes runs, wherever it is. It gets specs, hands back records, and opens no store."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

from collapsebench.errors import Interrupted, UsageError
from collapsebench.experiment.events import REMOTE_PULSE, Warned
from collapsebench.experiment.memory import keep_mapped
from collapsebench.experiment.output import keep_writing
from collapsebench.experiment.placement import alone_with
from collapsebench.experiment.processors import processors
from collapsebench.experiment.signals import Interrupts

if TYPE_CHECKING:
    from collapsebench.components.interfaces import Component
    from collapsebench.experiment.events import Observer
    from collapsebench.experiment.relay import EventFile
    from collapsebench.experiment.runner import Runner
    from collapsebench.experiment.work import RunSetup, Sources
    from collapsebench.record import RunRecord
    from collapsebench.spec import RunSpec

PRELOADED = (
    "collapsebench.experiment.runner",
    "collapsebench.experiment.training",
    "collapsebench.experiment.work",
)
"""Modules that every run needs, and that import others for a second or more."""


@contextmanager
def torch_threads(number: int | None) -> Iterator[None]:
    """Let torch compute with this many threads, or with as many as there are processors; restore it in the end."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number or min(before, processors()))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def at_work(
    setup: RunSetup, threads: int | None, observe: Observer, interrupts: Interrupts | None = None
) -> Iterator[Runner]:
    """Make this process a worker, and yield what computes its runs: a spec in, its record out, events to `observe`.

    Every engine that computes in other processes is built on it. Torch has so many `threads`. Events of steps come once
    a second. With `interrupts`, a signal to stop lets a run write its checkpoint first. A process that becomes a worker
    again, for the same sources, has loaded plugins and data already.
    """
    setup = replace(setup, device=alone_with(setup.device), sources=_kept(setup.sources))
    keep_mapped()
    keep_writing()
    with torch_threads(threads):
        yield setup.runner(observe, REMOTE_PULSE, interrupts)


def compute(setup: RunSetup, threads: int, events: EventFile, spec: RunSpec) -> RunRecord:
    """Compute one run in a process that an engine lends for it, and tell its driver of it by a file.

    Told by SIGINT or SIGTERM to stop, it writes its checkpoint. After SIGTERM, as at the end of a machine, the process
    then dies: engines try again what dies, and nothing that raises an error.
    """
    if events.abandoned():
        events.append(Warned(spec.run_id, f"the worker of run {spec.run_id} died; the run is tried again"))
    try:
        with (
            Interrupts((signal.SIGINT, signal.SIGTERM)) as stop,
            at_work(setup, threads, events.append, stop) as runner,
        ):
            return runner.run(spec)
    except Interrupted as signalled:
        if signalled.exit_code == 128 + signal.SIGTERM:
            os._exit(1)
        raise


@lru_cache(maxsize=1)
def _kept(sources: Sources) -> Sources:
    """Return the last sources if they are equal."""
    return sources


def check_importable(classes: Iterable[type[Component]]) -> None:
    """Raise UsageError for a class that another process cannot import."""
    for component in classes:
        if "<locals>" in component.__qualname__ or not _is_importable(component.__module__):
            raise UsageError(
                f"{component.kind} '{component.name}' is defined in this notebook or script, so that workers cannot "
                "import it: save it to a file and pass plugins=[FILE], or run with workers=1"
            )


def _is_importable(module: str) -> bool:
    """Return True if another process finds the module."""
    try:
        found = None if module == "__main__" else find_spec(module)
    except (ImportError, ValueError):
        return False
    return found is not None and found.origin is not None
