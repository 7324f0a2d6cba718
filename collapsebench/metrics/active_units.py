"""The number of latent units that react to the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveFloat

from collapsebench.estimates import Column, Direction, Estimate
from collapsebench.metrics.metric import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collapsebench.metrics.evaluation import EvaluatedSplit

CURVE = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""The thresholds of the curve: all that the literature uses, and their neighbours."""


class ActiveUnits(Metric):
    r"""The number of units whose posterior mean varies over the examples (Burda et al. 2016).

    Formula: \(\#\{j : \mathrm{Var}_x\, E_q[z_j|x] > \delta\}\), with the unbiased variance (N - 1) over the split.
    Unit: units. Direction: none, as more units than the data need are no gain.
    Estimator: exact for the contender's own posterior. The entries `active_units[δ]` are the counts for ten thresholds.
    The entries `mean_variance[r]` are the variances, the largest first.
    Trap: the count depends on δ, and the literature uses 0.01, 0.02 and 0.2. A small variance costs little, so read the
    count with the spectrum and the mutual information. One released program computes it from a single batch: that is
    another number.
    """

    name: ClassVar[str] = "active-units"
    citation: ClassVar[str] = "Burda, Grosse, Salakhutdinov, Importance Weighted Autoencoders, ICLR 2016"
    columns: ClassVar[tuple[Column, ...]] = (Column("active_units", "units", Direction.NONE, "AU"),)

    threshold: PositiveFloat = Field(0.01, description="variance δ of the posterior mean above which a unit is active")

    def evaluate(self, split: EvaluatedSplit) -> Mapping[str, Estimate]:
        """Give the count, its curve over the threshold, and the spectrum."""
        from collapsebench.metrics.estimators import active_units, mean_variance

        variance = mean_variance(split.posterior.mean)
        spectrum = enumerate(variance.sort(descending=True).values.tolist())
        return (
            {"active_units": Estimate(active_units(variance, self.threshold))}
            | {f"active_units[{threshold:g}]": Estimate(active_units(variance, threshold)) for threshold in CURVE}
            | {f"mean_variance[{rank}]": Estimate(value) for rank, value in spectrum}
        )
