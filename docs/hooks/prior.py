"""A prior that is wider, or narrower, than the standard normal distribution."""

import math
from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field, PositiveFloat

from collapsebench import Method, Prior, hookimpl


@dataclass(frozen=True)
class Normal:
    """N(0, scale² I)."""

    latent_dim: int
    scale: float

    def sample(self, number, noise):
        import torch

        return self.scale * noise.normal((number, self.latent_dim), torch.empty(0))

    def log_prob(self, z):
        """(S, B, D) -> (S, B), nats."""
        squares = (z / self.scale).square() + math.log(2 * math.pi) + 2 * math.log(self.scale)
        return -0.5 * squares.sum(-1)

    def kl(self, posterior):
        """KL(q || p) per unit, (B, D), nats."""
        logvar = posterior.logvar - 2 * math.log(self.scale)
        return 0.5 * ((posterior.mean / self.scale).square() + logvar.exp() - logvar - 1)


class NormalPrior(Prior):
    """N(0, scale² I)."""

    name: ClassVar[str] = "normal"
    latent_dim: int = Field(description="units")
    scale: PositiveFloat = Field(description="standard deviation")

    def build(self):
        return Normal(self.latent_dim, self.scale)


class WidePrior(Method):
    """A prior with another standard deviation."""

    name: ClassVar[str] = "wide-prior"
    scale: PositiveFloat = Field(2.0, description="standard deviation of the prior")

    @hookimpl
    def prior(self, latent_dim):
        return NormalPrior(latent_dim=latent_dim, scale=self.scale)


@hookimpl
def collapsebench_components():
    return [WidePrior, NormalPrior]
