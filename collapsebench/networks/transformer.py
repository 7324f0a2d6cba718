r"""The Transformer encoder, and the causal decoder that reads z as memory, as a part of its embeddings, or as both.

Symbols: N rows (examples, or samples of examples), T positions, M memory vectors, W width, V width at a site.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from collapsebench.components.interfaces import Site, SiteKind
from collapsebench.errors import UsageError
from collapsebench.networks.language import LanguageModel, drop, output_layer
from collapsebench.networks.sites import LatentSite

if TYPE_CHECKING:
    from collapsebench.components.interfaces import Connect
    from collapsebench.model.seeding import Noise


class Words(nn.Module):
    r"""\(e(x_t) + p_t\): the sum of a word's embedding and that of its position. Both are learned."""

    def __init__(self, vocabulary: int, width: int, positions: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(positions, width)

    def forward(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T W"]:
        """Map tokens (B, T) to (B, T, width). Raises UsageError for documents with more tokens than positions."""
        length, positions = tokens.shape[1], self.positions.num_embeddings
        if length > positions:
            raise UsageError(f"a transformer of {positions} positions cannot read {length} tokens; set `positions`")
        embedded: Tensor = self.embedding(tokens) + self.positions.weight[:length]
        return embedded


class Attention(nn.Module):
    r"""\(O\,\mathrm{softmax}(QK^\top/\sqrt d)\,V\) for each head (Vaswani et al. 2017, equation 1).

    Q, K and V are affine in the input. Memory vectors stand before the keys, and the same ones before the values.
    """

    def __init__(self, inputs: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.inputs = nn.Linear(inputs, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(
        self,
        u: Float[Tensor, "N T V"],
        reading: int,
        memory: Float[Tensor, "N M W"] | None,
        mask: Bool[Tensor, "R K"] | None,
    ) -> Float[Tensor, "N R W"]:
        """Map (N, T, inputs) to (N, R, width), for the first R = `reading` positions alone.

        `mask` says which of the K = M + T keys a position sees. None: all.
        """
        query, key, value = self.inputs(u).chunk(3, -1)
        query = query[:, :reading]
        if memory is not None:
            key, value = torch.cat([memory, key], 1), torch.cat([memory, value], 1)
        query, key, value = (each.unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in (query, key, value))
        read = scaled_dot_product_attention(query, key, value, attn_mask=mask)
        written: Tensor = self.output(read.transpose(1, 2).flatten(2))
        return written


class Layer(nn.Module):
    r"""\(a = h + \mathrm{Attention}(u)\), \(h' = a + B\,\mathrm{gelu}(A\,\mathrm{LN}(a))\): a pre-norm layer.

    u is the normalized h, or what a latent site makes of it (Xiong et al. 2020, On Layer Normalization in the
    Transformer Architecture).
    """

    def __init__(self, inputs: int, width: int, heads: int, feed_forward: int) -> None:
        super().__init__()
        self.attention = Attention(inputs, width, heads)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, feed_forward), nn.GELU(), nn.Linear(feed_forward, width)
        )

    def forward(
        self,
        h: Float[Tensor, "N R W"],
        u: Float[Tensor, "N T V"],
        memory: Float[Tensor, "N M W"] | None = None,
        mask: Bool[Tensor, "R K"] | None = None,
    ) -> Float[Tensor, "N R W"]:
        """Map h and the input u of its attention to h'. h may be that of the first R positions alone."""
        h = h + self.attention(u, h.shape[1], memory, mask)
        forwarded: Tensor = h + self.feed_forward(h)
        return forwarded


class Encoder(nn.Module):
    """The normalized output at the first token, BOS, of layers in which all tokens see each other.

    The last layer computes this token alone.
    """

    def __init__(
        self, vocabulary: int, *, width: int, layers: int, heads: int, feed_forward: int, positions: int
    ) -> None:
        super().__init__()
        self.width = width
        self.words = Words(vocabulary, width, positions)
        self.layers = nn.ModuleList(Layer(width, width, heads, feed_forward) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Int[Tensor, "B T"]) -> Float[Tensor, "B F"]:
        """Map tokens (B, T) to (B, width). Raises UsageError for documents with more tokens than positions."""
        h = self.words(x)
        for layer, norm in zip(self.layers[:-1], self.norms[:-1], strict=True):
            h = layer(h, norm(h))
        features: Tensor = self.norm(self.layers[-1](h[:, :1], self.norms[-1](h)))[:, 0]
        return features


class Memory(nn.Module):
    r"""The vectors that a layer attends to before all words: \(W_l z\), if z enters here, and what a method adds.

    One vector is both key and value (Li et al. 2020, Optimus, section 3.1).
    """

    def __init__(self, site: LatentSite, *, linear: bool) -> None:
        super().__init__()
        self.width = site.width
        self.linear = nn.Linear(site.site.latent_dim, site.width, bias=False) if linear else None
        self.site = site

    def forward(self, rows: Float[Tensor, "N D"]) -> Float[Tensor, "N M W"]:
        """Map z (N, D) to M vectors."""
        vectors = rows.new_zeros(len(rows), 0, self.width) if self.linear is None else self.linear(rows)[:, None]
        memory: Tensor = self.site(vectors, rows)
        return memory


class Decoder(LanguageModel):
    r"""\(p(x|z) = \prod_t \mathrm{softmax}(V u_{L,t} + v)_{x_t}\), with layers over the words before t, and over z.

    \(h_0 = g(e(x_{<t}) + p + Wz, z)\), \(u_0 = \mathrm{LN}(h_0)\), \(h_l = f_l(h_{l-1}, u_{l-1}, M_l)\) and
    \(u_l = g_l(\mathrm{LN}(h_l), z)\). Each layer attends to its own memory \(M_l\), too (Li et al. 2020, Optimus).
    There are sites for the sum of embeddings, for the memory of every layer, and for the sequence \(u_l\) after it:
    between two layers, or before the vocabulary. Without latent units this is the Transformer language model. All
    samples of z of one example share its dropout masks. If a connection gives the logits, Wz is left out, and z is in
    no memory.
    """

    def __init__(  # noqa: PLR0913 - the sizes of the data and the decoder's hyperparameters, by name
        self,
        vocabulary: int,
        latent_dim: int,
        connect: Connect,
        *,
        width: int,
        layers: int,
        heads: int,
        feed_forward: int,
        positions: int,
        dropout: float,
        memory: bool,
        embedding: bool,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.words = Words(vocabulary, width, positions)
        kinds = [SiteKind.EMBEDDING, *[SiteKind.MEMORY, SiteKind.SEQUENCE] * layers]
        entrance, *others = (
            LatentSite(Site(kind, index, width, latent_dim), connect) for index, kind in enumerate(kinds)
        )
        remembered, sites = others[::2], others[1::2]
        last = Site(SiteKind.OUTPUT, len(kinds), sites[-1].width, latent_dim, outputs=vocabulary)
        output = output_layer(last, connect)
        plain = latent_dim > 0 and isinstance(output, nn.Linear)
        self.first = nn.Linear(latent_dim, width, bias=False) if embedding and plain else None
        self.entrance = entrance
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers + 1))
        self.memories = nn.ModuleList(Memory(site, linear=memory and plain) for site in remembered)
        inputs = [width, *(site.width for site in sites[:-1])]
        self.layers = nn.ModuleList(Layer(each, width, heads, feed_forward) for each in inputs)
        self.sites = nn.ModuleList(sites)
        self.output = output

    def hidden(
        self, tokens: Int[Tensor, "B T"], z: Float[Tensor, "S B D"], dropout: Noise | None = None
    ) -> Float[Tensor, "S B T W"]:
        """Give the input of the map to the vocabulary after each of `tokens`.

        Raises UsageError for documents with more tokens than positions.
        """
        samples, examples, _ = z.shape
        rows = z.flatten(0, 1)  # (N, D), N = S B
        words = drop(self.words(tokens), self.dropout, dropout, "embedding")
        h = self._enter(words.expand(samples, -1, -1, -1).flatten(0, 1), rows)
        u: Tensor = self.norms[0](h)
        for index, (layer, memory) in enumerate(zip(self.layers, self.memories, strict=True)):
            remembered = memory(rows)
            h = layer(h, u, remembered, causal(tokens.shape[1], remembered))
            read = self.norms[index + 1](h).unflatten(0, (samples, examples))
            u = self.sites[index](drop(read, self.dropout, dropout, f"layer {index}").flatten(0, 1), rows)
        return u.reshape(samples, examples, *u.shape[1:])

    def _enter(self, words: Float[Tensor, "N T W"], rows: Float[Tensor, "N D"]) -> Float[Tensor, "N T W"]:
        if self.first is not None:
            words = words + self.first(rows)[:, None]
        entered: Tensor = self.entrance(words, rows)
        return entered


def causal(length: int, memory: Float[Tensor, "N M W"]) -> Bool[Tensor, "T K"]:
    """Give the mask by which a position sees the whole memory, itself and the positions before it."""
    before = memory.shape[1]
    return torch.ones(length, before + length, dtype=torch.bool, device=memory.device).tril(before)
