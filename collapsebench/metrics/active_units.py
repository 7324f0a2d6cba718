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
"""Thresholds of the curve: every one in use in the literature, and their neighbours."""


class ActiveUnits(Metric):
    r"""Units whose posterior mean varies over the examples (Burda et al. 2016).

    Formula: \(\#\{j : \mathrm{Var}_x\, E_q[z_j|x] > \delta\}\), the unbiased variance (N - 1) over the whole split.
    Unit: units. Direction: none, units beyond those the data need are no gain.
    Estimator: exact for the contender's own posterior. Entries `active_units[δ]` are the count over the threshold,
    `mean_variance[r]` the variances in falling order.
    Trap: the count hangs on δ (0.01 and 0.02 are both in use, 0.2 too) and small variances are cheap: read it with
    the spectrum and the mutual information. Not from a single batch, as one released program computes it.
    """

    name: ClassVar[str] = "active-units"
    citation: ClassVar[str] = "Burda, Grosse, Salakhutdinov, Importance Weighted Autoencoders, ICLR 2016"
    columns: ClassVar[tuple[Column, ...]] = (Column("active_units", "units", Direction.NONE, "AU"),)

    threshold: PositiveFloat = Field(0.01, description="variance δ of the posterior mean above which a unit is active")

    def evaluate(self, split: EvaluatedSplit) -> Mapping[str, Estimate]:
        """The count, its curve over the threshold, and the spectrum."""
        from collapsebench.metrics.estimators import active_units, mean_variance

        variance = mean_variance(split.posterior.mean)
        spectrum = enumerate(variance.sort(descending=True).values.tolist())
        return (
            {"active_units": Estimate(active_units(variance, self.threshold))}
            | {f"active_units[{threshold:g}]": Estimate(active_units(variance, threshold)) for threshold in CURVE}
            | {f"mean_variance[{rank}]": Estimate(value) for rank, value in spectrum}
        )
