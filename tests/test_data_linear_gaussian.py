"""Linear-Gaussian data against linear algebra."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import multivariate_normal

from collapsebench.data.generated import LinearGaussian
from collapsebench.data.linear_gaussian import GRID, basis, best_variance, draw, entropy, optimum

SPECTRA = st.lists(st.floats(0.05, 20), min_size=2, max_size=6)


def expected_log_likelihood(covariance, modelled):
    """E log N(x; 0, modelled) for x ~ N(0, covariance)."""
    _, log_determinant = np.linalg.slogdet(2 * np.pi * modelled)
    return -0.5 * (log_determinant + np.trace(np.linalg.solve(modelled, covariance)))


@pytest.mark.parametrize("dimension", [1, 2, 7])
def test_the_basis_is_orthonormal(dimension):
    assert basis(dimension).T @ basis(dimension) == pytest.approx(np.eye(dimension), abs=1e-14)


@given(SPECTRA, st.integers(1, 6), st.floats(0.1, 10))
def test_the_optimum_has_the_likelihood_of_its_covariance(spectrum, latent_dim, variance):
    best = optimum(spectrum, latent_dim, variance)
    u = basis(len(spectrum))
    ordered = np.sort(spectrum)[::-1]
    gain = np.maximum(ordered - variance, 0) * (np.arange(len(spectrum)) < latent_dim)
    modelled = u @ np.diag(gain + variance) @ u.T
    assert best.log_likelihood == pytest.approx(expected_log_likelihood(u @ np.diag(ordered) @ u.T, modelled))
    assert best.kl.shape == (latent_dim,)
    # The information of z about x: half the log determinant of I + W^T W / variance.
    assert best.kl.sum() == pytest.approx(0.5 * np.log1p(gain / variance).sum())
    assert best.active == (gain > 0).sum()


@given(SPECTRA, st.floats(0.1, 10), st.integers(0, 2**32 - 1))
def test_no_other_weights_are_better(spectrum, variance, seed):
    rng, size = np.random.default_rng(seed), len(spectrum)
    covariance = basis(size) @ np.diag(spectrum) @ basis(size).T
    weights = rng.normal(size=(size, 2)) * rng.uniform(0, 4)
    other = expected_log_likelihood(covariance, weights @ weights.T + variance * np.eye(size))
    assert other <= optimum(spectrum, 2, variance).log_likelihood + 1e-9


@given(SPECTRA, st.integers(1, 5), st.floats(0.05, 20))
def test_no_other_variance_is_better(spectrum, latent_dim, variance):
    if latent_dim >= len(spectrum):
        return
    best = optimum(spectrum, latent_dim, best_variance(spectrum, latent_dim)).log_likelihood
    assert optimum(spectrum, latent_dim, variance).log_likelihood <= best + 1e-9


@given(SPECTRA)
def test_the_entropy_is_the_gaussian_s(spectrum):
    assert entropy(spectrum) == pytest.approx(multivariate_normal(cov=np.diag(spectrum)).entropy())
    assert optimum(spectrum, len(spectrum), min(spectrum)).log_likelihood == pytest.approx(-entropy(spectrum))


def test_examples_have_the_covariance():
    spectrum = [9.0, 4.0, 1.0, 0.25]
    (split,) = draw(spectrum, [50_000], seed=0)
    scores = split.values.astype(np.float64) @ basis(4) / np.sqrt(spectrum)
    assert scores.mean(0) == pytest.approx(np.zeros(4), abs=4.5 / np.sqrt(50_000))
    assert scores.T @ scores / 50_000 == pytest.approx(np.eye(4), abs=4.5 * np.sqrt(2 / 50_000))


def test_values_lie_on_the_grid_so_that_last_digits_do_not_matter():
    (split,) = draw([4.0, 1.0], [100], seed=0)
    assert split.values.dtype == np.float32
    assert (split.values / GRID == np.round(split.values / GRID)).all()


def test_the_dataset_and_its_truth():
    data = LinearGaussian(spectrum=(4.0, 1.0), noise_variance=0.5, dimension=3, train=20, valid=5, test=7)
    splits = data.load(Path("nowhere"))
    assert [len(split) for split in (splits.train, splits.valid, splits.test)] == [20, 5, 7]
    assert len(set(splits.hashes().values())) == 3
    assert data.eigenvalues == (4.0, 1.0, 0.5)
    truth = data.truth()
    assert truth["entropy"].value == pytest.approx(1.5 * np.log(2 * np.pi * np.e) + 0.5 * np.log(2))
    assert truth["mutual-information"].value == pytest.approx(0.5 * np.log(8 * 2))
    assert truth["entropy"].standard_error is None


def test_the_quick_track_s_units_are_as_described():
    best = optimum(LinearGaussian().eigenvalues, latent_dim=5, variance=1.5)
    assert best.active == 3
    assert best.kl.sum() == pytest.approx(1.530, abs=5e-4)


def test_a_spectrum_larger_than_the_dimension_is_refused():
    with pytest.raises(ValidationError, match="a spectrum of 5 values needs at least this dimension"):
        LinearGaussian(dimension=4)
