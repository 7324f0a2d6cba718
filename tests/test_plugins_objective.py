"""Methods that change the objective: neutral settings, closed forms on the linear model, and what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from repeating import checked_now_and_then
from test_plain_step import harness_steps

from collapsebench.components.composition import compose
from collapsebench.errors import UsageError
from collapsebench.experiment.assembly import objective_at
from collapsebench.model.distributions import DiagonalGaussian
from collapsebench.model.kernels.optimizers import Adam
from collapsebench.model.progress import Progress
from collapsebench.model.seeding import SeededNoise
from collapsebench.selfcheck.exact.linear import LinearVAE, representative
from collapsebench_plugins import capacity
from collapsebench_plugins.beta_vae import BetaVAE
from collapsebench_plugins.capacity import Capacity
from collapsebench_plugins.control_vae import AntiWindup, ControlVAE
from collapsebench_plugins.dg_vae import DGVAE
from collapsebench_plugins.free_bits import FreeBits, Per
from collapsebench_plugins.geco import GECO
from collapsebench_plugins.info_vae import InfoVAE, Kernel
from collapsebench_plugins.kl_annealing import KLAnnealing
from collapsebench_plugins.mae import MAE, pairwise
from collapsebench_plugins.mdr import MDR
from collapsebench_plugins.sa_vae import SAVAE

NEUTRAL = {
    "beta-vae": BetaVAE(beta=1),
    **{f"free-bits {per}": FreeBits(nats=0, per=per) for per in Per},
    **{f"capacity {per}": Capacity(nats=0, gamma=1, per=per) for per in capacity.Per},
    "mdr": MDR(nats=3, start=0),
    "control-vae": ControlVAE(nats=3, minimum=1, maximum=1),
    "geco": GECO(goal=3, step_size=0),
    "info-vae": InfoVAE(alpha=0, weight=1),
    "mae": MAE(eta=0, gamma=0),
}


def alike(family, contender, baseline):
    (state, found), (plain, wanted) = harness_steps(family, contender), harness_steps(family, baseline)
    for name, parameter in plain.vae.named_parameters():
        assert torch.equal(parameter, state.vae.get_parameter(name)), name
    assert [float(each.loss) for each in found] == [float(each.loss) for each in wanted]
    assert state.meter.counters() | {"seconds": 0} == plain.meter.counters() | {"seconds": 0}


@pytest.mark.slow
@pytest.mark.parametrize("name", NEUTRAL)
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_a_neutral_setting_is_the_plain_vae_to_the_bit(family, name):
    alike(family, (NEUTRAL[name],), ())


@pytest.mark.slow
@pytest.mark.parametrize("name", NEUTRAL)
def test_a_neutral_setting_is_neutral_beside_others(name):
    others = (KLAnnealing(start=0.5), SAVAE(steps=2))
    alike("mlp", (NEUTRAL[name], *others), others)


SPECTRUM, VARIANCE = (4.0, 2.0, 1.0, 0.5), 0.5
D = len(SPECTRUM)


def level(rate):
    """The water level θ at which the rate Σ ½ ln(λ/θ) over all λ > θ is the given one."""
    low, high = 1e-9, max(SPECTRUM)
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if rate_at(middle) > rate else (low, middle)
    return low


def rate_at(theta):
    return sum(max(0.0, 0.5 * math.log(each / theta)) for each in SPECTRUM)


def excess(theta):
    """What the negative ELBO is above its optimum if the rate is that of the level θ."""

    def cost(at):
        return sum(min(at, each) for each in SPECTRUM) / (2 * VARIANCE) + rate_at(at)

    return cost(theta) - cost(VARIANCE)


class Cubature:
    """Noise whose plain average over the repetitions of every example is the expectation of a quadratic."""

    def child(self, *labels):
        return self

    def normal(self, shape, like):
        points = math.sqrt(D) * torch.cat((torch.eye(D), -torch.eye(D)))
        return points.repeat(shape[1] // (2 * D), 1).reshape(shape).to(like)

    def uniform(self, shape, like):
        raise AssertionError


def optimum(*methods, steps=1500):
    """KL and negative ELBO above the best, of the linear model that is trained on exact expectations."""
    x = torch.tensor(representative(SPECTRUM, 8, seed=1).values).double().repeat_interleave(2 * D, 0)
    start = LinearVAE.optimum(SPECTRUM, D, VARIANCE)
    moved = {"encoder": 0.7 * start.encoder + 0.05, "posterior_variance": np.full(D, 0.7)}
    vae, hooks = LinearVAE(**vars(start) | moved).build().double(), compose(methods)
    optimizer = Adam(vae.parameters(), 0.02)
    for number in range(steps):
        optimizer.learning_rate = 0.02 * (1 - number / steps)
        progress = Progress(number / steps, number)
        with checked_now_and_then(number):
            optimizer.zero_grad()
            objective = objective_at(hooks, progress, Cubature())
            terms = objective(vae, x, vae.encode(x)).backward()
            optimizer.step()
            hooks.after_step(vae=vae, x=x, terms=terms, progress=progress)
    kl = float(terms.kl.sum(1).mean())
    best = start.build().double()
    least = objective_at(compose(()), progress, Cubature())(best, x, best.encode(x)).detach().loss
    return kl, kl + float(terms.reconstruction.mean() - least)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("methods", "theta", "tolerance", "steps"),
    [
        ((), VARIANCE, 1e-3, 1500),
        ((BetaVAE(beta=2),), 2 * VARIANCE, 1e-3, 1500),
        ((BetaVAE(beta=0.5),), VARIANCE / 2, 1e-3, 1500),
        ((FreeBits(nats=2.5, per=Per.BATCH),), level(2.5), 1e-2, 1500),
        ((FreeBits(nats=0.5, per=Per.BATCH),), VARIANCE, 1e-3, 1500),
        ((Capacity(nats=0.5, warmup=0.1),), level(0.5), 1e-2, 1500),
        ((Capacity(nats=2.5, warmup=0.1),), level(2.5), 1e-2, 2500),
        ((MDR(nats=2.5, start=0.5, learning_rate=0.01),), level(2.5), 2e-2, 1500),
        (
            (ControlVAE(nats=1.0, proportional=0.1, integral=0.02, maximum=9, anti_windup="outward"),),
            level(1.0),
            1e-2,
            1500,
        ),
    ],
    ids=lambda value: "+".join(each.name for each in value) or "vae" if isinstance(value, tuple) else None,
)
def test_rules_of_the_total_kl_fill_the_spectrum_with_water(methods, theta, tolerance, steps):
    """Reverse water-filling: at a rate C the units have ½ ln(λ/θ), and the bound is worse by a closed form."""
    kl, above = optimum(*methods, steps=steps)
    assert kl == pytest.approx(rate_at(theta), abs=2 * tolerance)
    assert above == pytest.approx(excess(theta), abs=2 * tolerance)


@pytest.mark.slow
def test_geco_meets_its_goal_on_the_linear_model():
    """The error at the level θ is known: D/2 ln(2πσ²) + Σ min(θ, λ)/2σ²."""
    theta = level(2.5)
    goal = D / 2 * math.log(2 * math.pi * VARIANCE) + sum(min(theta, each) for each in SPECTRUM) / (2 * VARIANCE)
    kl, above = optimum(GECO(goal=goal, step_size=0.05, speedup=1, smoothing=0.5))
    assert kl == pytest.approx(2.5, abs=0.02)
    assert above == pytest.approx(excess(theta), abs=0.02)


def penalty(method, posterior, seed=0):
    """The term of a method for posteriors whose reconstructions are all zero."""
    vae = tiny.idle()
    vae.own_prior = type(vae.prior)(posterior.mean.shape[1])
    vae.decoder.forward = lambda x, z, dropout: torch.zeros(z.shape[:2]).to(z)
    objective = objective_at(compose((method,)), Progress(1.0, 0), SeededNoise(seed))
    return objective(vae, torch.zeros(len(posterior), 1), posterior).loss


def posteriors(seed, size=4, units=3):
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(size, units, generator=generator, dtype=torch.float64)
    return DiagonalGaussian(mean, torch.rand(size, units, generator=generator, dtype=torch.float64) - 0.5)


@given(st.integers(0, 10**6), st.floats(0, 2))
def test_floors_of_smaller_parts_are_higher_in_all(seed, nats):
    """Jensen: the mean of floored KLs is no smaller than the floored mean."""
    posterior = posteriors(seed)
    loss = {per: float(penalty(FreeBits(nats=nats, per=per), posterior)) for per in Per}
    kl = float(penalty(BetaVAE(beta=1), posterior))
    assert loss[Per.EXAMPLE_UNIT] >= loss[Per.UNIT] - 1e-9
    assert loss[Per.EXAMPLE] >= loss[Per.BATCH] - 1e-9
    assert min(loss.values()) >= kl - 1e-9
    assert loss[Per.BATCH] == pytest.approx(max(nats, kl))


@given(st.integers(0, 10**6))
def test_the_density_gap_of_single_examples_is_the_kl_and_of_more_is_less(seed):
    posterior = posteriors(seed)
    kl = float(penalty(BetaVAE(beta=1), posterior))
    single, together = (float(penalty(DGVAE(samples=4000, group=group), posterior)) for group in (1, None))
    assert single == pytest.approx(kl, abs=0.15)
    assert together <= single + 1e-9
    assert single - together <= 3 * math.log(4) + 1e-9


def test_groups_of_a_density_gap_weigh_by_their_size():
    posterior = posteriors(0, size=5)
    parts = [penalty(DGVAE(samples=4000, group=None), posterior[part]) for part in (slice(0, 4), slice(4, 5))]
    wanted = float(4 * parts[0] + parts[1]) / 5
    assert float(penalty(DGVAE(samples=4000, group=4), posterior)) == pytest.approx(wanted, abs=0.1)


@pytest.mark.parametrize("kernel", Kernel)
def test_the_discrepancy_is_zero_on_average_for_codes_of_the_prior_and_grows_away_from_it(kernel):
    method, generator = InfoVAE(kernel=kernel), torch.Generator().manual_seed(0)
    draws = torch.randn(400, 2, 16, 3, generator=generator, dtype=torch.float64)
    found = torch.stack([method.discrepancy(one, other) for one, other in draws])
    assert abs(found.mean()) < 4 * found.std() / 20
    assert found.min() < 0
    away = [float(method.discrepancy(draws[0, 0] + shift, draws[0, 1])) for shift in (0, 1, 3)]
    assert away == sorted(away)


def test_wae_is_the_mmd_alone():
    seen = {}

    class Look(InfoVAE):
        def discrepancy(self, z, drawn):
            seen["mmd"] = super().discrepancy(z, drawn)
            return seen["mmd"]

    loss = penalty(Look(alpha=1, weight=7), posteriors(0))
    assert float(loss) == pytest.approx(7 * float(seen["mmd"]))


def test_pairs_are_those_of_two_different_examples():
    posterior = posteriors(3)
    wanted = [posterior[i : i + 1].kl(posterior[k : k + 1])[0] for i in range(4) for k in range(4) if i != k]
    found = pairwise(posterior)
    assert found.sum(1).sort().values.tolist() == pytest.approx(torch.stack(wanted).sum(1).sort().values.tolist())


@pytest.mark.parametrize("method", [InfoVAE(), MAE(gamma=1.0), DGVAE()])
def test_a_batch_of_one_example_has_a_finite_objective(method):
    assert math.isfinite(float(penalty(method, posteriors(0, size=1))))


def test_equal_posteriors_are_driven_apart_by_a_finite_gradient():
    mean = torch.zeros(3, 2, requires_grad=True)
    penalty(MAE(gamma=1.0), DiagonalGaussian(mean, torch.zeros(3, 2))).backward()
    assert mean.grad.isfinite().all()


def test_the_capacity_grows_with_the_budget():
    posterior = posteriors(0)
    kl, vae = float(penalty(BetaVAE(beta=1), posterior)), tiny.idle()
    vae.own_prior = type(vae.prior)(3)
    vae.decoder.forward = lambda x, z, dropout: torch.zeros(z.shape[:2]).to(z)
    hooks = compose((Capacity(nats=100, gamma=2, warmup=0.5),))
    for share, reached in ((0.0, 0), (0.25, 50), (0.5, 100), (1.0, 100)):
        loss = objective_at(hooks, Progress(share, 0), SeededNoise(0))(vae, torch.zeros(4, 1), posterior).loss
        assert float(loss) == pytest.approx(2 * abs(kl - reached))


def test_a_controller_that_would_lock_and_limits_in_the_wrong_order_are_refused():
    with pytest.raises(ValidationError, match="anti_windup=paper locks at the smallest weight"):
        ControlVAE(nats=101)
    assert ControlVAE(nats=101, anti_windup=AntiWindup.OUTWARD).kl_weight() == 0
    with pytest.raises(ValidationError, match=r"the smallest weight 2\.0 is above the largest 1\.0"):
        ControlVAE(nats=1, minimum=2)


@pytest.mark.parametrize("other", [Capacity(nats=1), MDR(nats=1), InfoVAE(), DGVAE()])
def test_two_penalties_cannot_be_combined(other):
    with pytest.raises(UsageError, match=f"methods 'free-bits' and '{other.name}' both give kl_penalty"):
        compose((FreeBits(), other))
