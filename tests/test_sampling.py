"""What decoders give when they are sampled: the distribution that they score, by enumeration of all examples."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import pytest
import tiny
import torch
from scipy.stats import chi2, kstest
from torch import nn

from collapsebench.data.text import BOS, EOS
from collapsebench.errors import PluginError
from collapsebench.examples import CountSpec, ImageSpec, LevelImageSpec, TextSpec, VectorSpec
from collapsebench.model.distributions import StandardNormal
from collapsebench.model.sampling import Sampling, SamplingDecoder
from collapsebench.model.seeding import SeededNoise
from collapsebench.model.vae import VAE, Networks
from collapsebench.networks.decoders import (
    ConvDecoder,
    LinearDecoder,
    LSTMDecoder,
    MLPDecoder,
    NegativeBinomialDecoder,
    PixelCNNDecoder,
    TransformerDecoder,
)
from collapsebench_plugins.lidvae import LIDVAE
from collapsebench_plugins.skip import Skip

TEXT, IMAGE = TextSpec(5), ImageSpec((1, 2, 3))
SMALL = {"width": 4, "heads": 2, "feed_forward": 5, "positions": 4}
DISCRETE = {
    "lstm": (LSTMDecoder(embedding=3, hidden=4, layers=2, dropout=0.4), TEXT),
    "lstm-cell": (LSTMDecoder(embedding=3, hidden=4, start="cell", output_bias=False), TEXT),
    "transformer": (TransformerDecoder(**SMALL, dropout=0.4), TEXT),
    "transformer-memory": (TransformerDecoder(**SMALL, layers=1, entry="memory"), TEXT),
    "mlp": (MLPDecoder(hidden=4), IMAGE),
    "conv": (ConvDecoder(channels=(3, 2)), IMAGE),
    "conv-logistic": (ConvDecoder(channels=(3, 2)), LevelImageSpec((1, 2, 2), levels=3)),
    "pixelcnn": (PixelCNNDecoder(maps=2, layers=2), IMAGE),
    "pixelcnn-channels": (PixelCNNDecoder(maps=2, layers=2), ImageSpec((2, 1, 3))),
    "negative-binomial": (NegativeBinomialDecoder(hidden=4), CountSpec(1)),
}
CONTINUOUS = {
    "linear": (LinearDecoder(variance=0.5), VectorSpec(3)),
    "linear-learned": (LinearDecoder(variance=0.5, learn_variance=True), VectorSpec(3)),
    "conv-gaussian": (ConvDecoder(channels=(3, 2), likelihood="gaussian"), LevelImageSpec((1, 2, 2), levels=5)),
}
DECODERS = DISCRETE | CONTINUOUS
LENGTH, LARGEST = 4, 99
"""The tokens of the longest document, and the largest count that is listed."""
NUMBER = 20_000
"""The samples of each example. Of decoders that pass their network for every symbol it is 8,000."""
CHANCE = 1e-6
"""How likely a right decoder fails at most."""
CONNECT = {"plain": tiny.unconnected, "skip": Skip().connect_latent}

every_decoder = pytest.mark.parametrize("name", DECODERS)
every_wiring = pytest.mark.parametrize("connect", CONNECT.values(), ids=CONNECT)


def build(name, connect=tiny.unconnected, latent_dim=2):
    """A small decoder in float64 whose parameters are large, so that z and the symbols before matter."""
    decoder, data = DECODERS[name]
    torch.manual_seed(0)
    built = decoder.build(data, latent_dim, connect).double()
    with torch.no_grad():
        for parameter in built.parameters():
            if parameter.ndim > 1:
                parameter.mul_(2 if isinstance(data, CountSpec) else 3)
        if isinstance(data, CountSpec):
            built.output.bias += 1.5
    return built.eval().requires_grad_(False)


def shape_of(name):
    match DECODERS[name][1]:
        case TextSpec():
            return (LENGTH,)
        case CountSpec(dimension) | VectorSpec(dimension):
            return (dimension,)
        case data:
            return data.shape


def codes(latent_dim=2):
    """Two codes, (1, 2, D)."""
    return torch.tensor([[[1.5, -1.0, 0.5], [-2.0, 0.5, -1.0]]], dtype=torch.float64)[..., :latent_dim]


def cut(document):
    """A document up to its end."""
    return document[: document.index(EOS) + 1] if EOS in document else document


def outcomes(name):
    """Every example that a sample can be, but for large counts."""
    data, shape = DISCRETE[name][1], shape_of(name)
    if isinstance(data, TextSpec):
        words = itertools.product(range(data.vocabulary), repeat=LENGTH - 1)
        return sorted({cut((BOS, *document)) for document in words})
    number = math.prod(shape)
    values = {ImageSpec: [0, 1], LevelImageSpec: [0, 0.5, 1], CountSpec: range(LARGEST + 1)}[type(data)]
    return list(itertools.product(map(float, values), repeat=number))


def probabilities(decoder, name, z):
    """The probability of each outcome at one code (1, 1, D), by the likelihood of the decoder."""
    found = {}
    for length, group in itertools.groupby(sorted(outcomes(name), key=len), key=len):
        examples = list(group)
        text = isinstance(DISCRETE[name][1], TextSpec)
        x = torch.tensor(examples).view(-1, length) if text else torch.tensor(examples).view(-1, *shape_of(name))
        log_p = decoder(x if text else x.double(), z.expand(1, len(examples), -1), None)[0]
        found |= dict(zip(examples, log_p.exp().tolist(), strict=True))
    return found


def counted(x, name):
    """How often each outcome is among samples (n, *shape)."""
    text = isinstance(DISCRETE[name][1], TextSpec)
    rows = [tuple(row) for row in x.flatten(1).tolist()]
    return Counter(map(cut, rows) if text else rows)


def distance(frequencies, probability):
    """The total variation between them; what is not listed is one outcome."""
    number = sum(frequencies.values())
    listed = sum(abs(frequencies[each] / number - p) for each, p in probability.items())
    others = sum(count for each, count in frequencies.items() if each not in probability) / number
    return 0.5 * (listed + abs(others - (1 - sum(probability.values()))))


def limit(outcomes, number):
    """What the total variation exceeds by chance alone: its mean is at most √(K/n)/2, McDiarmid bounds the excess."""
    return 0.5 * math.sqrt(outcomes / number) + math.sqrt(math.log(1 / CHANCE) / (2 * number))


def assert_samples_are_scored(decoder, name, latent_dim=2):
    z, number = codes(latent_dim), 8_000 if name.startswith(("pixelcnn", "lstm", "transformer")) else NUMBER
    x = decoder.sample(z.expand(number, -1, -1), shape_of(name), SeededNoise(1))
    assert x.shape == (number, 2, *shape_of(name))
    known = [probabilities(decoder, name, z[:, each : each + 1]) for each in range(2)]
    allowed = limit(len(known[0]) + 1, number)
    for each in range(2):
        assert sum(known[each].values()) == pytest.approx(1, abs=0.05 if name == "negative-binomial" else 1e-4)
        assert distance(counted(x[:, each], name), known[each]) < allowed
    if latent_dim:  # and the test can tell two codes apart
        assert distance(counted(x[:, 0], name), known[1]) > 2 * allowed


@pytest.mark.slow
@pytest.mark.parametrize("name", DISCRETE)
@every_wiring
def test_samples_are_as_frequent_as_the_decoder_says(name, connect):
    assert_samples_are_scored(build(name, connect), name)


@pytest.mark.parametrize("name", ["lstm", "transformer"])
def test_samples_are_as_frequent_where_a_method_gives_the_logits(name):
    assert_samples_are_scored(build(name, LIDVAE(width=4, layers=1).connect_latent), name)


@pytest.mark.parametrize("name", DISCRETE)
def test_samples_without_latent_units_are_as_frequent_as_the_decoder_says(name):
    assert_samples_are_scored(build(name, latent_dim=0), name, latent_dim=0)


@pytest.mark.parametrize("name", CONTINUOUS)
@pytest.mark.parametrize("latent_dim", [0, 2])
def test_densities_of_samples_are_those_of_normal_draws(name, latent_dim):
    decoder, z = build(name, latent_dim=latent_dim), codes(latent_dim)
    shape, number = shape_of(name), math.prod(shape_of(name))
    x = decoder.sample(z.expand(NUMBER, -1, -1), shape, SeededNoise(1))
    mode = decoder.sample(z, shape, SeededNoise(1), Sampling.EXPECTED)
    for each in range(2):
        code = z[:, each : each + 1]
        below = decoder(mode[0, each : each + 1], code) - decoder(x[:, each], code.expand(1, NUMBER, -1))
        assert kstest(2 * below.flatten(), chi2(number).cdf).pvalue > CHANCE
        centred = (x[:, each] - mode[0, each]).flatten(1)
        assert (centred.mean(0).abs() < 5 * centred.std(0) / math.sqrt(NUMBER)).all()


@every_decoder
@every_wiring
@pytest.mark.parametrize("sampling", Sampling)
def test_the_same_noise_gives_the_same_bits_and_other_noise_others(name, connect, sampling):
    decoder, z = build(name, connect), codes().expand(20, -1, -1)
    one, again, other = (decoder.sample(z, shape_of(name), SeededNoise(seed), sampling) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert torch.equal(one, other) == (sampling is Sampling.EXPECTED)


@every_decoder
def test_the_expected_example_is_the_mean_of_the_samples_or_the_likeliest_in_turn(name):
    decoder, z = build(name), codes()
    (expected,) = decoder.sample(z, shape_of(name), SeededNoise(0), Sampling.EXPECTED)
    if name.startswith(("lstm", "transformer", "pixelcnn")):
        predictions = decoder.predictions(expected, z)[0]
        symbols = decoder.symbols(expected)
        if name.startswith("pixelcnn"):
            assert torch.equal(symbols, predictions.round())
            return
        for words, likeliest in zip(symbols.tolist(), predictions.argmax(-1).tolist(), strict=True):
            assert cut(words) == likeliest[: len(cut(words))]
            assert set(words[len(cut(words)) :]) <= {0}
    elif name == "conv-logistic":  # the location, which is not the mean of what is cut at both ends
        assert ((expected >= 0) & (expected <= 1)).all()
    else:
        x = decoder.sample(z.expand(NUMBER, -1, -1), shape_of(name), SeededNoise(0))
        assert ((x.mean(0) - expected).abs() <= 5 * x.std(0) / math.sqrt(NUMBER) + 20 / NUMBER).all()


@every_decoder
def test_samples_of_single_precision_are_examples_of_the_data(name):
    decoder = build(name).float()
    x = decoder.sample(codes().float().expand(3, -1, -1), shape_of(name), SeededNoise(0))
    assert decoder(x[0], codes().float()).isfinite().all()


def test_documents_end_at_eos_and_what_follows_is_padding():
    x = build("lstm").sample(codes().expand(200, -1, -1), (9,), SeededNoise(0)).flatten(0, 1)
    assert (x[:, 0] == BOS).all()
    ended = [row for row in x.tolist() if EOS in row]
    assert ended
    assert all(not any(row[row.index(EOS) + 1 :]) for row in ended)


class Scorer(nn.Module):
    """A decoder of somebody who wants to score alone."""

    def forward(self, x, z, dropout=None):
        return z.sum(-1)


class Misshapen(Scorer):
    def sample(self, z, shape, noise, sampling=Sampling.RANDOM):
        return z


def model_of(decoder):
    return VAE(Networks(None, None, decoder), StandardNormal(2))


def test_a_decoder_without_samples_or_with_others_than_asked_is_one_line():
    with pytest.raises(PluginError, match=r"its module Scorer has no `sample\(z, shape, noise, sampling\)`"):
        model_of(Scorer()).sample(torch.zeros(1, 2, 2), (3,), SeededNoise(0))
    with pytest.raises(PluginError, match=r"`sample` must return \(1, 2, 3\), got \(1, 2, 2\)"):
        model_of(Misshapen()).sample(torch.zeros(1, 2, 2), (3,), SeededNoise(0))


@every_decoder
def test_every_shipped_decoder_is_sampled_through_its_model_which_counts(name):
    decoder = build(name)
    assert isinstance(decoder, SamplingDecoder)
    vae = model_of(decoder)
    assert vae.sample(codes().expand(3, -1, -1), shape_of(name), SeededNoise(0)).shape == (3, 2, *shape_of(name))
    assert vae.passes.decoder == 6
