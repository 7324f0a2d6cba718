"""A worker: a process that computes runs, wherever it is. It gets specs, hands back records, and opens no store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from collapsebench.errors import UsageError
from collapsebench.experiment.events import REMOTE_PULSE
from collapsebench.experiment.memory import keep_mapped
from collapsebench.experiment.output import keep_writing
from collapsebench.experiment.placement import alone_with
from collapsebench.experiment.processors import processors

if TYPE_CHECKING:
    from collapsebench.components.interfaces import Component
    from collapsebench.experiment.events import Observer
    from collapsebench.experiment.runner import Runner
    from collapsebench.experiment.signals import Interrupts
    from collapsebench.experiment.work import RunSetup

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
    a second. With `interrupts`, a signal to stop lets a run write its checkpoint first.
    """
    keep_mapped()
    keep_writing()
    with torch_threads(threads):
        yield replace(setup, device=alone_with(setup.device)).runner(observe, REMOTE_PULSE, interrupts)


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
