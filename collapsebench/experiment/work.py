"""What it takes to run a grid, in this process or in another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collapsebench.components import discovery
from collapsebench.experiment import planning
from collapsebench.experiment.events import PULSE

if TYPE_CHECKING:
    from collapsebench.components.catalog import Catalog
    from collapsebench.experiment.events import Observer
    from collapsebench.experiment.planning import Plan, Request, SplitCache
    from collapsebench.experiment.runner import Runner


@dataclass(frozen=True)
class GridSetup:
    """What the runs of some requests need. It can be pickled, so that another process can run them."""

    requests: tuple[Request, ...]
    plugins: tuple[Path, ...]
    """Python files to load beside the installed plugins."""
    data_folder: Path
    """Where the original data files are."""
    store: str
    """A file, or a URL of SQLAlchemy."""
    device: str = "cpu"
    keep_checkpoints: bool = False
    keep_codes: bool = False

    @cached_property
    def catalog(self) -> Catalog:
        """Every component."""
        return discovery.load(self.plugins)

    @cached_property
    def splits(self) -> SplitCache:
        """The data of the runs."""
        return planning.SplitCache(self.catalog, self.data_folder)

    @cached_property
    def plan(self) -> Plan:
        """The runs. Raises UsageError or DataError."""
        return planning.plan(self.requests, self.catalog, self.splits)

    @contextmanager
    def open(self, observe: Observer, pulse: float = PULSE) -> Iterator[Runner]:
        """Open the store for a runner of this process. It reports steps every `pulse` seconds."""
        from collapsebench.experiment.checkpoint import Checkpoints
        from collapsebench.experiment.runner import Runner
        from collapsebench.store import Store, connection

        url = connection.store_url(self.store)
        checkpoints = Checkpoints(connection.companion(url, "checkpoints"), self.keep_checkpoints)
        codes = connection.companion(url, "codes") if self.keep_codes else None
        with Store.open(self.store) as store:
            yield Runner(self.catalog, self.splits, store, checkpoints, observe, self.device, codes, pulse)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what another process can make again."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
