"""The interfaces of everything a plugin can add: pydantic classes whose fields are their hyperparameters.

Importing this module loads no torch: a component describes; `build`, `load` and `evaluate` do.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from torch import Tensor, nn

    from collapsebench.examples import DataSpec, Splits
    from collapsebench.model.distributions import DiagonalGaussian, PriorDistribution
    from collapsebench.model.seeding import Noise
    from collapsebench.model.vae import VAE, Objective, Terms


class Component(BaseModel):
    """Anything with a name that a plugin registers. Its fields are its hyperparameters, each with a description."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[str]
    name: ClassVar[str]
    version: ClassVar[int] = 1
    """Raise it when the same hyperparameters give other results: it is part of every run's identity."""
    citation: ClassVar[str] = ""


class Dataset(Component):
    """Fixed, checksummed splits, and the facts and tracks that `facts` (a TOML file) declares about them."""

    kind: ClassVar[str] = "dataset"
    facts: ClassVar[Path | None] = None
    """Where a plugin's dataset keeps its card and tracks; None: `registry/datasets/NAME.toml`."""

    @abstractmethod
    def load(self, folder: Path) -> Splits:
        """The splits, from original files under the data folder (ignored by generated datasets).

        Raises DataError with the URL and the expected place if files are missing or not what they should be.
        """


class SiteKind(StrEnum):
    """What the activations at a latent site look like; N examples (or samples of examples)."""

    VECTOR = "vector"
    """(N, width): pre-activations of a hidden layer; a connection keeps the width."""
    SEQUENCE = "sequence"
    """(N, T, width): outputs of a recurrent layer."""
    FEATURE_MAP = "feature map"
    """(N, width, height, breadth): the input of a convolution."""


@dataclass(frozen=True)
class Site:
    """One place of a decoder where z may enter, beyond those where the plain decoder takes it in."""

    kind: SiteKind
    index: int
    width: int
    latent_dim: int
    area: tuple[int, int] = (1, 1)
    """Height and breadth of a feature map."""


Connect: TypeAlias = "Callable[[Site], nn.Module | None]"


class Encoder(Component):
    """x -> features (B, F). The module built has the attribute `width`, which is F."""

    kind: ClassVar[str] = "encoder"

    @abstractmethod
    def build(self, data: DataSpec) -> nn.Module:
        """A module x -> (B, F); raises UsageError for data it cannot read."""


class Posterior(Component):
    """Features -> q(z|x)."""

    kind: ClassVar[str] = "posterior"

    @abstractmethod
    def build(self, width: int, latent_dim: int) -> nn.Module:
        """A module (B, F) -> a distribution over z, with batch shape (B,)."""


class Decoder(Component):
    """z -> p(x|z). Declares latent sites and asks `connect` for each of them once, at construction."""

    kind: ClassVar[str] = "decoder"

    @abstractmethod
    def build(self, data: DataSpec, latent_dim: int, connect: Connect) -> nn.Module:
        """A module (x, z, dropout) -> log p(x|z) in nats, (S, B), for z of shape (S, B, D).

        D = 0 is the unconditional decoder. `dropout` is the Noise that masks are drawn from, or None for none.
        Raises UsageError for data it cannot model.
        """


class Prior(Component):
    """p(z)."""

    kind: ClassVar[str] = "prior"

    @abstractmethod
    def build(self) -> PriorDistribution:
        """The distribution: `latent_dim`, `log_prob(z)` and `kl(posterior)` per unit."""


class Initialization(Component):
    """The rule by which parameters get their first values."""

    kind: ClassVar[str] = "initialization"

    @abstractmethod
    def apply(self, module: nn.Module) -> None:
        """Draw the parameters of one module (not of its children) from torch's generator, seeded by the harness."""


class Inference(Component):
    """How q(z|x) is found: the two operations on which all strategies differ."""

    kind: ClassVar[str] = "inference"
    uses_encoder: ClassVar[bool] = True
    """False: no encoder is built, and `vae.encode` gives the starting point N(0, I)."""

    @abstractmethod
    def posterior(self, vae: VAE, x: Tensor, noise: Noise) -> DiagonalGaussian:
        """The contender's own q(z|x) for evaluation, under the plain ELBO; noise where it needs some."""

    @abstractmethod
    def gradients(self, vae: VAE, x: Tensor, objective: Objective) -> Terms:
        """Training: leave the gradients of the objective in the parameters and return its terms.

        The networks are reached through `vae.encode` and `vae.log_likelihood`, which tell the meter of it.
        """


class Method(Component):
    """A change to the plain VAE: a component that implements any subset of the method hooks.

    What it keeps from step to step, so that checkpoints have it, is in its modules or in pydantic private attributes:
    tensors, numbers, text, and lists, tuples, dicts and sets of them.
    """

    kind: ClassVar[str] = "method"
