"""Components with one fault each, for every check of `collapsebench.testing`."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field, PrivateAttr
from torch import Tensor, nn

from collapsebench import (
    Amortized,
    Column,
    Dataset,
    Decoder,
    Direction,
    Encoder,
    Estimate,
    Inference,
    Initialization,
    Method,
    Metric,
    Prior,
    SiteKind,
    Splits,
    StandardNormal,
    UsageError,
    Vectors,
    VectorSpec,
    hookimpl,
)


class Silent(Method):
    """A method that is nobody's."""

    name: ClassVar[str] = "silent"

    @hookimpl
    def kl_weight(self) -> float:
        return 0.5


class Bare(Method):
    name: ClassVar[str] = "bare"
    citation: ClassVar[str] = "nobody"

    @hookimpl
    def kl_weight(self) -> float:
        return 0.5


class Unmade(Method):
    """A method whose field has neither default nor example."""

    name: ClassVar[str] = "unmade"
    citation: ClassVar[str] = "nobody"
    word: str = Field(description="a word")

    @hookimpl
    def kl_weight(self) -> float:
        return 0.5


class Choosy(Method):
    """It refuses all data, and does not say its name."""

    name: ClassVar[str] = "choosy"

    @hookimpl
    def check_fit(self) -> None:
        raise UsageError("these data do not fit")


class WrongShape(Method):
    """Its penalty has a number for each unit."""

    name: ClassVar[str] = "wrong-shape"

    @hookimpl
    def kl_penalty(self, sample: Any) -> Tensor:
        kl: Tensor = sample.kl
        return kl


class Unused(Method):
    """It has a module that nobody uses."""

    name: ClassVar[str] = "unused"

    @hookimpl
    def auxiliary_module(self, latent_dim: int) -> nn.Module:
        return nn.Linear(latent_dim, 1)

    @hookimpl
    def kl_weight(self) -> float:
        return 0.5


class Detached(nn.Module):
    """The posterior, cut off from what came before."""

    def forward(self, posterior: Any, features: Tensor) -> Any:
        return type(posterior)(posterior.mean.detach(), posterior.logvar.detach())


class CutOff(Method):
    """Nothing reaches the encoder through its head."""

    name: ClassVar[str] = "cut-off"

    @hookimpl
    def posterior_head(self) -> nn.Module:
        return Detached()


class Lottery(Method):
    """Its weight is drawn from a generator that nobody seeds."""

    name: ClassVar[str] = "lottery"

    @hookimpl
    def kl_weight(self) -> float:
        return random.random()  # noqa: S311 - this is the fault


class Constant(Initialization):
    """All first values are one number, whatever the seed."""

    name: ClassVar[str] = "constant"

    def apply(self, module: nn.Module) -> None:
        with torch.no_grad():
            for parameter in module.parameters(recurse=False):
                parameter.copy_(torch.linspace(-0.5, 0.5, parameter.numel()).view_as(parameter))


class FewSteps(Method):
    """Its schedule is a table that is made for short runs."""

    name: ClassVar[str] = "few-steps"

    @hookimpl
    def kl_weight(self, progress: Any) -> float:
        steps = round(progress.step / progress.fraction) if progress.step else 1
        return [0.5 + 0.01 * step for step in range(10)][steps]


class Diary:
    """An object that no checkpoint keeps."""

    __slots__ = ("pages",)

    def __init__(self) -> None:
        self.pages = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return Diary, ()


class Forgetful(Method):
    """What it keeps is lost when it is stopped."""

    name: ClassVar[str] = "forgetful"
    _diary: Diary = PrivateAttr(default_factory=Diary)

    @hookimpl
    def kl_weight(self) -> float:
        self._diary.pages += 1
        return 1 / self._diary.pages


