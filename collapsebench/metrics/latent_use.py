"""What the decoder loses when it gets the code of another example."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from collapsebench.components import Column, Direction, Estimate, Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collapsebench.metrics.evaluation import EvaluatedSplit


class LatentUse(Metric):
    r"""The increase of the reconstruction error when codes are shuffled between examples.

    Formula: \(\frac1N \sum_i [\log p(x_i|z_i) - \log p(x_i|z_{\pi(i)})]\), \(z_i \sim q_i\), where \(\pi\) is a random
    cycle through all examples, so that none keeps its code.
    Unit: nats per example. Direction: higher.
    Estimator: one sample of z per example, one cycle. The standard error is \(s/\sqrt N\) over the examples: it holds
    the spread between examples as well as the Monte Carlo error. NaN for a single example; 0 without latent units.
    Trap: it can exceed the mutual information, as a decoder may be confidently wrong about a wrong code: zero means
    that z is ignored, its size is no amount of information.
    """

    name: ClassVar[str] = "latent-use"
    columns: ClassVar[tuple[Column, ...]] = (Column("delta_shuffle", "nats", Direction.HIGHER, "Δ shuffle"),)

    def evaluate(self, split: EvaluatedSplit) -> Mapping[str, Estimate]:
        """The one column."""
        from collapsebench.metrics.estimators import cyclic_permutation, spread_error

        if split.latent_dim == 0:
            return {"delta_shuffle": Estimate(0.0)}
        if len(split) == 1:
            return {"delta_shuffle": Estimate(math.nan, math.nan)}
        order = split.noise.child("shuffle").uniform((len(split),), split.z).argsort(stable=True)
        increase = split.reconstruct(split.z[cyclic_permutation(order)]) - split.reconstruction
        return {"delta_shuffle": Estimate(float(increase.mean()), spread_error(increase))}
