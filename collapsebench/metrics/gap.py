"""What the encoder, and the family of its posteriors, lose of the bound."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveFloat, PositiveInt

from collapsebench.estimates import Column, Direction, Estimate
from collapsebench.metrics.metric import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jaxtyping import Float
    from torch import Tensor

    from collapsebench.metrics.evaluation import EvaluatedSplit


class Gap(Metric):
    r"""The inference gap in two parts: of the encoder, and of the family of its posteriors (Cremer et al. 2018).

    Formula: with \(L_i(\lambda) = E_{q_\lambda}[-\log p(x_i|z)] + KL(q_\lambda \| p)\), \(\phi_i\) of the encoder and
    \(\lambda_i\) the best that is found: amortization gap \(\frac1N \sum_i [L_i(\phi_i) - L_i(\lambda_i)]\),
    approximation gap \(\frac1N \sum_i [L_i(\lambda_i) - \mathrm{NLL}_i]\), with the IW-NLL from samples of
    \(q_{\lambda_i}\).
    Unit: nats per example. Direction: none, both are zero where z is not used.
    Estimator: K steps of Adam per example on mean and log-variance, from \(\phi_i\), with a fresh sample of z each, its
    path gradient, which has no noise at the exact posterior (Roeder et al. 2017), and a rate that falls linearly to
    zero. Of three sets of posteriors, the encoder's, the contender's own and these, \(\lambda\) is the one with the
    lowest mean of L over the split, by S samples: one choice for all examples, as the choices of each would follow the
    noise of its samples. L is estimated by S others, the same for all sets, so that the choice does not flatter. The
    standard errors are Monte Carlo errors over these draws and those of the NLL. Where no other set is better than the
    encoder's, its gap is 0, without error.
    Entries: `neg_elbo_encoder`, `neg_elbo_own` (the contender's own posterior), `neg_elbo_refined` and
    `iw_nll_refined`. Without an encoder there is no amortization gap; without latent units both are 0.
    Trap: refinement may stop short of the best. So the amortization gap is a lower bound, and the approximation gap
    holds what is left of it. The IW-NLL is above -log p(x) and starts at the bound, so that a few samples leave no
    approximation gap. The likelihoods, the bound of the refined and that of the encoder's posterior are in this order
    but for Monte Carlo error; `iw_nll`, whose samples are of the contender's own posterior, may be above the refined
    bound.
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
    draws: PositiveInt = Field(8, description="samples S of z per example that posteriors are compared by")
    samples: PositiveInt = Field(500, description="importance samples per example")

    def evaluate(self, split: EvaluatedSplit) -> Mapping[str, Estimate]:
        """Both columns, and the bounds that they are differences of."""
        from collapsebench.inference.amortized import Amortized
        from collapsebench.metrics.estimators import repetition_error
        from collapsebench.metrics.refinement import Refined

        def estimate(bounds: Float[Tensor, "S N"]) -> Estimate:
            return Estimate(float(bounds.mean()), repetition_error(bounds))

        if split.latent_dim == 0:
            return {"amortization_gap": Estimate(0.0), "approximation_gap": Estimate(0.0)}
        amortized = split.under(Amortized())
        moved = split.under(Refined(steps=self.steps, learning_rate=self.learning_rate))
        best = min((amortized, split, moved), key=self._score)
        encoder, refined = self._bounds(amortized), self._bounds(best)
        likelihood = best.importance_bound(self.samples)
        error = math.hypot(repetition_error(refined), likelihood.error())
        values = {
            "approximation_gap": Estimate(float(refined.mean() - likelihood.nll.mean()), error),
            "neg_elbo_encoder": estimate(encoder),
            "neg_elbo_own": estimate(self._bounds(split)),
            "neg_elbo_refined": estimate(refined),
            "iw_nll_refined": Estimate(float(likelihood.nll.mean()), likelihood.error()),
        }
        return values if split.vae.encoder is None else {"amortization_gap": estimate(encoder - refined)} | values

    def _score(self, split: EvaluatedSplit) -> float:
        """The mean of the bound by draws that no estimate is made of; infinite where it is NaN."""
        bound = float(self._bounds(split, first=self.draws).mean())
        return math.inf if math.isnan(bound) else bound

    def _bounds(self, split: EvaluatedSplit, first: int = 0) -> Float[Tensor, "S N"]:
        """The negative ELBO of every example by each of S draws from this one on, whose noise is that of the split."""
        import torch

        drawn = range(first, first + self.draws)
        return torch.stack([split.reconstruct(split.sample(number)) for number in drawn]) + split.kl.sum(-1)
