"""Heads behind the encoder's posterior: the hook, and BN-VAE, DU-VAE and δ-VAE."""

from __future__ import annotations

import math
from typing import ClassVar

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import PrivateAttr
from test_plain_step import harness_steps
from torch import nn

from collapsebench import Method, hookimpl
from collapsebench.components.composition import compose
from collapsebench.errors import PluginError, UsageError
from collapsebench.guards.traces import without_trace
from collapsebench.model.distributions import DiagonalGaussian, StandardNormal
from collapsebench_plugins.bn_vae import BNVAE
from collapsebench_plugins.delta_vae import DeltaVAE
from collapsebench_plugins.du_vae import DUVAE
from collapsebench_plugins.kl_annealing import KLAnnealing
from collapsebench_plugins.no_latent import NoLatent
from collapsebench_plugins.sa_vae import SAVAE, SVI
from collapsebench_plugins.skip import Skip

HEADS = [BNVAE(), DUVAE(), DeltaVAE()]


def posterior(seed, size=6, units=4, scale=3.0):
    generator = torch.Generator().manual_seed(seed)
    mean, logvar = (scale * torch.randn(size, units, generator=generator, dtype=torch.float64) for _ in range(2))
    return DiagonalGaussian(mean, logvar)


def kl(q):
    return StandardNormal(q.mean.shape[1]).kl(q)


@pytest.mark.parametrize(("gamma", "floor"), [(0.5, 4), (0.6, 5.76), (0.7, 7.84)])
def test_the_floor_of_bn_vae_is_that_of_the_paper(gamma, floor):
    """For 32 units, and reached where the variances are one."""
    head = BNVAE(gamma=gamma).posterior_head(32).double()
    q = posterior(0, size=16, units=32)
    assert kl(head(q, None)).sum(1).mean() > floor
    unit = DiagonalGaussian(q.mean, torch.zeros_like(q.logvar))
    assert float(kl(head(unit, None)).sum(1).mean().detach()) == pytest.approx(floor, rel=1e-4)


@given(st.integers(0, 10**6), st.floats(0.01, 2))
def test_the_floor_of_delta_vae_holds_in_every_unit_of_every_example(seed, delta):
    head, q = DeltaVAE(delta=delta).posterior_head(), posterior(seed)
    assert kl(head(q, None)).min() >= delta
    below = DiagonalGaussian(-q.mean.abs(), q.logvar)
    assert kl(head(below, None)).max() == pytest.approx(delta, abs=1e-6)


def test_variances_of_du_vae_have_a_floor_and_dropped_ones_lie_on_it():
    head, q = DUVAE(rate=0.5, floor=2.0).posterior_head(4).double(), posterior(0, size=400)
    floor = 2 / (2 * math.pi * math.e)
    variance = head(q, None).logvar.exp()
    dropped = (variance - floor).abs() < 1e-9
    assert float(dropped.double().mean()) == pytest.approx(0.5, abs=0.05)
    assert torch.allclose(variance[~dropped], 2 * q.logvar.exp()[~dropped] + floor)
    assert torch.allclose(head.eval()(q, None).logvar.exp(), q.logvar.exp() + floor)


def test_du_vae_waits_for_the_end_of_annealing_and_keeps_its_scale():
    state, _ = harness_steps("mlp", (DUVAE(gamma=0.7), KLAnnealing(start=0.25, warmup=0.5)))
    head = state.vae.heads["du-vae"]
    assert head.annealed
    assert float(head.scale.detach().square().mean().sqrt()) == pytest.approx(0.7)
    assert not torch.equal(head.scale, torch.full((2,), 0.7).double())
    early, _ = harness_steps("mlp", (DUVAE(), KLAnnealing(start=0.25, warmup=1.0)))
    assert not early.vae.heads["du-vae"].annealed


@pytest.mark.parametrize("method", HEADS, ids=lambda method: method.name)
def test_in_evaluation_examples_do_not_see_each_other_and_nothing_changes(method):
    model, x = tiny.vae("mlp", [method]), tiny.examples("mlp", number=5)
    model.encode(x)
    model.eval()
    with without_trace(model, ()):
        together = model.encode(x).parameters
        alone = torch.cat([model.encode(x[i : i + 1]).parameters for i in range(5)], 1)
    assert torch.allclose(together, alone)


