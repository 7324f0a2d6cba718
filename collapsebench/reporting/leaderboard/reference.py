"""The best possible numbers, which no model can beat. They are known for generated data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Literal

from collapsebench.data.base import Generated
from collapsebench.errors import CollapsebenchError
from collapsebench.plausibility import LikelihoodLimit, checker
from collapsebench.reporting.leaderboard.scoring import LOWER_BOUND, Board, Row, SeedSample
from collapsebench.reporting.leaderboard.trajectories import validated

if TYPE_CHECKING:
    from collapsebench.components.catalog import Catalog
    from collapsebench.estimates import Estimate
    from collapsebench.observation import Observation
    from collapsebench.plausibility import Violation
    from collapsebench.record import RunRecord
    from collapsebench.spec import Protocol

LABEL = "best possible"
LIKELIHOOD, INFORMATION = "iw_nll", LOWER_BOUND
"""The columns that are compared with the best possible."""


def best_possible(protocol: Protocol, components: Catalog) -> Mapping[str, Estimate]:
    """Return the scores of the best model of a protocol on its test split, by column; empty if they are not known.

    They are known for data that a dataset draws from a distribution, if it still has the version that the runs had.
    """
    dataset = _generated(protocol, components)
    try:
        return {} if dataset is None else dataset.best_possible(protocol.setting)
    except CollapsebenchError:  # an integral that does not converge
        return {}


def likelihood_limits(
    components: Catalog, split: Literal["valid", "test"] = "test"
) -> Callable[[Protocol], LikelihoodLimit | None]:
    """Return a function that knows what the examples of a protocol's split cost under their true distribution."""
    return partial(_limit, components, split)


def _limit(components: Catalog, split: Literal["valid", "test"], protocol: Protocol) -> LikelihoodLimit | None:
    dataset = _generated(protocol, components)
    try:
        true = None if dataset is None else dataset.true_likelihood(split)
    except CollapsebenchError:  # an integral that does not converge
        return None
    return None if true is None else LikelihoodLimit.of(*true)


def trial_violations(components: Catalog) -> Callable[[RunRecord], tuple[Violation, ...]]:
    """Return a function that finds what cannot be in the numbers that rules choose by: those of the validation split.

    Only generated data have a limit. Of other data nobody knows what is too good.
    """
    limits = likelihood_limits(components, "valid")
    checkers: dict[str, Callable[[Observation], tuple[Violation, ...]]] = {}

    def check(record: RunRecord) -> tuple[Violation, ...]:
        protocol = record.spec.protocol
        if record.protocol_id not in checkers:
            checkers[record.protocol_id] = checker(protocol, limits(protocol))
        return checkers[record.protocol_id](validated(record))

    return check


def _generated(protocol: Protocol, components: Catalog) -> Generated | None:
    """Return the dataset of a protocol if it draws its data from a known distribution, as the runs had it."""
    choice = protocol.dataset
    entry = components.entries.get(("dataset", choice.name))
    if entry is None or not issubclass(entry.component, Generated) or entry.component.version != choice.version:
        return None
    try:
        return components.create(Generated, choice)
    except CollapsebenchError:  # parameters of an older version
        return None


def regret(board: Board, row: Row) -> SeedSample | None:
    """Return IW-NLL minus the best possible, in nats per example; None if one of the two is not known."""
    best, sample = board.reference.get(LIKELIHOOD), row.sample(LIKELIHOOD)
    if best is None or sample is None:
        return None
    return SeedSample({seed: value - best.value for seed, value in sample.seeds.items()}, sample.errors)


def share(board: Board, row: Row) -> SeedSample | None:
    """Return the lower bound on MI in percent of the true MI; None if one is not known, or if the true MI is 0."""
    best, sample = board.reference.get(INFORMATION), row.sample(INFORMATION)
    if best is None or sample is None or best.value == 0:
        return None
    percent = 100 / best.value
    errors = {seed: percent * error for seed, error in sample.errors.items()}
    return SeedSample({seed: percent * value for seed, value in sample.seeds.items()}, errors)
