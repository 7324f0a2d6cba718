"""The assembled model: encoder + posterior + prior + decoder, and the training objective of its contender."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from collapsebench.errors import PluginError
from collapsebench.model.distributions import DiagonalGaussian, PriorDistribution
from collapsebench.model.kernels.recurrent import unfused
from collapsebench.model.seeding import Noise


@dataclass
class Passes:
    """Forward passes through encoder and decoder, per example and sample: whole numbers that only grow."""

    encoder: int = 0
    decoder: int = 0


class VAE(nn.Module):
    """p(z) p(x|z) with an encoder for q(z|x). Every evaluation of a network goes through these two methods.

    They count them in `passes`, which is how a step is recognized whose costs are known. Steps of a method that calls
    the networks themselves are counted as they run, which takes longer.
    """

    def __init__(self, networks: Networks, prior: PriorDistribution) -> None:
        super().__init__()
        self.encoder = networks.encoder
        self.posterior = networks.posterior
        self.decoder = networks.decoder
        self.prior = prior
        self.passes = Passes()

    def encode(self, x: Tensor) -> DiagonalGaussian:
        """q(z|x) from the encoder; N(0, I) where the contender has none."""
        if self.encoder is None or self.posterior is None:
            zeros = next(self.decoder.parameters()).new_zeros(len(x), self.prior.latent_dim)
            return DiagonalGaussian(zeros, zeros)
        self.passes.encoder += x.shape[0]
        posterior: DiagonalGaussian = self.posterior(self.encoder(x))
        if not isinstance(posterior, DiagonalGaussian) or posterior.mean.shape != (len(x), self.prior.latent_dim):
            raise PluginError(
                f"the posterior must be a DiagonalGaussian ({len(x)}, {self.prior.latent_dim}), got {posterior!r:.200}"
            )
        return posterior

    def log_likelihood(
        self, x: Tensor, z: Float[Tensor, "S B D"], dropout: Noise | None = None
    ) -> Float[Tensor, "S B"]:
        """log p(x|z) in nats for S samples of z per example; `dropout` masks are drawn in training only."""
        log_p: Tensor = self.decoder(x, z, dropout)
        self.passes.decoder += log_p.numel()
        if log_p.shape != z.shape[:2]:
            raise PluginError(f"the decoder must return (S, B) = {tuple(z.shape[:2])}, got {tuple(log_p.shape)}")
        return log_p


class Networks(NamedTuple):
    """The modules of a VAE; contenders without an encoder have neither encoder nor posterior."""

    encoder: nn.Module | None
    posterior: nn.Module | None
    decoder: nn.Module


class Terms(NamedTuple):
    """The objective of one batch."""

    reconstruction: Tensor
    """-log p(x|z), one sample of z, (B,), nats."""
    kl: Tensor
    """KL(q || p) per unit, (B, D), nats."""
    kl_weight: float
    loss: Tensor
    """Mean over the batch of reconstruction + kl_weight * sum_j kl, a scalar, nats per example."""

    def backward(self) -> Terms:
        """Leave the gradients of the loss in the parameters; the same numbers, cut from the graph."""
        torch.autograd.backward(self.loss)
        return self.detach()

    def detach(self) -> Terms:
        """The same numbers, cut from the graph."""
        return Terms(self.reconstruction.detach(), self.kl.detach(), self.kl_weight, self.loss.detach())


@dataclass(frozen=True)
class Objective:
    r"""\(L = \frac1B \sum_i [-\log p(x_i|z_i) + \beta\, KL(q_i \| p)]\), one sample \(z_i \sim q_i\).

    `noise` is the noise of this step; draws for different parts of the step take children of it.
    """

    noise: Noise
    kl_weight: float = 1.0
    training: bool = True

    def __call__(self, vae: VAE, x: Tensor, posterior: DiagonalGaussian, noise: Noise | None = None) -> Terms:
        """The terms at one posterior; with the same noise the same sample of z and the same dropout masks."""
        noise = self.noise if noise is None else noise
        epsilon = noise.child("z").normal((1, *posterior.mean.shape), posterior.mean)
        dropout = noise.child("dropout") if self.training else None
        reconstruction = -vae.log_likelihood(x, posterior.sample(epsilon), dropout)[0]
        kl = vae.prior.kl(posterior)
        loss = (reconstruction + self.kl_weight * kl.sum(-1)).mean()
        return Terms(reconstruction, kl, self.kl_weight, loss)

    def gradient(
        self,
        vae: VAE,
        x: Tensor,
        posterior: DiagonalGaussian,
        noise: Noise,
        *,
        parameters: tuple[nn.Parameter, ...] = (),
        create_graph: bool = False,
    ) -> Gradient:
        r"""\(\nabla_\lambda L\) at the variational parameters \(\lambda = (\mu, \ell)\), and by further `parameters`.

        What the inner loop of an inference strategy repeats. Parameters that do not enter the loss have gradient zero.
        """
        point = posterior.parameters if create_graph else posterior.parameters.detach().requires_grad_()
        with torch.enable_grad(), unfused(vae) if create_graph else nullcontext():
            loss = self(vae, x, DiagonalGaussian.of(point), noise).loss
            found = torch.autograd.grad(
                loss, (point, *parameters), create_graph=create_graph, allow_unused=True, materialize_grads=True
            )
        return Gradient(loss.detach(), found[0], found[1:])


class Gradient(NamedTuple):
    """The gradient of one inner step."""

    loss: Tensor
    """The objective at the step's start, a scalar, nats per example."""
    posterior: Tensor
    """By the variational parameters, (2, B, D)."""
    parameters: tuple[Tensor, ...]
    """By each of the parameters asked for."""
