"""The tilted prior, and posteriors of unit variance."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import special
from test_plain_step import harness_steps
from torch import nn

from collapsebench import PluginError, SeededNoise, UsageError
from collapsebench.data.splits import Vectors
from collapsebench.guards.posteriors import check_posterior
from collapsebench.guards.priors import check_prior
from collapsebench.inference.amortized import Amortized
from collapsebench.metrics.evaluation import EvaluatedSplit
from collapsebench.metrics.iw_nll import IWNLL
from collapsebench.metrics.kl import KL
from collapsebench.metrics.mutual_information import MutualInformation
from collapsebench.metrics.neg_elbo import NegELBO
from collapsebench.model.distributions import DiagonalGaussian
from collapsebench.model.vae import VAE, Networks
from collapsebench_plugins import tilt
from collapsebench_plugins.bn_vae import BNVAE
from collapsebench_plugins.dg_vae import DGVAE
from collapsebench_plugins.sa_vae import SAVAE
from collapsebench_plugins.skip import Skip
from collapsebench_plugins.tilt import TiltedNormal, UnitGaussian
from collapsebench_plugins.tilted import Tilted
from collapsebench_plugins.vmf import VMF

NOISE = SeededNoise(0)


def posterior(dimension, length=1.0, number=1):
    mean = torch.zeros(number, dimension).double()
    mean[:, -1] = length
    return UnitGaussian(mean)


def radial(prior):
    """The radii of the prior and their weights, by Gauss and Legendre's rule, and the integral."""
    nodes, weights = np.polynomial.legendre.leggauss(400)
    end = prior.tau + 3 * math.sqrt(prior.latent_dim) + 12
    r = end * (nodes + 1) / 2
    area = math.log(2) + prior.latent_dim / 2 * math.log(math.pi) - special.gammaln(prior.latent_dim / 2)
    code = np.zeros((len(r), 1, prior.latent_dim))
    code[:, 0, 0] = r
    log_p = prior.log_prob(torch.tensor(code))[:, 0].numpy()
    return r, weights * end / 2 * np.exp(log_p + area + (prior.latent_dim - 1) * np.log(r))


@pytest.mark.parametrize("dimension", [1, 2, 10, 64])
@pytest.mark.parametrize("tau", [1e-300, 0.1, 3.0, 25.0, 60.0])
def test_the_density_integrates_to_one_and_draws_have_its_radii(dimension, tau):
    prior = TiltedNormal(dimension, tau)
    r, weights = radial(prior)
    assert weights.sum() == pytest.approx(1, rel=1e-9)
    drawn = prior.sample(20_000, NOISE)
    assert torch.equal(drawn, prior.sample(20_000, NOISE))
    radii = drawn.double().norm(dim=1)
    for power in (1, 2):
        error = float((radii**power).std()) / math.sqrt(20_000)
        assert float((radii**power).mean()) == pytest.approx(weights @ r**power, abs=5 * error)
    spread = float(radii.square().mean()) / dimension
    assert torch.allclose(drawn.double().mean(0), torch.zeros(dimension).double(), atol=5 * math.sqrt(spread / 20_000))


@pytest.mark.parametrize("dimension", [1, 2, 3, 10])
@pytest.mark.parametrize("tau", [0.5, 3.0, 8.0])
def test_guards_let_it_pass(dimension, tau):
    prior = TiltedNormal(dimension, tau)
    check_prior(prior, NOISE)
    for length in (0.0, tilt.best_length(dimension, tau)):
        check_posterior(posterior(dimension, length), prior, NOISE)


class Cheaper(TiltedNormal):
    """States the released term for its KL."""

    def kl(self, posterior):
        return (posterior.mean.norm(dim=1) - tilt.best_length(self.latent_dim, self.tau)).square()[:, None] / 2


def test_guards_catch_that_the_penalty_is_no_kl():
    with pytest.raises(PluginError, match="the KL of the posterior UnitGaussian is"):
        check_posterior(posterior(3, 2.0), Cheaper(3, 3.0), NOISE)


@given(st.integers(1, 600), st.floats(1e-3, 1e4))
def test_the_mean_length_keeps_its_digits(dimension, length):
    """Between the bounds of a concave function, and with the derivative of a difference."""
    found, slope = (float(tilt.derivative(dimension, order, length**2 / 2)) for order in (0, 1))
    assert math.sqrt(length**2 + dimension - 1) * (1 - 1e-12) <= found <= math.sqrt(length**2 + dimension) * (1 + 1e-12)
    step = 1e-4 * (length**2 / 2 + 1)
    ends = [float(tilt.derivative(dimension, 0, length**2 / 2 + k * step)) for k in (0.5, 1.5)]
    assert (ends[1] - ends[0]) / step == pytest.approx(slope, rel=1e-3)


