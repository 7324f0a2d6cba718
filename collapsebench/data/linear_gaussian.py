r"""Gaussian vectors with a chosen spectrum. The linear VAE on them has a closed form (Tipping and Bishop 1999).

x ~ N(0, U diag(\lambda) U^T). With a linear decoder of variance \(\sigma^2\) and D units, the optimum is probabilistic
PCA: unit j is active iff \(\lambda_j > \sigma^2\), the posterior is exact, and the bound is the likelihood (Lucas et
al. 2019, "Don't blame the ELBO").
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from collapsebench.data.splits import Vectors

Floats: TypeAlias = NDArray[np.float64]
GRID = 2.0**-12
"""Values are rounded to multiples of this number, so that the last digits of a machine do not matter."""


class Optimum(NamedTuple):
    """The best that a linear VAE can do."""

    kl: Floats
    """KL(q || p) of each unit, also its mutual information with x; (D,), nats."""
    log_likelihood: float
    """E log p(x), also the ELBO; nats per example."""

    @property
    def active(self) -> int:
        """The number of units that do not collapse."""
        return int(np.count_nonzero(self.kl))


def basis(dimension: int) -> Floats:
    """Return the orthonormal vectors of the discrete cosine transform, as columns: (P, P)."""
    points = np.arange(dimension)
    columns: Floats = np.sqrt(2 / dimension) * np.cos(np.pi / dimension * np.outer(points + 0.5, points))
    columns[:, 0] /= np.sqrt(2)
    return columns


def draw(eigenvalues: ArrayLike, sizes: Iterable[int], seed: int) -> list[Vectors]:
    """Draw one split for each size, from a generator of its own, with the covariance U diag(eigenvalues) U^T."""
    scale = np.sqrt(np.asarray(eigenvalues, np.float64))
    axes = scale * basis(len(scale))
    splits = []
    for i, size in enumerate(sizes, 1):
        values = np.random.RandomState([seed, i]).standard_normal((size, len(scale))) @ axes.T
        splits.append(Vectors((np.round(values / GRID) * GRID).astype(np.float32)))
    return splits


def optimum(eigenvalues: ArrayLike, latent_dim: int, variance: float) -> Optimum:
    r"""Return the linear VAE's optimum at a fixed decoder variance \(\sigma^2\).

    \(KL_j = \tfrac12 \ln(\lambda_j/\sigma^2)\) where \(\lambda_j > \sigma^2\), else 0. The model's covariance has the
    eigenvalues \(c_j = \lambda_j\) of active units and \(\sigma^2\) elsewhere, so
    \(E \log p(x) = -\tfrac12 \sum_j [\ln 2\pi + \ln c_j + \lambda_j / c_j]\).
    """
    spectrum = np.sort(np.asarray(eigenvalues, np.float64))[::-1]
    modelled = _modelled(spectrum, latent_dim, variance)
    log_likelihood = -0.5 * float(np.sum(np.log(2 * np.pi * modelled) + spectrum / modelled))
    kl = np.zeros(latent_dim)
    kl[: len(spectrum)] = 0.5 * np.log(modelled[:latent_dim] / variance)
    return Optimum(kl, log_likelihood)


def neg_log_likelihood(values: ArrayLike, eigenvalues: ArrayLike, latent_dim: int, variance: float) -> Floats:
    r"""Return \(-\log p(x)\) of every example under the optimum for the whole distribution, (N, P) -> (N,) nats."""
    scores = np.asarray(values, np.float64) @ basis(len(np.asarray(eigenvalues)))
    largest = np.argsort(-np.asarray(eigenvalues, np.float64), kind="stable")
    modelled = _modelled(np.asarray(eigenvalues, np.float64)[largest], latent_dim, variance)
    nll: Floats = 0.5 * (np.log(2 * np.pi * modelled) + scores[:, largest] ** 2 / modelled).sum(1)
    return nll


def _modelled(spectrum: Floats, latent_dim: int, variance: float) -> Floats:
    """Return the eigenvalues of the model's covariance. `spectrum` has those of the data in falling order."""
    modelled = np.full_like(spectrum, variance)
    modelled[:latent_dim] = np.maximum(spectrum[:latent_dim], variance)
    return modelled


def best_variance(eigenvalues: ArrayLike, latent_dim: int) -> float:
    """Return the decoder variance of maximum likelihood: the mean of the eigenvalues that no unit can take.

    Raises ValueError if there is a unit for every eigenvalue, because the likelihood then has no maximum.
    """
    spectrum = np.sort(np.asarray(eigenvalues, np.float64))[::-1]
    if latent_dim >= len(spectrum):
        raise ValueError(f"{latent_dim} units take all {len(spectrum)} eigenvalues: no variance is the best")
    return float(spectrum[latent_dim:].mean())


def entropy(eigenvalues: ArrayLike) -> float:
    r"""Return \(H(x) = \tfrac12 \sum_j \ln(2 \pi e \lambda_j)\), in nats. No model can beat it in expectation."""
    return 0.5 * float(np.sum(np.log(2 * np.pi * np.e * np.asarray(eigenvalues, np.float64))))
