"""The skip plugin: what it adds, that it is the plain model without it, and that it changes nothing else."""

from __future__ import annotations

import pytest
import torch

from collapsebench.components.composition import compose
from collapsebench.components.interfaces import Site, SiteKind
from collapsebench.examples import ImageSpec, TextSpec
from collapsebench.experiment.assembly import Architecture, assemble
from collapsebench.networks.decoders import ConvDecoder, LSTMDecoder, MLPDecoder, PixelCNNDecoder, TransformerDecoder
from collapsebench.networks.encoders import LSTMEncoder, MLPEncoder, ResNetEncoder
from collapsebench.networks.initializations import HeLinear
from collapsebench.networks.posteriors import GaussianPosterior
from collapsebench_plugins.skip import Skip

TEXT, IMAGE = TextSpec(6), ImageSpec((1, 4, 5))
D = 3
MODELS = {
    "lstm": (LSTMEncoder(embedding=3, hidden=4), LSTMDecoder(embedding=3, hidden=4), TEXT),
    "lstm-3": (LSTMEncoder(embedding=3, hidden=4), LSTMDecoder(embedding=3, hidden=4, layers=3), TEXT),
    "transformer": (
        LSTMEncoder(embedding=3, hidden=4),
        TransformerDecoder(width=4, heads=2, feed_forward=5, positions=5, layers=3),
        TEXT,
    ),
    "pixelcnn": (ResNetEncoder(channels=[2]), PixelCNNDecoder(maps=2, layers=3), IMAGE),
    "conv": (MLPEncoder(hidden=4), ConvDecoder(channels=(3, 2)), IMAGE),
    "mlp": (MLPEncoder(hidden=4), MLPDecoder(hidden=4, layers=2), IMAGE),
}
GATES, K = 4, 3
ADDED = {
    "lstm": D * 6,
    "lstm-3": D * 6 + 2 * (GATES * 4 * D),
    "transformer": D * 6 + 2 * (3 * 4 * D),
    # A map of z for each of 3 sites; one more input map for the kernels of 2 layers and for the output.
    "pixelcnn": 3 * (D + 1) * 20 + 2 * (2 * 2 * (2 * K) + 2 * 2 * 2 + 2) + 1,
    # A map of z for each of two areas; one more input map for the kernels of 4 x 4 and 3 x 3.
    "conv": (D + 1) * (6 + 20) + 16 * 2 + 9,
    "mlp": 2 * (D + 1) * 4,
}


def models(name, seed=1):
    """The plain VAE and the Skip-VAE of one seed, in float64."""
    encoder, decoder, data = MODELS[name]
    architecture = Architecture(D, encoder, GaussianPosterior(), decoder, HeLinear())
    return [assemble(architecture, data, compose(methods), seed).double() for methods in ([], [Skip()])]


def example(name):
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2, 3, D, generator=generator, dtype=torch.float64)
    if MODELS[name][2] is TEXT:
        return torch.randint(6, (3, 5), generator=generator), z
    return torch.randint(2, (3, 1, 4, 5), generator=generator).double(), z


every_model = pytest.mark.parametrize("name", MODELS)


@every_model
def test_parameters_added(name):
    plain, skip = (sum(p.numel() for p in model.parameters()) for model in models(name))
    assert skip - plain == ADDED[name]


@every_model
def test_with_its_weights_at_zero_it_is_the_plain_model(name):
    plain, skip = models(name)
    x, z = example(name)
    shared = dict(plain.named_parameters())
    assert not torch.allclose(plain.log_likelihood(x, z), skip.log_likelihood(x, z))
    with torch.no_grad():
        for parameter_name, parameter in skip.named_parameters():
            parameter.zero_()
            if parameter_name in shared:
                part = tuple(slice(0, size) for size in shared[parameter_name].shape)
                parameter[part] = shared[parameter_name]
    torch.testing.assert_close(plain.log_likelihood(x, z), skip.log_likelihood(x, z), rtol=1e-12, atol=0)


@every_model
def test_networks_that_both_have_start_equal(name):
    plain, skip = (dict(model.named_parameters()) for model in models(name))
    assert set(plain) <= set(skip)
    same_shape = {n for n in plain if plain[n].shape == skip[n].shape}
    widened = {n.rpartition(".")[0] for n in set(plain) - same_shape}
    assert all(n.startswith("decoder.") for n in widened)
    assert all(torch.equal(plain[n], skip[n]) for n in same_shape if n.rpartition(".")[0] not in widened)
    assert any(n.startswith("decoder.") and n.rpartition(".")[0] not in widened for n in same_shape)
    other = dict(models(name, seed=2)[0].named_parameters())
    assert not torch.equal(other["posterior.mean.weight"], plain["posterior.mean.weight"])


SITES = [
    (Site(SiteKind.SEQUENCE, 0, 4, D), (2, 5, 4), (2, 5, 4 + D)),
    (Site(SiteKind.FEATURE_MAP, 1, 4, D, (6, 7)), (2, 4, 6, 7), (2, 5, 6, 7)),
    (Site(SiteKind.VECTOR, 0, 4, D), (2, 4), (2, 4)),
]


@pytest.mark.parametrize(("site", "before", "after"), SITES, ids=[site.kind for site, *_ in SITES])
def test_connections_keep_what_was_there(site, before, after):
    connection = Skip().connect_latent(site)
    h, z = torch.randn(before), torch.randn(2, D)
    connected = connection(h, z)
    assert connected.shape == after
    assert connection.width == after[-1 if site.kind is SiteKind.SEQUENCE else 1]
    if site.kind is SiteKind.SEQUENCE:
        assert torch.equal(connected, torch.cat([h, z[:, None].expand(2, 5, D)], -1))
    elif site.kind is SiteKind.FEATURE_MAP:
        assert torch.equal(connected[:, :4], h)
        assert torch.equal(connected[:, 4].flatten(1), connection.linear(z))
    else:
        assert torch.equal(connected, h + connection.linear(z))
