"""What all decoders of text have in common: one distribution over the vocabulary after each token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from collapsebench.data.text import BOS, EOS
from collapsebench.model.factors import Factorized
from collapsebench.model.kernels.likelihoods import categorical
from collapsebench.model.kernels.vocabulary import fused_log_likelihood
from collapsebench.model.sampling import Sampling, drawn_word
from collapsebench.networks.sites import LatentSite

if TYPE_CHECKING:
    from collections.abc import Callable

    from collapsebench.components.interfaces import Connect, Site
    from collapsebench.model.seeding import Noise


class LanguageModel(Factorized):
    r"""\(p(x|z) = \prod_t \mathrm{softmax}(V u_t + v)_{x_t}\), where \(u_t\) depends on \(x_{<t}\) and z.

    A subclass gives u by `hidden`, and sets `output` to an `output_layer`. The affine map (V, v) and its likelihood are
    the fused kernel. In place of the map a connection may give the logits, and then z must enter nowhere else.
    """

    output: nn.Linear | LatentSite

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
        if isinstance(self.output, LatentSite):
            return categorical(self.logits(words[:, :-1], z, dropout), x[:, 1:])
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
        return self._mapped(self.hidden(tokens, z, dropout), z)

    def sample(
        self, z: Float[Tensor, "S B D"], shape: tuple[int, ...], noise: Noise, sampling: Sampling = Sampling.RANDOM
    ) -> Int[Tensor, "S B T"]:
        """Give one document for each z, word by word until all have ended, or have T tokens (see `SamplingDecoder`).

        A document begins with BOS. After its EOS there is padding.
        """
        rows, (length,) = z.flatten(0, 1)[None], shape  # (1, N, D), N = S B
        x = torch.zeros(rows.shape[1], length, dtype=torch.long, device=z.device)
        x[:, 0] = BOS
        going, read = torch.ones_like(x[:, 0], dtype=torch.bool), self.reader(rows)
        for place in range(1, length):
            word = drawn_word(self._mapped(read(x[:, :place]), rows)[0, :, 0], noise.child(place), sampling)
            x[:, place] = word * going
            going &= word != EOS
            if not going.any():
                break
        return x.view(*z.shape[:2], length)

    def reader(self, z: Float[Tensor, "1 N D"]) -> Callable[[Int[Tensor, "N T"]], Float[Tensor, "1 N 1 W"]]:
        """Give a function of all tokens so far, which grow by one a call, to `hidden` after the last of them.

        A network with a state reads the last token alone.
        """
        return lambda tokens: self.hidden(tokens, z)[:, :, -1:]

    def _mapped(self, h: Float[Tensor, "S B T W"], z: Float[Tensor, "S B D"]) -> Float[Tensor, "S B T V"]:
        """Give the logits that belong to these inputs of the map to the vocabulary."""
        if isinstance(self.output, LatentSite):
            connected: Tensor = self.output(h.flatten(0, 1), z.flatten(0, 1))
            return connected.reshape(*h.shape[:-1], -1)
        logits: Tensor = self.output(h)
        return logits

    def hidden(
        self, tokens: Int[Tensor, "B T"], z: Float[Tensor, "S B D"], dropout: Noise | None = None
    ) -> Float[Tensor, "S B T W"]:
        """Give the input of the map to the vocabulary after each of `tokens`."""
        raise NotImplementedError


def output_layer(site: Site, connect: Connect, *, bias: bool = True) -> nn.Linear | LatentSite:
    """Build the connection of an output site, which maps h and z to logits; without one the affine map of h."""
    connected = LatentSite(site, connect)
    return nn.Linear(site.width, site.outputs, bias=bias) if connected.connection is None else connected


def drop(h: Float[Tensor, "*S B T W"], rate: float, dropout: Noise | None, label: str) -> Float[Tensor, "*S B T W"]:
    """Set a share `rate` of h to zero and divide the rest by 1 - rate. All samples of an example share its mask.

    The mask is drawn from the child `label` of `dropout`. None means no dropout.
    """
    if dropout is None or rate == 0:
        return h
    keep = dropout.child(label).uniform(tuple(h.shape[-3:]), h) >= rate
    return h * keep / (1 - rate)
