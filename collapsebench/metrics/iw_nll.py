"""The importance-weighted negative log-likelihood."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveInt

from collapsebench.estimates import Column, Direction, Estimate
from collapsebench.metrics.metric import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collapsebench.metrics.evaluation import EvaluatedSplit


class IWNLL(Metric):
    r"""An upper bound on -log p(x) by K importance samples (Burda et al. 2016, eq. 8).

    Formula: \(-\frac1N \sum_i \log \frac1K \sum_k w_{ik}\), \(w_{ik} = p(x_i, z_{ik}) / q_i(z_{ik})\),
    \(z_{ik} \sim q_i\). `ess` is \(\frac1N \sum_i (\sum_k w_{ik})^2 / \sum_k w_{ik}^2\), the effective sample size.
    Unit: nats per example; samples. Direction: lower; none for the effective sample size, which is a diagnostic.
    Estimator: the samples come from the contender's own posterior, which is refined if its inference refines. The
    entries `iw_nll[k]` are the estimates from the first k samples. The standard error is the Monte Carlo error over the
    draws of z for this split, by the delta method: \(\frac1N\sqrt{\sum_i (K/\mathrm{ESS}_i - 1)/(K-1)}\). It is NaN for
    K = 1. The effective sample size is that of these draws, and has no error.
    Trap: the bound falls as K grows, so compare at one K only. If the effective sample size is a few samples, the bound
    is loose and its standard error is too small. A mean of log-weights over a batch before the sum over k is wrong.
    """

    name: ClassVar[str] = "iw-nll"
    citation: ClassVar[str] = "Burda, Grosse, Salakhutdinov, Importance Weighted Autoencoders, ICLR 2016"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("iw_nll", "nats", Direction.LOWER, "IW-NLL"),
        Column("ess", "samples", Direction.NONE, "ESS"),
    )

    samples: PositiveInt = Field(500, description="importance samples K per example")

    def evaluate(self, split: EvaluatedSplit) -> Mapping[str, Estimate]:
        """Give both columns, and the curve over the number of samples."""
        bound = split.importance_bound(self.samples)
        curve = {
            f"iw_nll[{size}]": Estimate(-float(bound.log_p[point].mean()), bound.error(point))
            for point, size in enumerate(bound.sizes)
        }
        return {"iw_nll": curve[f"iw_nll[{self.samples}]"], "ess": Estimate(float(bound.ess[-1].mean()))} | curve
