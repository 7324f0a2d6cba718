"""Modules (h, z) -> h' that a method may put at a latent site (hook `connect_latent`).

Symbols: N rows (examples, or samples of examples), D latent units. Each module has the attribute `width`, which is the
width of h'.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Concatenate(nn.Module):
    """h' = [h, z] at every position of a sequence."""

    def __init__(self, width: int, latent_dim: int) -> None:
        super().__init__()
        self.width = width + latent_dim

    def forward(self, h: Float[Tensor, "N T W"], z: Float[Tensor, "N D"]) -> Float[Tensor, "N T V"]:
        """(N, T, width) -> (N, T, width + D)."""
        return torch.cat([h, z[:, None].expand(-1, h.shape[1], -1)], -1)


class ConcatenateMap(nn.Module):
    """h' = [h, Uz + b], where Uz + b is one feature map of height x breadth, in the memory format of h."""

    def __init__(self, width: int, latent_dim: int, area: tuple[int, int]) -> None:
        super().__init__()
        self.width = width + 1
        self.area = area
        self.linear = nn.Linear(latent_dim, area[0] * area[1])

    def forward(self, h: Float[Tensor, "N C H W"], z: Float[Tensor, "N D"]) -> Float[Tensor, "N K H W"]:
        """(N, width, height, breadth) -> (N, width + 1, height, breadth)."""
        return torch.cat([h, self.linear(z).view(-1, *self.area, 1).permute(0, 3, 1, 2)], 1)


class AddLinear(nn.Module):
    """h' = h + Uz + b."""

    def __init__(self, width: int, latent_dim: int) -> None:
        super().__init__()
        self.width = width
        self.linear = nn.Linear(latent_dim, width)

    def forward(self, h: Float[Tensor, "N W"], z: Float[Tensor, "N D"]) -> Float[Tensor, "N W"]:
        """(N, width) -> (N, width)."""
        added: Tensor = h + self.linear(z)
        return added
