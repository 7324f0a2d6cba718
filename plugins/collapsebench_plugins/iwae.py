"""Importance weighted autoencoders: the bound on the likelihood by K samples of z is the training objective."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveInt

from collapsebench import Amortized, Component, Family, Inference, Method, Need, OneOf, SearchRange, hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from collapsebench import VAE, Noise, Objective, PosteriorDistribution, Terms


class Estimator(StrEnum):
    """The estimators of the gradient by the parameters of q."""

    PLAIN = "plain"
    DREG = "dreg"


class IWAE(Method, Amortized):
    r"""IWAE: a bound on the likelihood by K samples of z is the training objective.

    \(L = -\log \frac1K \sum_k w_k\), \(\log w_k = \log p(x|z_k) + \beta\,[\log p(z_k) - \log q(z_k|x)]\),
    \(z_k \sim q\), in nats per example (Burda et al. 2016, eq. 8). \(\beta\) is the product of the KL weights of
    all methods. With \(\beta = 1\) it is a bound, which is no looser with more samples.

    - `gradient=plain` differentiates L through the samples (eq. 13).
    - `gradient=dreg` has the same expectation, and a signal that does not vanish with growing K (Tucker et al. 2019).
      The gradient by \(z_k\) is multiplied by \(1 - \beta + \beta \tilde w_k\), where
      \(\tilde w_k = w_k / \sum_l w_l\), and \(\log q\) holds its own parameters fixed. With \(\beta = 1\) the
      parameters of q get
      \(-\sum_k \tilde w_k^2\, \frac{\partial \log w_k}{\partial z_k} \frac{\partial z_k}{\partial \phi}\), as in the
      paper; it has no other \(\beta\). Decoder and prior learn as with `plain`.
    - `samples` is K: 5 or 50 in Burda et al. `groups` is M: L is the mean of M bounds of K samples each (MIWAE of
      Rainforth et al., Tighter Variational Bounds are Not Necessarily Better, ICML 2018). CIWAE and PIWAE are not
      shipped.
    - The programs that were compared (Pythae; iffsid/DReG-PyTorch, a re-implementation) have the gradients of these
      equations. As a loss they report \(-\sum_k \tilde w_k \log w_k\), which is up to log K better than the bound. Here
      the loss is the bound. Pythae's MIWAE and PIWAE exchange the axes of M and K.
    - What is trained is a bound of another posterior than q: one that is sampled again by its weights. The board shows
      the ELBO of q, which may be worse than that of the plain VAE, and the IW-NLL, which this objective is.
    - A penalty in place of the KL, and an extra loss, speak of one sample: they cannot be combined with it.
    - Tuned: `samples` 5 or 50, as in Burda et al.
    - Cost of a step: one pass of the encoder, and M·K of the decoder.
    - Neutral: none. With `samples=1` loss and gradients are on average those of the plain VAE, whose KL is analytic.
    """

    name: ClassVar[str] = "iwae"
    family: ClassVar[Family] = Family.OBJECTIVE
    citation: ClassVar[str] = (
        "Burda, Grosse, Salakhutdinov, Importance Weighted Autoencoders, ICLR 2016; Tucker, Lawson, Gu, Maddison, "
        "Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives, ICLR 2019"
    )
    excludes: ClassVar[tuple[str, ...]] = ("kl_penalty", "extra_loss")
    search: ClassVar[dict[str, SearchRange]] = {"samples": OneOf(5, 50)}

    samples: PositiveInt = Field(5, description="samples K of a bound")
    groups: PositiveInt = Field(1, description="number M of bounds whose mean is trained")
    gradient: Estimator = Field(
        Estimator.PLAIN, description="estimator of the gradient by q's parameters: plain or dreg"
    )

    def needs(self) -> frozenset[Need]:
        """Say that dreg holds all parameters of q fixed, and a family may share some among the examples."""
        return frozenset({Need.GAUSSIAN} if self.gradient is Estimator.DREG else ())

    @hookimpl
    def inference(self) -> Inference:
        """Give the strategy, which is the method itself."""
        return self

    def gradients(self, vae: VAE, x: Tensor, objective: Objective) -> Terms:
        """Leave the gradients of the bound, and give it with the terms of the first sample and the analytic KL."""
        from collapsebench.model.vae import Terms

        posterior, prior, beta = vae.encode(x), vae.prior, objective.kl_weight
        noises = self.noises(objective.noise)
        z, log_q = drawn(posterior, noises, fixed=self.gradient is Estimator.DREG)
        log_p, rate = objective.log_likelihood(vae, x, z, objective.noise), log_q - prior.log_prob(z)
        log_w = log_p - beta * rate
        kl = prior.kl(posterior)
        if self.gradient is Estimator.DREG:
            factor = 1 - beta + beta * self.weights(log_w.detach())
            z.register_hook(lambda gradient: gradient * factor[..., None])  # type: ignore[no-untyped-call]
        return Terms(-log_p[0], rate[0, :, None] if kl is None else kl, beta, -self.bound(log_w).mean()).backward()

    def noises(self, noise: Noise) -> list[Noise]:
        """Give the noise of each of M K samples. The first one is that of the plain VAE."""
        first = noise.child("z")
        return [first, *(first.child(number) for number in range(1, self.groups * self.samples))]

    def bound(self, log_w: Tensor) -> Tensor:
        """Give the mean over the groups of log mean w, (B,), in nats, for log-weights (M K, B), group by group."""
        return (self._grouped(log_w).logsumexp(1) - math.log(self.samples)).mean(0)

    def weights(self, log_w: Tensor) -> Tensor:
        """Give the weights (M K, B), which sum to one in each group."""
        return self._grouped(log_w).softmax(1).view(log_w.shape)

    def _grouped(self, log_w: Tensor) -> Tensor:
        return log_w.view(self.groups, self.samples, -1)


def drawn(posterior: PosteriorDistribution, noises: Sequence[Noise], *, fixed: bool) -> tuple[Tensor, Tensor]:
    """Give samples z (S, B, D) and their log q, (S, B), in nats. `fixed` holds the parameters of q fixed in log q."""
    z, log_q = posterior.draws(noises)
    return z, posterior.detach().log_prob(z) if fixed else log_q()


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Name the method of this plugin."""
    return [IWAE]
