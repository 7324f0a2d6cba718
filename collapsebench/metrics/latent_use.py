"""The loss of the decoder with the code of another example, or with a code from the prior."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from collapsebench.estimates import Column, Direction, Estimate
from collapsebench.metrics.metric import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from collapsebench.metrics.evaluation import EvaluatedSplit


class LatentUse(Metric):
    r"""The increase of the reconstruction error if the code of an example is replaced.

    Formula: \(\frac1N \sum_i [\log p(x_i|z_i) - \log p(x_i|\tilde z_i)]\), \(z_i \sim q_i\). In `delta_shuffle`
    \(\tilde z_i = z_{\pi(i)}\), where \(\pi\) is a random cycle through all examples: no example keeps its code. In
    `delta_prior` \(\tilde z_i \sim p\).
    Unit: nats per example. Direction: higher; none for the prior.
    Estimator: one sample of each code per example, one cycle. The standard error is \(s/\sqrt N\) over the examples. It
    contains the spread between the examples, too. `delta_shuffle` is NaN for a single example. Both are 0 without
    latent units.
    Trap: zero means that z is ignored, but the size is no amount of information. Both can be larger than the mutual
    information, as a decoder may be very wrong about a wrong code. `delta_prior` also grows if the mixture of the
    posteriors differs from the prior. So it can be large although all examples have the same posterior.
    """

    name: ClassVar[str] = "latent-use"
    version: ClassVar[int] = 2
    columns: ClassVar[tuple[Column, ...]] = (
        Column("delta_shuffle", "nats", Direction.HIGHER, "Δ shuffle"),
        Column("delta_prior", "nats", Direction.NONE, "Δ prior"),
    )

    def evaluate(self, split: EvaluatedSplit) -> Mapping[str, Estimate]:
        """Give both columns."""
        if split.latent_dim == 0:
            return {"delta_shuffle": Estimate(0.0), "delta_prior": Estimate(0.0)}
        return {"delta_shuffle": self._shuffled(split), "delta_prior": self._increase(split, self._drawn(split))}

    def _shuffled(self, split: EvaluatedSplit) -> Estimate:
        from collapsebench.metrics.estimators import cyclic_permutation

        if len(split) == 1:
            return Estimate(math.nan, math.nan)
        order = split.noise.child("shuffle").uniform((len(split),), split.z).argsort(stable=True)
        return self._increase(split, split.z[cyclic_permutation(order)])

    @staticmethod
    def _drawn(split: EvaluatedSplit) -> Tensor:
        return split.prior.sample(len(split), split.noise.child("prior")).to(split.z)

    @staticmethod
    def _increase(split: EvaluatedSplit, z: Tensor) -> Estimate:
        from collapsebench.metrics.estimators import error_over_examples

        increase = split.reconstruct(z) - split.reconstruction
        return Estimate(float(increase.mean()), error_over_examples(increase))
