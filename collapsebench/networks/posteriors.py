"""The posteriors and their hyperparameters: from features to q(z|x)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from collapsebench.components.interfaces import Posterior

if TYPE_CHECKING:
    from torch import nn


class GaussianPosterior(Posterior):
    """A diagonal Gaussian whose mean and log-variance are affine in the features."""

    name: ClassVar[str] = "gaussian"
    citation: ClassVar[str] = "Kingma and Welling, Auto-Encoding Variational Bayes, ICLR 2014"
    bias: bool = Field(default=True, description="whether the maps to mean and log-variance have a bias")
    constant_variance: bool = Field(
        default=False, description="one learned log-variance per unit, the same for all x, as the linear VAE needs"
    )

    def build(self, width: int, latent_dim: int) -> nn.Module:
        """Build the module from features (B, F) to a DiagonalGaussian over (B, D)."""
        from collapsebench.networks import gaussian

        return gaussian.Gaussian(width, latent_dim, bias=self.bias, constant_variance=self.constant_variance)
