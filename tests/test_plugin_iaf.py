"""IAF: the density of a draw is that of its inverse, and of the Jacobian."""

from __future__ import annotations

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_plain_step import harness_steps

from collapsebench import SeededNoise
from collapsebench.errors import UsageError
from collapsebench.guards.posteriors import check_posterior
from collapsebench.model.distributions import DiagonalGaussian, StandardNormal
from collapsebench_plugins.bn_vae import BNVAE
from collapsebench_plugins.free_bits import FreeBits, Per
from collapsebench_plugins.iaf import IAF, Form

SETTINGS = st.builds(
    IAF, steps=st.integers(1, 3), layers=st.integers(1, 2), width=st.integers(1, 6), form=st.sampled_from(Form),
    context=st.booleans(),
)  # fmt: skip


def posterior(method, units, size=5, seed=0):
    torch.manual_seed(seed)
    head = method.posterior_head(units, 3).double()
    mean, logvar = torch.randn(2, size, units, dtype=torch.float64)
    return head(DiagonalGaussian(mean, logvar), torch.randn(size, 3, dtype=torch.float64))


@given(SETTINGS, st.integers(1, 4), st.integers(0, 100))
def test_the_density_of_a_draw_is_that_of_its_inverse(method, units, seed):
    q = posterior(method, units, seed=seed)
    drawn = q.draw(SeededNoise(seed))
    assert torch.allclose(drawn.log_q(), q.log_prob(drawn.z[None])[0])


@given(SETTINGS, st.integers(1, 4), st.integers(0, 100))
def test_the_volume_is_the_determinant_of_the_jacobian(method, units, seed):
    q = posterior(method, units, size=1, seed=seed)
    start = q.start.mean

    def code(z):
        return q.flow(z, q.context)[0][0]

    jacobian = torch.autograd.functional.jacobian(code, start)[:, 0]
    assert float(q.flow(start, q.context)[1].detach()) == pytest.approx(float(jacobian.detach().slogdet().logabsdet))


@pytest.mark.parametrize("form", Form)
def test_the_posterior_is_a_density_and_its_mean_is_that_of_draws(form):
    q = posterior(IAF(form=form, width=8), 2, size=1)
    check_posterior(q, StandardNormal(2), SeededNoise(2))
    many = q.at(q.parameters.expand(-1, 20_000, -1)).draw(SeededNoise(3)).z
    assert torch.allclose(q.mean, many.mean(0), atol=0.1)


def test_no_steps_are_the_plain_vae_to_the_bit():
    _, plain = harness_steps("mlp", ())
    _, found = harness_steps("mlp", (IAF(steps=0),))
    assert [float(each.loss) for each in found] == [float(each.loss) for each in plain]


def test_a_unit_that_no_example_moves_has_the_same_mean_for_all():
    q = posterior(IAF(context=False), 3)
    same = q.at(q.parameters[:, :1].expand(-1, 5, -1))
    assert float(same.mean.var(0).max()) < 1e-28


def test_examples_that_share_the_map_need_no_inversion_of_pairs():
    assert posterior(IAF(context=False), 3).pair_cost() == 1
    assert posterior(IAF(), 3).pair_cost() > 100


@pytest.mark.parametrize("family", ["lstm", "mlp"])
def test_it_is_trained_behind_others(family):
    state, _ = harness_steps(family, (BNVAE(), IAF(width=4), FreeBits(per=Per.BATCH)))
    assert all(each.isfinite().all() for each in state.vae.state_dict().values())


def test_what_it_takes_away_is_said():
    with pytest.raises(UsageError, match="write bn-vae before iaf"):
        tiny.vae("mlp", [IAF(), BNVAE()])
    with pytest.raises(UsageError, match="method 'free-bits' needs a KL per unit, which 'iaf' takes away"):
        tiny.vae("mlp", [IAF(), FreeBits()])
