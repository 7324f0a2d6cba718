"""Decoders: normalised likelihoods, samples of z, no z at all, latent sites, dropout, second derivatives."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field

import pytest
import tiny
import torch
from torch import nn
from torch.distributions import MultivariateNormal, Normal
from torch.nn.attention import SDPBackend, sdpa_kernel

from collapsebench.components.interfaces import SiteKind
from collapsebench.errors import PluginError
from collapsebench.examples import CountSpec, ImageSpec, LevelImageSpec, TextSpec, VectorSpec
from collapsebench.model.kernels.likelihoods import CLAMP, bernoulli
from collapsebench.model.seeding import SeededNoise
from collapsebench.networks.connections import Concatenate
from collapsebench.networks.decoders import (
    ConvDecoder,
    LinearDecoder,
    LSTMDecoder,
    MLPDecoder,
    NegativeBinomialDecoder,
    PixelCNNDecoder,
    TransformerDecoder,
)
from collapsebench_plugins.skip import Skip

TEXT, IMAGE, VECTOR = TextSpec(5), ImageSpec((1, 3, 4)), VectorSpec(4)
COLOURS, COUNTS = LevelImageSpec((3, 3, 4), levels=5), CountSpec(4)
SMALL = {"width": 4, "heads": 2, "feed_forward": 5, "positions": 4}
DECODERS = {
    "lstm": (LSTMDecoder(embedding=3, hidden=4), TEXT),
    "lstm-2": (LSTMDecoder(embedding=3, hidden=4, layers=2, dropout=0.4), TEXT),
    "lstm-cell": (LSTMDecoder(embedding=3, hidden=4, start="cell", output_bias=False), TEXT),
    "transformer": (TransformerDecoder(**SMALL, dropout=0.4), TEXT),
    "transformer-memory": (TransformerDecoder(**SMALL, layers=1, entry="memory"), TEXT),
    "transformer-embedding": (TransformerDecoder(**SMALL, layers=1, entry="embedding"), TEXT),
    "mlp": (MLPDecoder(hidden=4), IMAGE),
    "conv": (ConvDecoder(channels=(3, 2)), IMAGE),
    "conv-logistic": (ConvDecoder(channels=(3, 2)), COLOURS),
    "conv-gaussian": (ConvDecoder(channels=(3, 2), likelihood="gaussian"), COLOURS),
    "negative-binomial": (NegativeBinomialDecoder(hidden=4), COUNTS),
    "pixelcnn": (PixelCNNDecoder(maps=2, layers=2), IMAGE),
    "linear": (LinearDecoder(variance=0.5, learn_variance=True), VECTOR),
}
CONNECT = {"plain": tiny.unconnected, "skip": Skip().connect_latent}


@pytest.fixture(autouse=True)
def _fixed_generator():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def build(name, connect=tiny.unconnected, latent_dim=2):
    """A small decoder in float64 with its default parameters."""
    decoder, data = DECODERS[name]
    torch.manual_seed(0)
    return decoder.build(data, latent_dim, connect).double()


def draw(name, samples, latent_dim=2, examples=3, seed=0):
    """Data x of three examples and z (S, B, D)."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(samples, examples, latent_dim, generator=generator, dtype=torch.float64)
    match DECODERS[name][1]:
        case TextSpec(vocabulary):
            return torch.randint(vocabulary, (examples, 4), generator=generator), z
        case ImageSpec(shape):
            return torch.randint(2, (examples, *shape), generator=generator).double(), z
        case LevelImageSpec(shape, levels):
            return torch.randint(levels, (examples, *shape), generator=generator).double() / (levels - 1), z
        case CountSpec(dimension):
            return torch.randint(9, (examples, dimension), generator=generator).double(), z
        case VectorSpec(dimension):
            return torch.randn(examples, dimension, generator=generator, dtype=torch.float64), z


every_decoder = pytest.mark.parametrize("name", DECODERS)
every_wiring = pytest.mark.parametrize("connect", CONNECT.values(), ids=CONNECT)


@every_decoder
@every_wiring
def test_samples_in_one_pass_equal_one_pass_a_sample(name, connect):
    decoder = build(name, connect)
    x, z = draw(name, samples=3)
    together = decoder(x, z, SeededNoise(5))
    alone = torch.cat([decoder(x, each[None], SeededNoise(5)) for each in z])
    assert together.shape == (3, 3)
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=0)
    assert not torch.allclose(together[0], together[1])


@every_decoder
@every_wiring
def test_examples_do_not_see_each_other(name, connect):
    decoder = build(name, connect)
    x, z = draw(name, samples=2)
    torch.testing.assert_close(decoder(x, z)[:, 1:2], decoder(x[1:2], z[:, 1:2]), rtol=1e-12, atol=0)


