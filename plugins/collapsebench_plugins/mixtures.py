"""Mixtures as priors: their density, and the modules that learn their components."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from collapsebench import DiagonalGaussian, in_evaluation
from collapsebench.model.distributions import LOG_2PI

if TYPE_CHECKING:
    from collapsebench import VAE, Noise, PosteriorDistribution

BLOCK = 2**22
"""A density is computed for so many numbers (codes times components times units) at a time."""


@dataclass(frozen=True)
class Mixture:
    r"""\(p(z) = \sum_c w_c\, q_c(z)\), of K components of any family of posteriors."""

    components: PosteriorDistribution
    log_weights: Tensor
    """(K,), the logarithms of weights whose sum is one."""

    @classmethod
    def equal(cls, components: PosteriorDistribution) -> Mixture:
        """Make the mixture in which all components have the same weight."""
        return cls(components, components.like.new_zeros(len(components)).log_softmax(0))

    @property
    def latent_dim(self) -> int:
        """The number of latent units D."""
        return self.components.like.shape[1]

    def sample(self, number: int, noise: Noise) -> Tensor:
        """Draw a component and then a code of it, `number` times: (N, D), in the type of the components."""
        shares = noise.child("component").uniform((number,), self.log_weights)
        chosen = torch.searchsorted(self.log_weights.exp().cumsum(0), shares, right=True)
        return self.components[chosen.clamp(max=len(self.components) - 1)].draw(noise.child("code")).z

    def log_prob(self, z: Tensor) -> Tensor:
        """Give log p(z) in nats of codes (S, B, D): (S, B), in their type and on their device."""
        components, log_weights = self._beside(z), self.log_weights.to(z)
        rows = max(1, BLOCK // components.like.numel())
        codes = torch.split(z.reshape(-1, z.shape[-1]), rows)
        found = [(pair_densities(components, some) + log_weights).logsumexp(1) for some in codes]
        return torch.cat(found).to(z).reshape(z.shape[:-1])

    def kl(self, posterior: PosteriorDistribution) -> Tensor | None:
        """Give KL(q || p) in nats per unit, (B, D), of a single Gaussian. Other mixtures have no closed form."""
        component = self._beside(posterior.like)
        if len(component) > 1 or not isinstance(component, DiagonalGaussian):
            return None
        return posterior.kl(component) if isinstance(posterior, DiagonalGaussian) else None

    def _beside(self, like: Tensor) -> PosteriorDistribution:
        """Give the components in the type and on the device of a code."""
        return self.components.at(self.components.parameters.to(like))


def pair_densities(components: PosteriorDistribution, z: Tensor) -> Tensor:
    r"""Give the log-densities in nats of N codes (N, D) under each of K components: (N, K).

    That of a Gaussian is linear in \((z^2, z)\): a matrix product, in float64 where the device has it, as it would lose
    digits of narrow Gaussians in float32.
    """
    if not isinstance(components, DiagonalGaussian):
        return components.log_prob(z[:, None].expand(-1, len(components), -1))
    dtype = torch.float64 if z.device.type in {"cpu", "cuda"} else z.dtype
    z, mean, logvar = (each.to(dtype) for each in (z, components.mean, components.logvar))
    precision = (-logvar).exp()
    coefficients = torch.cat((-0.5 * precision, mean * precision), 1)
    constants = -0.5 * (LOG_2PI + logvar + mean.square() * precision).sum(1)
    return torch.addmm(constants, torch.cat((z.square(), z), 1), coefficients.T)


class LearnedMixture(nn.Module):
    """A mixture of K diagonal Gaussians whose means, log-variances and, if they are learned, weights are parameters."""

    def __init__(self, number: int, latent_dim: int, *, spread: float, learned_weights: bool) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.mean = nn.Parameter(spread * torch.randn(number, latent_dim))
        self.logvar = nn.Parameter(torch.zeros(number, latent_dim))
        self.logits = nn.Parameter(torch.zeros(number), requires_grad=learned_weights)

    def of(self, vae: VAE) -> Mixture:
        """Give the density for the parameters as they are now."""
        del vae
        return Mixture(DiagonalGaussian(self.mean, self.logvar), self.logits.log_softmax(0))


class PseudoInputs(nn.Module):
    """The mixture of the posteriors of K learned inputs of the encoder, (K, …), within the bounds of the data."""

    def __init__(self, first: Tensor, latent_dim: int, bounds: tuple[float, float]) -> None:
        super().__init__()
        self.latent_dim, self.bounds = latent_dim, bounds
        self.values = nn.Parameter(first)

    def of(self, vae: VAE) -> Mixture:
        """Give the density for the networks as they are now. What normalizes by a batch does not see the inputs."""
        with in_evaluation(*(each for each in (vae.encoder, vae.posterior, vae.heads) if each is not None)):
            return Mixture.equal(self.posterior(vae))

    def posterior(self, vae: VAE) -> PosteriorDistribution:
        """Pass the inputs through the encoder."""
        return vae.encode(self.values.clamp(*self.bounds))


class PseudoFeatures(PseudoInputs):
    """The same of K learned inputs of the layer behind the encoder, (K, width)."""

    def posterior(self, vae: VAE) -> PosteriorDistribution:
        """Pass the inputs through that layer, and the heads behind it."""
        return vae.posterior_at(self.values)
