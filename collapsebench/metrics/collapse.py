"""The share of latent units whose posterior is the prior for almost all examples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, PositiveFloat

from collapsebench.estimates import Column, Declined, Direction, Estimate
from collapsebench.metrics.metric import NO_UNITS, Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collapsebench.metrics.evaluation import EvaluatedSplit

CURVE = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""The thresholds of the curve, in nats."""


class Collapse(Metric):
    r"""The share of units whose posterior is the prior for almost all examples: (ε, δ)-collapse (Lucas et al. 2019).

    Formula: \(\frac{100}D\,\#\{j : \frac1N\,\#\{i : KL(q_{ij} \| p_j) < \epsilon\} \ge 1 - \delta\}\).
    Unit: percent of the units. Direction: none, as a unit that the data do not need should collapse.
    Estimator: exact for the contender's own posterior. The entries `collapse[ε]` are the shares for ten thresholds.
    A contender without latent units, or without a KL per unit, has no value.
    Trap: the formula uses the KL of each example, not the mean. So a unit that a few examples use is not collapsed. A
    unit with one posterior for all examples that is not the prior is not collapsed either, and carries no information.
    """

    name: ClassVar[str] = "collapse"
    citation: ClassVar[str] = (
        "Lucas, Tucker, Grosse, Norouzi, Don't Blame the ELBO! A Linear VAE Perspective on Posterior Collapse, "
        "NeurIPS 2019"
    )
    columns: ClassVar[tuple[Column, ...]] = (Column("collapse", "%", Direction.NONE, "collapsed"),)

    epsilon: PositiveFloat = Field(0.01, description="KL ε in nats below which a posterior is the prior")
    delta: Annotated[float, Field(ge=0, lt=1)] = Field(0.01, description="share δ of examples that may be above it")

    def evaluate(self, split: EvaluatedSplit) -> Mapping[str, Estimate | Declined]:
        """Give the share, and its curve over the threshold."""
        from collapsebench.metrics.estimators import collapsed_percentage

        if split.latent_dim == 0:
            return {"collapse": NO_UNITS}
        if not split.has_unit_kl:
            return {"collapse": Declined(f"no KL per unit: {split.family}")}
        curve = {
            f"collapse[{epsilon:g}]": Estimate(collapsed_percentage(split.kl, epsilon, self.delta)) for epsilon in CURVE
        }
        return {"collapse": Estimate(collapsed_percentage(split.kl, self.epsilon, self.delta))} | curve
