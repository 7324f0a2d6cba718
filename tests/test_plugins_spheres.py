"""Posteriors on the unit sphere: vMF, the power spherical distribution, and their uniform prior."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import special
from test_plain_step import harness_steps
from torch import nn

from collapsebench import Declined, Method, Need, PluginError, SeededNoise, UsageError, hookimpl
from collapsebench.data.splits import Vectors
from collapsebench.guards.posteriors import check_posterior
from collapsebench.guards.priors import check_prior
from collapsebench.inference.amortized import Amortized
from collapsebench.metrics.active_units import ActiveUnits
from collapsebench.metrics.codes import Codes
from collapsebench.metrics.evaluation import EvaluatedSplit
from collapsebench.metrics.gap import Gap
from collapsebench.metrics.iw_nll import IWNLL
from collapsebench.metrics.kl import KL
from collapsebench.metrics.latent_use import LatentUse
from collapsebench.metrics.mutual_information import MutualInformation
from collapsebench.metrics.neg_elbo import NegELBO
from collapsebench.model.distributions import DiagonalGaussian
from collapsebench.model.vae import VAE, Networks, Objective
from collapsebench_plugins import powers, von_mises
from collapsebench_plugins.bn_vae import BNVAE
from collapsebench_plugins.dg_vae import DGVAE
from collapsebench_plugins.free_bits import FreeBits, Per
from collapsebench_plugins.mae import MAE
from collapsebench_plugins.power_spherical import PowerSphericalVAE
from collapsebench_plugins.powers import PowerSpherical, fixed
from collapsebench_plugins.rejection import first_accepted
from collapsebench_plugins.sa_vae import HVP, SAVAE, VAESVI, EncoderLoss
from collapsebench_plugins.skip import Skip
from collapsebench_plugins.spheres import UniformOnSphere, unit
from collapsebench_plugins.vmf import VMF
from collapsebench_plugins.von_mises import AroundTheMean, VonMisesFisher

NOISE = SeededNoise(0)


def directions(number, dimension=4, seed=0):
    return unit(torch.randn(number, dimension, generator=torch.Generator().manual_seed(seed)).double())


@pytest.mark.parametrize(("kappa", "nats"), [(13, 2.17), (25, 5.76), (50, 12.25), (100, 20.76), (200, 30.37)])
def test_the_kl_is_that_of_the_table_of_zhang(kappa, nats):
    assert von_mises.divergence(32, kappa) == pytest.approx(nats, abs=0.005)


@pytest.mark.parametrize("dimension", [2, 3, 32])
@pytest.mark.parametrize("kappa", [1e-3, 0.7, 20.0, 690.0, 710.0, 5000.0])
def test_constants_are_those_of_an_integral_over_the_cosine(dimension, kappa):
    """By Gauss and Legendre's rule, with w = cos t, which makes the density smooth."""
    nodes, weights = np.polynomial.legendre.leggauss(400)
    end = min(math.pi, 12 * (1 + math.sqrt(dimension)) / math.sqrt(kappa))
    w = np.cos(end * (nodes + 1) / 2)
    weights = weights * end / 2 * np.exp(kappa * (w - 1)) * np.sqrt(1 - w**2) ** (dimension - 2)
    area = 2 * math.pi ** ((dimension - 1) / 2) / special.gamma((dimension - 1) / 2)
    constant = -math.log(area * weights.sum()) - kappa
    assert von_mises.log_constant(dimension, kappa) == pytest.approx(constant, rel=1e-10)
    resultant = weights @ w / weights.sum()
    assert von_mises.mean_resultant(dimension, kappa) == pytest.approx(resultant, rel=1e-9, abs=1e-12)


