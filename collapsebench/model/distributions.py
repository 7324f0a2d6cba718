r"""Diagonal Gaussians and priors: pure tensor mathematics. Log-densities and divergences are in nats.

Symbols: B examples, D latent units, S samples, \(\mu\) the mean, \(\ell\) the log-variance, \(\sigma^2 = e^{\ell}\).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from collapsebench.errors import PluginError
from collapsebench.model.needs import Need
from collapsebench.model.posterior import Draw, PosteriorDistribution

if TYPE_CHECKING:
    from collapsebench.model.seeding import Noise

LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class DiagonalGaussian(PosteriorDistribution):
    r"""\(q(z|x) = \prod_j N(z_j; \mu_j, e^{\ell_j})\) for a batch of B examples and D latent units.

    `mean` \(\mu\) and `logvar` \(\ell\) have the shape (B, D). Other shapes raise ValueError.

    KL(N(1, 1) || N(0, 1)) is \(\tfrac12(\mu^2 + e^\ell - \ell - 1) = 0.5\) nats:

    >>> import torch
    >>> from collapsebench import DiagonalGaussian
    >>> q = DiagonalGaussian(mean=torch.tensor([[1.0]]), logvar=torch.tensor([[0.0]]))
    >>> standard = DiagonalGaussian(mean=torch.tensor([[0.0]]), logvar=torch.tensor([[0.0]]))
    >>> q.kl(standard).tolist()
    [[0.5]]
    >>> q.sample(epsilon=torch.tensor([[[-1.0]], [[2.0]]])).tolist()
    [[[0.0]], [[3.0]]]
    """

    mean: Tensor  # (B, D)
    logvar: Tensor  # (B, D)

    def __post_init__(self) -> None:
        """Raise ValueError unless the mean and the log-variance are both (B, D)."""
        if self.mean.shape != self.logvar.shape or self.mean.ndim != 2:
            raise ValueError(
                f"mean and logvar must both be (B, D), got {tuple(self.mean.shape)} and {tuple(self.logvar.shape)}"
            )

    @classmethod
    def of(cls, parameters: Float[Tensor, "2 B D"]) -> DiagonalGaussian:
        """Make the distribution with these stacked means and log-variances."""
        mean, logvar = parameters
        return cls(mean, logvar)

    @property
    def parameters(self) -> Float[Tensor, "2 B D"]:
        """The means and the log-variances, stacked: the variational parameters that an inference strategy moves."""
        return torch.stack((self.mean, self.logvar))

    @property
    def like(self) -> Float[Tensor, "B D"]:
        """The means: a tensor of the shape and the type of a code, on its device."""
        return self.mean

    def at(self, parameters: Float[Tensor, "2 B D"]) -> DiagonalGaussian:
        """Make the distribution with these stacked means and log-variances."""
        return DiagonalGaussian.of(parameters)

    def __len__(self) -> int:
        return len(self.mean)

    def __getitem__(self, rows: slice | Tensor) -> DiagonalGaussian:
        return DiagonalGaussian(self.mean[rows], self.logvar[rows])

    def detach(self) -> DiagonalGaussian:
        """Give the same distribution without its autograd graph."""
        return DiagonalGaussian(self.mean.detach(), self.logvar.detach())

    def draw(self, noise: Noise) -> Draw:
        """Draw one code for each example: (B, D), and log q, (B,)."""
        drawn = self.draws((noise,))
        return Draw(drawn.z[0], lambda: drawn.log_q()[0])

    def draws(self, noises: Sequence[Noise]) -> Draw:
        """Draw a code from each of S sources of noise: (S, B, D), and log q, (S, B)."""
        z = self.sample(normals(noises, self.mean))
        return Draw(z, partial(self.log_prob, z))

    def sample(self, epsilon: Float[Tensor, "S B D"]) -> Float[Tensor, "S B D"]:
        r"""Give \(z = \mu + e^{\ell/2}\,\epsilon\), the reparameterized sample (Kingma and Welling 2014)."""
        return self.mean + (0.5 * self.logvar).exp() * epsilon

    def log_prob(self, z: Float[Tensor, "S B D"]) -> Float[Tensor, "S B"]:
        r"""Give \(\log q(z) = -\tfrac12 \sum_j [\log 2\pi + \ell_j + (z_j-\mu_j)^2 e^{-\ell_j}]\) in nats."""
        squares = (z - self.mean).square() * (-self.logvar).exp()
        return -0.5 * (LOG_2PI + self.logvar + squares).sum(-1)

    def kl(self, other: DiagonalGaussian) -> Float[Tensor, "B D"]:
        r"""Give the KL divergence to `other`, \(N(\mu', e^{\ell'})\), in nats per unit.

        It is \(\tfrac12[\ell' - \ell + (e^{\ell} + (\mu-\mu')^2) e^{-\ell'} - 1]\).
        """
        excess = (self.logvar.exp() + (self.mean - other.mean).square()) * (-other.logvar).exp()
        return 0.5 * (other.logvar - self.logvar + excess - 1)


def as_gaussian(posterior: PosteriorDistribution) -> DiagonalGaussian:
    """Give the posterior itself, for a method that needs a diagonal Gaussian (see `Need`).

    Raises PluginError if it is none.

    >>> import torch
    >>> from collapsebench import DiagonalGaussian, as_gaussian
    >>> as_gaussian(DiagonalGaussian(torch.zeros(1, 2), torch.zeros(1, 2))).logvar.tolist()
    [[0.0, 0.0]]
    """
    if not isinstance(posterior, DiagonalGaussian):
        raise PluginError(f"{Need.GAUSSIAN} is needed, got {type(posterior).__name__}")
    return posterior


def closed_kl(prior: PriorDistribution, posterior: PosteriorDistribution) -> Tensor:
    """Give KL(q || p) in nats, (B, D) or (B, 1), for a method that needs a closed form (see `Need`).

    Raises PluginError if there is none.

    >>> import torch
    >>> from collapsebench import DiagonalGaussian, StandardNormal, closed_kl
    >>> closed_kl(StandardNormal(1), DiagonalGaussian(torch.ones(1, 1), torch.zeros(1, 1))).tolist()
    [[0.5]]
    """
    kl = prior.kl(posterior)
    if kl is None:
        raise PluginError(f"{Need.CLOSED_FORM} is needed, and {type(prior).__name__} has none")
    return kl


def normals(noises: Sequence[Noise], like: Float[Tensor, "B D"]) -> Float[Tensor, "S B D"]:
    """Draw from N(0, I) once from each of S sources of noise, for codes like these.

    >>> import torch
    >>> from collapsebench import SeededNoise, normals
    >>> normals([SeededNoise(0), SeededNoise(1)], torch.zeros(3, 2)).shape
    torch.Size([2, 3, 2])
    """
    if len(noises) == 1:
        return noises[0].normal((1, *like.shape), like)
    drawn = like.new_empty(len(noises), *like.shape)
    for each, noise in zip(drawn, noises, strict=True):
        each.copy_(noise.normal(tuple(like.shape), like))
    return drawn


@runtime_checkable
class PriorDistribution(Protocol):
    """The prior p(z): the four things that the objective and the metrics need of it.

    A class with these four members is a prior. It inherits nothing. This one is N(m, 1) for one latent unit:

    >>> import torch
    >>> from collapsebench import DiagonalGaussian, PriorDistribution
    >>> class ShiftedNormal:
    ...     latent_dim = 1
    ...     def __init__(self, m):
    ...         self.normal = DiagonalGaussian(torch.tensor([[m]]), torch.tensor([[0.0]]))
    ...     def sample(self, number, noise):
    ...         return self.normal.mean + noise.normal((number, 1), self.normal.mean)
    ...     def log_prob(self, z):
    ...         return self.normal.log_prob(z)
    ...     def kl(self, posterior):
    ...         return posterior.kl(self.normal)
    >>> prior = ShiftedNormal(3.0)
    >>> isinstance(prior, PriorDistribution)
    True
    >>> prior.kl(DiagonalGaussian(torch.tensor([[1.0]]), torch.tensor([[0.0]]))).tolist()
    [[2.0]]
    """

    @property
    def latent_dim(self) -> int:
        """The number of latent units D."""

    def sample(self, number: int, noise: Noise) -> Float[Tensor, "N D"]:
        """Draw `number` codes. The same noise gives the same codes."""

    def log_prob(self, z: Float[Tensor, "S B D"]) -> Float[Tensor, "S B"]:
        """Give log p(z) in nats."""

    def kl(self, posterior: PosteriorDistribution) -> Tensor | None:
        """Give KL(q || p) in nats: per unit, (B, D), or (B, 1) if there is none per unit. None: no closed form.

        Where it is None, log q(z) - log p(z) at the drawn code takes its place.
        """


@dataclass(frozen=True)
class StandardNormal:
    r"""N(0, I) over `latent_dim` units. With zero units the decoder is unconditional.

    The density of two zeros is \(-\log 2\pi = -1.8379\) nats:

    >>> import torch
    >>> from collapsebench import DiagonalGaussian, StandardNormal
    >>> prior = StandardNormal(2)
    >>> round(float(prior.log_prob(torch.zeros(1, 1, 2))), 4)
    -1.8379
    >>> prior.kl(DiagonalGaussian(torch.tensor([[0.0, 1.0]]), torch.zeros(1, 2))).tolist()
    [[0.0, 0.5]]
    """

    latent_dim: int

    def sample(self, number: int, noise: Noise) -> Float[Tensor, "N D"]:
        """Draw `number` codes from N(0, I)."""
        return noise.normal((number, self.latent_dim), torch.empty(0))

    def log_prob(self, z: Float[Tensor, "S B D"]) -> Float[Tensor, "S B"]:
        r"""Give \(\log p(z) = -\tfrac12 \sum_j [\log 2\pi + z_j^2]\) in nats."""
        return -0.5 * (LOG_2PI + z.square()).sum(-1)

    def kl(self, posterior: PosteriorDistribution) -> Float[Tensor, "B D"] | None:
        r"""Give KL(q || p) in nats per unit: \(\tfrac12(\mu^2 + e^{\ell} - \ell - 1)\). None for no Gaussian q."""
        if not isinstance(posterior, DiagonalGaussian):
            return None
        mean, logvar = posterior.mean, posterior.logvar
        return 0.5 * (mean.square() + logvar.exp() - logvar - 1)


def on_processor(prior: PriorDistribution) -> PriorDistribution:
    """Return a prior for codes that are on the CPU: itself, or a copy if it is a module on another device."""
    if isinstance(prior, nn.Module) and any(each.device.type != "cpu" for each in prior.state_dict().values()):
        moved: PriorDistribution = copy.deepcopy(prior).cpu()
        return moved
    return prior
