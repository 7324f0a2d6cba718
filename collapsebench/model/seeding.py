"""One seed per purpose, and the noise that is drawn from it. The harness draws nothing from torch's global generators.

They are seeded for each step and evaluation all the same, for the modules of others, and then left as they were. A seed
is a hash of its purpose. So a draw depends on its purpose alone and not on earlier draws, and a step of a resumed run
draws the same as in the uninterrupted run. The contender is no part of the seeds of data order and initialization. So
all contenders of one seed see the same batches and start from the same weights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch

if TYPE_CHECKING:
    from torch import Tensor


class Purpose(StrEnum):
    """The purposes of random draws."""

    DATA = "data order"
    INIT = "initialization"
    TRAINING = "training noise"
    EVALUATION = "evaluation noise"


def derive(seed: int, *labels: str | int) -> int:
    """Derive a 63-bit seed for one purpose: the first bits of SHA-256 over the seed and the labels."""
    text = "/".join(map(str, (seed, *labels)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@runtime_checkable
class Noise(Protocol):
    """A source of random tensors. It is split by labels, and equal labels give equal draws.

    A class with these three members is a source of noise, such as `SeededNoise` or this one without randomness:

    >>> import torch
    >>> from collapsebench import Noise, StandardNormal
    >>> class Zeros:
    ...     def normal(self, shape, like):
    ...         return torch.zeros(shape).to(like)
    ...     def uniform(self, shape, like):
    ...         return torch.zeros(shape).to(like)
    ...     def child(self, *labels):
    ...         return self
    >>> isinstance(Zeros(), Noise)
    True
    >>> StandardNormal(2).sample(1, Zeros()).tolist()
    [[0.0, 0.0]]
    """

    def normal(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Draw from N(0, 1), in the type and on the device of `like`. The same call gives the same draw."""

    def uniform(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Draw from U[0, 1), in the type and on the device of `like`. The same call gives the same draw."""

    def child(self, *labels: str | int) -> Noise:
        """Give the independent source of one part of the work."""


@dataclass(frozen=True)
class SeededNoise:
    """Noise from a seed, drawn in float32 by a generator of the device where it is wanted.

    So nothing is copied to a device. The generators of two kinds of device draw other numbers from one seed: a run on a
    GPU has other noise than the same run on the CPU. All devices of one kind draw the same.

    >>> import torch
    >>> from collapsebench import SeededNoise
    >>> noise, like = SeededNoise(1), torch.empty(0)
    >>> first = noise.child("step", 1).normal((2, 3), like)
    >>> torch.equal(first, noise.child("step", 1).normal((2, 3), like))
    True
    >>> torch.equal(first, noise.child("step", 2).normal((2, 3), like))
    False
    """

    seed: int

    def normal(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Draw from N(0, 1), as `Noise.normal`."""
        return torch.randn(shape, generator=self._generator(like), device=like.device, dtype=torch.float32).to(like)

    def uniform(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Draw from U[0, 1), as `Noise.uniform`."""
        return torch.rand(shape, generator=self._generator(like), device=like.device, dtype=torch.float32).to(like)

    def child(self, *labels: str | int) -> SeededNoise:
        """Give the source of one part, as `Noise.child`."""
        return SeededNoise(derive(self.seed, *labels))

    def _generator(self, like: Tensor) -> torch.Generator:
        return torch.Generator(like.device).manual_seed(self.seed)


@contextmanager
def own_generators(device: torch.device) -> Iterator[None]:
    """Give the block torch's global generators of the CPU and the device, and leave them as they were."""
    with torch.random.fork_rng(devices=[] if device.type == "cpu" else [device], device_type=_other(device)):
        yield


def seed_torch(seed: int, purpose: Purpose, *labels: str | int) -> None:
    """Seed torch's global generators, from which ordinary modules draw, such as `nn.Dropout`.

    `torch.manual_seed` would do the same for every kind of device, in a millisecond.
    """
    number = derive(seed, purpose, "torch", *labels)
    torch.default_generator.manual_seed(number)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(number)


def _other(device: torch.device) -> str:
    return "cuda" if device.type == "cpu" else device.type


def run_noise(seed: int, purpose: Purpose, *labels: str | int) -> SeededNoise:
    """Give the noise of one run for one purpose."""
    return SeededNoise(derive(seed, purpose, *labels))
