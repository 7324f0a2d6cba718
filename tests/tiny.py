"""Models and data small enough for a test, in float64."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import torch

from collapsebench.components import composition
from collapsebench.components.interfaces import Decoder, Encoder, Method, Site
from collapsebench.examples import CountSpec, DataSpec, ImageSpec, LevelImageSpec, TextSpec, VectorSpec
from collapsebench.experiment.assembly import Architecture, assemble
from collapsebench.experiment.meter import Meter
from collapsebench.experiment.training import TrainingSetup
from collapsebench.inference.amortized import Amortized
from collapsebench.model.distributions import StandardNormal
from collapsebench.model.vae import VAE, Networks
from collapsebench.networks.decoders import (
    ConvDecoder,
    LinearDecoder,
    LSTMDecoder,
    MLPDecoder,
    NegativeBinomialDecoder,
    PixelCNNDecoder,
    TransformerDecoder,
)
from collapsebench.networks.encoders import LinearEncoder, LSTMEncoder, MLPEncoder, ResNetEncoder, TransformerEncoder
from collapsebench.networks.initializations import LibraryDefault
from collapsebench.networks.posteriors import GaussianPosterior
from collapsebench.spec import Budget, Decay, Optimizer

SEED, STEPS, BATCH, CLIP, RATE = 3, 3, 4, 0.5, 0.01
"""Of training: as many steps as make up the budget, on batches of so many examples."""


def unconnected(site: Site) -> None:
    """Leave a latent site as it is: the plain decoder."""


FAMILIES: dict[str, tuple[Encoder, Decoder, DataSpec]] = {
    "lstm": (LSTMEncoder(embedding=3, hidden=4), LSTMDecoder(embedding=3, hidden=4, dropout=0.3), TextSpec(7)),
    "transformer": (
        TransformerEncoder(width=4, heads=2, feed_forward=5, positions=5),
        TransformerDecoder(width=4, heads=2, feed_forward=5, positions=5, dropout=0.3),
        TextSpec(7),
    ),
    "mlp": (MLPEncoder(hidden=5), MLPDecoder(hidden=5), ImageSpec((1, 3, 3))),
    "conv": (MLPEncoder(hidden=5), ConvDecoder(channels=(3, 2)), ImageSpec((1, 3, 4))),
    "pixelcnn": (ResNetEncoder(channels=(2,)), PixelCNNDecoder(layers=2, maps=2), ImageSpec((1, 4, 4))),
    "levels": (MLPEncoder(hidden=5), ConvDecoder(channels=(3, 2)), LevelImageSpec((3, 3, 4), levels=5)),
    "counts": (MLPEncoder(hidden=5), NegativeBinomialDecoder(hidden=5), CountSpec(4)),
    "linear": (LinearEncoder(), LinearDecoder(), VectorSpec(4)),
}
"""An encoder, a decoder and data for every decoder family."""


def vae(family: str, methods: Iterable[Method] = (), seed: int = 1, latent_dim: int = 2) -> VAE:
    """The family's model as a contender of these methods has it."""
    encoder, decoder, data = FAMILIES[family]
    hooks = composition.compose(methods)
    inference = composition.inference_of(hooks, Amortized())
    architecture = Architecture(
        latent_dim, encoder if inference.uses_encoder else None, GaussianPosterior(), decoder, LibraryDefault()
    )
    return assemble(architecture, data, hooks, seed).double()


def examples(family: str, number: int = 3, seed: int = 0) -> torch.Tensor:
    """Random data that the family models."""
    generator = torch.Generator().manual_seed(seed)
    data = FAMILIES[family][2]
    if isinstance(data, TextSpec):
        return torch.randint(data.vocabulary, (number, 5), generator=generator)
    if isinstance(data, CountSpec):
        return torch.randint(9, (number, data.dimension), generator=generator).double()
    if isinstance(data, LevelImageSpec):
        return torch.randint(data.levels, (number, *data.shape), generator=generator).double() / (data.levels - 1)
    if isinstance(data, ImageSpec):
        return torch.randint(2, (number, *data.shape), generator=generator).double()
    return torch.randn(number, data.dimension, generator=generator, dtype=torch.float64)


def batches(family: str) -> list[torch.Tensor]:
    """A batch for each step."""
    return [examples(family, BATCH, seed) for seed in range(STEPS)]


def setup(
    family: str, methods: tuple[Method, ...], seed: int = 1, budget: str = f"{STEPS}steps", **given: Any
) -> TrainingSetup:
    """What the family's model trains with as a contender of these methods. `seed` is that of the model."""
    hooks, fake = composition.compose(methods), SimpleNamespace
    setting: Any = fake(
        optimizer=Optimizer(name="adam", learning_rate=RATE, clip=CLIP, decay=Decay()),
        evaluation=fake(every=Budget.parse("100steps")),
    )
    splits: Any = fake(train=range(BATCH * STEPS))
    fixed = {"seed": SEED, "device": torch.device("cpu"), "setting": setting, "splits": splits}
    return TrainingSetup(
        vae=vae(family, methods, seed),
        methods=methods,
        hooks=hooks,
        inference=composition.inference_of(hooks, Amortized()),
        budget=Budget.parse(budget),
        rebuild=lambda: vae(family, methods, seed),
        **(fixed | given),
    )


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