def test_bessel_functions_join_where_the_floats_end():
    """With an order far above x: one term of the series, and its next ones by the ratio of terms."""
    order, x = 2000.0, 3.0
    assert special.ive(order, x) == 0
    first = order * math.log(x / 2) - special.gammaln(order + 1)
    assert von_mises.log_bessel(order, x) == pytest.approx(first + (x / 2) ** 2 / (order + 1), rel=1e-12)
    assert von_mises.mean_resultant(4000, 3.0) == pytest.approx(3 / 4000, rel=1e-5)


POSTERIORS = [
    VonMisesFisher(directions(1), 3.0),
    VonMisesFisher(directions(1, 32), 80.0),
    fixed(directions(1, 2), 0.2),
    fixed(directions(1, 32), 80.0),
    PowerSpherical(directions(1), torch.tensor([2.0]).double()),
]


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_the_draws_have_the_stated_mean_and_density(posterior):
    many = posterior.at(posterior.parameters.expand(-1, 20_000, -1).contiguous())
    drawn = many.draw(NOISE)
    assert torch.allclose(drawn.z.norm(dim=1), torch.ones(20_000).double())
    assert torch.equal(drawn.z, many.draw(NOISE).z)
    assert not torch.equal(drawn.z, many.draw(NOISE.child("other")).z)
    assert torch.allclose(drawn.z.mean(0), posterior.mean[0], atol=5 / math.sqrt(20_000))
    along = (drawn.z * posterior.mu).sum(1)
    error = float(along.std()) / math.sqrt(20_000)
    assert float(along.mean()) == pytest.approx(float(posterior.mean.norm()), abs=5 * error)


def test_the_gradient_of_the_mean_is_that_of_the_resultant():
    """E grad z = A(κ)(I - μμᵀ) at a vector of length one, to the error of 40,000 draws."""
    start = directions(1)[0]
    length, number = von_mises.mean_resultant(4, 5.0), 40_000
    for row in range(4):
        point = start.clone().requires_grad_()
        z = VonMisesFisher(unit(point).expand(number, -1), 5.0).draw(NOISE).z
        found = torch.autograd.grad(z[:, row].mean(), point)[0]
        wanted = length * (torch.eye(4).double() - torch.outer(start, start))[row]
        assert torch.allclose(found, wanted, atol=5 / math.sqrt(number))


@pytest.mark.parametrize("dimension", [2, 5, 32])
@pytest.mark.parametrize("kappa", [0.5, 20.0, 300.0, 1e9])
def test_guards_let_pass_what_is_a_density(dimension, kappa):
    prior, mu = UniformOnSphere(dimension), directions(2, dimension).float()
    check_prior(prior, NOISE)
    check_posterior(VonMisesFisher(mu, kappa), prior, NOISE)
    check_posterior(fixed(mu, kappa), prior, NOISE)
    check_posterior(PowerSpherical(mu, torch.tensor([kappa, 0.0])), prior, NOISE)


class Shifted(VonMisesFisher):
    """States a log-density that is 0.1 nats too low."""

    def at(self, parameters):
        return type(self)(parameters[0], self.kappa)

    def log_prob(self, z):
        return super().log_prob(z) - 0.1


class Cheaper(Shifted):
    """States a KL that is one nat too low."""

    def log_prob(self, z):
        return super().log_prob(z) + 0.1

    def kl_to_uniform(self):
        return super().kl_to_uniform() - 1


class Denser(UniformOnSphere):
    """States a log-density that is 0.1 nats too high."""

    def log_prob(self, z):
        return super().log_prob(z) + 0.1


@pytest.mark.parametrize(("dimension", "kappa"), [(2, 1.0), (32, 80.0)])
def test_guards_catch_what_is_none(dimension, kappa):
    mu, prior = directions(1, dimension), UniformOnSphere(dimension)
    with pytest.raises(PluginError, match=r"Shifted integrates to 1/\(0\.9|Shifted integrates to 1/\(1\.1"):
        check_posterior(Shifted(mu, kappa), prior, NOISE)
    with pytest.raises(PluginError, match="the KL of the posterior Cheaper is"):
        check_posterior(Cheaper(mu, kappa), prior, NOISE)
    with pytest.raises(PluginError, match=r"Denser integrates to 1\.1"):
        check_prior(Denser(dimension), NOISE)


