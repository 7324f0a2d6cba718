"""The setup of a grid: everything that its runs need, in this process or in another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collapsebench.components import discovery
from collapsebench.errors import UsageError
from collapsebench.experiment import planning
from collapsebench.experiment.checkpoint import Checkpoints
from collapsebench.experiment.events import PULSE

if TYPE_CHECKING:
    from collapsebench.components.catalog import Catalog
    from collapsebench.components.interfaces import Component
    from collapsebench.experiment.events import Observer
    from collapsebench.experiment.planning import Plan, Request, SplitCache
    from collapsebench.experiment.runner import Runner


DEVICES = frozenset({"cpu", "cuda", "mps", "xpu"})
"""The kinds of devices that torch has names for, of those that train networks."""


@dataclass(frozen=True)
class GridSetup:
    """Everything that the runs of some requests need. It can be pickled, so that another process can run them."""

    requests: tuple[Request, ...]
    plugins: tuple[Path, ...]
    """Python files to load beside the installed plugins."""
    data_folder: Path
    """The folder of original data files."""
    store: str
    """A file, or a URL of SQLAlchemy."""
    device: str = "cpu"
    keep_checkpoints: bool = False
    keep_codes: bool = False
    components: tuple[type[Component], ...] = ()
    """Classes of a notebook or a script, beside those of plugins."""

    def __post_init__(self) -> None:
        """Raise UsageError for what is no name of a device at all; whether the device is there, torch will say."""
        kind, _, index = self.device.partition(":")
        if kind not in DEVICES or (index and not index.isdigit()):
            raise UsageError(f"unknown device '{self.device}'. Known: cpu, cuda, cuda:0, mps, xpu")

    @cached_property
    def catalog(self) -> Catalog:
        """Every component."""
        return discovery.extended(discovery.load(self.plugins), self.components)

    @cached_property
    def splits(self) -> SplitCache:
        """The data of the runs."""
        return planning.SplitCache(self.catalog, self.data_folder)

    @cached_property
    def plan(self) -> Plan:
        """The runs. Raises UsageError or DataError."""
        return planning.plan(self.requests, self.catalog, self.splits)

    @property
    def checkpoints(self) -> Checkpoints:
        """The checkpoints of the store."""
        return Checkpoints(self._companion("checkpoints"), self.keep_checkpoints)

    @property
    def codes_folder(self) -> Path | None:
        """The folder that codes are written to; None if they are not to be kept."""
        return self._companion("codes") if self.keep_codes else None

    @contextmanager
    def open(self, observe: Observer, pulse: float = PULSE) -> Iterator[Runner]:
        """Open the store for a runner of this process. It reports steps every `pulse` seconds."""
        from collapsebench.experiment.runner import Runner
        from collapsebench.store import Store

        with Store.open(self.store) as store:
            yield Runner(
                catalog=self.catalog,
                splits=self.splits,
                store=store,
                checkpoints=self.checkpoints,
                observe=observe,
                device=self.device,
                codes_folder=self.codes_folder,
                pulse=pulse,
            )

    def _companion(self, what: str) -> Path:
        """The folder of files that belong to the runs of the store."""
        from collapsebench.store import connection

        return connection.companion(connection.store_url(self.store), what)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what another process can make again."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
