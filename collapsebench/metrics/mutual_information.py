"""The mutual information of examples and codes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from collapsebench.estimates import Column, Direction, Estimate
from collapsebench.metrics.metric import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collapsebench.metrics.estimators import Bracket
    from collapsebench.metrics.evaluation import EvaluatedSplit


MIXTURE = 10_000
"""The mixtures of a dear family take the work that a mixture of so many Gaussians takes."""

FEWEST = 200
"""So many examples are in a mixture at least."""


class MutualInformation(Metric):
    r"""A bracket for I_q(x; z), the mutual information under the data and the posterior.

    Formula: lower \(= KL - \frac1N \sum_i \big[\log \frac1N \sum_k q_k(z_i) - \log p(z_i)\big]\), \(z_i \sim q_i\),
    where the sum over k includes i. upper \(= \min(KL, \text{leave-one-out})\), where leave-one-out is the same with
    the mean over the \(N-1\) other posteriors.
    Unit: nats. Direction: higher for the lower bound; none for the upper.
    Estimator: exact mixtures over the whole split, in float64, with one sample of z per example. The mixtures of a
    family whose densities are dear, such as a flow with context, are over fewer examples, evenly from the split. The KL
    is in closed form, as in the paper, or else estimated at the same samples. Its estimate \(\frac1N \sum_i [\log
    q_i(z_i) - \log p(z_i)]\) has the same mean, and with it the lower bound is InfoNCE, which never exceeds log N. The
    standard error is \(s/\sqrt N\) over the examples. On average it is no smaller than the Monte Carlo error, as it
    contains the spread between the examples, too. An upper bound that is a KL in closed form has no error.
    Entries: `mi_leave_one_out`. `aggregate_kl` is KL(q_agg || p), which is biased upwards as the lower bound is biased
    downwards. `mi_examples` is N. `mi_saturated` is 1 if the lower bound is within 0.1 nats of log N, so that it says
    no more than that.
    Trap: but for its Monte Carlo error the lower bound cannot pass log N: 3.5 for a batch of 32, 9.2 for 10,000
    examples. Do not compare it across different N. If z is hardly used, the two bounds may cross by their Monte Carlo
    error.
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

    LARGEST: ClassVar[int | None] = None
    """The most examples in a mixture of Gaussians. None: all."""

    def evaluate(self, split: EvaluatedSplit) -> Mapping[str, Estimate]:
        """Give both bounds, and the numbers behind them."""
        from collapsebench.metrics.estimators import (
            bracket_from_densities,
            evenly_spaced,
            mutual_information_bracket,
        )

        number = self._affordable(len(split), split.posterior.pair_cost())
        if number == len(split):
            return _estimates(bracket_from_densities(split.z, split.posterior, split.prior, split.density))
        rows = evenly_spaced(len(split), number)
        return _estimates(mutual_information_bracket(split.z[rows], split.posterior[rows], split.prior))

    def _affordable(self, examples: int, cost: int) -> int:
        """Give the number of examples in the mixtures: the work is that of `MIXTURE` examples of a Gaussian."""
        most = self.LARGEST or examples
        if cost > 1:
            most = min(most, max(FEWEST, math.isqrt((self.LARGEST or MIXTURE) ** 2 // cost)))
        return min(examples, most)


class TrackedInformation(MutualInformation):
    r"""The bracket for at most `LARGEST` examples of a split, which lie evenly in it: their mixtures are smaller.

    Its time is quadratic in the number of examples, and a trajectory has many points. So the lower bound of a point
    ends at log 2,000 = 7.6 nats, and is lower than that of all examples by at most the logarithm of the ratio of sizes.
    """

    LARGEST: ClassVar[int | None] = 2000


def _estimates(found: Bracket) -> dict[str, Estimate]:
    return {
        "mi_lower": found.lower,
        "mi_upper": found.upper,
        "mi_leave_one_out": found.leave_one_out,
        "aggregate_kl": found.aggregate_kl,
        "mi_examples": Estimate(float(found.examples)),
        "mi_saturated": Estimate(float(found.saturated)),
    }
