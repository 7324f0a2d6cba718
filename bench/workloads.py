"""The workloads: contenders built as `collapsebench run` builds them, on random data of the published sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from bench.work import Perceptron, PixelCNN, Text, bracket
from collapsebench.components import composition, discovery
from collapsebench.components.catalog import Catalog
from collapsebench.components.interfaces import Decoder, Encoder, Initialization, Posterior
from collapsebench.examples import Batch, DataSpec, ImageSpec, Split, Splits, TextSpec
from collapsebench.experiment import training
from collapsebench.experiment.assembly import Architecture, assemble
from collapsebench.inference.amortized import Amortized
from collapsebench.metrics.estimators import mutual_information_bracket
from collapsebench.metrics.evaluation import EvaluatedSplit
from collapsebench.model.distributions import DiagonalGaussian, StandardNormal
from collapsebench.model.seeding import SeededNoise
from collapsebench.spec import Budget, Setting

Call = Callable[[], object]

SMALL = Text(vocabulary=10_000, embedding=128, hidden=256, latent=32, batch=32, tokens=40)
PAPER = Text(vocabulary=20_001, embedding=512, hidden=1024, latent=32, batch=32, tokens=80)
SAMPLES, DOCUMENTS = 200, 8
STEPS = 10
POINTS, UNITS = 10_000, 32


class Workload(NamedTuple):
    """One row of the table."""

    name: str
    flop: float
    """By analytic count, of one unit of work."""
    must: float
    """The fraction of the product rate that has to be reached."""
    aim: float
    build: Callable[[], Call]
    """What is timed."""
    units: int = 1
    """Units of work in one call."""


@dataclass(frozen=True)
class RandomSplit(Split):
    """Some random examples."""

    x: NDArray[np.generic]

    def __len__(self) -> int:
        return len(self.x)

    @property
    def labels(self) -> None:
        """None."""

    @property
    def predictions(self) -> NDArray[np.int64]:
        """As many for each example as its array has symbols."""
        return np.full(len(self.x), self.x[0].size)

    def arrays(self) -> Iterator[NDArray[np.generic]]:
        """The one array."""
        yield self.x

    def batches(self, batch_size: int, seed: int | None = None) -> Iterator[Batch]:
        """In order, whatever the seed is."""
        del seed
        for start in range(0, len(self), batch_size):
            index = np.arange(start, min(start + batch_size, len(self)))
            yield Batch(self.x[index], index)


@cache
def installed() -> Catalog:
    """Every component. To find them takes as long as to build a small contender."""
    return discovery.load()


def _setup(contender: str, data: DataSpec, x: NDArray[np.generic], setting: dict[str, Any]) -> training.TrainingSetup:
    """The contender on these examples, as the runner assembles it."""
    components, chosen = installed(), Setting.model_validate(setting)
    _, methods = components.contender(contender)
    hooks = composition.compose(methods)
    inference = composition.inference_of(hooks, Amortized())
    architecture = Architecture(
        latent_dim=chosen.latent_dim,
        encoder=components.create(Encoder, chosen.encoder) if inference.uses_encoder else None,
        posterior=components.create(Posterior, chosen.posterior),
        decoder=components.create(Decoder, chosen.decoder),
        initialization=components.create(Initialization, chosen.initialization),
    )
    split = RandomSplit(x)
    vae = assemble(architecture, data, hooks, seed=1)
    splits, budget = Splits(data, split, split, split), Budget.parse("1e9steps")
    return training.TrainingSetup(
        vae=vae,
        methods=tuple(methods),
        hooks=hooks,
        inference=inference,
        splits=splits,
        setting=chosen,
        budget=budget,
        seed=1,
        device=torch.device("cpu"),
    )


def moved(setup: training.TrainingSetup, device: torch.device) -> training.TrainingSetup:
    """The same contender, whose model is moved to a device."""
    return replace(setup, vae=setup.vae.to(device), device=device)


def stepping(setup: training.TrainingSetup) -> Call:
    """A call that does one step of the training loop, on its clock and counted by its meter."""
    state = training.TrainingState.start(setup)
    batch = next(setup.splits.train.batches(setup.setting.batch_size))
    return lambda: training.step(setup, state, batch)


def text_setup(contender: str, size: Text) -> training.TrainingSetup:
    """A text contender; plain SGD, as published, with a rate that random data bear."""
    x = np.random.default_rng(0).integers(4, size.vocabulary, (size.batch, size.tokens + 1))
    network = {"name": "lstm", "embedding": size.embedding, "hidden": size.hidden}
    setting = {
        "latent_dim": size.latent,
        "encoder": network,
        "decoder": network | {"dropout": 0.5},
        "optimizer": {"name": "sgd", "learning_rate": 0.01},
        "batch_size": size.batch,
        "evaluation": {"every": "1epochs"},
    }
    return _setup(contender, TextSpec(size.vocabulary), x, setting)


def image_setup(
    contender: str, latent: int, encoder: dict[str, Any], decoder: dict[str, Any], batch: int = 50
) -> training.TrainingSetup:
    """An image contender: a batch of binary images, Adam."""
    x = (np.random.default_rng(0).random((batch, 1, 28, 28)) < 0.3).astype(np.float32)
    setting = {
        "latent_dim": latent,
        "encoder": encoder,
        "decoder": decoder,
        "optimizer": {"name": "adam", "learning_rate": 1e-3},
        "batch_size": len(x),
        "evaluation": {"every": "1epochs"},
    }
    return _setup(contender, ImageSpec((1, 28, 28)), x, setting)


def _text(contender: str, size: Text) -> Callable[[], Call]:
    return lambda: stepping(text_setup(contender, size))


def _perceptron() -> Call:
    return stepping(image_setup("vae", 50, {"name": "mlp"}, {"name": "mlp"}))


def _pixelcnn(contender: str) -> Callable[[], Call]:
    return lambda: stepping(image_setup(contender, 32, {"name": "resnet"}, {"name": "pixelcnn"}))


def _importance() -> Call:
    """-log p(x) of some documents from `SAMPLES` samples, the pass of the encoder included."""
    setup = text_setup("vae", SMALL)
    documents = RandomSplit(next(setup.splits.test.batches(DOCUMENTS)).x)

    def bound() -> object:
        split = EvaluatedSplit(setup.vae, setup.inference, documents, SeededNoise(1), SMALL.batch, setup.device)
        return split.importance_bound(SAMPLES)

    return bound


def _bracket() -> Call:
    """As the metric calls it: float64 in, whatever it computes in."""
    generator = torch.Generator().manual_seed(0)
    mean, noise, epsilon = torch.randn((3, POINTS, UNITS), generator=generator, dtype=torch.float64)
    posterior = DiagonalGaussian(mean, 0.3 * noise - 1)
    z = posterior.sample(epsilon[None])[0]
    return lambda: mutual_information_bracket(z, posterior, StandardNormal(UNITS))


def workloads() -> list[Workload]:
    """All rows, in the order of the table."""
    pixelcnn, skip = PixelCNN(50, 32, skip=False), PixelCNN(50, 32, skip=True)
    sa_vae = f"sa-vae[steps={STEPS}]"
    return [
        Workload("text-small vae", SMALL.vae(), 0.55, 0.68, _text("vae", SMALL)),
        Workload("text-small skip", SMALL.skip(), 0.55, 0.68, _text("skip", SMALL)),
        Workload("text-small sa-vae", SMALL.sa_vae(STEPS), 0.42, 0.60, _text(sa_vae, SMALL)),
        Workload("text-paper vae", PAPER.vae(), 0.60, 0.72, _text("vae", PAPER)),
        Workload("pixelcnn vae", pixelcnn.vae(), 0.30, 0.45, _pixelcnn("vae")),
        Workload("pixelcnn skip", skip.vae(), 0.30, 0.45, _pixelcnn("skip")),
        Workload("pixelcnn sa-vae", pixelcnn.sa_vae(STEPS), 0.25, 0.40, _pixelcnn(sa_vae)),
        Workload("mlp vae", Perceptron(50).vae(), 0.15, 0.22, _perceptron),
        Workload("iw-nll", SMALL.importance(SAMPLES), 0.55, 0.70, _importance, DOCUMENTS),
        Workload("mi bracket", bracket(POINTS, UNITS), 0.28, 0.40, _bracket),
    ]
