"""From features to q(z|x)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from collapsebench.model.distributions import DiagonalGaussian

if TYPE_CHECKING:
    from collapsebench.networks import GaussianPosterior


class Gaussian(nn.Module):
    r"""\(q(z|x) = N(W_\mu f + b_\mu, e^{W_\ell f + b_\ell})\) for features f of x."""

    def __init__(self, settings: GaussianPosterior, width: int, latent_dim: int) -> None:
        super().__init__()
        self.mean = nn.Linear(width, latent_dim, bias=settings.bias)
        constant = settings.constant_variance
        self.logvar = Constant(latent_dim) if constant else nn.Linear(width, latent_dim, bias=settings.bias)

    def forward(self, features: Float[Tensor, "B F"]) -> DiagonalGaussian:
        """(B, F) -> q(z|x) over (B, D)."""
        return DiagonalGaussian(self.mean(features), self.logvar(features))


class Constant(nn.Module):
    """One learned row for all examples, zero at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.row = nn.Parameter(torch.empty(width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Zero."""
        nn.init.zeros_(self.row)

    def forward(self, features: Float[Tensor, "B F"]) -> Float[Tensor, "B W"]:
        """(B, F) -> (B, width), whatever the features are."""
        return self.row.expand(len(features), -1)
