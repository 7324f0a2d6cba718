"""The interfaces of everything that a plugin can add: pydantic classes whose fields are their hyperparameters.

A component describes; its `build`, `load` and `evaluate` do the work. So importing this module loads no torch.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from torch import Tensor, nn

    from collapsebench.components.search import SearchRange
    from collapsebench.examples import DataSpec, Splits
    from collapsebench.model.distributions import PriorDistribution
    from collapsebench.model.needs import Need
    from collapsebench.model.posterior import PosteriorDistribution
    from collapsebench.model.seeding import Noise
    from collapsebench.model.vae import VAE, DependentPrior, Objective, Terms
    from collapsebench.syntax import ParameterValue


class Component(BaseModel):
    """A thing with a name that a plugin registers. Its fields are its hyperparameters, each with a description.

    Components are frozen. Unknown fields are errors, and so are infinities and NaN. `kind` says what a class is:
    `method`, `dataset`, … .

    >>> from pydantic import Field
    >>> from collapsebench import Component, Method
    >>> class BetaVAE(Method):
    ...     name = "beta-vae"
    ...     beta: float = Field(4.0, description="weight of the KL term")
    >>> BetaVAE(beta=2).beta, BetaVAE.kind, issubclass(BetaVAE, Component)
    (2.0, 'method', True)
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: ClassVar[str]
    name: ClassVar[str]
    version: ClassVar[int] = 1
    """A part of every run's identity. Raise it when the same hyperparameters give other results."""
    citation: ClassVar[str] = ""


class Dataset(Component):
    """Fixed, checksummed splits. A TOML file declares facts about them, and the tracks in which they are used.

    >>> import numpy as np
    >>> from collapsebench import Dataset, Splits, Vectors, VectorSpec
    >>> class Zeros(Dataset):
    ...     name = "zeros"
    ...     def load(self, folder):
    ...         split = Vectors(np.zeros((4, 2), np.float32))
    ...         return Splits(VectorSpec(2), split, split, split)
    >>> len(Zeros().load(None).train)
    4
    """

    kind: ClassVar[str] = "dataset"
    facts: ClassVar[Path | None] = None
    """The file of the card and the tracks of a plugin's dataset. None means `registry/datasets/NAME.toml`."""

    @abstractmethod
    def load(self, folder: Path) -> Splits:
        """Give the splits, from original files under the data folder. Generated datasets ignore the folder.

        Raises DataError with the URL and the expected place if files are missing or wrong.
        """

    def words(self, folder: Path) -> Sequence[str] | None:
        """Give the words of a text's vocabulary by their ids; None for other data, and for words without names.

        Raises DataError as `load` does.
        """
        del folder
        return None


class SiteKind(StrEnum):
    """The shape of the activations at a latent site, for N examples (or samples of examples).

    >>> from collapsebench import SiteKind
    >>> [kind.value for kind in SiteKind]
    ['vector', 'sequence', 'feature map', 'memory', 'embedding', 'output']
    """

    VECTOR = "vector"
    """(N, width): pre-activations of a hidden layer. A connection keeps the width."""
    SEQUENCE = "sequence"
    """(N, T, width): outputs of a layer of a recurrent network or a Transformer."""
    FEATURE_MAP = "feature map"
    """(N, width, height, breadth): the input of a convolution."""
    MEMORY = "memory"
    """(N, M, width): M vectors that a layer of a Transformer attends to before all words. M may be 0.

    A connection keeps the width. It may give another number of vectors.
    """
    EMBEDDING = "embedding"
    """(N, T, width): the sums of word and position embeddings. A connection keeps the width."""
    OUTPUT = "output"
    """(N, T, width): the input of the map to the vocabulary.

    A connection replaces that map, so its width is `Site.outputs`, and z enters nowhere else: the decoder reads ones in
    place of z, or nothing.
    """


@dataclass(frozen=True)
class Site:
    """One place of a decoder where z may enter, beside those where the plain decoder takes it in.

    `index` counts the sites of a decoder from its input to its output.

    >>> from collapsebench import Site, SiteKind
    >>> Site(SiteKind.VECTOR, index=0, width=256, latent_dim=16).width
    256
    """

    kind: SiteKind
    index: int
    width: int
    latent_dim: int
    area: tuple[int, int] = (1, 1)
    """Height and breadth of a feature map."""
    outputs: int = 0
    """The logits of an output site at each position."""

    @property
    def required_width(self) -> int | None:
        """The width that a connection must have here; None if it may choose."""
        match self.kind:
            case SiteKind.VECTOR | SiteKind.MEMORY | SiteKind.EMBEDDING:
                return self.width
            case SiteKind.OUTPUT:
                return self.outputs
            case SiteKind.SEQUENCE | SiteKind.FEATURE_MAP:
                return None


