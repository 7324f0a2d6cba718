"""The mutual information of examples and codes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from collapsebench.estimates import Column, Direction, Estimate
from collapsebench.metrics.metric import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collapsebench.metrics.evaluation import EvaluatedSplit


class MutualInformation(Metric):
    r"""I_q(x; z) under the data and the posterior, as a bracket.

    Formula: lower \(= KL - \frac1N \sum_i \big[\log \frac1N \sum_k q_k(z_i) - \log p(z_i)\big]\), \(z_i \sim q_i\), the
    own posterior among the k; upper \(= \min(KL, \text{leave-one-out})\), where leave-one-out is the same with the mean
    over the \(N-1\) other posteriors.
    Unit: nats. Direction: higher for the lower bound; none for the upper.
    Estimator: exact mixtures over the whole split, float64, one sample of z per example. The analytic KL, as in the
    paper, is the mean of \(\frac1N \sum_i [\log q_i(z_i) - \log p(z_i)]\); with that sample in its place the lower
    bound would be InfoNCE, which never exceeds log N. The standard error is \(s/\sqrt N\) over the examples: on average
    no smaller than the Monte Carlo error, as it holds the spread between examples as well; none where the upper bound
    is the KL.
    Entries: `mi_leave_one_out`; `aggregate_kl`, KL(q_agg || p), biased upwards as the lower bound is downwards;
    `mi_examples`, N; `mi_saturated`, 1 where the lower bound is within 0.1 nats of log N and says no more than that.
    Trap: the lower bound cannot pass log N, 3.5 for a batch of 32 and 9.2 for 10,000 examples, but by its Monte Carlo
    error: never compare it across different N. Where z is all but unused, the two bounds may cross by that error.
    """

    name: ClassVar[str] = "mutual-information"
    citation: ClassVar[str] = (
        "Hoffman and Johnson, ELBO surgery, 2016; Dieng et al., Avoiding Latent Variable Collapse with Generative Skip "
        "Models, AISTATS 2019; Poole et al., On Variational Bounds of Mutual Information, ICML 2019"
    )
    columns: ClassVar[tuple[Column, ...]] = (
        Column("mi_lower", "nats", Direction.HIGHER, "MI ≥"),
        Column("mi_upper", "nats", Direction.NONE, "MI ≤"),
    )

    def evaluate(self, split: EvaluatedSplit) -> Mapping[str, Estimate]:
        """Both bounds, and what they rest on."""
        from collapsebench.metrics.estimators import bracket

        found = bracket(split.z, split.posterior, split.vae.prior, split.density)
        return {
            "mi_lower": found.lower,
            "mi_upper": found.upper,
            "mi_leave_one_out": found.leave_one_out,
            "aggregate_kl": found.aggregate_kl,
            "mi_examples": Estimate(float(found.examples)),
            "mi_saturated": Estimate(float(found.saturated)),
        }