class Tired(nn.Module):
    """A module that counts its calls in a number, which no state of torch has."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, posterior: Any, features: Tensor) -> Any:
        self.calls += 1
        return type(posterior)(posterior.mean / self.calls, posterior.logvar)


class Fading(Method):
    """Its head keeps a number beside its parameters and buffers."""

    name: ClassVar[str] = "fading"

    @hookimpl
    def posterior_head(self) -> nn.Module:
        return Tired()


class Thief(Method):
    """It sets the count of passes back."""

    name: ClassVar[str] = "thief"

    @hookimpl
    def kl_weight(self) -> float:
        return 0.5

    @hookimpl
    def after_step(self, vae: Any) -> None:
        vae.passes.decoder = 0


class Builder(Method):
    """It works before the clock runs."""

    name: ClassVar[str] = "builder"

    @hookimpl
    def kl_weight(self) -> float:
        return 0.5

    @hookimpl
    def auxiliary_module(self) -> nn.Module:
        torch.ones(200, 200) @ torch.ones(200, 200)
        return nn.Identity()


class Vandal(Method):
    """It writes into the examples."""

    name: ClassVar[str] = "vandal"

    @hookimpl
    def kl_weight(self) -> float:
        return 0.5

    @hookimpl
    def after_step(self, x: Tensor) -> None:
        x.zero_()


class Meddling:
    """A prior that changes the networks when it is asked for."""

    latent_dim = 2

    def of(self, vae: Any) -> StandardNormal:
        with torch.no_grad():
            for parameter in [] if vae.training else vae.decoder.parameters():
                parameter.mul_(1.01)
        return StandardNormal(2)


class MeddlingPrior(Prior):
    """It gives a prior that changes the networks."""

    name: ClassVar[str] = "meddling"

    def build(self) -> Any:
        return Meddling()


class Mean(nn.Module):
    """The activations with the mean of all symbols, those to come included."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, h: Tensor, z: Tensor) -> Tensor:
        return h + h.mean(1, keepdim=True)


class Prophet(Method):
    """Its connection looks ahead."""

    name: ClassVar[str] = "prophet"

    @hookimpl
    def connect_latent(self, site: Any) -> nn.Module | None:
        return Mean(site.width) if site.kind is SiteKind.SEQUENCE else None


class Off(StandardNormal):
    """A density that does not integrate to one."""

    def log_prob(self, z: Tensor) -> Tensor:
        return super().log_prob(z) + 0.5

    def kl(self, posterior: Any) -> None:
        return None


class OffPrior(Prior):
    """It gives a density that is none."""

    name: ClassVar[str] = "off"

    def build(self) -> Any:
        return Off(2)


