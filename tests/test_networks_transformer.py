"""The Transformer against an independent re-computation in float64, its memory, and attention of a user's own."""

from __future__ import annotations

import math
from math import prod

import numpy as np
import pytest
import tiny
import torch
from scipy.special import erf, log_softmax, softmax
from torch import nn

from collapsebench.components.composition import compose
from collapsebench.components.hookspecs import hookimpl
from collapsebench.components.interfaces import Decoder, Encoder, Method, SiteKind
from collapsebench.errors import PluginError, UsageError
from collapsebench.examples import TextSpec
from collapsebench.experiment.assembly import Architecture, assemble
from collapsebench.experiment.flops import FlopCounter
from collapsebench.model.seeding import SeededNoise
from collapsebench.model.vae import Objective
from collapsebench.networks.connections import Concatenate
from collapsebench.networks.decoders import TransformerDecoder
from collapsebench.networks.encoders import TransformerEncoder
from collapsebench.networks.initializations import LibraryDefault
from collapsebench.networks.posteriors import GaussianPosterior
from collapsebench_plugins.sa_vae import SAVAE

TEXT = TextSpec(7)
SIZES = {"width": 6, "heads": 3, "feed_forward": 5, "positions": 9, "layers": 2}
HEADS, D = 3, 2


@pytest.fixture(autouse=True)
def _fixed_generator():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def tokens(length=5):
    return torch.randint(TEXT.vocabulary, (3, length))


class Reference:
    """The layers of a Transformer for one example, position by position and head by head, in numpy."""

    def __init__(self, module):
        self.values = {name: value.detach().numpy() for name, value in module.named_parameters()}

    def affine(self, name, x):
        return x @ self.values[f"{name}.weight"].T + self.values[f"{name}.bias"]

    def norm(self, name, h):
        centred = h - h.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return scaled * self.values[f"{name}.weight"] + self.values[f"{name}.bias"]

    def words(self, ids):
        return np.stack(
            [
                self.values["words.embedding.weight"][word] + self.values["words.positions.weight"][place]
                for place, word in enumerate(ids)
            ]
        )

    def attention(self, name, u, memory, *, causal):
        query, key, value = np.split(self.affine(f"{name}.inputs", u), 3, axis=-1)
        width = query.shape[-1]
        size, read = width // HEADS, np.zeros((len(u), width))
        for place in range(len(u)):
            seen = slice(0, place + 1) if causal else slice(None)
            keys, values = np.vstack([memory, key[seen]]), np.vstack([memory, value[seen]])
            for head in range(HEADS):
                units = slice(head * size, (head + 1) * size)
                scores = keys[:, units] @ query[place, units] / math.sqrt(size)
                read[place, units] = softmax(scores) @ values[:, units]
        return self.affine(f"{name}.output", read)

    def layer(self, index, h, u, memory, *, causal):
        h = h + self.attention(f"layers.{index}.attention", u, memory, causal=causal)
        name = f"layers.{index}.feed_forward"
        hidden = self.affine(f"{name}.1", self.norm(f"{name}.0", h))
        return h + self.affine(f"{name}.3", hidden * (1 + erf(hidden / math.sqrt(2))) / 2)