@every_decoder
@every_wiring
def test_without_latent_units_there_is_no_z_anywhere(name, connect):
    decoder = build(name, connect, latent_dim=0)
    x, z = draw(name, samples=2, latent_dim=0)
    log_p = decoder(x, z)
    assert log_p.shape == (2, 3)
    torch.testing.assert_close(log_p[0], log_p[1], rtol=1e-12, atol=0)  # rows of one product
    assert not any(p.numel() == 0 or name.startswith(("first", "sites")) for name, p in decoder.named_parameters())
    log_p.sum().backward()
    # The first layer behind z stands on a constant zero: only its bias matters.
    without_input = {"layers.0.weight"} if name.startswith(("mlp", "conv", "negative")) else set()
    assert {n for n, p in decoder.named_parameters() if p.grad is None or not p.grad.any()} == without_input


@every_decoder
@every_wiring
def test_all_parameters_learn(name, connect):
    decoder = build(name, connect)
    decoder(*draw(name, samples=2)).sum().backward()
    assert [n for n, p in decoder.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.slow
@every_decoder
@every_wiring
def test_second_derivatives(name, connect):
    """SA-VAE differentiates gradients by z and by every parameter."""
    decoder = build(name, connect)
    x, z = draw(name, samples=1, examples=2)
    names, parameters = zip(*decoder.named_parameters(), strict=True)

    def log_p(z, *values):
        return torch.func.functional_call(decoder, dict(zip(names, values, strict=True)), (x, z))

    inputs = (z.requires_grad_(), *parameters)
    assert torch.autograd.gradcheck(log_p, inputs, fast_mode=True)
    with sdpa_kernel(SDPBackend.MATH):  # as `Objective.gradient` has it: fused attention has one derivative
        assert torch.autograd.gradgradcheck(log_p, inputs, fast_mode=True)


@every_wiring
def test_second_derivatives_in_float32(connect):
    """The library takes another LSTM kernel there."""
    products = []
    for dtype in (torch.float64, torch.float32):
        decoder = build("lstm-2", connect).to(dtype)
        x, z = draw("lstm-2", samples=1)
        z = z.to(dtype).requires_grad_()
        (gradient,) = torch.autograd.grad(decoder(x, z).sum(), z, create_graph=True)
        products.append(torch.autograd.grad(gradient.square().sum(), [z, *decoder.parameters()], allow_unused=True))
    for exact, single in zip(*products, strict=True):
        assert (exact is None) == (single is None)
        if exact is not None:
            torch.testing.assert_close(single.double(), exact, rtol=1e-3, atol=1e-6)


@every_wiring
@pytest.mark.parametrize("name", ["mlp", "conv", "pixelcnn"])
def test_image_likelihoods_sum_to_one_over_all_images(name, connect):
    images = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4)), dtype=torch.float64).view(-1, 1, 2, 2)
    decoder = DECODERS[name][0].build(ImageSpec((1, 2, 2)), 2, connect).double()
    z = torch.randn(2, 1, 2, dtype=torch.float64).expand(-1, len(images), -1)
    torch.testing.assert_close(decoder(images, z).exp().sum(1), torch.ones(2, dtype=torch.float64))