def test_a_code_off_the_sphere_has_no_density():
    found = UniformOnSphere(3).log_prob(torch.tensor([[[1.0, 0, 0], [1.1, 0, 0], [0, 0, 0]]]))
    assert found[0, 0] == pytest.approx(-math.log(4 * math.pi))
    assert found[0, 1:].tolist() == [-math.inf, -math.inf]


@given(st.integers(2, 5), st.floats(-30, 15))
def test_directions_are_finite_and_of_length_one(dimension, exponent):
    for dtype in (torch.float32, torch.float64):
        point = (directions(3, dimension) * 10**exponent).to(dtype)
        point[1] = 0
        point.requires_grad_()
        found = unit(point)
        assert torch.allclose(found.norm(dim=1), torch.ones(3, dtype=dtype))
        (gradient,) = torch.autograd.grad(found[:, 0].sum(), point)
        assert gradient.isfinite().all()
        assert not gradient[1].any()


@pytest.mark.parametrize("method", [VMF(kappa=5), PowerSphericalVAE(kappa=5), PowerSphericalVAE()])
def test_an_encoder_that_says_nothing_has_a_direction(method):
    model = tiny.vae("mlp", [method])
    for parameter in model.posterior.parameters():
        parameter.data.zero_()
    found = model.encode(tiny.examples("mlp"))
    assert torch.equal(found.mu, torch.tensor([[1.0, 0.0]] * 3).double())
    z = found.draw(NOISE).z
    assert z.isfinite().all()
    z.square().sum().backward()
    assert all(each.isfinite().all() for each in tiny.gradients(model).values())


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_parameters_are_those_that_were_given(posterior):
    many = posterior.parameters.expand(-1, 3, -1) * 2
    assert torch.equal(posterior.at(many).parameters, many)
    assert torch.equal(posterior.at(many)[1:].parameters, many[:, 1:])


@pytest.mark.parametrize("dimension", [2, 3, 10, 64])
@pytest.mark.parametrize("kappa", [1.2, 9.0, 150.0])
def test_the_cosine_of_a_fixed_share_has_its_first_and_second_derivative(dimension, kappa):
    """By differences of the inverse of the distribution function."""
    beta, shares = (dimension - 1) / 2, torch.tensor([0.02, 0.3, 0.5, 0.8, 0.97]).double()

    def exact(number):
        return powers.half_angle(shares, torch.full_like(shares, number), beta).numpy()

    assert special.betainc(kappa + beta, beta, np.cos(exact(kappa)) ** 2) == pytest.approx(1 - shares.numpy())
    concentrations = torch.full_like(shares, kappa).requires_grad_()
    angle = powers.with_gradient(torch.from_numpy(exact(kappa)), concentrations, beta)
    assert np.array_equal(angle.detach().numpy(), exact(kappa))
    (first,) = torch.autograd.grad(angle.sum(), concentrations, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), concentrations)
    step = 1e-3 * kappa
    low, middle, high = exact(kappa - step), exact(kappa), exact(kappa + step)
    assert first.detach().numpy() == pytest.approx((high - low) / (2 * step), rel=1e-5)
    assert second.numpy() == pytest.approx((high - 2 * middle + low) / step**2, rel=1e-3)


@pytest.mark.parametrize("per", [Per.BATCH, Per.EXAMPLE])
def test_a_learned_concentration_is_trained_with_a_floor_on_its_kl(per):
    state, found = harness_steps("mlp", (PowerSphericalVAE(), FreeBits(per=per, nats=0.5)))
    assert all(each.loss.isfinite() for each in found)
    assert len({round(float(kl), 6) for each in found for kl in each.kl}) > 6
    fresh = tiny.vae("mlp", [PowerSphericalVAE()])
    trained = state.vae.heads["power-spherical"].spread.weight
    assert not torch.equal(trained, fresh.heads["power-spherical"].spread.weight)


