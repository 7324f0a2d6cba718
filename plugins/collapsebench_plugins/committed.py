"""The posterior of δ-VAE."""

from __future__ import annotations

import math

from scipy.special import lambertw
from torch import Tensor, nn

from collapsebench import DiagonalGaussian

LEAST_SHARE, SLACK = 1 / 50, 1e-6
"""Of the released program: the least share of the interval of σ, and what keeps the root away from 0."""


class Committed(nn.Module):
    """(q, features) -> q' with a KL of at least `delta` nats in every unit."""

    def __init__(self, delta: float) -> None:
        super().__init__()
        self.delta = delta
        self.low, self.high = (math.sqrt(-lambertw(-math.exp(-2 * delta - 1), branch).real) for branch in (0, -1))

    def forward(self, posterior: DiagonalGaussian, features: Tensor) -> DiagonalGaussian:
        """Map the encoder's mean and log-variance into the set of posteriors with that KL."""
        del features
        share = posterior.logvar.sigmoid().clamp(min=LEAST_SHARE)
        sigma = self.low + (self.high - self.low) * share
        logvar = 2 * sigma.log()
        square = 2 * self.delta + 1 + logvar - sigma.square() + posterior.mean.relu() + SLACK
        return DiagonalGaussian(square.sqrt(), logvar)
