"""What the decoders of binary images have in common whose pixels are independent, given z."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from collapsebench.model.factors import Factorized
from collapsebench.model.kernels.likelihoods import bernoulli

if TYPE_CHECKING:
    from collapsebench.model.seeding import Noise


class IndependentPixels(Factorized):
    r"""\(p(x|z) = \prod_p \pi_p^{x_p} (1 - \pi_p)^{1 - x_p}\), where \(\pi\) depends on z alone.

    A subclass gives \(\pi\) by `probability`.
    """

    def forward(
        self, x: Float[Tensor, "B ..."], z: Float[Tensor, "S B D"], dropout: Noise | None = None
    ) -> Float[Tensor, "S B"]:
        """Give log p(x|z) in nats. These decoders have no dropout."""
        del dropout
        return bernoulli(self.probability(z), x.flatten(1))

    def predictions(self, x: Float[Tensor, "B ..."], z: Float[Tensor, "S B D"]) -> Float[Tensor, "S B P 1"]:
        """Give the probability of a one at each pixel."""
        del x
        return self.probability(z)[..., None]

    def score(self, predictions: Float[Tensor, "S B P 1"], x: Float[Tensor, "B ..."]) -> Float[Tensor, "S B"]:
        """Give log p(x|z) in nats."""
        return bernoulli(predictions[..., 0], x.flatten(1))

    def symbols(self, x: Float[Tensor, "B ..."]) -> Float[Tensor, "B P"]:
        """Give the pixels."""
        return x.flatten(1)

    def probability(self, z: Float[Tensor, "S B D"]) -> Float[Tensor, "S B P"]:
        """Give the probability of a one at each pixel. It is not clamped yet."""
        raise NotImplementedError
