"""The schedulers that runs were handed to, for those who look on or stop runs: a ticket names its scheduler."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

from collapsebench.components import discovery
from collapsebench.errors import CollapsebenchError, UsageError
from collapsebench.experiment.engines import executor_named
from collapsebench.experiment.schedulers import Job, Scheduler

if TYPE_CHECKING:
    from pathlib import Path

    from collapsebench.components.catalog import Catalog
    from collapsebench.experiment.jobs import JobKey


class Schedulers:
    """The schedulers that this machine knows. Plugins are loaded when the first one is asked for."""

    def __init__(self, plugins: Iterable[Path] = ()) -> None:
        """`plugins` are Python files to load beside the installed ones."""
        self._plugins = tuple(plugins)

    def named(self, text: str) -> Scheduler:
        """Return the scheduler of a ticket's text. Raises CollapsebenchError if there is none of this name here."""
        executor = executor_named(text, self._catalog)
        if not isinstance(executor, Scheduler):
            raise UsageError(f"executor '{text}' has no jobs that go on without their command")
        return executor

    def alive(self, text: str) -> Mapping[JobKey, Job] | None:
        """Return the tasks of a scheduler that wait or run; None if it cannot be asked on this machine."""
        with suppress(CollapsebenchError):
            return self.named(text).jobs()
        return None

    @cached_property
    def _catalog(self) -> Catalog:
        return discovery.load(self._plugins, {Scheduler.kind})
