"""The KL divergence from the posterior to the prior."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from collapsebench.estimates import Column, Declined, Direction, Estimate
from collapsebench.metrics.metric import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collapsebench.metrics.evaluation import EvaluatedSplit


class KL(Metric):
    r"""The KL divergence from the posterior to the prior, called the rate.

    Formula: \(\frac1N \sum_i \sum_j KL(q_{ij} \| p_j)\).
    Unit: nats per example. Direction: none, as a lower KL may cost reconstruction.
    Estimator: in closed form, the mean over the whole split, exact for the contender's own posterior. The entries
    `kl[j]` are the means per unit, where there are any. Their sum is `kl`. Without a closed form it is the mean of
    \(\log q(z_i|x_i) - \log p(z_i)\) at one sample per example, with the standard error \(s/\sqrt N\).
    Trap: KL > 0 does not mean that z is used. A method that forces a minimum of the KL can reach it with one posterior
    for all examples. Other numbers are the KL after a free-bits mask, and a mean of batch means.
    """

    name: ClassVar[str] = "kl"
    columns: ClassVar[tuple[Column, ...]] = (Column("kl", "nats", Direction.NONE, "KL"),)

    def evaluate(self, split: EvaluatedSplit) -> Mapping[str, Estimate | Declined]:
        """Give the sum, and the mean of each unit where there is one."""
        if split.closed_kl is None:
            from collapsebench.metrics.estimators import error_over_examples

            estimate = Estimate(split.kl_mean, error_over_examples(split.kl[:, 0]))
        else:
            estimate = Estimate(split.kl_mean)
        if not split.has_unit_kl:
            return {"kl": estimate, "kl[j]": Declined(f"no KL per unit: {split.family}")}
        units = {f"kl[{unit}]": Estimate(value) for unit, value in enumerate(split.kl.mean(0).tolist())}
        return {"kl": estimate} | units
