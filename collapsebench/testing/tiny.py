"""Models and data small enough for a test: an encoder, a decoder and data for every decoder family."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from collapsebench.components import composition
from collapsebench.components.interfaces import Decoder, Encoder, Inference, Initialization, Method, Posterior
from collapsebench.examples import (
    Batch,
    CountSpec,
    DataSpec,
    ImageSpec,
    LevelImageSpec,
    Split,
    Splits,
    TextSpec,
    VectorSpec,
)
from collapsebench.experiment.assembly import Architecture, assemble
from collapsebench.experiment.flops import FlopCounter
from collapsebench.experiment.training import TrainingSetup
from collapsebench.inference.amortized import Amortized
from collapsebench.model.vae import VAE
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

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SEED, STEPS, BATCH, CLIP, RATE = 3, 3, 4, 0.5, 0.01
"""Of training: as many steps as make up the budget, on batches of so many examples."""

LENGTH, BEGIN, END = 5, 2, 3
"""Of a document: the number of its symbols, the first and the last one."""


class Family(NamedTuple):
    """An encoder, a decoder, and the data that both fit."""

    encoder: Encoder
    decoder: Decoder
    data: DataSpec


FAMILIES: dict[str, Family] = {
    "lstm": Family(LSTMEncoder(embedding=3, hidden=4), LSTMDecoder(embedding=3, hidden=4, dropout=0.3), TextSpec(7)),
    "transformer": Family(
        TransformerEncoder(width=4, heads=2, feed_forward=5, positions=5),
        TransformerDecoder(width=4, heads=2, feed_forward=5, positions=5, dropout=0.3),
        TextSpec(7),
    ),
    "mlp": Family(MLPEncoder(hidden=5), MLPDecoder(hidden=5), ImageSpec((1, 3, 3))),
    "conv": Family(MLPEncoder(hidden=5), ConvDecoder(channels=(3, 2)), ImageSpec((1, 3, 4))),
    "pixelcnn": Family(ResNetEncoder(channels=(2,)), PixelCNNDecoder(layers=2, maps=2), ImageSpec((1, 4, 4))),
    "levels": Family(MLPEncoder(hidden=5), ConvDecoder(channels=(3, 2)), LevelImageSpec((3, 3, 4), levels=5)),
    "counts": Family(MLPEncoder(hidden=5), NegativeBinomialDecoder(hidden=5), CountSpec(4)),
    "linear": Family(LinearEncoder(), LinearDecoder(), VectorSpec(4)),
}
"""A family for every decoder that is shipped."""


@dataclass(frozen=True)
class Model:
    """What a tiny contender is built from. The posterior, the first values and the inference are the usual ones."""

    family: Family
    methods: tuple[Method, ...] = ()
    posterior: Posterior = field(default_factory=GaussianPosterior)
    initialization: Initialization = field(default_factory=LibraryDefault)
    inference: Inference = field(default_factory=Amortized)
    latent_dim: int = 2
    dtype: torch.dtype = torch.float64

    @property
    def strategy(self) -> Inference:
        """The inference of its methods, or its own."""
        return composition.inference_of(composition.compose(self.methods), self.inference)

    def build(self, seed: int = 1) -> VAE:
        """Build the model. Raises UsageError if its parts do not fit, and PluginError for what they must not do."""
        architecture = Architecture(
            self.latent_dim,
            self.family.encoder if self.strategy.uses_encoder else None,
            self.posterior,
            self.family.decoder,
            self.initialization,
        )
        return assemble(architecture, self.family.data, composition.compose(self.methods), seed).to(self.dtype)

    def setup(self, seed: int = 1, budget: str = f"{STEPS}steps", **given: Any) -> TrainingSetup:
        """Give what the model trains with. `seed` is that of its first values; that of all other draws is fixed."""
        fake = SimpleNamespace
        setting: Any = fake(
            optimizer=Optimizer(name="adam", learning_rate=RATE, clip=CLIP, decay=Decay()),
            evaluation=fake(every=Budget.parse("1steps")),
            batch_size=BATCH,
        )
        fixed = {"seed": SEED, "device": torch.device("cpu"), "setting": setting, "splits": self.splits()}
        with FlopCounter() as building:
            vae = self.build(seed)
        return TrainingSetup(
            vae=vae,
            building_flops=building.flops,
            methods=self.methods,
            hooks=composition.compose(self.methods),
            inference=self.strategy,
            budget=Budget.parse(budget),
            rebuild=partial(self.build, seed),
            **(fixed | given),
        )

    def splits(self) -> Splits:
        """Draw the data. The training split has a batch for each step."""
        data, rows = self.family.data, BATCH * STEPS
        train, valid, test = (Drawn(examples(data, rows, seed, self.dtype).numpy()) for seed in range(3))
        return Splits(data, train, valid, test)

    def batches(self) -> list[Batch]:
        """Draw a batch for each step."""
        drawn = (examples(self.family.data, BATCH, seed, self.dtype) for seed in range(STEPS))
        return [Batch(x.numpy(), np.arange(len(x))) for x in drawn]


@dataclass(frozen=True)
class Drawn(Split):
    """A split of examples that are given, with two classes in turn."""

    x: NDArray[np.generic]

    def __len__(self) -> int:
        return len(self.x)

    @property
    def labels(self) -> NDArray[np.int64]:
        """0, 1, 0, 1, …"""
        return np.arange(len(self)) % 2

    @property
    def predictions(self) -> NDArray[np.int64]:
        """All symbols of an example."""
        return np.full(len(self), self.x[0].size)

    def arrays(self) -> Iterator[NDArray[np.generic]]:
        """Give the examples."""
        yield self.x

    def batches(self, batch_size: int, seed: int | None = None) -> Iterator[Batch]:
        """Go through the split in an order that the seed draws."""
        order = np.arange(len(self)) if seed is None else np.random.default_rng(seed).permutation(len(self))
        for start in range(0, len(self), batch_size):
            rows = order[start : start + batch_size]
            yield Batch(self.x[rows], rows)


def examples(data: DataSpec, number: int = 3, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Draw random examples of a kind of data, (N, …)."""
    generator = torch.Generator().manual_seed(seed)
    match data:
        case TextSpec():
            documents = torch.randint(data.vocabulary, (number, LENGTH), generator=generator)
            documents[:, 0], documents[:, -1] = BEGIN, END
            return documents
        case CountSpec():
            return torch.randint(9, (number, data.dimension), generator=generator).to(dtype)
        case LevelImageSpec():
            levels = torch.randint(data.levels, (number, *data.shape), generator=generator)
            return levels.to(dtype) / (data.levels - 1)
        case ImageSpec():
            return torch.randint(2, (number, *data.shape), generator=generator).to(dtype)
        case VectorSpec():
            return torch.randn(number, data.dimension, generator=generator, dtype=torch.float64).to(dtype)
