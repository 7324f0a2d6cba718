"""What is tried: a component at its settings, as a part of a tiny contender."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from pydantic import Field, ValidationError

from collapsebench.components.descriptions import required
from collapsebench.components.hookspecs import hookimpl
from collapsebench.components.interfaces import (
    Component,
    Decoder,
    Encoder,
    Inference,
    Initialization,
    Method,
    Posterior,
    Prior,
)
from collapsebench.errors import UsageError
from collapsebench.examples import ImageSpec
from collapsebench.experiment.training import TrainingState, step
from collapsebench.networks.decoders import MLPDecoder
from collapsebench.networks.encoders import MLPEncoder
from collapsebench.testing.tiny import FAMILIES, Family, Model
from collapsebench.validation import describe

if TYPE_CHECKING:
    from torch import Tensor

    from collapsebench.experiment.training import TrainingSetup
    from collapsebench.syntax import ParameterValue

DATA: Mapping[str, Family] = {
    "images": FAMILIES["mlp"],
    "text": FAMILIES["lstm"],
    "vectors": FAMILIES["linear"],
}
"""The kinds of data on which every component is tried, with the networks beside it."""

PARTS = (Method, Encoder, Decoder, Posterior, Initialization, Inference, Prior)
"""The kinds of components that are parts of a contender."""

FURTHER: Mapping[str, Family] = {
    "images of levels": FAMILIES["levels"],
    "counts": FAMILIES["counts"],
    "large images": Family(MLPEncoder(hidden=5), MLPDecoder(hidden=5), ImageSpec((1, 28, 28))),
}
"""Further kinds, for networks that fit none of those."""


class GivenPrior(Method):
    """A method that gives a prior, as no track names one."""

    name: ClassVar[str] = "given-prior"
    given: Prior = Field(description="the prior")

    @hookimpl
    def prior(self) -> Prior:
        """Give it."""
        return self.given


class Refused(NamedTuple):
    """A component that does not fit, with what the harness says."""

    reason: str


class Trained(NamedTuple):
    """What the steps have left."""

    losses: list[float]
    parameters: dict[str, Tensor]

    def alike(self, other: Trained) -> bool:
        """Return True if losses and shared parameters are the same, bit for bit."""
        shared = [name for name in self.parameters if name in other.parameters]
        return self.losses == other.losses and all(
            torch.equal(self.parameters[name], other.parameters[name]) for name in shared
        )


@dataclass(frozen=True)
class Subject:
    """A component that is tried. What it keeps from step to step is not shared: every model gets one that is new."""

    component: type[Component]
    settings: Mapping[str, ParameterValue] = field(default_factory=dict)
    """Its settings, as far as they are not the defaults. What has none is the first of the `examples`, or 1."""
    beside: tuple[Method, ...] = ()
    """Methods of the same contender, written behind it."""
    dtype: torch.dtype = torch.float32
    data_folder: Path | None = None
    """The folder of original files, for a dataset; None is that of the user."""

    @property
    def title(self) -> str:
        """Its kind and name."""
        return f"{self.component.kind} '{self.component.name}'"

    def make(self) -> Component:
        """Make the component anew. Raises UsageError if that cannot be, as a field has neither default nor example."""
        given = required(self.component) | dict(self.settings)
        try:
            return self.component.model_validate(given)
        except ValidationError as error:
            raise UsageError(
                f"{self.title} cannot be made with {given}: {describe(error, self.component)}; a field without a "
                "default needs `examples`"
            ) from None

    def model(self, family: Family) -> Model:
        """Give the tiny contender with this component in its place."""
        beside = tuple(map(fresh, self.beside))
        plain = Model(family, beside, dtype=self.dtype)
        match own := self.make():
            case Method():
                return replace(plain, methods=(own, *beside))
            case Prior():
                return replace(plain, methods=(GivenPrior(given=own), *beside))
            case Encoder() | Decoder():
                return replace(plain, family=_with_network(family, own))
            case Posterior():
                return replace(plain, posterior=own)
            case Initialization():
                return replace(plain, initialization=own)
            case Inference():
                return replace(plain, inference=own)
        raise UsageError(f"{self.title} is no part of a contender")

    def setup(self, family: Family, seed: int = 1, **given: str) -> TrainingSetup:
        """Build the contender. Raises UsageError or PluginError if it is refused."""
        return self.model(family).setup(seed, **given)

    def train(self, family: Family, seed: int = 1) -> Trained:
        """Train the contender. Raises UsageError or PluginError if it is refused."""
        return train(self.model(family), seed)

    def tried(self, family: Family) -> Trained | Refused:
        """Train the contender, or say why it is refused."""
        try:
            return self.train(family)
        except UsageError as error:
            return Refused(str(error))

    @cached_property
    def trials(self) -> Mapping[str, Trained | Refused]:
        """How it ends on every kind of data. The further ones are tried if it fits none of the usual ones.

        Raises whatever it raises but a UsageError, by which it says that it does not fit.
        """
        found = {data: self.tried(family) for data, family in DATA.items()}
        if not any(isinstance(trial, Trained) for trial in found.values()):
            found |= {data: self.tried(family) for data, family in FURTHER.items()}
        return found

    @property
    def fitting(self) -> Mapping[str, Family]:
        """The kinds of data on which it trains."""
        families = {**DATA, **FURTHER}
        return {data: families[data] for data, trial in self.trials.items() if isinstance(trial, Trained)}


def _with_network(family: Family, network: Encoder | Decoder) -> Family:
    return family._replace(encoder=network) if isinstance(network, Encoder) else family._replace(decoder=network)


def fresh(method: Method) -> Method:
    """Give the method as it was made, without anything that it has kept since."""
    return type(method).model_validate(method.model_dump())


def steps(setup: TrainingSetup, state: TrainingState, model: Model, which: slice = slice(None)) -> list[float]:
    """Do a step on each of these batches, and return the losses. Raises DivergedError if one is not finite."""
    return [float(step(setup, state, batch).loss) for batch in model.batches()[which]]


def train(model: Model, seed: int = 1) -> Trained:
    """Train a tiny contender. Raises UsageError or PluginError if it is refused."""
    setup = model.setup(seed)
    losses = steps(setup, TrainingState.start(setup), model)
    return Trained(losses, dict(setup.vae.named_parameters()))
