"""The tiny models of `collapsebench.testing`, in float64 and by the names of their families."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from collapsebench.components.interfaces import Method, Site
from collapsebench.experiment.meter import Meter
from collapsebench.experiment.training import TrainingSetup
from collapsebench.model.distributions import StandardNormal
from collapsebench.model.vae import VAE, Networks
from collapsebench.testing import tiny
from collapsebench.testing.tiny import BATCH, CLIP, FAMILIES, RATE, SEED, STEPS, Model

__all__ = ["BATCH", "CLIP", "FAMILIES", "RATE", "SEED", "STEPS"]


def unconnected(site: Site) -> None:
    """Leave a latent site as it is: the plain decoder."""


def vae(family: str, methods: Iterable[Method] = (), seed: int = 1, latent_dim: int = 2) -> VAE:
    """The family's model as a contender of these methods has it."""
    return Model(FAMILIES[family], tuple(methods), latent_dim=latent_dim).build(seed)


def examples(family: str, number: int = 3, seed: int = 0) -> torch.Tensor:
    """Random data that the family models."""
    return tiny.examples(FAMILIES[family].data, number, seed)


def batches(family: str) -> list[torch.Tensor]:
    """A batch for each step."""
    return [torch.from_numpy(batch.x) for batch in Model(FAMILIES[family]).batches()]


def setup(family: str, methods: tuple[Method, ...], seed: int = 1, **given: Any) -> TrainingSetup:
    """What the family's model trains with as a contender of these methods. `seed` is that of the model."""
    return Model(FAMILIES[family], methods).setup(seed, **given)


def gradients(model: VAE) -> dict[str, torch.Tensor]:
    """The gradient of every parameter, zeros where there is none."""
    return {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
        for name, parameter in model.named_parameters()
    }


def idle() -> VAE:
    """A model whose networks nobody passes."""
    return VAE(Networks(None, None, torch.nn.Identity()), StandardNormal(1))


def step(meter: Meter, examples: int) -> None:
    """One step on so many examples in which nothing is done."""
    meter.step(idle(), (examples,), lambda: None)
