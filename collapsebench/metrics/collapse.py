"""The share of latent units that no example uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, PositiveFloat

from collapsebench.estimates import Column, Direction, Estimate
from collapsebench.metrics.metric import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collapsebench.metrics.evaluation import EvaluatedSplit

CURVE = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Thresholds of the curve, in nats."""


class Collapse(Metric):
    r"""Units whose posterior is the prior for all but a few examples: (ε, δ)-collapse (Lucas et al. 2019).

    Formula: \(\frac{100}D\,\#\{j : \frac1N\,\#\{i : KL(q_{ij} \| p_j) < \epsilon\} \ge 1 - \delta\}\).
    Unit: percent of the units. Direction: none, units that the data do not need are right to collapse.
    Estimator: exact for the contender's own posterior. Entries `collapse[ε]` are the share over the threshold. Left out
    without latent units.
    Trap: it asks each example's KL, not the mean: a unit that a few examples use is not collapsed, and neither is one
    with constant posteriors that are not the prior, though it carries no information.
    """

    name: ClassVar[str] = "collapse"
    citation: ClassVar[str] = (
        "Lucas, Tucker, Grosse, Norouzi, Don't Blame the ELBO! A Linear VAE Perspective on Posterior Collapse, "
        "NeurIPS 2019"
    )
    columns: ClassVar[tuple[Column, ...]] = (Column("collapse", "%", Direction.NONE, "collapsed"),)

    epsilon: PositiveFloat = Field(0.01, description="KL ε in nats below which a posterior is the prior")
    delta: Annotated[float, Field(ge=0, lt=1)] = Field(0.01, description="share δ of examples that may be above it")

    def evaluate(self, split: EvaluatedSplit) -> Mapping[str, Estimate]:
        """The share, and its curve over the threshold."""
        from collapsebench.metrics.estimators import collapsed

        if split.latent_dim == 0:
            return {}
        curve = {f"collapse[{epsilon:g}]": Estimate(collapsed(split.kl, epsilon, self.delta)) for epsilon in CURVE}
        return {"collapse": Estimate(collapsed(split.kl, self.epsilon, self.delta))} | curve
