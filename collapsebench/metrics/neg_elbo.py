"""The negative ELBO."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveInt

from collapsebench.estimates import Column, Direction, Estimate
from collapsebench.metrics.metric import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collapsebench.metrics.evaluation import EvaluatedSplit


class NegELBO(Metric):
    r"""The negative ELBO. It is the same for all contenders, whatever their training objective.

    Formula: \(\frac1N \sum_i \big[-\frac1S \sum_s \log p(x_i|z_{is}) + KL(q_i \| p)\big]\), \(z_{is} \sim q_i\), with
    weight 1 on the KL. `reconstruction` is the first term alone, called the distortion.
    Unit: nats per example. Direction: lower; none for the reconstruction, as a lower one may cost KL.
    Estimator: S samples of z, and the KL in closed form, or else \(\log q - \log p\) at the same samples. The standard
    error is the Monte Carlo error over the draws of z for this split, \(\frac1N\sqrt{\sum_i s_i^2/S}\), where \(s_i^2\)
    is the variance of example i over its S draws. It is NaN for S = 1.
    Trap: some papers print their own objective (annealed, free bits, capacity) under this name, or this bound as "NLL".
    """

    name: ClassVar[str] = "neg-elbo"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("neg_elbo", "nats", Direction.LOWER, "−ELBO"),
        Column("reconstruction", "nats", Direction.NONE, "Rec"),
    )

    samples: PositiveInt = Field(2, description="samples S of z per example; the standard error needs two")

    def evaluate(self, split: EvaluatedSplit) -> Mapping[str, Estimate]:
        """Give both columns."""
        import torch

        from collapsebench.metrics.estimators import error_over_draws

        further = [split.reconstruct(split.sample(number)) for number in range(1, self.samples)]
        reconstruction = torch.stack([split.reconstruction, *further])
        distortion = Estimate(float(reconstruction.mean()), error_over_draws(reconstruction))
        if split.closed_kl is not None:
            bound = Estimate(distortion.value + split.kl_mean, distortion.standard_error)
        else:
            bounds = reconstruction + torch.stack([split.rate(number) for number in range(self.samples)])
            bound = Estimate(float(bounds.mean()), error_over_draws(bounds))
        return {"neg_elbo": bound, "reconstruction": distortion}
