"""A run computes what its spec says: the data of these hashes, by components of these versions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from collapsebench.errors import DataError, PluginError

if TYPE_CHECKING:
    from collapsebench.components.catalog import Catalog
    from collapsebench.examples import Splits
    from collapsebench.spec import Choice, RunSpec


def check_agreement(spec: RunSpec, splits: Splits, catalog: Catalog) -> None:
    """Raise DataError for a split of another hash than the spec has, PluginError for a component of another version.

    Both can differ where a run is computed elsewhere or later than it was planned, and where something has written
    into the arrays of a split. It cannot see code that changed under an unchanged version: the hash of the code does.
    """
    for name, found in splits.hashes().items():
        if (wanted := spec.protocol.splits[name]) != found:
            raise DataError(
                f"the split '{name}' of dataset '{spec.protocol.dataset.name}' has the hash {found[:16]}…, but the run "
                f"was planned for {wanted[:16]}…: the data here are others, or something has changed them"
            )
    for kind, choice in choices(spec):
        version = catalog.entry(kind, choice.name).component.version
        if version != choice.version:
            raise PluginError(
                f"{kind} '{choice.name}' has version {version} here, but the run was planned for {choice.version}"
            )


def choices(spec: RunSpec) -> Iterator[tuple[str, Choice]]:
    """Yield the components of a spec, each with its kind."""
    setting = spec.protocol.setting
    yield "dataset", spec.protocol.dataset
    yield "encoder", setting.encoder
    yield "posterior", setting.posterior
    yield "decoder", setting.decoder
    yield "initialization", setting.initialization
    yield from (("metric", metric) for metric in setting.evaluation.metrics)
    yield from (("method", method) for method in spec.contender.methods)
