"""What closed forms say of the linear model beyond what the self-check asks them for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from collapsebench.data.linear_gaussian import basis
from collapsebench.selfcheck.exact.linear import LinearVAE, Moments


def moments_of(eigenvalues: Sequence[float]) -> Moments:
    """The moments of the distribution that `linear-gaussian` draws from."""
    axes = basis(len(eigenvalues))
    return Moments(np.zeros(len(axes)), axes * np.asarray(eigenvalues, np.float64) @ axes.T)


def gap(model: LinearVAE, moments: Moments) -> float:
    r"""\(E_x KL(q(z|x) \| p(z|x))\): what the ELBO of a LinearVAE misses the likelihood by."""
    mean, covariance = model.exact_posterior(moments.mean)
    precision = np.linalg.inv(covariance)
    offset = model.posterior_mean(moments.mean) - mean
    difference = model.encoder - covariance @ model.weights.T / model.variance
    squares = np.outer(offset, offset) + difference @ moments.covariance @ difference.T
    spread = np.trace(precision @ (squares + np.diag(model.posterior_variance)))
    log_ratio = np.linalg.slogdet(covariance)[1] - np.log(model.posterior_variance).sum()
    return float(0.5 * (spread + log_ratio - len(mean)))
