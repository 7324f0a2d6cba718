"""DG-VAE: the KL of the codes of a batch together, unit by unit, in place of the mean KL of each example."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveInt

from collapsebench import Component, Family, Method, Need, hookimpl

if TYPE_CHECKING:
    from torch import Tensor

    from collapsebench import LatentSample
    from collapsebench.model.distributions import DiagonalGaussian, PriorDistribution


class DGVAE(Method):
    r"""DG-VAE: the KL term is that of the codes of a batch together, unit by unit.

    It is the density gap \(\sum_j KL(\bar q_j \| p_j)\), where \(\bar q_j = \frac1B \sum_i q(z_j|x_i)\) is the marginal
    of a batch. It is estimated by M samples of each posterior of the batch, own posterior included in \(\bar q\):
    \(\frac{1}{MB} \sum_{mi} [\sum_j \log \bar q_j(z_{mij}) - \log p(z_{mi})]\), in nats per example (Zhang et al. 2022,
    zhangjf-nlp/DG-VAEs: modules/encoders/DGBasedKLD.py:28-90). The gradient goes through samples and densities. The
    prior is a product over units, as N(0, I) is.

    - `samples` is M: 32 in the authors' program.
    - `group`: the marginals are of so many examples of the batch; the authors take the whole batch. Its gap is at most
      the log of this number smaller, per unit, than the KL. So batch size is a hyperparameter.
    - The program adds 1e-6 in numerator and denominator of the log-densities. Here this is left out.
    - What is trained is no bound: the term leaves out the information in z, up to log B a unit. The board shows the
      ELBO. An estimate may be negative.
    - Cost of a step: that of the plain VAE, and about \(5 M B^2 D\) elementwise operations, which FLOPs do not count.
    - Neutral: none. With `group=1` it is the KL, estimated by M samples.
    """

    name: ClassVar[str] = "dg-vae"
    family: ClassVar[Family] = Family.OBJECTIVE
    citation: ClassVar[str] = (
        "Zhang et al., Improving Variational Autoencoders with Density Gap-based Regularization, NeurIPS 2022"
    )

    samples: PositiveInt = Field(32, description="number M of samples of each posterior")
    group: PositiveInt | None = Field(None, description="examples of which marginals are made; by default the batch")

    def needs(self) -> frozenset[Need]:
        """Say that the marginals are of Gaussians, and the prior a product over units."""
        return frozenset({Need.GAUSSIAN, Need.UNITS})

    @hookimpl
    def kl_penalty(self, sample: LatentSample) -> Tensor:
        """Give the density gap, a scalar, in nats."""
        from collapsebench import as_gaussian

        posterior, prior = as_gaussian(sample.posterior), sample.vae.prior
        epsilon = sample.noise.child(self.name).normal((self.samples, *posterior.mean.shape), posterior.mean)
        number = len(posterior)
        size = number if self.group is None else min(self.group, number)
        starts = range(0, number, size)
        gaps = [density_gap(posterior[s : s + size], epsilon[:, s : s + size], prior) for s in starts]
        return sum(gaps[1:], start=gaps[0]) / number


def density_gap(posterior: DiagonalGaussian, epsilon: Tensor, prior: PriorDistribution) -> Tensor:
    """Give the summed gap of B posteriors at the samples that the noise (M, B, D) makes, a scalar, in nats."""
    from collapsebench.model.distributions import LOG_2PI

    z = posterior.sample(epsilon)  # (M, B, D)
    squares = (z[:, :, None] - posterior.mean).square() * (-posterior.logvar).exp()  # (M, B, B, D)
    each = -0.5 * (LOG_2PI + posterior.logvar + squares)
    marginal = each.logsumexp(2) - math.log(len(posterior))  # (M, B, D)
    return (marginal.sum(-1) - prior.log_prob(z)).mean(0).sum()


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Name the method of this plugin."""
    return [DGVAE]
