"""Decoders whose likelihood is a product of factors, one for each symbol. So it can be seen that none looks ahead."""

from __future__ import annotations

from jaxtyping import Float, Shaped
from torch import Tensor, nn


class Factorized(nn.Module):
    r"""A decoder with \(p(x|z) = \prod_t p(x_t | x_{<t}, z)\), in a fixed order of the symbols of an example.

    A decoder that inherits from it is checked for causality in every run (see `guards.causality`).

    Here each of three pixels has the probability 1/4:

    >>> import torch
    >>> from collapsebench import Factorized
    >>> class Constant(Factorized):
    ...     def predictions(self, x, z):
    ...         return torch.full((*z.shape[:2], 3, 1), 0.25)
    ...     def score(self, predictions, x):
    ...         return (x * predictions[..., 0] + (1 - x) * (1 - predictions[..., 0])).log().sum(-1)
    ...     def symbols(self, x):
    ...         return x
    ...     def forward(self, x, z, dropout=None):
    ...         return self.score(self.predictions(x, z), x)
    >>> decoder, x = Constant(), torch.tensor([[1.0, 0.0, 0.0]])
    >>> round(float(decoder(x, torch.zeros(1, 1, 2)).exp()), 6)
    0.140625
    """

    def predictions(self, x: Shaped[Tensor, "B ..."], z: Float[Tensor, "S B D"]) -> Float[Tensor, "S B T K"]:
        r"""Give the K parameters of the distribution of each symbol \(x_t\), in order, as evaluation uses them."""
        raise NotImplementedError

    def score(self, predictions: Float[Tensor, "S B T K"], x: Shaped[Tensor, "B ..."]) -> Float[Tensor, "S B"]:
        """Give log p(x|z) in nats under these distributions."""
        raise NotImplementedError

    def symbols(self, x: Shaped[Tensor, "B ..."]) -> Shaped[Tensor, "B T ..."]:
        r"""Give the symbols \(x_t\) in order, as a view: what is written to it is written to x."""
        raise NotImplementedError
