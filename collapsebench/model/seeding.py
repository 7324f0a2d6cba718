"""One seed per purpose, and the noise drawn from it. The global generator is never touched.

Seeds are hashes of what they are for, so a draw depends on its purpose alone and not on what was drawn before it: a
step of a resumed run draws what the uninterrupted run drew there. Contenders are left out of the data and init seeds,
so that all contenders of one seed see the same batches and start from the same weights.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch

if TYPE_CHECKING:
    from torch import Tensor


class Purpose(StrEnum):
    """What randomness is for."""

    DATA = "data order"
    INIT = "initialization"
    TRAINING = "training noise"
    EVALUATION = "evaluation noise"


def derive(seed: int, *labels: str | int) -> int:
    """A 63-bit seed for one purpose: the first bits of SHA-256 over the seed and the labels."""
    text = "/".join(map(str, (seed, *labels)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@runtime_checkable
class Noise(Protocol):
    """A source of random tensors that can be split by label; equal labels give equal draws."""

    def normal(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Draw from N(0, 1), in the type and on the device of `like`. The same call gives the same draw."""

    def uniform(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Draw from U[0, 1), in the type and on the device of `like`. The same call gives the same draw."""

    def child(self, *labels: str | int) -> Noise:
        """An independent source for one part of the work."""


@dataclass(frozen=True)
class SeededNoise:
    """Noise from a seed. Draws are made on the CPU in float32, so that they are the same on every device."""

    seed: int

    def normal(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """See Noise."""
        return torch.randn(shape, generator=self._generator(), dtype=torch.float32).to(like)

    def uniform(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """See Noise."""
        return torch.rand(shape, generator=self._generator(), dtype=torch.float32).to(like)

    def child(self, *labels: str | int) -> SeededNoise:
        """See Noise."""
        return SeededNoise(derive(self.seed, *labels))

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)


def run_noise(seed: int, purpose: Purpose, *labels: str | int) -> SeededNoise:
    """The noise of one run for one purpose."""
    return SeededNoise(derive(seed, purpose, *labels))