@every_wiring
@pytest.mark.parametrize("name", ["lstm", "lstm-2", "lstm-cell", "transformer"])
def test_text_likelihoods_sum_to_one_over_all_texts(name, connect):
    texts = torch.tensor([(2, *rest) for rest in itertools.product(range(TEXT.vocabulary), repeat=3)])
    z = torch.randn(2, 1, 2, dtype=torch.float64).expand(-1, len(texts), -1)
    log_p = build(name, connect)(texts, z)
    torch.testing.assert_close(log_p.exp().sum(1), torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize("latent_dim", [0, 2])
def test_linear_likelihood_is_the_normal_density(latent_dim):
    decoder = build("linear", latent_dim=latent_dim)
    nn.init.normal_(decoder.bias)
    x, z = draw("linear", samples=2, latent_dim=latent_dim)
    mean = decoder.bias if latent_dim == 0 else z @ decoder.loadings.weight.T + decoder.bias
    torch.testing.assert_close(decoder(x, z), Normal(mean, math.sqrt(0.5)).log_prob(x).sum(-1).expand(2, -1))


@pytest.mark.parametrize("learn_variance", [False, True])
def test_linear_decoder_integrates_to_the_closed_form(learn_variance):
    """Over z ~ N(0, 1), x ~ N(b, W W' + s I): probabilistic PCA, by a sum over a fine grid of z."""
    decoder = LinearDecoder(variance=0.3, learn_variance=learn_variance).build(VECTOR, 1, tiny.unconnected).double()
    decoder.reset_parameters()
    x = torch.randn(3, 4, dtype=torch.float64)
    grid = torch.linspace(-12, 12, 4801, dtype=torch.float64)
    z = grid.view(-1, 1, 1).expand(-1, 3, -1)
    log_joint = decoder(x, z) + Normal(0, 1).log_prob(z[..., 0])
    loadings = decoder.loadings.weight
    covariance = loadings @ loadings.T + 0.3 * torch.eye(4, dtype=torch.float64)
    expected = MultivariateNormal(decoder.bias, covariance).log_prob(x)
    torch.testing.assert_close(log_joint.logsumexp(0) + math.log(24 / 4800), expected)


def test_bernoulli_probabilities_are_clamped_and_then_have_no_slope():
    logits = torch.tensor([[[-30.0, -1.0, 2.0, 30.0]]], dtype=torch.float64, requires_grad=True)
    for value in (0.0, 1.0):
        log_p = bernoulli(logits.sigmoid(), torch.full((1, 4), value, dtype=torch.float64))
        wrong = torch.tensor([CLAMP, 1 - CLAMP], dtype=torch.float64).log()
        inner = logits[0, 0, 1:3] if value else -logits[0, 0, 1:3]
        torch.testing.assert_close(log_p[0, 0], wrong.sum() + nn.functional.logsigmoid(inner).sum())
        (slope,) = torch.autograd.grad(log_p.sum(), logits)
        assert (slope[0, 0, [0, 3]] == 0).all()
        assert (slope[0, 0, [1, 2]] != 0).all()


def test_diverged_parameters_give_nan_not_a_crash():
    for name in DECODERS:
        decoder = build(name)
        nn.init.constant_(next(decoder.parameters()), math.nan)
        assert decoder(*draw(name, samples=1)).isnan().any()


@every_wiring
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_pixels_depend_on_those_before_them_only(connect, kernel_size):
    decoder = PixelCNNDecoder(maps=3, layers=3, kernel_size=kernel_size).build(IMAGE, 2, connect).double()
    z = torch.randn(1, 1, 2, dtype=torch.float64)

    def probability(pixels):
        return decoder.probability(pixels.view(1, 1, 3, 4), z).flatten()

    jacobian = torch.autograd.functional.jacobian(probability, torch.rand(12, dtype=torch.float64))
    assert torch.equal(jacobian.triu(), torch.zeros(12, 12, dtype=torch.float64))
    left = [pixel for pixel in range(12) if pixel % 4]
    assert all(jacobian[pixel, pixel - 1] != 0 for pixel in left)
    assert all(jacobian[pixel, pixel - 4] != 0 for pixel in range(4, 12))


def test_the_first_pixel_knows_z_through_skip_connections_only():
    z = torch.randn(1, 1, 2, dtype=torch.float64)
    x = torch.zeros(1, 1, 3, 4, dtype=torch.float64)
    for connect, knows in ((tiny.unconnected, False), (Skip().connect_latent, True)):
        decoder = build("pixelcnn", connect)
        slope = torch.autograd.functional.jacobian(lambda z, d=decoder: d.probability(x, z).flatten(), z)
        assert slope[0].any() == knows
        assert slope[1:].any()


@every_wiring
@pytest.mark.parametrize("name", ["lstm-2", "transformer", "transformer-memory"])
def test_tokens_depend_on_those_before_them_only(connect, name):
    decoder = build(name, connect)
    x, z = draw(name, samples=1)
    other = x.clone()
    other[:, 2] = (x[:, 2] + 1) % TEXT.vocabulary
    before, after = decoder.logits(x, z), decoder.logits(other, z)
    assert torch.equal(before[:, :, :2], after[:, :, :2])
    assert not torch.isclose(before[:, :, 2:], after[:, :, 2:]).any()


@dataclass(frozen=True)
class Switch:
    """Noise whose masks keep everything, apart from those of the labels that it drops."""

    dropped: frozenset = field(default_factory=frozenset)
    label: str = ""

    def uniform(self, shape, like):
        return like.new_full(shape, 0.0 if self.label in self.dropped else 1.0)

    def child(self, label):
        return Switch(self.dropped, label)


@every_wiring
def test_dropout_acts_on_embeddings_and_the_top_output_never_on_z(connect):
    decoder = build("lstm-2", connect)
    x, z = draw("lstm-2", samples=1)
    no_words = decoder.logits(x, z, Switch(frozenset({"embedding"})))
    assert torch.equal(no_words, decoder.logits(x.flip(0), z, Switch(frozenset({"embedding"}))))
    assert not torch.allclose(no_words, decoder.logits(x, z.flip(1), Switch(frozenset({"embedding"}))))
    width = DECODERS["lstm-2"][0].hidden
    skipped = decoder.output.weight[:, width:]
    through_skip = z @ skipped.T if skipped.numel() else torch.zeros(1, 3, TEXT.vocabulary, dtype=torch.float64)
    neither = decoder.logits(x, z, Switch(frozenset({"embedding", "hidden"})))
    torch.testing.assert_close(neither, (decoder.output.bias + through_skip)[:, :, None].expand_as(neither))
    kept = decoder.logits(x, z, Switch())
    with torch.no_grad():
        for weight in (decoder.embedding.weight, decoder.output.weight[:, :width]):
            weight.div_(1 - decoder.dropout)
    torch.testing.assert_close(kept, decoder.logits(x, z))


@every_wiring
def test_dropout_of_a_transformer_acts_on_embeddings_and_layers_never_on_z(connect):
    decoder = build("transformer", connect)
    x, z = draw("transformer", samples=1)
    no_words = Switch(frozenset({"embedding"}))
    assert torch.equal(decoder.logits(x, z, no_words), decoder.logits(x.flip(0), z, no_words))
    assert not torch.allclose(decoder.logits(x, z, no_words), decoder.logits(x, z.flip(1), no_words))
    skipped = decoder.output.weight[:, SMALL["width"] :]
    through_skip = z @ skipped.T if skipped.numel() else torch.zeros(1, 3, TEXT.vocabulary, dtype=torch.float64)
    neither = decoder.logits(x, z, Switch(frozenset({"layer 1"})))
    torch.testing.assert_close(neither, (decoder.output.bias + through_skip)[:, :, None].expand_as(neither))
    only_below = decoder.logits(x, z, Switch(frozenset({"layer 0"})))
    assert not torch.allclose(only_below, decoder.logits(x.flip(0), z, Switch(frozenset({"layer 0"}))))


def test_dropout_keeps_the_mean_and_draws_from_its_noise():
    decoder = build("lstm-2")
    h = torch.ones(1, 50, 40, 30)
    dropped = decoder._drop(h, SeededNoise(1), "hidden")
    assert dropped.unique().tolist() == [0.0, pytest.approx(1 / 0.6)]
    assert dropped.mean().item() == pytest.approx(1, abs=0.01)
    assert torch.equal(dropped, decoder._drop(h, SeededNoise(1), "hidden"))
    assert not torch.equal(dropped, decoder._drop(h, SeededNoise(2), "hidden"))
    assert not torch.equal(dropped, decoder._drop(h, SeededNoise(1), "embedding"))
    assert torch.equal(h, decoder._drop(h, None, "hidden"))


SITES = {
    "lstm-2": [(SiteKind.SEQUENCE, 0, 4), (SiteKind.SEQUENCE, 1, 4), (SiteKind.OUTPUT, 2, 4)],
    "transformer": [
        (SiteKind.EMBEDDING, 0, 4),
        (SiteKind.MEMORY, 1, 4),
        (SiteKind.SEQUENCE, 2, 4),
        (SiteKind.MEMORY, 3, 4),
        (SiteKind.SEQUENCE, 4, 4),
        (SiteKind.OUTPUT, 5, 4),
    ],
    "mlp": [(SiteKind.VECTOR, 0, 4), (SiteKind.VECTOR, 1, 4)],
    "conv": [(SiteKind.FEATURE_MAP, 0, 3), (SiteKind.FEATURE_MAP, 1, 2)],
    "pixelcnn": [(SiteKind.FEATURE_MAP, 1, 2), (SiteKind.FEATURE_MAP, 2, 2)],
    "linear": [],
}


@pytest.mark.parametrize("name", SITES)
def test_each_site_is_asked_once(name):
    asked = []
    build(name, asked.append, latent_dim=3)
    assert [(site.kind, site.index, site.width) for site in asked] == SITES[name]
    assert all(site.latent_dim == 3 for site in asked)
    areas = {"conv": [(2, 2), (3, 4)], "pixelcnn": [(3, 4)] * 2}.get(name, [(1, 1)] * len(asked))
    assert [site.area for site in asked] == areas
    build(name, asked.append, latent_dim=0)
    assert len(asked) == len(SITES[name])


def test_the_next_layer_is_as_wide_as_the_connection_says():
    only_first = build("lstm-2", lambda site: Concatenate(site.width, 2) if site.index == 0 else None)
    assert [layer.input_size for layer in only_first.layers] == [3 + 2, 4 + 2]
    assert only_first.output.in_features == 4


@pytest.mark.parametrize("name", ["lstm-2", "transformer", "mlp", "conv", "pixelcnn"])
def test_a_connection_of_a_wrong_shape_is_named(name):
    class Wrong(nn.Module):
        def __init__(self, site):
            super().__init__()
            self.width = site.width

        def forward(self, h, z):
            return torch.cat([h, h], 1)

    decoder = build(name, Wrong)
    with pytest.raises(
        PluginError,
        match=r"connect_latent gave at .* site \d: returned a tensor of shape \(.*\), expected a tensor of shape \(",
    ):
        decoder(*draw(name, samples=1))
