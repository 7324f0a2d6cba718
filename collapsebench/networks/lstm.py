"""The LSTM encoder, and the decoder that is an LSTM language model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from collapsebench.components.interfaces import Site, SiteKind
from collapsebench.networks.language import LanguageModel, drop, output_layer
from collapsebench.networks.sites import LatentSite

if TYPE_CHECKING:
    from collections.abc import Callable

    from collapsebench.components.interfaces import Connect
    from collapsebench.model.seeding import Noise

State: TypeAlias = "tuple[Tensor, Tensor] | None"
"""The hidden states and the cells of a layer, each (1, N, H). None means zeros."""


class Encoder(nn.Module):
    """The last hidden state after the whole document. The LSTM starts from the zero state."""

    def __init__(self, vocabulary: int, embedding: int, hidden: int) -> None:
        super().__init__()
        self.width = hidden
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.lstm = nn.LSTM(embedding, hidden, batch_first=True)

    def forward(self, x: Int[Tensor, "B T"], states: bool = False) -> Float[Tensor, "B F"] | Float[Tensor, "B T F"]:
        """Map tokens (B, T) to (B, hidden), or to the hidden states after each token, (B, T, hidden)."""
        every, (hidden, _) = self.lstm(self.embedding(x))
        found: Tensor = every if states else hidden[-1]
        return found


class Decoder(LanguageModel):
    r"""\(p(x|z) = \prod_t \mathrm{softmax}(V g_L(h_t, z) + v)_{x_t}\), with h from LSTM layers over \([e(x_{<t}), z]\).

    The top layer starts from a map of z, the others from zero. There is a site \(g_l\) after every layer: between two
    layers, or before the vocabulary. Without latent units this is the LSTM language model. All samples of z of one
    example share its dropout masks. If a connection gives the logits, the first state is the map of ones in place of z,
    and the layers read the words alone.
    """

    def __init__(  # noqa: PLR0913 - the sizes of the data and the decoder's hyperparameters, by name
        self,
        vocabulary: int,
        latent_dim: int,
        connect: Connect,
        *,
        embedding: int,
        hidden: int,
        layers: int,
        dropout: float,
        start: Literal["hidden", "cell"],
        output_bias: bool,
    ) -> None:
        super().__init__()
        self.dropout, self.start = dropout, start
        self.embedding = nn.Embedding(vocabulary, embedding)
        sites = [LatentSite(Site(SiteKind.SEQUENCE, index, hidden, latent_dim), connect) for index in range(layers)]
        last = Site(SiteKind.OUTPUT, layers, sites[-1].width, latent_dim, outputs=vocabulary)
        output = output_layer(last, connect, bias=output_bias)
        self.plain = isinstance(output, nn.Linear)
        widths = [embedding + latent_dim * self.plain, *(site.width for site in sites[:-1])]
        self.layers = nn.ModuleList(nn.LSTM(width, hidden, batch_first=True) for width in widths)
        self.sites = nn.ModuleList(sites)
        self.first = nn.Linear(latent_dim, hidden, bias=self.start == "hidden") if latent_dim else None
        self.output = output

    def hidden(
        self, tokens: Int[Tensor, "B T"], z: Float[Tensor, "S B D"], dropout: Noise | None = None
    ) -> Float[Tensor, "S B T W"]:
        """Give the input of the map to the vocabulary after each of `tokens`."""
        samples, examples, _ = z.shape
        length = tokens.shape[1]
        rows = z.flatten(0, 1)  # (N, D), N = S B
        words = self._drop(self.embedding(tokens), dropout, "embedding").expand(samples, -1, -1, -1)
        outputs, _ = self._through_layers(words.flatten(0, 1), rows, self._first_states(rows))
        top = outputs.view(samples, examples, length, -1)
        read: Tensor = self.sites[-1](self._drop(top, dropout, "hidden").flatten(0, 1), rows)
        return read.view(samples, examples, length, -1)

    def reader(self, z: Float[Tensor, "1 N D"]) -> Callable[[Int[Tensor, "N T"]], Float[Tensor, "1 N 1 W"]]:
        """See LanguageModel: the layers go on from the states that they are in."""
        (rows,) = z
        states = self._first_states(rows)

        def read(tokens: Int[Tensor, "N T"]) -> Float[Tensor, "1 N 1 W"]:
            nonlocal states
            outputs, states = self._through_layers(self.embedding(tokens[:, -1:]), rows, states)
            newest: Tensor = self.sites[-1](outputs, rows)
            return newest[None]

        return read

    def _through_layers(
        self, words: Float[Tensor, "N T E"], rows: Float[Tensor, "N D"], states: list[State]
    ) -> tuple[Float[Tensor, "N T H"], list[State]]:
        """Give the outputs of the top layer, before its site, and the states of all layers after the last word."""
        h = words
        after: list[State] = []
        if self.plain:
            h = torch.cat([h, rows[:, None].expand(-1, h.shape[1], -1)], -1)  # (N, T, E + D)
        for number, (layer, state) in enumerate(zip(self.layers, states, strict=True)):
            h, left = layer(h if number == 0 else self.sites[number - 1](h, rows), state)
            after.append(left)
        return h, after

    def _first_states(self, rows: Float[Tensor, "N D"]) -> list[State]:
        return [*[None] * (len(self.layers) - 1), self._first_state(rows)]

    def _first_state(self, rows: Tensor) -> State:
        """Give the first hidden state and cell of the top layer, each (1, N, H). None means the zero state."""
        if self.first is None:
            return None
        mapped: Tensor = self.first(rows if self.plain else torch.ones_like(rows))[None]
        return (mapped, torch.zeros_like(mapped)) if self.start == "hidden" else (mapped.tanh(), mapped)

    def _drop(self, h: Float[Tensor, "*S B T W"], dropout: Noise | None, label: str) -> Float[Tensor, "*S B T W"]:
        return drop(h, self.dropout, dropout, label)
