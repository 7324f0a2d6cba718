"""Log-likelihoods against scipy's in float64, their sums over all values, and their derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch.autograd import gradcheck, gradgradcheck

from collapsebench.model.kernels.likelihoods import discretized_logistic, negative_binomial


@pytest.fixture(autouse=True)
def _fixed_generator():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64)


@pytest.mark.parametrize("levels", [2, 5, 256])
def test_the_discretized_logistic_is_a_difference_of_distribution_functions(levels):
    location, log_scale = draw(2, 3, 4), draw(2, 3, 4)
    k = torch.randint(levels, (3, 4))
    k[0, :2] = torch.tensor([0, levels - 1])
    lower, upper = (np.where(edge, inf, (k.numpy() + s) / (levels - 1)) for edge, inf, s in edges(k.numpy(), levels))
    law = stats.logistic(location.numpy(), log_scale.exp().numpy())
    right = lower > location.numpy()  # where distribution functions are near one, their differences lose digits
    mass = np.where(right, law.sf(lower) - law.sf(upper), law.cdf(upper) - law.cdf(lower))
    expected = np.log(mass).sum(-1)
    found = discretized_logistic(location, log_scale, k.double() / (levels - 1), levels)
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-9, atol=1e-9)


def edges(k, levels):
    return (k == 0, -np.inf, -0.5), (k == levels - 1, np.inf, 0.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("log_scale", [-7.0, -2.0, 3.0])
def test_the_probabilities_of_all_levels_sum_to_one(log_scale, dtype):
    x = (torch.arange(256, dtype=dtype) / 255)[:, None]
    for location in (-3.0, 0.0, 0.41, 1.0, 20.0):
        parameters = (torch.full((1, 256, 1), value, dtype=dtype) for value in (location, log_scale))
        log_p = discretized_logistic(*parameters, x, 256)
        assert log_p.isfinite().all()  # nothing cancels, far away from the location neither
        assert log_p.exp().sum().item() == pytest.approx(1, abs=2e-5 if dtype is torch.float32 else 1e-12)


def test_two_levels_are_a_bernoulli():
    """The levels 0 and 1 part at one half."""
    location, log_scale, x = draw(2, 3, 4), draw(2, 3, 4), torch.randint(2, (3, 4)).double()
    expected = torch.distributions.Bernoulli(logits=(location - 0.5) / log_scale.exp()).log_prob(x).sum(-1)
    torch.testing.assert_close(discretized_logistic(location, log_scale, x, 2), expected)


def test_the_negative_binomial_is_that_of_scipy():
    log_mean, log_dispersion, x = 2 * draw(2, 3, 4), 2 * draw(2, 3, 4), torch.randint(40, (3, 4)).double()
    mean, dispersion = log_mean.exp().numpy(), log_dispersion.exp().numpy()
    expected = stats.nbinom(dispersion, dispersion / (dispersion + mean)).logpmf(x.numpy()).sum(-1)
    found = negative_binomial(log_mean, log_dispersion, x)
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-9, atol=1e-9)


def test_the_moments_of_the_negative_binomial_are_m_and_m_plus_m_squared_by_r():
    x, mean, dispersion = torch.arange(4000, dtype=torch.float64)[:, None], 7.0, 1.5
    parameters = (torch.full((1, 4000, 1), value, dtype=torch.float64).log() for value in (mean, dispersion))
    p = negative_binomial(*parameters, x)[0].exp()
    assert p.sum().item() == pytest.approx(1, abs=1e-12)
    assert (p * x[:, 0]).sum().item() == pytest.approx(mean)
    assert (p * (x[:, 0] - mean).square()).sum().item() == pytest.approx(mean + mean**2 / dispersion)


def test_a_large_dispersion_is_the_poisson_distribution():
    log_mean, x = draw(1, 3, 4), torch.randint(9, (3, 4)).double()
    expected = torch.distributions.Poisson(log_mean.exp()).log_prob(x).sum(-1)
    found = negative_binomial(log_mean, torch.full_like(log_mean, 16.0), x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("likelihood", [negative_binomial, lambda m, s, x: discretized_logistic(m, s, x / 4, 5)])
def test_both_are_twice_differentiable(likelihood):
    x = torch.randint(5, (3, 4)).double()
    parameters = (draw(2, 3, 4).requires_grad_(), draw(2, 3, 4).requires_grad_())
    assert gradcheck(lambda *p: likelihood(*p, x), parameters, fast_mode=True)
    assert gradgradcheck(lambda *p: likelihood(*p, x), parameters, fast_mode=True)
