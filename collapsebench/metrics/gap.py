"""The inference gap: the loss by the encoder, and the loss by the family of its posteriors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveFloat, PositiveInt

from collapsebench.estimates import Column, Declined, Direction, Estimate
from collapsebench.inference.amortized import Amortized
from collapsebench.metrics.metric import NO_ENCODER, Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jaxtyping import Float
    from torch import Tensor

    from collapsebench.metrics.evaluation import EvaluatedSplit


class Gap(Metric):
    r"""The inference gap in two parts: that of the encoder and that of the posterior family (Cremer et al. 2018).

    Formula: the amortization gap is \(\frac1N \sum_i [L_i(\phi_i) - L_i(\lambda_i)]\), and the approximation gap is
    \(\frac1N \sum_i [L_i(\lambda_i) - \mathrm{NLL}_i]\). Here
    \(L_i(\lambda) = E_{q_\lambda}[-\log p(x_i|z)] + KL(q_\lambda \| p)\), \(\phi_i\) is the posterior of the encoder,
    \(\lambda_i\) is the best posterior that is found, and NLL is the IW-NLL from samples of \(q_{\lambda_i}\).
    Unit: nats per example. Direction: none, as both gaps are zero if z is not used.
    Estimator: mean and log-variance of each example are refined from \(\phi_i\) by K steps of Adam. Each step follows
    the path gradient at a fresh sample of z, which has no noise at the exact posterior (Roeder et al. 2017). The rate
    falls linearly to zero. There are then three sets of posteriors: the encoder's, the contender's own and the refined
    ones. \(\lambda\) is the set with the lowest mean of L over the split, estimated by S samples. The choice is one for
    all examples, as a choice for each example would follow the noise of its samples. L is then estimated by S other
    samples, the same for all sets, so that the choice adds no bias. The standard errors are Monte Carlo errors over
    these draws and those of the NLL. If no set is better than the encoder's, the amortization gap is 0, without error.
    Entries: `neg_elbo_encoder`, `neg_elbo_own` (the contender's own posterior), `neg_elbo_refined` and
    `iw_nll_refined`. Without an encoder there is no amortization gap. Without latent units both gaps are 0.
    Trap: the refinement may stop before the best posterior. So the amortization gap is a lower bound, and the
    approximation gap contains the rest of it. The IW-NLL is above -log p(x), and with one sample it is the bound
    itself, so that few samples show no approximation gap. `iw_nll_refined` ≤ `neg_elbo_refined` ≤ `neg_elbo_encoder`
    up to Monte Carlo error. `iw_nll` uses samples of the contender's own posterior: it may be above `neg_elbo_refined`.
    """

    name: ClassVar[str] = "gap"
    version: ClassVar[int] = 2
    citation: ClassVar[str] = "Cremer, Li, Duvenaud, Inference Suboptimality in Variational Autoencoders, ICML 2018"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("amortization_gap", "nats", Direction.NONE, "amortization gap"),
        Column("approximation_gap", "nats", Direction.NONE, "approximation gap"),
    )

    steps: PositiveInt = Field(100, description="steps K of refinement per example")
    learning_rate: PositiveFloat = Field(0.05, description="Adam's rate at the first step")
    draws: PositiveInt = Field(8, description="samples S of z per example for the comparison of posteriors")
    samples: PositiveInt = Field(500, description="importance samples per example")

    def evaluate(self, split: EvaluatedSplit) -> Mapping[str, Estimate | Declined]:
        """Give both columns, and the bounds whose differences they are."""
        from collapsebench.metrics.estimators import error_over_draws
        from collapsebench.metrics.refinement import AdamRefinement

        def estimate(bounds: Float[Tensor, "S N"]) -> Estimate:
            return Estimate(float(bounds.mean()), error_over_draws(bounds))

        if split.latent_dim == 0:
            return {"amortization_gap": Estimate(0.0), "approximation_gap": Estimate(0.0)}
        amortized = split.with_inference(Amortized())
        moved = split.with_inference(AdamRefinement(steps=self.steps, learning_rate=self.learning_rate))
        best = min((amortized, split, moved), key=self._score)
        encoder, refined = self._bounds(amortized), self._bounds(best)
        likelihood = best.importance_bound(self.samples)
        error = math.hypot(error_over_draws(refined), likelihood.error())
        return {
            "amortization_gap": NO_ENCODER if split.vae.encoder is None else estimate(encoder - refined),
            "approximation_gap": Estimate(float(refined.mean() - likelihood.nll.mean()), error),
            "neg_elbo_encoder": estimate(encoder),
            "neg_elbo_own": estimate(self._bounds(split)),
            "neg_elbo_refined": estimate(refined),
            "iw_nll_refined": Estimate(float(likelihood.nll.mean()), likelihood.error()),
        }

    def _score(self, split: EvaluatedSplit) -> float:
        """Give the mean of the bound by draws that no estimate uses. It is infinite instead of NaN."""
        bound = float(self._bounds(split, first=self.draws).mean())
        return math.inf if math.isnan(bound) else bound

    def _bounds(self, split: EvaluatedSplit, first: int = 0) -> Float[Tensor, "S N"]:
        """Give the negative ELBO of every example by each of S draws, from number `first` on, in nats."""
        import torch

        drawn = range(first, first + self.draws)
        return torch.stack([split.reconstruct(split.sample(number)) + split.rate(number) for number in drawn])
