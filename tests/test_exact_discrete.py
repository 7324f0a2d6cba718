"""Quadrature against other rules; the metrics' bounds against it, on average over many seeds, for growing N and K."""

from __future__ import annotations

import copy
import math
from itertools import product

import numpy as np
import pytest
import torch

from collapsebench.data.splits import BinaryImages
from collapsebench.errors import CollapsebenchError, UsageError
from collapsebench.examples import ImageSpec, TextSpec
from collapsebench.inference.amortized import Amortized
from collapsebench.metrics.evaluation import EvaluatedSplit
from collapsebench.metrics.iw_nll import IWNLL
from collapsebench.metrics.latent_use import LatentUse
from collapsebench.metrics.mutual_information import MutualInformation
from collapsebench.metrics.neg_elbo import NegELBO
from collapsebench.model.distributions import DiagonalGaussian
from collapsebench.model.seeding import SeededNoise
from collapsebench.networks.decoders import LSTMDecoder, MLPDecoder
from collapsebench.selfcheck.exact import discrete
from collapsebench.selfcheck.exact.discrete import every_image, tabulate, untrained, with_posterior

IMAGES = every_image(2, 2)
X = torch.tensor(IMAGES[:, None].astype(np.float32))


def moved(posterior, shift, factor):
    """Every mean moved by so many standard deviations, every variance multiplied."""
    mean = posterior.mean + shift * (0.5 * posterior.logvar).exp()
    return DiagonalGaussian(mean, posterior.logvar + math.log(factor))


@pytest.fixture(scope="module")
def vae():
    """A model of 2 x 2 pixels whose z matters, with posteriors that are not its own."""
    decoder = untrained(MLPDecoder(hidden=3, layers=1), ImageSpec((1, 2, 2)), 1, 3.0, 2)
    return with_posterior(decoder, X, moved(tabulate(decoder, X).exact_posterior(), 0.4, 1.5))


@pytest.fixture(scope="module")
def table(vae):
    return tabulate(vae, X)


@pytest.fixture(scope="module")
def p(table):
    """p(x) of every image."""
    return np.exp(table.log_evidence)


def evaluated(vae, images, seed=0):
    split = BinaryImages(np.ascontiguousarray(images))
    return EvaluatedSplit(vae, Amortized(), split, SeededNoise(seed), len(split), torch.device("cpu"))


def averages(values):
    """Means and their standard errors over the seeds, from the spread of the values themselves."""
    return np.mean(values, 0), np.std(values, 0, ddof=1) / math.sqrt(len(values))


def legendre(start, end, pieces=4000):
    """Points and weights of a composite Gauss-Legendre rule."""
    x, w = np.polynomial.legendre.leggauss(10)
    edges, half = np.linspace(start, end, pieces + 1), (end - start) / pieces / 2
    return (edges[:-1, None] + half * (x + 1)).ravel(), np.tile(w * half, pieces)


def test_the_probabilities_of_all_images_sum_to_one(p):
    assert p.sum() == pytest.approx(1, abs=1e-7)


def test_the_probabilities_of_all_documents_sum_to_one():
    every = torch.tensor([[2, *words] for words in product(range(6), repeat=2)])
    decoder = untrained(LSTMDecoder(embedding=3, hidden=4), TextSpec(6), 2, 1.5, 0)
    assert np.exp(tabulate(decoder, every).log_evidence).sum() == pytest.approx(1, abs=1e-9)


def test_the_table_holds_the_integrals(vae, table):
    """By another rule, and by torch's own distributions in float32."""
    z, weights = legendre(-15, 15)
    normal, points = torch.distributions.Normal, torch.from_numpy(z).float()
    with torch.no_grad():
        log_p = vae.log_likelihood(X, points[:, None, None].expand(-1, 16, 1)).double().numpy().T
        q = vae.encode(X)
    prior = normal(0.0, 1.0).log_prob(points).exp().numpy()
    assert table.log_evidence == pytest.approx(np.log(np.exp(log_p) @ (weights * prior)), abs=1e-5)
    own = normal(q.mean, (0.5 * q.logvar).exp()).log_prob(points).exp().numpy()
    assert table.reconstruction == pytest.approx(-(own * log_p) @ weights, abs=1e-5)


def test_the_bound_misses_the_likelihood_by_the_gap_and_kl_is_analytic(table):
    gap = table.under_q(table.log_q - table.log_posterior)
    assert table.reconstruction + table.kl + table.log_evidence == pytest.approx(gap, abs=1e-9)
    assert (gap > 0).all()
    variance = np.exp(table.logvar)
    analytic = 0.5 * (table.mean**2 + variance - table.logvar - 1)
    assert table.kl == pytest.approx(analytic[:, 0], abs=1e-9)


def test_kl_is_information_plus_aggregate_kl(table):
    counts = np.arange(16)
    total = table.mutual_information(counts) + table.aggregate_kl(counts)
    assert total == pytest.approx(counts @ table.kl / counts.sum(), abs=1e-9)
    assert table.leave_one_out(counts) > table.mutual_information(counts) > 0


def test_an_image_twice_tells_nothing_of_which_it_is(table):
    twice = np.zeros(16, int)
    twice[3] = 2
    assert table.mutual_information(twice) == pytest.approx(0, abs=1e-9)
    assert table.leave_one_out(twice) == pytest.approx(0, abs=1e-9)
    assert table.delta_shuffle(twice) == pytest.approx(0, abs=1e-9)