def test_the_mean_length_is_differentiable_again_and_again():
    mean = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    assert torch.autograd.gradcheck(tilt.mean_length, mean)
    assert torch.autograd.gradgradcheck(tilt.mean_length, mean)
    zero = torch.zeros(1, 4).double().requires_grad_()
    (gradient,) = torch.autograd.grad(tilt.mean_length(zero).sum(), zero)
    assert not gradient.any()


@pytest.mark.parametrize("dimension", [2, 10, 32])
@pytest.mark.parametrize("tau", [0.3, 3.0, 40.0])
def test_the_kl_is_least_at_the_best_length(dimension, tau):
    best = tilt.best_length(dimension, tau)
    prior = TiltedNormal(dimension, tau)
    least = float(prior.kl(posterior(dimension, best)))
    assert least > 0
    for away in (0.01, 1.0):
        assert float(prior.kl(posterior(dimension, best + away))) > least
        assert float(prior.kl(posterior(dimension, max(0.0, best - away)))) >= least


def test_a_kl_in_single_precision_is_that_in_double():
    q = posterior(10, 6.0)
    single = TiltedNormal(10, 5.0).kl(UnitGaussian(q.mean.float()))
    assert single.dtype is torch.float32
    assert float(single) == pytest.approx(float(TiltedNormal(10, 5.0).kl(q)), rel=1e-6)


@pytest.mark.parametrize(
    ("methods", "line"),
    [
        ([Tilted(), BNVAE()], "write bn-vae before tilted"),
        ([Tilted(), DGVAE()], "kl_penalty|needs a posterior that is a diagonal Gaussian"),
        ([Tilted(), VMF()], "prior|both leave"),
    ],
)
def test_what_does_not_fit_is_one_line(methods, line):
    with pytest.raises(UsageError, match=line):
        tiny.vae("mlp", methods)


@pytest.mark.slow
@pytest.mark.parametrize("methods", [(Tilted(),), (BNVAE(), Skip(), Tilted()), (Tilted(), SAVAE(steps=2))])
def test_three_steps_with_others(methods):
    _, found = harness_steps("mlp", methods)
    assert all(math.isfinite(float(each.loss)) for each in found)
    least = float(TiltedNormal(2, 5.0).kl(posterior(2, tilt.best_length(2, 5.0))))
    for each in found:
        assert each.kl.shape == (4, 1)
        assert each.kl.min() >= least - 1e-9


class Encoder(nn.Module):
    def forward(self, x):
        return DiagonalGaussian(1.5 * x.double(), torch.zeros_like(x).double())


class Decoder(nn.Module):
    """x ~ N(z, 1)."""

    def __init__(self):
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(2).double())

    def forward(self, x, z, dropout):
        return UnitGaussian(x.double() + self.shift).log_prob(z)


def test_the_metrics_are_those_of_the_density():
    """The importance bound, which needs no KL, approaches the likelihood by the integral over the plane."""
    prior = TiltedNormal(2, 3.0)
    vae = VAE(Networks(nn.Identity(), Encoder(), Decoder()), prior)
    vae.heads["tilted"] = tilt.UnitVariances()
    x = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    split = EvaluatedSplit(vae, Amortized(), Vectors(x.numpy()), NOISE, 40, torch.device("cpu"))
    nll, bound = IWNLL(samples=2000).evaluate(split)["iw_nll"], NegELBO(samples=100).evaluate(split)["neg_elbo"]
    axis = torch.linspace(-10, 10, 201).double()
    grid = torch.cartesian_prod(axis, axis)
    log_joint = prior.log_prob(grid[:, None]) + UnitGaussian(x.double()).log_prob(grid[:, None].expand(-1, 40, -1))
    exact = -float((log_joint.logsumexp(0) + 2 * math.log(0.1)).mean())
    assert nll.value == pytest.approx(exact, abs=0.05)
    rate = split.posterior.log_prob(split.z[None])[0] - prior.log_prob(split.z[None])[0]
    kl, information = KL().evaluate(split)["kl"].value, MutualInformation().evaluate(split)
    assert kl == pytest.approx(float(rate.mean()), abs=5 * float(rate.std()) / math.sqrt(40))
    assert bound.value > exact
    assert information["mi_lower"].value <= information["mi_upper"].value + 0.1 <= kl + 0.1
