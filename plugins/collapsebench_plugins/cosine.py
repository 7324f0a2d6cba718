"""The two networks of a contrastive critic."""

from __future__ import annotations

import math
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from collapsebench import CountSpec, DataSpec, ImageSpec, LevelImageSpec, TextSpec

PADDING = 0
"""The id of padding, which all text has (see `TextSpec`)."""


class Cosine(nn.Module):
    r"""Codes (B, D) and examples (B, …) -> \(e^\tau \cos(f(z_i), g(x_k))\), (B, B)."""

    def __init__(self, latent_dim: int, data: DataSpec, width: int) -> None:
        super().__init__()
        self.codes = perceptron(latent_dim, width)
        self.examples = nn.Sequential(*reader(data, width))
        self.temperature = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        """Compare all codes with all examples."""
        return self.temperature.exp() * normalize(self.codes(z)) @ normalize(self.examples(x)).T


def perceptron(inputs: int, width: int) -> nn.Module:
    """Build a perceptron with one hidden layer: (B, inputs) -> (B, width)."""
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width))


def reader(data: DataSpec, width: int) -> tuple[nn.Module, nn.Module]:
    """Build what reads an example, and the perceptron behind it."""
    match data:
        case TextSpec():
            return MeanWord(data.vocabulary, width), perceptron(width, width)
        case ImageSpec() | LevelImageSpec():
            return nn.Flatten(), perceptron(prod(data.shape), width)
        case CountSpec():
            return LogCounts(), perceptron(data.dimension, width)
        case _:
            return nn.Identity(), perceptron(data.dimension, width)


class MeanWord(nn.Module):
    """Documents (B, T) -> the mean embedding of their words, (B, width). Padding does not count."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)

    def forward(self, x: Tensor) -> Tensor:
        """Average over the words."""
        words = (x != PADDING)[..., None]
        found: Tensor = (self.embedding(x) * words).sum(1) / words.sum(1).clamp(min=1)
        return found


class LogCounts(nn.Module):
    """Counts (B, P) -> log(1 + x)."""

    def forward(self, x: Tensor) -> Tensor:
        """Take the logarithm."""
        return x.log1p()
