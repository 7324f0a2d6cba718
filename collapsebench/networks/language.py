"""What all decoders of text have in common: one distribution over the vocabulary after each token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxtyping import Float, Int
from torch import Tensor, nn

from collapsebench.model.factors import Factorized
from collapsebench.model.kernels.likelihoods import categorical
from collapsebench.model.kernels.vocabulary import fused_log_likelihood

if TYPE_CHECKING:
    from collapsebench.model.seeding import Noise


class LanguageModel(Factorized):
    r"""\(p(x|z) = \prod_t \mathrm{softmax}(V u_t + v)_{x_t}\), where \(u_t\) depends on \(x_{<t}\) and z.

    A subclass gives u by `hidden`, and sets `output` to the affine map (V, v). Both the map and its likelihood are the
    fused kernel.
    """

    output: nn.Linear

    def __init__(self) -> None:
        super().__init__()
        self.likelihood = fused_log_likelihood

    def forward(
        self,
        x: Int[Tensor, "B T"],
        z: Float[Tensor, "S B D"],
        dropout: Noise | None = None,
        read: Int[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "S B"]:
        """Give log p(x|z) in nats of all tokens after BOS, which is given. Dropout masks are drawn from `dropout`.

        Each token is predicted from those before it in `read`, which are those in x by default.
        """
        words = x if read is None else read
        return self.likelihood(self.hidden(words[:, :-1], z, dropout), self.output, x[:, 1:])

    def predictions(self, x: Int[Tensor, "B T"], z: Float[Tensor, "S B D"]) -> Float[Tensor, "S B P V"]:
        """Give the unnormalised log-probabilities of each token after BOS."""
        return self.logits(x[:, :-1], z)

    def score(self, predictions: Float[Tensor, "S B P V"], x: Int[Tensor, "B T"]) -> Float[Tensor, "S B"]:
        """Give log p(x|z) in nats."""
        return categorical(predictions, x[:, 1:])

    def symbols(self, x: Int[Tensor, "B T"]) -> Int[Tensor, "B P"]:
        """Give the tokens after BOS."""
        return x[:, 1:]

    def logits(
        self, tokens: Int[Tensor, "B T"], z: Float[Tensor, "S B D"], dropout: Noise | None = None
    ) -> Float[Tensor, "S B T V"]:
        """Give the unnormalised log-probabilities of the token that follows each of `tokens`."""
        logits: Tensor = self.output(self.hidden(tokens, z, dropout))
        return logits

    def hidden(
        self, tokens: Int[Tensor, "B T"], z: Float[Tensor, "S B D"], dropout: Noise | None = None
    ) -> Float[Tensor, "S B T W"]:
        """Give the input of the map to the vocabulary after each of `tokens`."""
        raise NotImplementedError


def drop(h: Float[Tensor, "*S B T W"], rate: float, dropout: Noise | None, label: str) -> Float[Tensor, "*S B T W"]:
    """Set a share `rate` of h to zero and divide the rest by 1 - rate. All samples of an example share its mask.

    The mask is drawn from the child `label` of `dropout`. None means no dropout.
    """
    if dropout is None or rate == 0:
        return h
    keep = dropout.child(label).uniform(tuple(h.shape[-3:]), h) >= rate
    return h * keep / (1 - rate)
