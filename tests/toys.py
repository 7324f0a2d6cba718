"""The toy plugin's catalogue and plans."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from collapsebench.components import discovery
from collapsebench.components.catalog import Catalog
from collapsebench.experiment.planning import Plan, Request, SplitCache, plan
from collapsebench.experiment.work import GridSetup

PLUGIN = Path(__file__).with_name("toy_plugin.py")


def load() -> Catalog:
    return discovery.load([PLUGIN])


def splits(components: Catalog) -> SplitCache:
    """The data of the toy dataset, which are generated."""
    return SplitCache(components, Path("nowhere"))


def planned(*methods: str, components: Catalog | None = None, **given: Any) -> Plan:
    """The plan of these contenders on the toy dataset."""
    request = Request(methods=methods, **({"dataset": "toy"} | given))
    catalogue = load() if components is None else components
    return plan([request], catalogue, splits(catalogue))


def setup(*methods: str, store: Path, **given: Any) -> GridSetup:
    """A grid of these contenders on the toy dataset; names of its fields go to the setup, others to the request."""
    own = {name: given.pop(name) for name in [field.name for field in fields(GridSetup)] if name in given}
    request = Request(methods=methods, **({"dataset": "toy"} | given))
    return GridSetup(requests=(request,), plugins=(PLUGIN,), data_folder=Path("nowhere"), store=str(store), **own)


def with_plugins(setup: GridSetup, *plugins: Path) -> GridSetup:
    """The same grid with these plugin files."""
    return replace(setup, plugins=plugins)
