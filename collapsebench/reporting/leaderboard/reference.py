"""The best possible: what no model can beat where the data were generated, and how far runs are from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from collapsebench.data.base import Generated
from collapsebench.errors import CollapsebenchError
from collapsebench.reporting.leaderboard.scoring import LOWER_BOUND, Board, Row, SeedSample

if TYPE_CHECKING:
    from collapsebench.components.catalog import Catalog
    from collapsebench.estimates import Estimate
    from collapsebench.spec import Protocol

LABEL = "best possible"
LIKELIHOOD, INFORMATION = "iw_nll", LOWER_BOUND
"""The columns that are compared with it."""


def best_possible(protocol: Protocol, components: Catalog) -> Mapping[str, Estimate]:
    """By column, what the best model of a protocol scores on its test split; empty where it is not known.

    It is known for data drawn from a distribution, by the plugin and the version that the runs had.
    """
    choice = protocol.dataset
    entry = components.entries.get(("dataset", choice.name))
    if entry is None or not issubclass(entry.component, Generated) or entry.component.version != choice.version:
        return {}
    try:
        return components.create(Generated, choice).best_possible(protocol.setting)
    except CollapsebenchError:  # parameters of another time, or an integral that does not settle
        return {}


def regret(board: Board, row: Row) -> SeedSample | None:
    """IW-NLL above the best possible, in nats per example; None where one of them is not known."""
    best, sample = board.reference.get(LIKELIHOOD), row.sample(LIKELIHOOD)
    if best is None or sample is None:
        return None
    return SeedSample({seed: value - best.value for seed, value in sample.seeds.items()}, sample.errors)


def share(board: Board, row: Row) -> SeedSample | None:
    """The lower bound on the mutual information, in percent of the true information; None where that is 0."""
    best, sample = board.reference.get(INFORMATION), row.sample(INFORMATION)
    if best is None or sample is None or best.value == 0:
        return None
    percent = 100 / best.value
    errors = {seed: percent * error for seed, error in sample.errors.items()}
    return SeedSample({seed: percent * value for seed, value in sample.seeds.items()}, errors)
