"""Importance weighted bounds as objectives: closed forms on the linear model, and what both estimators promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tiny
import torch
from test_plain_step import harness_steps
from test_plugins_objective import SPECTRUM, VARIANCE, Cubature, D

from collapsebench.components.composition import compose
from collapsebench.errors import UsageError
from collapsebench.experiment.assembly import objective_at
from collapsebench.inference.amortized import Amortized
from collapsebench.metrics.estimators import importance_bound
from collapsebench.model.progress import Progress
from collapsebench.model.seeding import SeededNoise
from collapsebench.selfcheck.exact.linear import LinearVAE, representative
from collapsebench_plugins.beta_vae import BetaVAE
from collapsebench_plugins.bn_vae import BNVAE
from collapsebench_plugins.bow import BagOfWords
from collapsebench_plugins.free_bits import FreeBits
from collapsebench_plugins.iwae import IWAE, Estimator
from collapsebench_plugins.kl_annealing import KLAnnealing
from collapsebench_plugins.skip import Skip
from collapsebench_plugins.word_dropout import WordDropout

estimators = pytest.mark.parametrize("gradient", Estimator)


def step(strategy, model, x, noise, *methods):
    """The terms and the gradients of one step of a strategy."""
    model.zero_grad()
    terms = strategy.gradients(model, x, objective_at(compose(methods), Progress(0.0, 0), noise))
    return terms, tiny.gradients(model)


def linear(**moved):
    """The linear model at its optimum, or with other parameters, and examples whose moments are those of the data."""
    best = LinearVAE.optimum(SPECTRUM, D, VARIANCE)
    x = torch.tensor(representative(SPECTRUM, 8, seed=1).values).double()
    return LinearVAE(**vars(best) | moved).build().double(), x


def away():
    """The linear model with a posterior that is wrong in mean and variance."""
    encoder = 0.7 * LinearVAE.optimum(SPECTRUM, D, VARIANCE).encoder + 0.05
    return linear(encoder=encoder, posterior_variance=np.full(D, 0.3))


@estimators
@pytest.mark.parametrize("beta", [1.0, 0.4])
def test_one_sample_has_on_average_the_loss_and_the_gradients_of_the_plain_vae(gradient, beta):
    """The model is quadratic in the noise, whose average is exact here."""
    model, x = away()
    x = x.repeat_interleave(2 * D, 0)
    plain, wanted = step(Amortized(), model, x, Cubature(), BetaVAE(beta=beta))
    terms, found = step(IWAE(samples=1, gradient=gradient), model, x, Cubature(), BetaVAE(beta=beta))
    torch.testing.assert_close(terms.loss, plain.loss)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(terms.kl, plain.kl)
    torch.testing.assert_close(terms.reconstruction, plain.reconstruction)
    assert terms.kl_weight == beta


@estimators
@pytest.mark.parametrize(("samples", "groups"), [(1, 1), (7, 1), (3, 2)])
def test_at_the_exact_posterior_every_bound_is_the_likelihood_and_dreg_has_no_noise(gradient, samples, groups):
    model, x = linear()
    best = LinearVAE.optimum(SPECTRUM, D, VARIANCE)
    covariance = torch.tensor(best.weights @ best.weights.T + VARIANCE * np.eye(len(SPECTRUM)))
    evidence = torch.distributions.MultivariateNormal(torch.zeros(len(SPECTRUM)).double(), covariance).log_prob(x)
    terms, found = step(IWAE(samples=samples, groups=groups, gradient=gradient), model, x, SeededNoise(0))
    assert float(terms.loss) == pytest.approx(-float(evidence.mean()), abs=1e-4)  # the linear model is built in float32
    noise = max(float(value.abs().max()) for name, value in found.items() if not name.startswith("decoder"))
    assert noise < 1e-5 if gradient is Estimator.DREG else noise > 1e-2


@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_both_estimators_have_one_expectation_for_q_and_are_equal_for_the_decoder(beta):
    model, x = away()
    differences, sizes = [], []
    for seed in range(20):
        (_, plain), (_, doubly) = (
            step(IWAE(samples=3, gradient=g), model, x.repeat(40, 1), SeededNoise(seed), BetaVAE(beta=beta))
            for g in Estimator
        )
        inference = [name for name in plain if not name.startswith("decoder")]
        for name in plain.keys() - set(inference):
            torch.testing.assert_close(plain[name], doubly[name])
        differences.append(torch.cat([(plain[name] - doubly[name]).flatten() for name in inference]))
        sizes.append(torch.cat([doubly[name].flatten() for name in inference]))
    found = torch.stack(differences)
    error = found.std(0) / math.sqrt(len(found))
    assert (found.mean(0).abs() <= 4.5 * error + 1e-12).all()
    assert error.max() < 0.1 * torch.stack(sizes).mean(0).abs().max()


@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_the_loss_is_the_bound_of_the_metrics_on_the_same_weights(beta):
    model, x = away()
    noise = SeededNoise(3)
    terms, _ = step(IWAE(samples=6), model, x, noise, BetaVAE(beta=beta))
    q = model.encode(x)
    z = q.draws(IWAE(samples=6).noises(noise)).z
    log_w = model.log_likelihood(x, z) + beta * (model.prior.log_prob(z) - q.log_prob(z))
    torch.testing.assert_close(terms.loss, importance_bound(log_w.detach()).nll.mean())


def test_groups_are_averaged_and_more_samples_are_tighter():
    log_w = torch.randn(6, 2000, generator=torch.Generator().manual_seed(0)).double()
    parts = [IWAE(samples=2).bound(part) for part in log_w.split(2)]
    torch.testing.assert_close(IWAE(samples=2, groups=3).bound(log_w), torch.stack(parts).mean(0))
    one, two, six = (IWAE(samples=size, groups=6 // size).bound(log_w) for size in (1, 2, 6))
    assert (one <= two + 1e-12).all()
    assert (two <= six + 1e-12).all()
    weights = IWAE(samples=2, groups=3).weights(log_w)
    torch.testing.assert_close(weights.view(3, 2, -1).sum(1), torch.ones(3, 2000).double())


@estimators
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_every_family_and_composition_trains_all_networks_by_one_pass_of_the_encoder(family, gradient):
    corrupted = (WordDropout(),) if family == "lstm" else ()
    methods = (IWAE(samples=2, groups=2, gradient=gradient), BNVAE(), Skip(), KLAnnealing(start=0.5), *corrupted)
    state, found = harness_steps(family, methods)
    counters = state.meter.counters()
    assert (counters["encoder_evaluations"], counters["decoder_evaluations"]) == (4 * len(found), 16 * len(found))
    assert all(terms.loss.isfinite() for terms in found)
    assert state.idle == set()


def test_the_decoder_reads_corrupted_words():
    x, methods = tiny.examples("lstm"), (WordDropout(rate=1),)
    plain, _ = step(Amortized(), tiny.vae("lstm"), x, SeededNoise(0))
    dark, _ = step(Amortized(), tiny.vae("lstm"), x, SeededNoise(0), *methods)
    found, _ = step(IWAE(samples=1), tiny.vae("lstm"), x, SeededNoise(0), *methods)
    torch.testing.assert_close(found.reconstruction, dark.reconstruction)
    assert not torch.equal(dark.reconstruction, plain.reconstruction)


@pytest.mark.parametrize(("other", "hook"), [(FreeBits(), "kl_penalty"), (BagOfWords(), "extra_loss")])
def test_what_speaks_of_one_sample_is_refused(other, hook):
    line = f"method '{other.name}' gives {hook}, which has no meaning beside 'iwae': they cannot be combined"
    for methods in ((IWAE(), other), (other, IWAE())):
        with pytest.raises(UsageError, match=line):
            compose(methods)