class Constant:
    """Noise that is none."""

    def normal(self, shape, like):
        return torch.zeros(shape).to(like)

    def uniform(self, shape, like):
        return torch.ones(shape).to(like)

    def child(self, *labels):
        return self


def test_noise_that_is_none_ends():
    with pytest.raises(PluginError, match="none of 800 proposals was accepted"):
        first_accepted(lambda noise, number: (torch.zeros(number, 2), torch.zeros(number, 2).bool()), Constant())


def test_every_draw_takes_its_first_accepted_proposal():
    accepted = torch.tensor([[False, True], [True, False], [True, True]])

    def propose(noise, number):
        return torch.arange(6.0).reshape(3, 2), accepted

    assert first_accepted(propose, NOISE).tolist() == [2.0, 1.0]


class Sphere(Method):
    """Leaves the Gaussians, under the prior of another method."""

    name: ClassVar[str] = "sphere"

    def takes(self):
        return frozenset({Need.GAUSSIAN})

    @hookimpl
    def posterior_head(self):
        return AroundTheMean(1.0)


def test_two_families_cannot_be_combined():
    with pytest.raises(UsageError, match="methods 'vmf' and 'sphere' both leave the diagonal Gaussians"):
        tiny.vae("mlp", [VMF(), Sphere()])
    with pytest.raises(UsageError, match="prior"):
        tiny.vae("mlp", [VMF(), PowerSphericalVAE()])


def test_one_unit_is_no_sphere():
    for method in (VMF(), PowerSphericalVAE()):
        with pytest.raises(UsageError, match="at least two latent units, got 1"):
            tiny.vae("mlp", [method], latent_dim=1)


@pytest.mark.parametrize(
    ("methods", "line"),
    [
        ([VMF(), BNVAE()], "write bn-vae before vmf"),
        ([PowerSphericalVAE(), BNVAE()], "write bn-vae before power-spherical"),
        ([PowerSphericalVAE(), DGVAE()], "needs a posterior that is a diagonal Gaussian"),
        ([VMF(), FreeBits()], "needs a KL per unit"),
        ([VMF(), FreeBits(per=Per.EXAMPLE_UNIT)], "needs a KL per unit"),
        ([VMF(), DGVAE()], "needs a posterior that is a diagonal Gaussian"),
        ([VMF(), MAE()], "needs a posterior that is a diagonal Gaussian"),
        ([VMF(), VAESVI(encoder_loss=EncoderLoss.KL)], "needs a posterior that is a diagonal Gaussian"),
    ],
)
def test_what_does_not_fit_is_one_line(methods, line):
    with pytest.raises(UsageError, match=line):
        tiny.vae("mlp", methods)


@pytest.mark.slow
@pytest.mark.parametrize("methods", [(VMF(),), (BNVAE(), VMF()), (Skip(), VMF(), FreeBits(per=Per.BATCH))])
def test_three_steps_start_from_the_networks_of_the_plain_vae(methods):
    plain, model = tiny.vae("mlp"), tiny.vae("mlp", [VMF()])
    assert all(torch.equal(parameter, model.get_parameter(name)) for name, parameter in plain.named_parameters())
    _, found = harness_steps("mlp", methods)
    assert all(math.isfinite(float(each.loss)) for each in found)
    assert [float(kl) for each in found for kl in each.kl] == [pytest.approx(von_mises.divergence(2, 80.0))] * 12