Connect: TypeAlias = "Callable[[Site], nn.Module | None]"
"""A function that gives the module (h, z) -> h' for a latent site, or None to leave the site as it is.

>>> from collapsebench import Site, SiteKind
>>> def connect(site):
...     return None
>>> connect(Site(SiteKind.SEQUENCE, index=0, width=8, latent_dim=2)) is None
True
"""


class Encoder(Component):
    """x -> features (B, F). The module that it builds has the attribute `width`, which is F.

    >>> from torch import nn
    >>> from collapsebench import Encoder
    >>> class Flat(Encoder):
    ...     name = "flat"
    ...     def build(self, data):
    ...         module = nn.Flatten()
    ...         module.width = data.dimension
    ...         return module
    >>> from collapsebench import VectorSpec
    >>> Flat().build(VectorSpec(3)).width
    3
    """

    kind: ClassVar[str] = "encoder"
    states: ClassVar[bool] = False
    """True: the module takes a second argument. If it is true, the module gives the features after each of T symbols,
    (B, T, F), the last of which are those of x."""

    @abstractmethod
    def build(self, data: DataSpec) -> nn.Module:
        """Build a module x -> (B, F). Raises UsageError for data that it cannot read."""


class Posterior(Component):
    """Features (B, F) -> q(z|x).

    >>> from torch import nn, ones
    >>> from collapsebench import DiagonalGaussian, Posterior
    >>> class UnitVariance(Posterior):
    ...     name = "unit-variance"
    ...     def build(self, width, latent_dim):
    ...         class Head(nn.Module):
    ...             def __init__(self):
    ...                 super().__init__()
    ...                 self.mean = nn.Linear(width, latent_dim)
    ...             def forward(self, features):
    ...                 mean = self.mean(features)
    ...                 return DiagonalGaussian(mean, mean.new_zeros(mean.shape))
    ...         return Head()
    >>> UnitVariance().build(3, 2)(ones(5, 3)).mean.shape
    torch.Size([5, 2])
    """

    kind: ClassVar[str] = "posterior"

    @abstractmethod
    def build(self, width: int, latent_dim: int) -> nn.Module:
        """Build a module (B, F) -> a distribution over z with batch shape (B,)."""


class Decoder(Component):
    """z -> p(x|z). A decoder declares latent sites, and asks `connect` once for each of them while it is built.

    >>> from torch import nn
    >>> from collapsebench import Decoder, VectorSpec
    >>> class Cauchy(Decoder):
    ...     name = "cauchy"
    ...     def build(self, data, latent_dim, connect):
    ...         class Network(nn.Module):
    ...             def __init__(self):
    ...                 super().__init__()
    ...                 self.location = nn.Linear(latent_dim, data.dimension)
    ...             def forward(self, x, z, dropout):
    ...                 excess = (x - self.location(z)).square()
    ...                 return -(3.141592653589793 * (1 + excess)).log().sum(-1)
    ...         return Network()
    >>> from torch import zeros
    >>> Cauchy().build(VectorSpec(3), 2, connect=None)(zeros(4, 3), zeros(7, 4, 2), None).shape
    torch.Size([7, 4])
    """

    kind: ClassVar[str] = "decoder"
    rows: ClassVar[int] = 256
    """The most rows (samples times examples) in a call by a metric, unless one batch has more. More rows are faster if
    the module keeps little of each, and slower if their activations leave the caches."""
    reads: ClassVar[bool] = False
    """True: the module takes a fourth argument, what it reads in place of x while it scores x; None means x."""
    output_site: ClassVar[bool] = False
    """True: the last of its sites is an output site."""

    @abstractmethod
    def build(self, data: DataSpec, latent_dim: int, connect: Connect) -> nn.Module:
        """Build a module (x, z, dropout) -> log p(x|z) in nats, (S, B), for z of shape (S, B, D).

        With D = 0 it is the unconditional decoder. Dropout masks are drawn from the Noise `dropout`; None means no
        dropout. A module that is to be looked at has `sample`, too: see SamplingDecoder. Raises UsageError for data
        that it cannot model.
        """


class Prior(Component):
    """p(z).

    >>> from collapsebench import Prior, StandardNormal
    >>> class Standard(Prior):
    ...     name = "standard"
    ...     def build(self):
    ...         return StandardNormal(8)
    >>> Standard().build().latent_dim
    8
    """

    kind: ClassVar[str] = "prior"

    @abstractmethod
    def build(self) -> PriorDistribution | DependentPrior:
        """Build the distribution, or what gives it for the networks as they are. It may be a module, which is trained.

        A module starts as its constructor draws it: the track's rule is not applied.
        """