@pytest.mark.parametrize("method", HEADS, ids=lambda method: method.name)
def test_a_batch_of_one_example_can_be_trained(method):
    model = tiny.vae("mlp", [method])
    assert model.encode(tiny.examples("mlp", number=1)).parameters.isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("method", HEADS, ids=lambda method: method.name)
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_three_steps_with_others_start_from_the_networks_of_the_plain_vae(family, method):
    plain, model = tiny.vae(family), tiny.vae(family, [method])
    assert all(torch.equal(parameter, model.get_parameter(name)) for name, parameter in plain.named_parameters())
    state, found = harness_steps(family, (method, Skip(), SAVAE(steps=2)))
    assert all(math.isfinite(float(each.loss)) for each in found)
    assert state.meter.steps == 3


class Shift(Method):
    """Moves the mean by one."""

    name: ClassVar[str] = "shift"

    @hookimpl
    def posterior_head(self, latent_dim, width):
        return Moved(1.0, 1.0)


class Double(Method):
    """Doubles the mean."""

    name: ClassVar[str] = "twice"

    @hookimpl
    def posterior_head(self):
        return Moved(2.0, 0.0)


class Moved(nn.Module):
    def __init__(self, factor, summand):
        super().__init__()
        self.factor, self.summand, self.seen = factor, summand, []

    def forward(self, posterior, features):
        self.seen.append(features)
        return DiagonalGaussian(self.factor * posterior.mean + self.summand, posterior.logvar)


def test_heads_are_applied_in_the_order_written_and_see_the_features():
    plain, model, x = tiny.vae("mlp"), tiny.vae("mlp", [Shift(), Double()]), tiny.examples("mlp")
    found = model.encode(x)
    assert torch.allclose(found.mean, 2 * (plain.encode(x).mean + 1))
    assert torch.equal(model.heads["shift"].seen[-1], model.encoder(x))
    assert not torch.allclose(found.mean, tiny.vae("mlp", [Double(), Shift()]).encode(x).mean)


def test_features_have_the_posterior_that_their_example_has():
    model, x = tiny.vae("mlp", [Shift(), Double()]), tiny.examples("mlp")
    passes = model.passes.encoder
    assert torch.equal(model.posterior_at(model.encoder(x)).parameters, model.encode(x).parameters)
    assert model.passes.encoder == passes + len(x)
    with pytest.raises(PluginError, match="the model has no encoder, so no features have a posterior"):
        tiny.vae("mlp", [NoLatent()]).posterior_at(torch.zeros(3, 5))


class Give(Method):
    """Gives what it is told to."""

    name: ClassVar[str] = "give"
    _give: object = PrivateAttr(None)

    @hookimpl
    def posterior_head(self):
        return self._give


class Wide(nn.Module):
    def forward(self, posterior, features):
        return DiagonalGaussian(torch.zeros(3, 9), torch.zeros(3, 9))


class Half(Give):
    name: ClassVar[str] = "half"


def test_what_is_no_head_is_one_line():
    with pytest.raises(PluginError, match="method 'half' has a module, for which torch needs another name of it"):
        tiny.vae("mlp", [Half()])
    give = Give()
    with pytest.raises(
        PluginError, match=r"^test_plugins_heads.py:\d+, posterior_head of method .*: returned None, expected a module$"
    ):
        tiny.vae("mlp", [give])
    give._give = Wide()
    with pytest.raises(PluginError, match=r"forward of \w+: returned a posterior \(3, 9\), expected \(3, 2\)"):
        tiny.vae("mlp", [give]).encode(tiny.examples("mlp"))


@pytest.mark.parametrize("method", [SVI(), NoLatent()])
def test_a_contender_without_an_encoder_has_no_head(method):
    line = f"method 'bn-vae' changes the encoder's posterior, but '{method.name}' has no encoder"
    with pytest.raises(UsageError, match=line):
        compose([BNVAE(), method])
    compose([BNVAE(), SAVAE()])
