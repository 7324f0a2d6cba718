"""Encoders, posteriors and initializations: shapes, wrong data, and where every parameter comes from."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import tiny
import torch
from torch import nn

from collapsebench.components.composition import compose
from collapsebench.components.hookspecs import hookimpl
from collapsebench.components.interfaces import Encoder, Method
from collapsebench.errors import PluginError, UsageError
from collapsebench.examples import CountSpec, ImageSpec, LevelImageSpec, TextSpec, VectorSpec
from collapsebench.experiment.assembly import Architecture, assemble, initialize
from collapsebench.model.distributions import DiagonalGaussian
from collapsebench.networks import collapsebench_components
from collapsebench.networks.decoders import (
    ConvDecoder,
    LinearDecoder,
    LSTMDecoder,
    MLPDecoder,
    NegativeBinomialDecoder,
    PixelCNNDecoder,
    TransformerDecoder,
)
from collapsebench.networks.encoders import (
    GRUEncoder,
    LinearEncoder,
    LSTMEncoder,
    MLPEncoder,
    ResNetEncoder,
    TransformerEncoder,
)
from collapsebench.networks.fitting import NETWORKS_FOR
from collapsebench.networks.initializations import HeLinear, LibraryDefault, Uniform
from collapsebench.networks.posteriors import GaussianPosterior

TEXT, IMAGE, VECTOR = TextSpec(7), ImageSpec((1, 8, 8)), VectorSpec(5)
COLOURS, COUNTS = LevelImageSpec((3, 8, 8), levels=5), CountSpec(5)
COMPONENTS = collapsebench_components()
EXAMPLES = {
    TEXT: torch.tensor([[2, 4, 5, 3], [2, 6, 1, 3]]),
    IMAGE: torch.eye(8).expand(2, 1, 8, 8),
    VECTOR: torch.eye(2, 5),
    COLOURS: torch.arange(2 * 3 * 64).remainder(5).view(2, 3, 8, 8) / 4,
    COUNTS: torch.arange(10.0).view(2, 5),
}
ENCODERS = [
    (LSTMEncoder(embedding=3, hidden=4), TEXT),
    (GRUEncoder(embedding=3, hidden=4), TEXT),
    (TransformerEncoder(width=4, heads=2, feed_forward=5, positions=4), TEXT),
    (MLPEncoder(hidden=6, layers=2), IMAGE),
    (MLPEncoder(hidden=6, layers=1), VECTOR),
    (MLPEncoder(hidden=6), COLOURS),
    (MLPEncoder(hidden=6), COUNTS),
    (ResNetEncoder(channels=[2, 3]), IMAGE),
    (ResNetEncoder(channels=[2]), COLOURS),
    (LinearEncoder(), VECTOR),
]
DECODERS = [
    (LSTMDecoder(embedding=3, hidden=4, layers=2), TEXT),
    (TransformerDecoder(width=4, heads=2, feed_forward=5, positions=3), TEXT),
    (MLPDecoder(hidden=6), IMAGE),
    (ConvDecoder(channels=(3, 2)), IMAGE),
    (ConvDecoder(channels=(3, 2)), COLOURS),
    (ConvDecoder(channels=(3, 2), likelihood="gaussian"), COLOURS),
    (NegativeBinomialDecoder(hidden=4), COUNTS),
    (PixelCNNDecoder(maps=2, layers=2), IMAGE),
    (LinearDecoder(learn_variance=True), VECTOR),
]
RULES = [LibraryDefault(), Uniform(scale=0.2), HeLinear()]
HOOKS = compose([])


@pytest.fixture(autouse=True)
def _fixed_generator():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def label(value):
    return value.name if hasattr(value, "name") else type(value).__name__


def test_components_need_no_torch():
    code = "import sys, collapsebench.networks, collapsebench_plugins.skip; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("encoder", "data"), ENCODERS, ids=label)
def test_encoder_and_posterior_shapes(encoder, data):
    x = EXAMPLES[data]
    network = encoder.build(data)
    features = network(x)
    assert features.shape == (2, network.width)
    posterior = GaussianPosterior().build(network.width, 3)(features)
    assert isinstance(posterior, DiagonalGaussian)
    assert posterior.mean.shape == posterior.logvar.shape == (2, 3)


def test_resnet_width_counts_what_halving_leaves():
    assert ResNetEncoder(channels=[2, 3, 4]).build(ImageSpec((1, 28, 28))).width == 4 * 3 * 3
    assert ResNetEncoder(channels=[2]).build(ImageSpec((3, 5, 9))).width == 2 * 2 * 4


def test_resnet_refuses_to_halve_an_image_to_nothing():
    with pytest.raises(UsageError, match="cannot halve an image of 8x8 pixels 4 times"):
        ResNetEncoder(channels=[2] * 4).build(IMAGE)


def test_constant_variance_is_the_same_for_all_x():
    posterior = GaussianPosterior(constant_variance=True, bias=False).build(5, 3)
    first = posterior(torch.randn(4, 5))
    assert torch.equal(first.logvar, torch.zeros(4, 3))
    assert first.mean.std() > 0
    first.logvar.sum().backward()
    assert torch.equal(posterior.logvar.row.grad, torch.full((3,), 4.0))
    assert {name for name, _ in posterior.named_parameters()} == {"mean.weight", "logvar.row"}


@pytest.mark.parametrize("component", [c for c in COMPONENTS if c.kind in {"encoder", "decoder"}], ids=label)
@pytest.mark.parametrize("data", [TEXT, IMAGE, VECTOR, COLOURS, COUNTS], ids=label)
def test_a_network_fits_its_data_or_says_which_do(component, data):
    network = component()
    build = (
        (lambda: network.build(data))
        if component.kind == "encoder"
        else (lambda: network.build(data, 2, tiny.unconnected))
    )
    choices = NETWORKS_FOR[type(data)][component.kind]
    if network.name in choices.split(", "):
        assert isinstance(build(), nn.Module)
    else:
        with pytest.raises(UsageError) as error:
            build()
        line = str(error.value)
        assert f"{component.kind} '{network.name}'" in line
        assert str(data) in line
        assert line.endswith(choices)
        assert "\n" not in line


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kernel_size": 4}, "odd"),
        ({"maps": [8, 8]}, "maps has 2 values for 9 layers"),
        ({"kernel_size": [3] * 10}, "kernel_size has 10 values for 9 layers"),
        ({"maps": 0}, "greater than 0"),
    ],
)
def test_pixelcnn_refuses_layers_that_do_not_go_together(fields, message):
    with pytest.raises(ValueError, match=message):
        PixelCNNDecoder(**fields)


def test_pixelcnn_takes_one_number_for_all_layers_or_one_for_each():
    assert PixelCNNDecoder(layers=2, maps=8, kernel_size=[5, 3]).kernels == [(8, 5), (8, 3)]
    assert PixelCNNDecoder(maps=8) == PixelCNNDecoder(maps=[8])


def modules():
    yield from (encoder.build(data) for encoder, data in ENCODERS)
    yield from (decoder.build(data, 3, tiny.unconnected) for decoder, data in DECODERS)
    yield from (GaussianPosterior(constant_variance=constant).build(4, 3) for constant in (False, True))


@pytest.mark.parametrize("rule", RULES, ids=label)
def test_every_parameter_is_drawn_from_the_seed_alone(rule):
    for module in modules():
        draws = []
        for value in (math.nan, 7.0):
            for parameter in module.parameters():
                nn.init.constant_(parameter, value)
            initialize(module, rule, seed=3)
            draws.append([parameter.clone() for parameter in module.parameters()])
        assert all(torch.equal(a, b) for a, b in zip(*draws, strict=True))
        assert all(p.isfinite().all() for p in draws[0])


def test_uniform_reaches_every_parameter():
    for module in modules():
        initialize(module, Uniform(scale=0.2), seed=3)
        for name, parameter in module.named_parameters():
            assert 0 < parameter.abs().max() <= 0.2, name
    wide = nn.Linear(400, 100)
    initialize(wide, Uniform(scale=0.2), seed=3)
    assert abs(wide.weight.mean().item()) < 0.005
    assert wide.weight.std().item() == pytest.approx(0.2 / math.sqrt(3), rel=0.02)


def test_he_linear_changes_the_weights_of_affine_maps_only():
    model = nn.ModuleDict({"affine": nn.Linear(200, 300), "convolution": nn.Conv2d(3, 4, 3)})
    drawn = {}
    for rule in (LibraryDefault(), HeLinear()):
        initialize(model, rule, seed=3)
        drawn[rule.name] = {name: parameter.clone() for name, parameter in model.named_parameters()}
    default, he = drawn["torch"], drawn["he-linear"]
    assert {name for name in he if not torch.equal(default[name], he[name])} == {"affine.weight"}
    assert he["affine.weight"].std().item() == pytest.approx(math.sqrt(2 / 200), rel=0.02)


@pytest.mark.parametrize("rule", [LibraryDefault(), HeLinear()], ids=label)
def test_a_module_that_leaves_its_parameters_without_values_is_named(rule):
    class Empty(Encoder):
        name = "empty"

        def build(self, data):
            class Odd(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.weight, self.width = nn.Parameter(torch.empty(3, 3)), 3

            return Odd()

    architecture = Architecture(3, Empty(), GaussianPosterior(), LinearDecoder(), rule)
    with pytest.raises(PluginError, match="Odd has parameters of its own without values, and no method"):
        assemble(architecture, VectorSpec(3), HOOKS, seed=1)
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("rule", [LibraryDefault(), HeLinear(), Uniform()], ids=label)
def test_frozen_parameters_keep_what_their_module_set(rule):
    norm = nn.BatchNorm1d(3)
    norm.weight.requires_grad_(False).fill_(0.6)
    initialize(norm, rule, seed=3)
    assert norm.weight.tolist() == pytest.approx([0.6] * 3)
    assert norm.bias.requires_grad


def test_a_layer_that_draws_in_its_constructor_starts_equal_for_equal_seeds():
    """Attention has no public way to draw again. What another contender draws before it does not shift it."""

    def start(seed, connect):
        class Attentive(Method):
            name = "attentive"

            @hookimpl
            def connect_latent(self, site):
                return connect(site)

        hooks = compose([Attentive()])
        return assemble(
            Architecture(3, None, GaussianPosterior(), MLPDecoder(hidden=4), LibraryDefault()), IMAGE, hooks, seed
        )

    def attention(site):
        module = nn.MultiheadAttention(4, 1)
        module.width = site.width
        return module

    first, same, other = start(1, attention), start(1, attention), start(2, attention)
    weights = [vae.decoder.sites[0].connection.in_proj_weight for vae in (first, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize(
    ("encoder", "decoder", "data"),
    [(e, d, data) for e, data in ENCODERS for d, same in DECODERS if same == data],
    ids=label,
)
def test_all_parameters_of_an_assembled_model_learn(encoder, decoder, data):
    vae = assemble(Architecture(3, encoder, GaussianPosterior(), decoder, LibraryDefault()), data, HOOKS, seed=1)
    x = EXAMPLES[data]
    posterior = vae.encode(x)
    z = posterior.sample(torch.randn(1, 2, 3))
    (vae.prior.kl(posterior).sum() - vae.log_likelihood(x, z).sum()).backward()
    assert [name for name, p in vae.named_parameters() if p.grad is None or not p.grad.any()] == []
