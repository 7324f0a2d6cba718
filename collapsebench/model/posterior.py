"""The posterior q(z|x): what the objective, the metrics and an inference strategy need of any family."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

if TYPE_CHECKING:
    from collapsebench.model.seeding import Noise


class Draw(NamedTuple):
    """Codes that were drawn from a posterior, and their log-density, which is computed when it is asked for.

    Most objectives never ask: a KL in closed form needs no density.

    >>> import torch
    >>> from collapsebench import DiagonalGaussian, Draw, SeededNoise
    >>> q = DiagonalGaussian(mean=torch.zeros(3, 2), logvar=torch.zeros(3, 2))
    >>> drawn = q.draw(SeededNoise(0))
    >>> isinstance(drawn, Draw), drawn.z.shape, drawn.log_q().shape
    (True, torch.Size([3, 2]), torch.Size([3]))
    """

    z: Tensor
    """The codes, (B, D), or (S, B, D) for S draws."""
    log_q: Callable[[], Tensor]
    """Gives log q(z|x) of them in nats, (B,) or (S, B)."""


Shared = TypeVar("Shared", bound=nn.Module)


def in_type_of(module: Shared, like: Tensor) -> Shared:
    """Give what the examples share in the type and on the device of a tensor: itself, or a copy that is not trained.

    The metrics look at posteriors in float64 on the CPU.

    >>> import torch
    >>> from collapsebench import in_type_of
    >>> flow = torch.nn.Linear(1, 1)
    >>> in_type_of(flow, torch.zeros(1)) is flow, in_type_of(flow, torch.zeros(1).double()).weight.dtype
    (True, torch.float64)
    """
    own = next(module.parameters(), like)
    if (own.dtype, own.device) == (like.dtype, like.device):
        return module
    return copy.deepcopy(module).to(like).requires_grad_(False)


class PosteriorDistribution(ABC):
    r"""q(z|x) for a batch of B examples and D latent units: the base class of all families.

    A family is given by its variational parameters, P numbers for each example and unit. What the examples share, such
    as the network of a flow, is not among them: `at` keeps it. This family is the Laplace distribution of scale one:

    >>> import torch
    >>> from collapsebench import Draw, PosteriorDistribution, SeededNoise
    >>> class Laplace(PosteriorDistribution):
    ...     def __init__(self, mean):
    ...         self.mean = mean
    ...     @property
    ...     def parameters(self):
    ...         return self.mean[None]
    ...     def at(self, parameters):
    ...         return Laplace(parameters[0])
    ...     def draw(self, noise):
    ...         up, down = (noise.child(each).uniform(self.mean.shape, self.mean) for each in ("up", "down"))
    ...         z = self.mean + (1 - down).log() - (1 - up).log()
    ...         return Draw(z, lambda: self.log_prob(z[None])[0])
    ...     def log_prob(self, z):
    ...         return (-(z - self.mean).abs() - torch.tensor(2.0).log()).sum(-1)
    >>> q = Laplace(torch.tensor([[0.0], [5.0]]))
    >>> len(q), q[1:].mean.tolist(), round(float(q.log_prob(torch.tensor([[[0.0], [5.0]]])).exp().sum()), 4)
    (2, [[5.0]], 1.0)
    """

    if TYPE_CHECKING:  # a family may have an attribute or a property; a property here would forbid the attribute

        @property
        def mean(self) -> Tensor:
            """E_q[z|x], (B, D), by which active units are counted and classifiers read the code."""

    @property
    @abstractmethod
    def parameters(self) -> Float[Tensor, "P B D"]:
        """The variational parameters that an inference strategy moves."""

    @property
    def like(self) -> Float[Tensor, "B D"]:
        """Any of the parameters: a tensor of the shape and the type of a code, on its device."""
        return self.parameters[0]

    @abstractmethod
    def at(self, parameters: Float[Tensor, "P B D"]) -> PosteriorDistribution:
        """Give the distribution of the same family with these parameters, in their type and on their device."""

    @abstractmethod
    def draw(self, noise: Noise) -> Draw:
        """Draw one code for each example, reparameterized where the family can be: (B, D), and log q, (B,)."""

    @abstractmethod
    def log_prob(self, z: Float[Tensor, "S B D"]) -> Float[Tensor, "S B"]:
        """Give log q(z|x) in nats."""

    def draws(self, noises: Sequence[Noise]) -> Draw:
        """Draw a code from each of S sources of noise, as `draw` does: (S, B, D), and log q, (S, B)."""
        found = [self.draw(noise) for noise in noises]
        return Draw(torch.stack([each.z for each in found]), lambda: torch.stack([each.log_q() for each in found]))

    def same_information(self, z: Float[Tensor, "B D"]) -> tuple[PosteriorDistribution, Float[Tensor, "B D"]]:
        """Give a posterior and codes that tell the same about x, and whose densities cost less.

        An invertible map that all examples share changes no mutual information. So a flow without context gives the
        distribution that it starts from, and the codes there. The others give themselves.
        """
        return self, z

    def pair_cost(self) -> int:
        """Give the cost of a density of one example at the code of another, as a multiple of that of a Gaussian.

        The mixture of all posteriors needs the densities of all pairs. It is made of fewer examples if they are dear.
        """
        return 1

    def __len__(self) -> int:
        return self.parameters.shape[1]

    def __getitem__(self, rows: slice | Tensor) -> PosteriorDistribution:
        return self.at(self.parameters[:, rows])

    def detach(self) -> PosteriorDistribution:
        """Give the same distribution without its autograd graph."""
        return self.at(self.parameters.detach())
