"""The KL divergence from the posterior to the prior."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from collapsebench.estimates import Column, Direction, Estimate
from collapsebench.metrics.metric import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collapsebench.metrics.evaluation import EvaluatedSplit


class KL(Metric):
    r"""The rate: how far the posteriors are from the prior.

    Formula: \(\frac1N \sum_i \sum_j KL(q_{ij} \| p_j)\).
    Unit: nats per example. Direction: none, it trades against the reconstruction.
    Estimator: analytic, the mean over the whole split, exact for the contender's own posterior. Entries `kl[j]` are the
    means per unit and sum to it.
    Trap: KL > 0 does not mean that z is used: a method that forces a floor under the KL meets it with constant
    posteriors as well. Not the KL after a free-bits mask, and not a mean of batch means.
    """

    name: ClassVar[str] = "kl"
    columns: ClassVar[tuple[Column, ...]] = (Column("kl", "nats", Direction.NONE, "KL"),)

    def evaluate(self, split: EvaluatedSplit) -> Mapping[str, Estimate]:
        """The sum, and every unit."""
        units = {f"kl[{unit}]": Estimate(value) for unit, value in enumerate(split.kl.mean(0).tolist())}
        return {"kl": Estimate(split.kl_mean)} | units