def test_latent_use_is_the_mean_over_all_pairs(table):
    n, volume = 3, table.volume
    chosen = [1, 6, 6]
    counts = np.bincount(chosen, minlength=16)
    cost = [[(np.exp(table.log_q[k]) * table.log_likelihood[i]).sum() * volume for k in chosen] for i in chosen]
    own, others = np.trace(cost) / n, (np.sum(cost) - np.trace(cost)) / (n * (n - 1))
    assert table.delta_shuffle(counts) == pytest.approx(own - others)


def test_the_exact_posterior_is_matched_in_mean_and_variance(table):
    matched = table.exact_posterior()
    density_ = np.exp(table.log_posterior[4]) * table.volume
    assert density_.sum() == pytest.approx(1, abs=1e-9)
    mean = density_ @ table.z[:, 0]
    assert matched.mean[4].item() == pytest.approx(mean)
    assert matched.logvar[4].exp().item() == pytest.approx(density_ @ (table.z[:, 0] - mean) ** 2)


def test_the_bound_of_one_and_two_samples_has_its_exact_mean(vae, table):
    """K = 1 is the ELBO; K = 2 is a double integral."""
    log_w = table.log_likelihood + table.log_prior - table.log_q
    q = np.exp(table.log_q) * table.volume
    thin = slice(None, None, max(1, len(table.z) // 600))
    exact = []
    for weights, log_weights in zip(q[:, thin], log_w[:, thin], strict=True):
        pair = np.logaddexp(log_weights[:, None], log_weights) - math.log(2)
        exact.append(-(weights @ pair @ weights) / weights.sum() ** 2)
    seeds = range(150)
    bounds = [IWNLL(samples=2).evaluate(evaluated(vae, np.repeat(IMAGES, 20, 0), seed)) for seed in seeds]
    mean, error = averages([[bound["iw_nll[1]"].value, bound["iw_nll[2]"].value] for bound in bounds])
    assert abs(mean[0] - (table.reconstruction + table.kl).mean()) < 4 * error[0]
    assert abs(mean[1] - np.mean(exact)) < 4 * error[1]
    assert error.max() < 0.01


@pytest.mark.slow
def test_bounds_on_the_likelihood_bound_and_tighten_with_k(vae, table):
    sizes = (1, 2, 4, 8, 16, 32, 64)
    measured = [IWNLL(samples=64).evaluate(evaluated(vae, np.repeat(IMAGES, 8, 0), seed)) for seed in range(60)]
    mean, error = averages([[each[f"iw_nll[{k}]"].value for k in sizes] for each in measured])
    assert (np.diff(mean) < 0).all()
    exact = -table.log_evidence.mean()
    assert (mean > exact - 4 * error).all()
    gaps = mean - exact
    assert gaps[0] > 20 * error[0]
    assert gaps[-1] < 0.1 * gaps[0]


def test_the_elbo_and_latent_use_have_their_exact_means(vae, table):
    counts = np.arange(1, 17)
    exact = [
        counts @ (table.reconstruction + table.kl) / counts.sum(),
        counts @ table.reconstruction / counts.sum(),
        table.delta_shuffle(counts),
    ]
    values = []
    for seed in range(100):
        split = evaluated(vae, np.repeat(IMAGES, counts, 0), seed)
        measured = NegELBO().evaluate(split) | LatentUse().evaluate(split)
        values.append([measured[name].value for name in ("neg_elbo", "reconstruction", "delta_shuffle")])
    mean, error = averages(values)
    assert (np.abs(mean - exact) < 4 * error).all()


def test_the_bracket_of_a_split_has_its_exact_means(vae, table):
    """Given the split there is no bias at all: both bounds estimate what quadrature gives."""
    counts = np.array([0, 3, 1, 0, 2, 1, 0, 5, 1, 0, 0, 2, 4, 0, 0, 1])
    measured = [MutualInformation().evaluate(evaluated(vae, np.repeat(IMAGES, counts, 0), s)) for s in range(200)]
    names = ("mi_lower", "mi_leave_one_out", "aggregate_kl")
    mean, error = averages([[each[name].value for name in names] for each in measured])
    exact = [table.mutual_information(counts), table.leave_one_out(counts), table.aggregate_kl(counts)]
    assert (np.abs(mean - exact) < 4 * error).all()
    assert error.max() < 0.03


def test_bounds_on_the_information_bound_and_tighten_with_n(vae, table, p):
    """Splits drawn from p(x): on average the bracket holds I(x; z), and it closes as N grows."""
    information, widths = table.mutual_information(1e6 * p), []
    for n in (4, 16, 64, 256):
        measured = []
        for seed in range(60):
            drawn = np.random.default_rng([n, seed]).choice(16, size=n, p=p / p.sum())
            measured.append(MutualInformation().evaluate(evaluated(vae, IMAGES[drawn], seed)))
        mean, error = averages([[each["mi_lower"].value, each["mi_leave_one_out"].value] for each in measured])
        assert mean[0] < information + 4 * error[0]
        assert mean[1] > information - 4 * error[1]
        widths.append(mean[1] - mean[0])
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.05 * widths[0]


def test_other_priors_are_refused(vae):
    other = copy.deepcopy(vae)
    other.own_prior = "a mixture"
    with pytest.raises(UsageError, match=r"quadrature needs the prior N\(0, I\), got 'a mixture'"):
        tabulate(other, X)


def test_a_grid_that_does_not_settle_is_an_error(vae, monkeypatch):
    monkeypatch.setattr(discrete, "ENTRIES", 2**12)
    with pytest.raises(CollapsebenchError, match="does not settle to 1e-12 nats on 4096 entries"):
        tabulate(vae, X, tolerance=1e-12)
