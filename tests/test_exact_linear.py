"""The closed forms of the linear-Gaussian VAE against linear algebra, cubature and quadrature; the metrics' bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles import gap, moments_of
from scipy.stats import multivariate_normal

from collapsebench.data import linear_gaussian
from collapsebench.errors import UsageError
from collapsebench.inference.amortized import Amortized
from collapsebench.metrics.evaluation import EvaluatedSplit
from collapsebench.metrics.mutual_information import MutualInformation
from collapsebench.model.seeding import SeededNoise
from collapsebench.selfcheck.exact.discrete import tabulate
from collapsebench.selfcheck.exact.linear import LinearVAE, Moments, representative

SPECTRUM = (9.0, 4.0, 2.0, 1.0, 0.5)
VARIANCES = (0.25, 0.5, 1.0, 1.5, 4.5, 9.0, 10.0)
"""From all units active to none."""
SEEDS = st.integers(0, 2**32 - 1)


def anywhere(seed, dimension=4, latent_dim=3):
    """A model with random parameters, none of them at an optimum."""
    rng = np.random.default_rng(seed)
    shape = (latent_dim, dimension)
    return LinearVAE(
        weights=rng.normal(size=shape[::-1]),
        bias=rng.normal(size=dimension),
        variance=rng.uniform(0.2, 3),
        encoder=0.5 * rng.normal(size=shape),
        encoder_bias=rng.normal(size=latent_dim),
        posterior_variance=rng.uniform(0.1, 2, size=latent_dim),
    )


def examples(seed, size=30, dimension=4):
    rng = np.random.default_rng([seed, 1])
    return rng.normal(size=(size, dimension)) @ rng.normal(size=(dimension, dimension)) + rng.normal(size=dimension)


def cubature(mean, variance):
    """Points whose plain average is the expectation of every quadratic under each Gaussian: (2 D, N, D)."""
    offsets = np.sqrt(len(variance)) * np.diag(np.sqrt(variance))
    return np.concatenate([mean + sign * offsets[:, None] for sign in (-1, 1)])


def log_likelihood(model, x, z):
    """log p(x|z) as the definition has it."""
    squares = np.square(x - z @ model.weights.T - model.bias).sum(-1) / model.variance
    return -0.5 * (squares + x.shape[-1] * np.log(2 * np.pi * model.variance))


@given(SEEDS)
def test_the_likelihood_and_the_posterior_are_those_of_bayes(seed):
    model, x = anywhere(seed), examples(seed)
    covariance = model.weights @ model.weights.T + model.variance * np.eye(4)
    log_p = multivariate_normal(model.bias, covariance).logpdf(x)
    assert model.log_density(x) == pytest.approx(log_p, rel=1e-9)
    assert model.nll(Moments.of(x)) == pytest.approx(-log_p.mean(), rel=1e-9)
    mean, spread = model.exact_posterior(x)
    z = np.random.default_rng(seed).normal(size=3)
    joint = log_likelihood(model, x, z) + multivariate_normal(np.zeros(3)).logpdf(z)
    posterior = [multivariate_normal(each, spread).logpdf(z) for each in mean]
    assert joint - posterior == pytest.approx(log_p, rel=1e-8)


@given(SEEDS)
def test_means_over_q_are_those_of_a_cubature_rule(seed):
    model, x = anywhere(seed), examples(seed)
    moments, mean = Moments.of(x), model.posterior_mean(x)
    z = cubature(mean, model.posterior_variance)
    own = log_likelihood(model, x, z).mean()
    assert -model.reconstruction(moments) == pytest.approx(own, rel=1e-9)
    v = model.posterior_variance
    assert model.kl(moments) == pytest.approx((0.5 * (mean**2 + v - np.log(v) - 1)).mean(0), rel=1e-9)
    assert model.mean_variance(moments) == pytest.approx(mean.var(0, ddof=1), rel=1e-9)
    crossed = np.array([log_likelihood(model, x, np.roll(z, shift, axis=1)).mean() for shift in range(1, len(x))])
    assert model.delta_shuffle(moments) == pytest.approx(own - crossed.mean(), rel=1e-7, abs=1e-9)
    prior = log_likelihood(model, x, cubature(np.zeros((1, 3)), np.ones(3))).mean()
    assert model.delta_prior(moments) == pytest.approx(own - prior, rel=1e-7, abs=1e-9)


@given(SEEDS)
def test_the_bound_misses_the_likelihood_by_the_gap_and_the_kl_is_information_plus_aggregate(seed):
    model, moments = anywhere(seed), Moments.of(examples(seed))
    assert model.neg_elbo(moments) - model.nll(moments) == pytest.approx(gap(model, moments), rel=1e-7)
    assert gap(model, moments) > 0
    total = model.mutual_information(moments) + model.aggregate_kl(moments)
    assert model.kl(moments).sum() == pytest.approx(total, rel=1e-9)
    assert model.aggregate_kl(moments) > 0


@pytest.mark.parametrize("variance", VARIANCES)
def test_the_optimum_is_probabilistic_pca(variance):
    """Issue and textbook: active iff λ > σ², KL = MI = ½ ln(λ/σ²), Var m = 1 - σ²/λ, q_agg = prior, no gap."""
    model, moments = LinearVAE.optimum(SPECTRUM, 4, variance), moments_of(SPECTRUM)
    ratios = np.maximum(np.array(SPECTRUM[:4]) / variance, 1)
    best = linear_gaussian.optimum(SPECTRUM, 4, variance)
    assert model.kl(moments) == pytest.approx(0.5 * np.log(ratios), abs=1e-12)
    assert model.kl(moments) == pytest.approx(best.kl, abs=1e-12)
    assert model.mutual_information(moments) == pytest.approx(best.kl.sum(), abs=1e-12)
    assert model.mean_variance(moments) == pytest.approx(1 - 1 / ratios, abs=1e-12)
    assert (model.mean_variance(moments) > 1e-9).sum() == best.active
    assert [model.nll(moments), model.neg_elbo(moments)] == pytest.approx([-best.log_likelihood] * 2, rel=1e-12)
    assert [gap(model, moments), model.aggregate_kl(moments)] == pytest.approx([0, 0], abs=1e-12)
    losses = [model.delta_shuffle(moments), model.delta_prior(moments)]
    assert losses == pytest.approx([(ratios - 1).sum()] * 2, abs=1e-11)
    assert model.weight_variance(examples(0, dimension=5)) == pytest.approx(np.zeros(30), abs=1e-9)


@given(SEEDS, st.sampled_from(VARIANCES), st.floats(1e-3, 1))
def test_no_parameters_near_the_optimum_or_far_are_better(seed, variance, scale):
    """Among all parameters, orthogonal or not, with any posterior."""
    best, other, moments = LinearVAE.optimum(SPECTRUM, 3, variance), anywhere(seed, 5), moments_of(SPECTRUM)
    moved = LinearVAE(
        best.weights + scale * other.weights,
        best.bias + scale * other.bias,
        variance,
        best.encoder + scale * other.encoder,
        best.encoder_bias + scale * other.encoder_bias,
        best.posterior_variance * other.posterior_variance**scale,
    )
    assert moved.neg_elbo(moments) > best.neg_elbo(moments)
    fitted = LinearVAE.with_best_posterior(moved.weights, moved.bias, variance)
    assert moved.neg_elbo(moments) >= fitted.neg_elbo(moments) >= fitted.nll(moments) >= best.nll(moments)


def test_more_units_than_dimensions_collapse():
    model = LinearVAE.optimum((4.0, 0.5), 5, 1.0)
    assert model.kl(moments_of((4.0, 0.5))) == pytest.approx([math.log(2), 0, 0, 0, 0])


@pytest.mark.parametrize("latent_dim", [1, 2])
def test_closed_forms_are_the_quadrature_of_the_built_model(latent_dim):
    """The harness's own networks, tabulated on a grid of z, know nothing of linear algebra."""
    given_, x = anywhere(5, 3, latent_dim), examples(5, 6, 3)
    wide = given_.posterior_variance + 1  # so that the variance of a weight is finite
    vae = LinearVAE(**vars(given_) | {"posterior_variance": wide}).build()
    model, table, moments = LinearVAE.of(vae), tabulate(vae, torch.from_numpy(x)), Moments.of(x)
    ones = np.ones(len(x))
    assert table.log_evidence == pytest.approx(model.log_density(x), abs=1e-8)
    assert table.reconstruction.mean() == pytest.approx(model.reconstruction(moments), abs=1e-7)
    assert table.kl.mean() == pytest.approx(model.kl(moments).sum(), abs=1e-8)
    assert table.under_q(table.log_q - table.log_posterior).mean() == pytest.approx(gap(model, moments), abs=1e-7)
    assert table.delta_shuffle(ones) == pytest.approx(model.delta_shuffle(moments), abs=1e-7)
    assert table.delta_prior(ones) == pytest.approx(model.delta_prior(moments), abs=1e-7)
    assert table.weight_variance == pytest.approx(model.weight_variance(x), rel=1e-6)
    assert table.mean_variance(ones.astype(int)) == pytest.approx(model.mean_variance(moments), rel=1e-6)
    mean, spread = model.exact_posterior(x)
    assert table.exact_posterior().mean.numpy() == pytest.approx(mean, abs=1e-8)
    assert table.exact_posterior().logvar[0].exp().numpy() == pytest.approx(spread.diagonal(), abs=1e-8)


