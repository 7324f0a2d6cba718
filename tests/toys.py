"""The toy plugin's catalogue and plans."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from collapsebench.components import discovery
from collapsebench.components.catalog import Catalog
from collapsebench.experiment.planning import Plan, Request, SplitCache, plan

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
