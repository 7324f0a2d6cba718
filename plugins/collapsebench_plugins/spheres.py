"""What the families on the unit sphere share: directions, the uniform prior, and codes around a direction.

All densities are those on the surface of the unit sphere in D dimensions, in nats.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from collapsebench import Noise, PosteriorDistribution, Prior, UsageError

ROUNDING = 1e-3
"""A code whose length differs from one by more than rounding is not on the sphere."""


def log_area(latent_dim: int) -> float:
    """Give the logarithm of the area of the unit sphere in `latent_dim` dimensions."""
    return math.log(2) + latent_dim / 2 * math.log(math.pi) - math.lgamma(latent_dim / 2)


def unit(vectors: Tensor) -> Tensor:
    """Give the directions of vectors, (…, D). That of a vector of zeros is the first axis, without a gradient.

    A vector counts as one of zeros if its square is lost in the rounding of the smallest floats.
    """
    precision = torch.finfo(vectors.dtype)
    first = torch.zeros_like(vectors)
    first[..., 0] = 1
    some = vectors.square().sum(-1, keepdim=True) > precision.tiny / precision.eps
    vectors = torch.where(some, vectors, first)
    length: Tensor = vectors.norm(dim=-1, keepdim=True)
    return vectors / length


def cosine(directions: Tensor, z: Tensor) -> Tensor:
    """Give the cosines of directions, (B, D), and codes, (S, B, D): (S, B)."""
    return torch.einsum("bd,sbd->sb", directions, z)


class SphericalPosterior(PosteriorDistribution):
    """A family around the directions of vectors, (B, D), which are its first parameters.

    A strategy moves the vectors, whose lengths mean nothing, and not the directions. So its steps are those of
    parameters without a constraint, which can be differentiated.
    """

    location: Tensor
    mu: Tensor
    """The directions, (B, D)."""

    def __post_init__(self) -> None:
        """Find the directions at once, with a gradient if the vectors have one."""
        object.__setattr__(self, "mu", unit(self.location))

    @abstractmethod
    def kl_to_uniform(self) -> Tensor:
        """Give the KL to the uniform distribution on the sphere, (B, 1), in nats."""


@dataclass(frozen=True)
class UniformOnSphere:
    """The uniform distribution on the unit sphere in `latent_dim` dimensions."""

    latent_dim: int

    def sample(self, number: int, noise: Noise) -> Tensor:
        """Draw `number` codes: the directions of draws from N(0, I)."""
        return unit(noise.normal((number, self.latent_dim), torch.empty(0)))

    def log_prob(self, z: Tensor) -> Tensor:
        """Give minus the logarithm of the area, and minus infinity off the sphere."""
        away = (z.norm(dim=-1) - 1).abs() > ROUNDING
        return torch.full_like(z[..., 0], -log_area(self.latent_dim)).masked_fill(away, -math.inf)

    def kl(self, posterior: PosteriorDistribution) -> Tensor | None:
        """Give the KL of a family on the sphere, (B, 1), in nats. The others have no density there."""
        return posterior.kl_to_uniform() if isinstance(posterior, SphericalPosterior) else None


class UniformPrior(Prior):
    """The uniform distribution on the unit sphere."""

    name: ClassVar[str] = "uniform-on-sphere"
    latent_dim: PositiveInt = Field(description="number of latent units")

    def build(self) -> UniformOnSphere:
        """Build the distribution. Raises UsageError if the sphere has less than two dimensions."""
        if self.latent_dim < 2:
            raise UsageError(f"codes on a sphere need at least two latent units, got {self.latent_dim}")
        return UniformOnSphere(self.latent_dim)