def test_a_posterior_too_narrow_has_weights_of_infinite_variance():
    model = LinearVAE.optimum(SPECTRUM, 2, 1.0)
    narrow = LinearVAE(**vars(model) | {"posterior_variance": model.posterior_variance / 3})
    assert np.isinf(narrow.weight_variance(examples(0, dimension=5))).all()


def test_the_bracket_lies_beside_the_information_by_its_bias_on_average():
    """Over 300 splits of 60 examples of the distribution itself, below and above alike."""
    model = LinearVAE.optimum((3.0, 2.0, 0.5), 2, 1.0)
    moments, vae, brackets = moments_of((3.0, 2.0, 0.5)), model.build(), []
    for seed in range(300):
        (split,) = linear_gaussian.draw((3.0, 2.0, 0.5), [60], seed)
        evaluation = EvaluatedSplit(vae, Amortized(), split, SeededNoise(seed), 60, torch.device("cpu"))
        measured = MutualInformation().evaluate(evaluation)
        brackets.append((measured["mi_lower"].value, measured["mi_leave_one_out"].value))
    means, errors = np.mean(brackets, 0), np.std(brackets, 0, ddof=1) / math.sqrt(300)
    information, bias = model.mutual_information(moments), model.bracket_bias(moments, 60)
    assert bias == pytest.approx((6 - 1) / 120)
    assert means[0] < information - 2 * errors[0] < information + 2 * errors[1] < means[1]
    assert means == pytest.approx([information - bias, information + bias], abs=4 * errors.max())


@given(SEEDS, st.integers(6, 40))
def test_a_representative_split_has_the_moments_of_the_distribution(seed, size):
    split, wanted = representative(SPECTRUM, size, seed), moments_of(SPECTRUM)
    mean, covariance, count = Moments.of(split.values)
    assert split.values.dtype == np.float32
    assert mean == pytest.approx(np.zeros(5), abs=1e-6)
    assert covariance == pytest.approx(wanted.covariance, abs=1e-5)
    assert count == size
    assert wanted.unbiased is wanted.covariance


def test_a_representative_split_needs_examples():
    with pytest.raises(UsageError, match="a representative split of 5 dimensions needs more examples, got 5"):
        representative(SPECTRUM, 5, 0)


def test_a_model_is_built_and_read_back():
    model = anywhere(2)
    read = LinearVAE.of(model.build())
    for name, value in vars(model).items():
        assert vars(read)[name] == pytest.approx(value, rel=1e-6)


def test_other_models_have_no_closed_form():
    for family in ("mlp", "linear"):  # the posterior's variance of the second depends on x
        with pytest.raises(UsageError, match="closed forms need the networks 'linear'"):
            LinearVAE.of(tiny.vae(family))
