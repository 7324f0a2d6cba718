"""The module from features to q(z|x)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from collapsebench.model.distributions import DiagonalGaussian


class Gaussian(nn.Module):
    r"""\(q(z|x) = N(W_\mu f + b_\mu, e^{W_\ell f + b_\ell})\) for the features f of x."""

    def __init__(self, width: int, latent_dim: int, *, bias: bool, constant_variance: bool) -> None:
        super().__init__()
        self.mean = nn.Linear(width, latent_dim, bias=bias)
        self.logvar = Constant(latent_dim) if constant_variance else nn.Linear(width, latent_dim, bias=bias)

    def forward(self, features: Float[Tensor, "B F"]) -> DiagonalGaussian:
        """Map features (B, F) to q(z|x) over (B, D)."""
        return DiagonalGaussian(self.mean(features), self.logvar(features))


class Constant(nn.Module):
    """One learned row for all examples. It starts at zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.row = nn.Parameter(torch.empty(width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the row to zero."""
        nn.init.zeros_(self.row)

    def forward(self, features: Float[Tensor, "B F"]) -> Float[Tensor, "B W"]:
        """Map (B, F) to (B, width): the same row for all features."""
        return self.row.expand(len(features), -1)