def test_the_encoder_is_what_its_equations_say():
    encoder = TransformerEncoder(**SIZES).build(TEXT).double()
    reference, x = Reference(encoder), tokens()
    features = []
    for ids in x.tolist():
        h = reference.words(ids)
        for index in range(2):
            h = reference.layer(index, h, reference.norm(f"norms.{index}", h), np.zeros((0, 6)), causal=False)
        features.append(reference.norm("norm", h[0]))
    torch.testing.assert_close(encoder(x), torch.from_numpy(np.stack(features)), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("skip", [False, True], ids=["plain", "skip"])
@pytest.mark.parametrize("entry", ["memory", "embedding", "both"])
def test_the_decoder_is_what_its_equations_say(entry, skip):
    """With skip, z is concatenated to what the second layer and the vocabulary read."""

    def connect(site):
        return Concatenate(site.width, D) if skip and site.kind is SiteKind.SEQUENCE else None

    decoder = TransformerDecoder(**SIZES, entry=entry).build(TEXT, D, connect).double()
    reference, x, z = Reference(decoder), tokens(), torch.randn(2, 3, D, dtype=torch.float64)
    expected = np.zeros((2, 3))
    for sample, example in np.ndindex(2, 3):
        ids, code = x[example].tolist(), z[sample, example].numpy()
        h = reference.words(ids[:-1])
        if entry != "memory":
            h = h + reference.values["first.weight"] @ code
        u = reference.norm("norms.0", h)
        for index in range(2):
            memory = np.zeros((0, 6))
            if entry != "embedding":
                memory = (reference.values[f"memories.{index}.linear.weight"] @ code)[None]
            h = reference.layer(index, h, u, memory, causal=True)
            u = reference.norm(f"norms.{index + 1}", h)
            u = np.hstack([u, np.tile(code, (len(u), 1))]) if skip else u
        logits = log_softmax(reference.affine("output", u), axis=-1)
        expected[sample, example] = sum(logits[place, word] for place, word in enumerate(ids[1:]))
    torch.testing.assert_close(decoder(x, z), torch.from_numpy(expected), rtol=1e-11, atol=0)


def test_the_order_of_words_matters_to_both():
    encoder = TransformerEncoder(**SIZES).build(TEXT).double()
    decoder = TransformerDecoder(**SIZES).build(TEXT, D, tiny.unconnected).double()
    x = torch.tensor([[2, 4, 5, 6, 3]])
    swapped, z = x[:, [0, 2, 1, 3, 4]], torch.randn(1, 1, D, dtype=torch.float64)
    assert not torch.isclose(encoder(x), encoder(swapped)).any()
    assert not torch.isclose(decoder.logits(x, z)[..., -1, :], decoder.logits(swapped, z)[..., -1, :]).any()


@pytest.mark.parametrize("component", [TransformerEncoder, TransformerDecoder])
def test_a_document_with_more_tokens_than_positions_is_an_error_that_says_so(component):
    if component is TransformerEncoder:
        module = component(**SIZES).build(TEXT)
        read = module
    else:
        module = component(**SIZES).build(TEXT, D, tiny.unconnected)
        read = lambda x: module(x, torch.zeros(1, 3, D))  # noqa: E731
    longest = 9 + (component is TransformerDecoder)  # the decoder does not read EOS
    assert read(tokens(longest)).isfinite().all()
    with pytest.raises(UsageError, match="a transformer of 9 positions cannot read 10 tokens; set `positions`"):
        read(tokens(longest + 1))
    with pytest.raises(ValueError, match="a width of 6 is no multiple of 4 heads"):
        component(width=6, heads=4)


class Remember(nn.Module):
    """One more vector of memory."""

    def __init__(self, site):
        super().__init__()
        self.width = site.width
        self.linear = nn.Linear(site.latent_dim, site.width)

    def forward(self, h, z):
        return torch.cat([h, self.linear(z)[:, None]], 1)


@pytest.mark.parametrize("entry", ["memory", "embedding"])
def test_a_method_adds_vectors_of_memory(entry):
    """Where z is no memory, a layer's memory is empty, and the method's vector is the first."""
    sites = []

    def connect(site):
        sites.append(site)
        return Remember(site) if site.kind is SiteKind.MEMORY else None

    plain = TransformerDecoder(**SIZES, entry=entry).build(TEXT, D, tiny.unconnected).double()
    decoder = TransformerDecoder(**SIZES, entry=entry).build(TEXT, D, connect).double()
    rows = torch.randn(4, D, dtype=torch.float64)
    assert [memory(rows).shape for memory in plain.memories] == [(4, int(entry == "memory"), 6)] * 2
    assert [memory(rows).shape for memory in decoder.memories] == [(4, 1 + (entry == "memory"), 6)] * 2
    x, z = tokens(), torch.randn(2, 3, D, dtype=torch.float64, requires_grad=True)
    decoder(x, z).sum().backward()
    assert all(memory.site.connection.linear.weight.grad.abs().sum() > 0 for memory in decoder.memories)


@pytest.mark.parametrize("kind", [SiteKind.MEMORY, SiteKind.EMBEDDING])
def test_a_connection_that_changes_the_width_of_memory_or_embeddings_is_refused(kind):
    class Wide(Method):
        name = "wide"

        @hookimpl
        def connect_latent(self, site):
            return Concatenate(site.width, D) if site.kind is kind else None

    architecture = Architecture(D, None, GaussianPosterior(), TransformerDecoder(**SIZES), LibraryDefault())
    with pytest.raises(PluginError, match=f"an integer `width` of 6, or None, at {kind} site"):
        assemble(architecture, TEXT, compose([Wide()]), seed=1)


def test_second_derivatives_are_those_of_differences_through_the_objective():
    """SA-VAE differentiates the gradient by the posterior; fused attention could not be."""
    vae, x = tiny.vae("transformer"), tiny.examples("transformer")
    objective = Objective(SeededNoise(1), training=False)
    direction = torch.randn(2, 3, 2, dtype=torch.float64)

    def gradient(shift, *, create_graph=False):
        point = vae.encode(x)
        moved = type(point).of((point.parameters + shift * direction).detach().requires_grad_())
        return moved, objective.gradient(vae, x, moved, SeededNoise(2), create_graph=create_graph).posterior

    moved, first = gradient(0.0, create_graph=True)
    (product,) = torch.autograd.grad((first * direction).sum(), [moved.mean], retain_graph=True)
    difference = (gradient(1e-5)[1] - gradient(-1e-5)[1]) / 2e-5
    torch.testing.assert_close(product, difference[0], rtol=1e-6, atol=1e-9)


class Attentive(nn.Module):
    """A causal language model of a user's: torch's own attention, and no wrapper around it."""

    def __init__(self, vocabulary, latent_dim, *, weights):
        super().__init__()
        self.weights = weights
        self.words = nn.Embedding(vocabulary, 8)
        self.first = nn.Linear(latent_dim, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.output = nn.Linear(8, vocabulary)

    def forward(self, x, z, dropout=None):
        rows = z.flatten(0, 1)
        h = self.words(x[:, :-1]).expand(len(z), -1, -1, -1).flatten(0, 1) + self.first(rows)[:, None]
        length = h.shape[1]
        mask = torch.ones(length, length, dtype=torch.bool).triu(1)
        h = h + self.attention(h, h, h, attn_mask=mask, need_weights=self.weights)[0]
        targets = x[:, 1:].expand(len(z), -1, -1).flatten(0, 1)[..., None]
        return self.output(h).log_softmax(-1).gather(-1, targets)[..., 0].sum(-1).view(z.shape[:2])


class AttentiveDecoder(Decoder):
    name = "attentive"
    weights: bool = False

    def build(self, data, latent_dim, connect):
        return Attentive(data.vocabulary, latent_dim, weights=self.weights)


class TorchLayers(Encoder):
    """Torch's Transformer layer, which it fuses in evaluation."""

    name = "torch-layers"

    def build(self, data):
        module = nn.Sequential(
            nn.Embedding(data.vocabulary, 8),
            nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, norm_first=True),
            nn.AdaptiveAvgPool2d((1, 8)),
            nn.Flatten(),
        )
        module.width = 8
        return module


@pytest.mark.parametrize("weights", [False, True], ids=["fused", "weights"])
def test_attention_of_a_users_own_needs_no_wrapper(weights):
    """It starts from its seed, is counted, trains through SA-VAE's second derivatives, and is evaluated."""
    method = SAVAE(steps=2)
    hooks = compose([method])
    architecture = Architecture(
        D, TorchLayers(), GaussianPosterior(), AttentiveDecoder(weights=weights), LibraryDefault()
    )
    vae, again = (assemble(architecture, TEXT, hooks, seed=1) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(vae.parameters(), again.parameters(), strict=True))
    x = tokens()
    with FlopCounter() as counter:
        method.gradients(vae, x, Objective(SeededNoise(1)))
    assert counter.uncounted == set()
    length = x.shape[1] - 1
    assert counter.flops > 2 * 3 * length * prod((8, 4 * 8))
    assert [name for name, p in vae.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []
    with torch.inference_mode(), FlopCounter() as counter:
        assert vae.eval().log_likelihood(x, vae.encode(x).mean[None]).isfinite().all()
    assert counter.uncounted == set()
