"""LIDVAE: its maps are gradients of convex functions, and z enters by them alone."""

from __future__ import annotations

import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_plain_step import harness_steps
from torch.autograd import gradcheck, gradgradcheck
from torch.autograd.functional import jacobian

from collapsebench import SeededNoise
from collapsebench.components.interfaces import Site, SiteKind
from collapsebench.errors import UsageError
from collapsebench.examples import TextSpec
from collapsebench.experiment.flops import FlopCounter
from collapsebench.guards.causality import check_causality
from collapsebench.model.vae import Objective
from collapsebench.networks.decoders import LSTMDecoder
from collapsebench_plugins.brenier import BrenierMap, FullRankLinear, InjectiveOutput, clamp_singular_values
from collapsebench_plugins.lidvae import LIDVAE
from collapsebench_plugins.sa_vae import HVP, SAVAE
from collapsebench_plugins.skip import Skip

SMALL = LIDVAE(width=5)
BOUNDS = {"shift": 1e-5, "low": 1e-5, "high": 10.0}


def brenier(inputs, width, layers=2, seed=0, slope=0.2):
    torch.manual_seed(seed)
    return BrenierMap(inputs, width, layers, slope=slope, floor=0.01).double()


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=25)
@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 3), st.integers(0, 100))
def test_a_map_is_the_gradient_of_its_potential(inputs, width, layers, seed):
    map_, y = brenier(inputs, width, layers, seed), draw(3, inputs, seed=seed).requires_grad_()
    (wanted,) = torch.autograd.grad(map_.potential(y).sum(), y)
    torch.testing.assert_close(map_(y), wanted, rtol=1e-12, atol=1e-14)
    with torch.inference_mode():
        torch.testing.assert_close(map_(y.detach()), wanted, rtol=1e-12, atol=1e-14)


@settings(max_examples=25)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 100))
def test_its_potential_is_convex(inputs, layers, seed):
    """The Jacobian is symmetric and positive definite where the first layer is injective, and the map is monotone."""
    map_ = brenier(inputs, inputs + 2, layers, seed)
    hessian = jacobian(map_, draw(inputs, seed=seed))
    torch.testing.assert_close(hessian, hessian.T)
    assert float(torch.linalg.eigvalsh(hessian)[0]) > 0
    y, other = 5 * draw(2, 40, inputs, seed=seed + 1)
    assert bool((((map_(y) - map_(other)) * (y - other)).sum(1) > 0).all())


def test_it_can_be_differentiated_twice():
    map_ = brenier(2, 3)
    assert gradcheck(map_, draw(2, 2).requires_grad_())
    assert gradgradcheck(map_, draw(2, 2).requires_grad_())


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4)])
def test_singular_values_are_moved_into_their_bounds(shape):
    """Compared with the decomposition that autograd goes through."""
    u, _, vh = torch.linalg.svd(draw(*shape), full_matrices=False)
    values = torch.tensor([20.0, 5.0, 0.5, 1e-3], dtype=torch.float64)[: min(shape)]
    matrix = ((u * values) @ vh).requires_grad_()
    cotangent = draw(*shape, seed=1)

    def plainly(matrix):
        u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
        return (u * s.clamp(1.0, 10.0)) @ vh

    found = clamp_singular_values(matrix, 1.0, 10.0)
    torch.testing.assert_close(torch.linalg.svdvals(found), values.clamp(1.0, 10.0))
    gradients = [torch.autograd.grad((cotangent * each).sum(), matrix)[0] for each in (found, plainly(matrix))]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)


def test_equal_singular_values_have_a_gradient():
    matrix, cotangent = torch.eye(4, 3).double().requires_grad_(), draw(4, 3)
    (cotangent * clamp_singular_values(matrix, 1e-5, 10.0)).sum().backward()
    torch.testing.assert_close(matrix.grad, cotangent)


def test_logits_are_injective_in_z():
    """The Jacobian by z has full rank where the first layers are injective and the vocabulary is large."""
    hidden, units, words = 3, 2, 6
    torch.manual_seed(0)
    between = FullRankLinear(hidden + units, words, **BOUNDS)
    output = InjectiveOutput(brenier(hidden + units, 7), between, brenier(words, 8)).double()
    with torch.no_grad():
        output.between.weight.copy_(torch.outer(draw(words), draw(hidden + units)))  # of rank one
    h = draw(1, 1, hidden)
    for row in draw(5, units):
        of_z = jacobian(lambda z: output(h, z[None])[0, 0], row)
        assert int(torch.linalg.matrix_rank(of_z, rtol=1e-12)) == units