class Counting(nn.Module):
    """A module that counts its calls, those of evaluations included."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, posterior: Any, features: Tensor) -> Any:
        self.calls += 1
        return posterior


class Nosy(Method):
    """It counts evaluations."""

    name: ClassVar[str] = "nosy"

    @hookimpl
    def posterior_head(self) -> nn.Module:
        return Counting()

    @hookimpl
    def kl_weight(self) -> float:
        return 0.5


class Moody(Inference):
    """It finds another posterior each time that it is asked."""

    name: ClassVar[str] = "moody"

    def posterior(self, vae: Any, x: Tensor, noise: Any) -> Any:
        posterior = vae.encode(x)
        return type(posterior)(posterior.mean + random.random(), posterior.logvar)  # noqa: S311 - this is the fault

    def gradients(self, vae: Any, x: Tensor, objective: Any) -> Any:
        return Amortized().gradients(vae, x, objective)


class Gaussians(Method):
    """It takes every posterior for a Gaussian."""

    name: ClassVar[str] = "gaussians-only"

    @hookimpl
    def extra_loss(self, sample: Any) -> Tensor:
        spread: Tensor = sample.posterior.logvar
        return spread.square().mean()


class Idle(Method):
    """It changes nothing."""

    name: ClassVar[str] = "idle"

    @hookimpl
    def kl_weight(self) -> float:
        return 1.0


class Biased(Method):
    """What it calls neutral is not."""

    name: ClassVar[str] = "biased"
    neutral: ClassVar[Mapping[str, float]] = {"beta": 1}
    beta: float = Field(0.5, description="weight of the KL term")

    @hookimpl
    def kl_weight(self) -> float:
        return 0.9 * self.beta


class Blind(Encoder):
    """It reads vectors and says nothing of its width."""

    name: ClassVar[str] = "blind"

    def build(self, data: Any) -> nn.Module:
        if not isinstance(data, VectorSpec):
            raise UsageError("encoder 'blind' reads vectors")
        return nn.Linear(data.dimension, 3)


class Summed(Decoder):
    """It gives a number for each symbol."""

    name: ClassVar[str] = "summed"

    def build(self, data: Any, latent_dim: int, connect: Any) -> nn.Module:
        if not isinstance(data, VectorSpec):
            raise UsageError("decoder 'summed' models vectors")
        return _Symbols(data.dimension, latent_dim)


class _Symbols(nn.Module):
    def __init__(self, symbols: int, latent_dim: int) -> None:
        super().__init__()
        self.location = nn.Linear(latent_dim, symbols)

    def forward(self, x: Tensor, z: Tensor, dropout: object) -> Tensor:
        found: Tensor = -(x - self.location(z)).square()
        return found


class Untitled(Metric):
    """Its column has no title."""

    name: ClassVar[str] = "untitled"
    columns: ClassVar[tuple[Column, ...]] = (Column("untitled", "", Direction.NONE, ""),)

    def evaluate(self, split: Any) -> Any:
        return {"untitled": Estimate(1.0)}


class Empty(Metric):
    """Without latent units it divides by zero."""

    name: ClassVar[str] = "empty"
    columns: ClassVar[tuple[Column, ...]] = (Column("empty", "", Direction.NONE, "empty"),)

    def evaluate(self, split: Any) -> Any:
        return {"empty": Estimate(float(split.posterior.mean.mean()))}


class Promising(Metric):
    """It declares a column that it never gives."""

    name: ClassVar[str] = "promising"
    columns: ClassVar[tuple[Column, ...]] = (Column("promised", "", Direction.NONE, "promised"),)

    def evaluate(self, split: Any) -> Any:
        return {"given": Estimate(1.0)}


class Dice(Metric):
    """It is a number that nobody seeds."""

    name: ClassVar[str] = "dice"
    columns: ClassVar[tuple[Column, ...]] = (Column("dice", "", Direction.NONE, "dice"),)

    def evaluate(self, split: Any) -> Any:
        return {"dice": Estimate(random.random())}  # noqa: S311 - this is the fault


class Tuner(Metric):
    """It trains what it measures."""

    name: ClassVar[str] = "tuner"
    columns: ClassVar[tuple[Column, ...]] = (Column("tuned", "", Direction.NONE, "tuned"),)

    def evaluate(self, split: Any) -> Any:
        with torch.no_grad():
            for parameter in split.vae.parameters():
                parameter.add_(0.01)
        return {"tuned": Estimate(1.0)}


FACTS = """
[card]
title = "Points"
kind = "vectors"
description = "points"
licence = "none"
comparability = "with nothing"
"""
TRACK = """
[tracks.quick]
description = "seconds"
budget = "2steps"
latent_dim = 2
batch_size = 4
encoder = { name = "linear" }
decoder = { name = "linear" }
optimizer = { name = "adam", learning_rate = 1e-2 }
evaluation = { every = "2steps" }
"""


class Points(Dataset):
    """Points that are drawn from a seed of each split."""

    name: ClassVar[str] = "points"
    facts: ClassVar[Path | None] = None
    dtype: ClassVar[Any] = np.float32
    seeds: ClassVar[tuple[int | None, ...]] = (0, 1, 2)

    def load(self, folder: Path) -> Splits:
        train, valid, test = (self._split(seed) for seed in self.seeds)
        return Splits(VectorSpec(3), train, valid, test)

    def _split(self, seed: int | None) -> Vectors:
        return Vectors(np.random.default_rng(seed).standard_normal((8, 3)).astype(self.dtype))
