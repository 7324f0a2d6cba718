"""The residual convolutional encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterable


class Block(nn.Module):
    """relu(x' + BN(conv(relu(BN(conv(x)))))) with 3x3 kernels. x' is x, or a 1x1 convolution if the maps change."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, channels, 3, padding=1)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.second_norm = nn.BatchNorm2d(channels)
        self.shortcut = nn.Identity() if width == channels else nn.Conv2d(width, channels, 1)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K H W"]:
        """Map (B, width, H, W) to (B, channels, H, W)."""
        residual = self.second_norm(self.second(self.first_norm(self.first(x)).relu()))
        activated: Tensor = (self.shortcut(x) + residual).relu()
        return activated


class Encoder(nn.Module):
    """Stages of one residual block and one 2x2 convolution of stride 2. The maps of the last stage are flattened."""

    def __init__(self, shape: tuple[int, int, int], stages: Iterable[int]) -> None:
        """`stages` are the feature maps of every stage."""
        super().__init__()
        width, height, breadth = shape
        self.stages = nn.ModuleList()
        for channels in stages:
            self.stages.append(nn.Sequential(Block(width, channels), nn.Conv2d(channels, channels, 2, stride=2)))
            width, height, breadth = channels, height // 2, breadth // 2
        self.width = width * height * breadth

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B F"]:
        """Map images (B, C, H, W) to (B, F), feature map by feature map."""
        x = x.clone(memory_format=torch.channels_last)
        for stage in self.stages:
            x = stage(x)
        return x.flatten(1)
