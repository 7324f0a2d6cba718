r"""Diagonal Gaussians: pure tensor mathematics. All densities and divergences in nats.

Symbols: B examples, D latent units, S samples. \(\mu\) mean, \(\sigma^2 = e^{\ell}\) with \(\ell\) the log-variance.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from collapsebench.model.seeding import Noise

LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class DiagonalGaussian:
    r"""\(q(z|x) = \prod_j N(z_j; \mu_j, e^{\ell_j})\) for a batch of B examples."""

    mean: Tensor  # (B, D)
    logvar: Tensor  # (B, D)

    def __post_init__(self) -> None:
        """Raise ValueError unless mean and log-variance are both (B, D)."""
        if self.mean.shape != self.logvar.shape or self.mean.ndim != 2:
            raise ValueError(
                f"mean and logvar must both be (B, D), got {tuple(self.mean.shape)} and {tuple(self.logvar.shape)}"
            )

    @classmethod
    def of(cls, parameters: Float[Tensor, "2 B D"]) -> DiagonalGaussian:
        """The distribution with these stacked means and log-variances."""
        mean, logvar = parameters
        return cls(mean, logvar)

    @property
    def parameters(self) -> Float[Tensor, "2 B D"]:
        """Means and log-variances, stacked: the variational parameters that inference strategies move."""
        return torch.stack((self.mean, self.logvar))

    def __len__(self) -> int:
        return len(self.mean)

    def __getitem__(self, rows: slice | Tensor) -> DiagonalGaussian:
        return DiagonalGaussian(self.mean[rows], self.logvar[rows])

    def detach(self) -> DiagonalGaussian:
        """The same distribution, cut from the graph."""
        return DiagonalGaussian(self.mean.detach(), self.logvar.detach())

    def sample(self, epsilon: Float[Tensor, "S B D"]) -> Float[Tensor, "S B D"]:
        r"""\(z = \mu + e^{\ell/2}\,\epsilon\) (reparameterization; Kingma and Welling 2014)."""
        return self.mean + (0.5 * self.logvar).exp() * epsilon

    def log_prob(self, z: Float[Tensor, "S B D"]) -> Float[Tensor, "S B"]:
        r"""\(\log q(z) = -\tfrac12 \sum_j [\log 2\pi + \ell_j + (z_j-\mu_j)^2 e^{-\ell_j}]\)."""
        squares = (z - self.mean).square() * (-self.logvar).exp()
        return -0.5 * (LOG_2PI + self.logvar + squares).sum(-1)

    def kl(self, other: DiagonalGaussian) -> Float[Tensor, "B D"]:
        r"""\(\tfrac12[\ell' - \ell + (e^{\ell} + (\mu-\mu')^2) e^{-\ell'} - 1]\) per unit, to N(\mu', e^{\ell'})."""
        excess = (self.logvar.exp() + (self.mean - other.mean).square()) * (-other.logvar).exp()
        return 0.5 * (other.logvar - self.logvar + excess - 1)


def concatenate(parts: Iterable[DiagonalGaussian]) -> DiagonalGaussian:
    """Join batches of one distribution along the examples."""
    mean, logvar = zip(*((part.mean, part.logvar) for part in parts), strict=True)
    return DiagonalGaussian(torch.cat(mean), torch.cat(logvar))


@runtime_checkable
class PriorDistribution(Protocol):
    """p(z), as far as the objective and the metrics need it."""

    @property
    def latent_dim(self) -> int:
        """The number of units D."""

    def sample(self, number: int, noise: Noise) -> Float[Tensor, "N D"]:
        """Draw so many codes; the same noise gives the same codes."""

    def log_prob(self, z: Float[Tensor, "S B D"]) -> Float[Tensor, "S B"]:
        """log p(z) in nats."""

    def kl(self, posterior: DiagonalGaussian) -> Float[Tensor, "B D"]:
        """KL(q || p) per unit in nats."""


@dataclass(frozen=True)
class StandardNormal:
    """N(0, I) over `latent_dim` units; zero units make the decoder unconditional."""

    latent_dim: int

    def sample(self, number: int, noise: Noise) -> Float[Tensor, "N D"]:
        """Draw from N(0, I)."""
        return noise.normal((number, self.latent_dim), torch.empty(0))

    def log_prob(self, z: Float[Tensor, "S B D"]) -> Float[Tensor, "S B"]:
        r"""\(\log p(z) = -\tfrac12 \sum_j [\log 2\pi + z_j^2]\)."""
        return -0.5 * (LOG_2PI + z.square()).sum(-1)

    def kl(self, posterior: DiagonalGaussian) -> Float[Tensor, "B D"]:
        r"""\(\tfrac12(\mu^2 + e^{\ell} - \ell - 1)\) per unit."""
        mean, logvar = posterior.mean, posterior.logvar
        return 0.5 * (mean.square() + logvar.exp() - logvar - 1)