class Initialization(Component):
    """The rule by which parameters get their first values.

    >>> from torch import nn
    >>> from collapsebench import Initialization
    >>> class Zero(Initialization):
    ...     name = "zero"
    ...     def apply(self, module):
    ...         for parameter in module.parameters(recurse=False):
    ...             nn.init.zeros_(parameter)
    >>> layer = nn.Linear(2, 2)
    >>> Zero().apply(layer)
    >>> layer.bias.tolist()
    [0.0, 0.0]
    """

    kind: ClassVar[str] = "initialization"

    @abstractmethod
    def apply(self, module: nn.Module) -> None:
        """Draw the parameters of one module, without its children, from torch's generator. The harness seeds it."""


class Inference(Component):
    """A strategy that finds q(z|x). Strategies differ in these two operations.

    >>> from collapsebench import Inference
    >>> class Plain(Inference):
    ...     name = "plain"
    ...     def posterior(self, vae, x, noise):
    ...         return vae.encode(x)
    ...     def gradients(self, vae, x, objective):
    ...         return objective(vae, x, vae.encode(x)).backward()
    >>> Plain.uses_encoder
    True
    """

    kind: ClassVar[str] = "inference"
    uses_encoder: ClassVar[bool] = True
    """False: no encoder is built, and `vae.encode` gives the starting point N(0, I)."""
    needs_states: ClassVar[bool] = False
    """True: `gradients` calls `vae.encode_states`. Then only an encoder that has `states` will do."""
    needs_gradients: ClassVar[bool] = False
    """True: `posterior` computes gradients. Otherwise it is called in torch's inference mode, where there are none."""
    excludes: ClassVar[tuple[str, ...]] = ()
    """The hooks that have no meaning beside this strategy. A method that gives one cannot be combined with it."""

    @abstractmethod
    def posterior(self, vae: VAE, x: Tensor, noise: Noise) -> PosteriorDistribution:
        """Give the contender's own q(z|x) for evaluation, under the plain ELBO. Random draws come from `noise`."""

    @abstractmethod
    def gradients(self, vae: VAE, x: Tensor, objective: Objective) -> Terms:
        """Leave the gradients of the objective in the parameters, and return its terms. Called once a training step.

        The networks are reached through `vae.encode`, `vae.encode_states` and `vae.log_likelihood`. These tell the
        meter.
        """


class Family(StrEnum):
    """What a method changes first of all. `collapsebench methods` lists methods by it, in this order.

    >>> from collapsebench import Family, Method, hookimpl
    >>> class HalfKL(Method):
    ...     name = "half-kl"
    ...     family = Family.OBJECTIVE
    ...     @hookimpl
    ...     def kl_weight(self):
    ...         return 0.5
    >>> HalfKL.family.value, Method.family.value
    ('objective', 'other')
    """

    OBJECTIVE = "objective"
    """What is trained in place of the negative ELBO."""
    NETWORKS = "posterior and networks"
    """Layers behind the encoder, modules of a method's own, and what the decoder reads."""
    PROCEDURE = "procedure"
    """What is trained when: phases, schedules, and which parameters a step updates."""
    DISTRIBUTIONS = "distributions"
    """Other families of priors and posteriors than Gaussians."""
    DECODER = "decoder"
    """The way of z into the decoder."""
    INFERENCE = "inference"
    """How the posterior of an example is found."""
    OTHER = "other"
    """Whatever does not say."""


class Method(Component):
    """A change to the plain VAE: a component that implements some of the method hooks.

    A checkpoint has what a method keeps from step to step, if it stands in its modules or in pydantic private
    attributes: tensors, numbers, text, and lists, tuples, dicts and sets of them.

    >>> from collapsebench import Method, hookimpl
    >>> class HalfKL(Method):
    ...     name = "half-kl"
    ...     @hookimpl
    ...     def kl_weight(self):
    ...         return 0.5
    >>> HalfKL().kl_weight()
    0.5
    """

    kind: ClassVar[str] = "method"
    family: ClassVar[Family] = Family.OTHER
    """The heading under which it is listed."""
    neutral: ClassVar[Mapping[str, ParameterValue] | None] = None
    """The settings at which it changes nothing: a run is the plain VAE, bit for bit. None: there are none."""
    search: ClassVar[Mapping[str, SearchRange]] = {}
    """What `tune` varies beside the learning rate: for a field that the authors tune, its range."""
    without_gradient: ClassVar[tuple[str, ...]] = ()
    """The ends of the names of its parameters that get no gradient, for a reason that the docstring says."""

    def needs(self) -> frozenset[Need]:
        """Give what this method cannot do without, at its settings. A contender without it is refused."""
        return frozenset()

    def takes(self) -> frozenset[Need]:
        """Give what a contender with this method does not have. What is not said here is found when it is built."""
        return frozenset()
