"""What it takes to run a grid, in this process or in another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collapsebench.components.catalog import Catalog
    from collapsebench.experiment.planning import Plan, Request, SplitCache
    from collapsebench.experiment.runner import Observer, Runner


@dataclass(frozen=True)
class GridSetup:
    """What it takes to run the specs of some requests, in this process or in another: it can be pickled."""

    requests: tuple[Request, ...]
    plugins: tuple[Path, ...]
    folder: Path
    """Where the data are."""
    store: str
    device: str = "cpu"
    keep_checkpoints: bool = False
    keep_codes: bool = False

    @cached_property
    def catalog(self) -> Catalog:
        """Every component."""
        from collapsebench.components.discovery import load

        return load(self.plugins)

    @cached_property
    def splits(self) -> SplitCache:
        """The data of the specs."""
        from collapsebench.experiment.planning import SplitCache

        return SplitCache(self.catalog, self.folder)

    @cached_property
    def plan(self) -> Plan:
        """The specs of the requests."""
        from collapsebench.experiment.planning import plan

        return plan(self.requests, self.catalog, self.splits)

    @contextmanager
    def open(self, observer: Observer) -> Iterator[Runner]:
        """The runner of this process."""
        from collapsebench.experiment.checkpoint import Checkpoints
        from collapsebench.experiment.runner import Runner
        from collapsebench.store import Store, connection

        url = connection.store_url(self.store)
        checkpoints = Checkpoints(connection.companion(url, "checkpoints"), self.keep_checkpoints)
        codes = connection.companion(url, "codes") if self.keep_codes else None
        with Store.open(self.store) as store:
            yield Runner(self.catalog, self.splits, store, checkpoints, observer, self.device, codes)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in {"catalog", "splits", "plan"}}
