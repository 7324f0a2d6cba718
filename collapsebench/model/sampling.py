"""What a decoder gives that can be sampled: examples from p(x|z), drawn or typical."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from jaxtyping import Float, Int, Shaped
from torch import Tensor

if TYPE_CHECKING:
    from collapsebench.model.seeding import Noise


class Sampling(StrEnum):
    """The ways to make an example of p(x|z).

    >>> from collapsebench import Sampling
    >>> [each.value for each in Sampling]
    ['random', 'expected']
    """

    RANDOM = "random"
    """Every symbol is drawn, given z and the symbols before it."""
    EXPECTED = "expected"
    """Every symbol is the mean of its distribution. One that later symbols read is the likeliest in its place."""


@runtime_checkable
class SamplingDecoder(Protocol):
    """A decoder whose module can be sampled. A module with this member is one; it inherits nothing.

    This decoder has x ~ N(z, 1):

    >>> import torch
    >>> from collapsebench import Sampling, SamplingDecoder, SeededNoise
    >>> class Shift(torch.nn.Module):
    ...     def forward(self, x, z, dropout):
    ...         return torch.distributions.Normal(z, 1.0).log_prob(x).sum(-1)
    ...     def sample(self, z, shape, noise, sampling=Sampling.RANDOM):
    ...         return z + noise.normal(z.shape, z) if sampling is Sampling.RANDOM else z
    >>> isinstance(Shift(), SamplingDecoder), isinstance(torch.nn.Linear(2, 3), SamplingDecoder)
    (True, False)
    >>> Shift().sample(torch.zeros(5, 4, 3), (3,), SeededNoise(0)).shape
    torch.Size([5, 4, 3])
    """

    def sample(
        self, z: Float[Tensor, "S B D"], shape: tuple[int, ...], noise: Noise, sampling: Sampling = Sampling.RANDOM
    ) -> Shaped[Tensor, "S B ..."]:
        """Give one example for each z, (S, B, *shape), as `log_likelihood` reads examples. Equal noise, equal examples.

        `shape` is that of one example. A document has the shape (T,): it begins with BOS, and after EOS there is
        padding. One that has no EOS among its T tokens is cut.
        """


def drawn_word(logits: Float[Tensor, "N V"], noise: Noise, sampling: Sampling = Sampling.RANDOM) -> Int[Tensor, " N"]:
    """Draw a word of V for each of N rows, from the softmax of its logits, or give the likeliest.

    The draw inverts the distribution function, in float64, at one uniform number a row.
    """
    if sampling is Sampling.EXPECTED:
        return logits.argmax(-1)
    below = logits.double().softmax(-1).cumsum(-1)
    place = noise.uniform((len(logits), 1), below) * below[:, -1:]
    return (below <= place).sum(-1).clamp(max=logits.shape[-1] - 1)
