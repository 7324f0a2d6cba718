"""The toy plugin's catalogue and plans."""

from __future__ import annotations

from pathlib import Path

from collapsebench.components import discovery
from collapsebench.experiment.planning import Plan, Request, SplitCache, plan

PLUGIN = Path(__file__).with_name("toy_plugin.py")


def load():
    return discovery.load([PLUGIN])


def splits(components) -> SplitCache:
    """The data of the toy dataset, which are generated."""
    return SplitCache(components, Path("nowhere"))


def planned(*methods: str, components=None, **given) -> Plan:
    """The plan of these contenders on the toy dataset."""
    request = Request(methods=methods, **({"dataset": "toy"} | given))
    catalogue = load() if components is None else components
    return plan([request], catalogue, splits(catalogue))