@pytest.mark.parametrize("method", [VMF(kappa=5), PowerSphericalVAE(kappa=5), PowerSphericalVAE()])
def test_sa_vae_moves_parameters_and_both_ways_of_differentiation_agree(method):
    found, x = [], tiny.examples("mlp")
    for steps, hvp in [(2, HVP.EXACT), (2, HVP.FINITE_DIFFERENCE), (0, HVP.EXACT)]:
        model = tiny.vae("mlp", [method])
        SAVAE(steps=steps, hvp=hvp, epsilon=1e-5).gradients(model, x, Objective(NOISE))
        found.append(torch.cat([each.flatten() for each in tiny.gradients(model).values()]))
    assert torch.allclose(found[0], found[1], rtol=1e-3, atol=1e-6)
    assert not torch.allclose(found[0], found[2], rtol=1e-2, atol=1e-4)
    _, steps = harness_steps("mlp", (method, SAVAE(steps=2)))
    assert all(each.loss.isfinite() for each in steps)


KAPPA = 6.0
FAMILIES = {"vmf": lambda mu: VonMisesFisher(mu, KAPPA), "power-spherical": lambda mu: fixed(mu, KAPPA)}
HEADS = {"vmf": AroundTheMean(KAPPA), "power-spherical": powers.PowerAroundTheMean(3, KAPPA)}


class Mean(nn.Module):
    """A posterior around the examples themselves, or near to them."""

    def __init__(self, shift):
        super().__init__()
        self.shift = nn.Parameter(torch.tensor(shift).double())

    def forward(self, x):
        return DiagonalGaussian(x.double() + self.shift, torch.zeros_like(x).double())


class Around(nn.Module):
    """x on the sphere is drawn from the family around z, which is that around x at z."""

    def __init__(self, family):
        super().__init__()
        self.family = FAMILIES[family]

    def forward(self, x, z, dropout):
        return self.family(x.double()).log_prob(z)


def evaluated(family, shift, number=60, dimension=3):
    vae = VAE(Networks(nn.Identity(), Mean(shift), Around(family)), UniformOnSphere(dimension))
    vae.heads["head"] = HEADS[family]
    split = Vectors(directions(number, dimension, seed=1).float().numpy())
    return EvaluatedSplit(vae, Amortized(), split, NOISE, 25, torch.device("cpu"))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_metrics_of_an_exact_posterior_on_the_sphere(family):
    """x is uniform on the sphere, and its posterior is around it: every bound is the logarithm of the area."""
    split, entropy = evaluated(family, 0.0), math.log(4 * math.pi)
    bound, nll = NegELBO(samples=64).evaluate(split)["neg_elbo"], IWNLL(samples=10).evaluate(split)
    assert bound.value == pytest.approx(entropy, abs=4 * bound.standard_error)
    assert nll["iw_nll"].value == pytest.approx(entropy, abs=1e-6)
    assert nll["ess"].value == pytest.approx(10, abs=1e-5)
    kl = KL().evaluate(split)
    assert kl["kl"].value == pytest.approx(float(FAMILIES[family](directions(1, 3)).kl_to_uniform()), rel=1e-9)
    assert isinstance(kl["kl[j]"], Declined)
    information = MutualInformation().evaluate(split)
    lower, upper = information["mi_lower"], information["mi_upper"]
    assert 0 < lower.value <= upper.value + 3 * lower.standard_error <= kl["kl"].value + 3 * lower.standard_error
    use = LatentUse().evaluate(split)
    assert use["delta_shuffle"].value > use["delta_shuffle"].standard_error
    assert ActiveUnits().evaluate(split)["active_units"].value == 3
    codes = Codes.of(split)
    assert codes.logvar is None
    assert np.array_equal(codes.mean, split.posterior.mean.float().numpy())


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_refinement_finds_the_exact_posterior_on_the_sphere(family):
    measured = Gap(steps=50, samples=20).evaluate(evaluated(family, 0.5, number=30))
    assert measured["iw_nll_refined"].value == pytest.approx(math.log(4 * math.pi), abs=0.02)
    gap = measured["amortization_gap"]
    assert gap.value > 5 * gap.standard_error
    approximation = measured["approximation_gap"]
    assert approximation.value == pytest.approx(0, abs=4 * approximation.standard_error + 0.01)