@pytest.mark.parametrize("family", ["lstm", "transformer"])
def test_z_enters_by_the_maps_alone(family):
    vae = tiny.vae(family, [SMALL])
    x, z = tiny.examples(family), draw(2, 3, 2)
    decoder = vae.decoder
    assert torch.equal(decoder.hidden(x, z), decoder.hidden(x, z + 1))
    assert not torch.allclose(decoder.logits(x, z), decoder.logits(x, z + 1))
    check_causality(vae, x, SeededNoise(0))
    scored = decoder.predictions(x, z).log_softmax(-1).gather(-1, x[:, 1:].expand(2, -1, -1)[..., None])
    torch.testing.assert_close(decoder(x, z), scored[..., 0].sum(-1))


@pytest.mark.parametrize("family", ["lstm", "transformer"])
def test_it_is_trained(family):
    state, _ = harness_steps(family, (SMALL,))
    before = tiny.vae(family, (SMALL,)).state_dict()
    after = state.vae.state_dict()
    assert all(each.isfinite().all() for each in after.values())
    same = {name for name in after if torch.equal(after[name], before[name])}
    assert same == {f"decoder.output.connection.{name}.direct.{i}.bias" for name in ("first", "second") for i in (0, 1)}


def test_without_latent_units_it_is_the_plain_decoder():
    decoder = LSTMDecoder(embedding=3, hidden=4)
    built = decoder.build(TextSpec(7), 0, SMALL.connect_latent)
    assert (
        dict(built.named_parameters()).keys()
        == dict(decoder.build(TextSpec(7), 0, tiny.unconnected).named_parameters()).keys()
    )


def test_second_derivatives_of_sa_vae_are_those_of_differences():
    """Behind its inner loop the encoder gets its gradient through the maps, twice differentiated."""
    found = []
    for hvp in HVP:
        method = SAVAE(steps=2, hvp=hvp)
        vae = tiny.vae("lstm", [SMALL, method])
        method.inference().gradients(vae, tiny.examples("lstm"), Objective(SeededNoise(0)))
        found.append(tiny.gradients(vae))
    assert float(found[0]["encoder.embedding.weight"].norm()) > 0
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("layers", [1, 3])
def test_the_flops_are_those_of_the_card(layers):
    """Forward passes and sweeps, their gradients, and the decomposition with its own.

    The pre-activations behind the first layer only choose slopes, so that nothing goes back through them.
    """
    n, hidden, units, words, width = 6, 3, 2, 7, 4
    inputs = hidden + units
    torch.manual_seed(0)
    maps = [BrenierMap(size, width, layers, slope=0.2, floor=0.01) for size in (inputs, words)]
    output = InjectiveOutput(maps[0], FullRankLinear(inputs, words, **BOUNDS), maps[1])
    h, z = torch.randn(n, 1, hidden, requires_grad=True), torch.randn(n, units, requires_grad=True)
    with FlopCounter() as counter:
        logits = output(h, z)
    with FlopCounter() as decomposition:
        matrix = output.between.matrix()
    assert decomposition.flops > 22 * inputs**3
    between = 2 * n * inputs * words
    ways = sum(2 * n * (layers * size * width + size + (layers - 1) * width**2 + width) for size in (inputs, words))
    assert counter.flops == 2 * ways + between + decomposition.flops
    with FlopCounter() as counter:
        logits.sum().backward()
    with FlopCounter() as decomposition:
        matrix.sum().backward()
    ends = sum(2 * n * (2 * size * width - size - width) for size in (inputs, words))
    assert counter.flops == 2 * ways + ends + 2 * between + decomposition.flops


@pytest.mark.parametrize("family", ["mlp", "conv", "pixelcnn", "linear", "counts"])
def test_decoders_without_an_output_site_are_refused(family):
    name = tiny.FAMILIES[family][1].name
    message = f"method 'lidvae' gives the logits of a vocabulary, but decoder '{name}' has no output site"
    with pytest.raises(UsageError, match=message):
        tiny.vae(family, [SMALL])


def test_what_cannot_be_combined_is_said():
    with pytest.raises(UsageError, match="methods 'lidvae' and 'skip' both give connect_latent"):
        tiny.vae("lstm", [LIDVAE(), Skip()])
    with pytest.raises(ValueError, match="the smallest singular value, 2, is above the largest, 1"):
        LIDVAE(low=2, high=1)


def test_only_output_sites_are_connected():
    sites = {kind: Site(kind, 0, 4, 2, outputs=6) for kind in SiteKind}
    found = {kind: SMALL.connect_latent(site) for kind, site in sites.items()}
    assert {kind for kind, module in found.items() if module is not None} == {SiteKind.OUTPUT}
    assert found[SiteKind.OUTPUT].width == 6


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_a_decoder_says_whether_it_has_an_output_site(family):
    asked = []
    _, decoder, data = tiny.FAMILIES[family]
    decoder.build(data, 2, asked.append)
    assert decoder.output_site == (SiteKind.OUTPUT in {site.kind for site in asked})
