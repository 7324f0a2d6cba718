"""The batch normalization of posterior means, which BN-VAE and DU-VAE share."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from collapsebench import DiagonalGaussian

MOMENTUM, EPSILON = 0.1, 1e-5


class NormalizedMeans(nn.Module):
    """(q, features) -> q' whose means are normalized over the batch, with a scale that starts at `gamma`."""

    def __init__(self, latent_dim: int, gamma: float, *, learned: bool = False) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((latent_dim,), gamma), requires_grad=learned)
        self.shift = nn.Parameter(torch.zeros(latent_dim))
        self.mean: Tensor
        self.variance: Tensor
        self.register_buffer("mean", torch.zeros(latent_dim))
        self.register_buffer("variance", torch.ones(latent_dim))

    def forward(self, posterior: DiagonalGaussian, features: Tensor) -> DiagonalGaussian:
        """Normalize by the batch, or by running statistics in evaluation and for a single example."""
        del features
        mean = nn.functional.batch_norm(
            posterior.mean,
            self.mean,
            self.variance,
            self.scale,
            self.shift,
            training=self.training and len(posterior) > 1,
            momentum=MOMENTUM,
            eps=EPSILON,
        )
        return DiagonalGaussian(mean, posterior.logvar)


class DroppedVariances(NormalizedMeans):
    r"""NormalizedMeans with a learned scale of fixed mean square, and variances with a floor and dropout."""

    def __init__(self, latent_dim: int, gamma: float, *, rate: float, floor: float) -> None:
        super().__init__(latent_dim, gamma, learned=True)
        self.gamma, self.rate, self.floor = gamma, rate, floor
        self.annealed: Tensor
        self.register_buffer("annealed", torch.tensor(True))

    def forward(self, posterior: DiagonalGaussian, features: Tensor) -> DiagonalGaussian:
        """Normalize the means. Once the KL weight is 1, drop variances to the floor, in training alone."""
        normalized = super().forward(posterior, features)
        above = normalized.logvar.exp()
        if self.training and self.rate:
            above = above * self.kept(above) / (1 - self.rate)
        logvar = torch.where(self.annealed, (above + self.floor).log(), normalized.logvar)
        return DiagonalGaussian(normalized.mean, logvar)

    def kept(self, like: Tensor) -> Tensor:
        """Draw which variances are kept, ones and zeros, from torch's generator, which is seeded for each step."""
        return (torch.rand_like(like) >= self.rate).to(like)

    @torch.no_grad()
    def rescale(self) -> None:
        """Bring the root mean square of the scale back to gamma."""
        self.scale.mul_(self.gamma * math.sqrt(len(self.scale)) / self.scale.norm())
