r"""Log-likelihoods log p(x|z) in nats: pure tensor mathematics.

Symbols: S samples of z, B examples. x has no sample axis. Each function gives (S, B), the sums over the symbols of an
example.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid

from collapsebench.model.distributions import LOG_2PI

CLAMP = 1e-5
"""Bernoulli probabilities are clamped to [1e-5, 1 - 1e-5] (released code of Kim et al. 2018, Dieng et al. 2019)."""


def bernoulli(probability: Float[Tensor, "S B P"], x: Float[Tensor, "B P"]) -> Float[Tensor, "S B"]:
    r"""Give \(\sum_p x_p \log \pi_p + (1 - x_p) \log(1 - \pi_p)\) with clamped probabilities \(\pi\).

    A clamped probability has gradient zero, so that training moves it in neither direction.
    """
    clamped = probability.clamp(CLAMP, 1 - CLAMP)
    return (x * clamped.log() + (1 - x) * (-clamped).log1p()).sum(-1)


def categorical(logits: Float[Tensor, "S B T V"], tokens: Int[Tensor, "B T"]) -> Float[Tensor, "S B"]:
    r"""Give \(\sum_t \log \mathrm{softmax}(\mathrm{logits}_t)_{x_t}\)."""
    targets = tokens.expand(logits.shape[:-1])
    return -cross_entropy(logits.flatten(0, 2), targets.flatten(), reduction="none").view_as(targets).sum(-1)


def gaussian(
    mean: Float[Tensor, "S B P"], log_variance: Float[Tensor, ""], x: Float[Tensor, "B P"]
) -> Float[Tensor, "S B"]:
    r"""Give \(-\tfrac12 \sum_p [\log 2\pi + \ell + (x_p - \mu_p)^2 e^{-\ell}]\) with one log-variance \(\ell\)."""
    squares = (x - mean).square() * (-log_variance).exp()
    return -0.5 * (LOG_2PI + log_variance + squares).sum(-1)


def discretized_logistic(
    location: Float[Tensor, "S B P"], log_scale: Float[Tensor, "S B P"], x: Float[Tensor, "B P"], levels: int
) -> Float[Tensor, "S B"]:
    r"""Give \(\sum_p \log[\sigma((x_p + h - \mu_p)/s_p) - \sigma((x_p - h - \mu_p)/s_p)]\).

    x holds the levels \(0, 2h, \ldots, 1\), so that \(h = 1/(2(\mathrm{levels} - 1))\). The lowest level
    has all mass below it, too, and the highest all above it (Salimans et al. 2017, PixelCNN++, equation 2 with one
    component; Kingma et al. 2016). With a and b for the two arguments,
    \(\sigma(a) - \sigma(b) = \sigma(a)\,\sigma(-b)\,(1 - e^{b - a})\), where nothing cancels.
    """
    half = 0.5 / (levels - 1)
    inverse_scale = (-log_scale).exp()
    below = logsigmoid((x + half - location) * inverse_scale)
    above = logsigmoid((location - x + half) * inverse_scale)
    within = (-(-2 * half * inverse_scale).expm1()).log()
    inner = below + above + within
    return inner.where(x > half, below).where(x < 1 - half, above).sum(-1)


def negative_binomial(
    log_mean: Float[Tensor, "S B P"], log_dispersion: Float[Tensor, "S B P"], x: Float[Tensor, "B P"]
) -> Float[Tensor, "S B"]:
    r"""Give \(\sum_p \log[\frac{\Gamma(x_p + r_p)}{\Gamma(r_p)\,x_p!} p_p^{r_p} (1 - p_p)^{x_p}]\), \(p = r/(r + m)\).

    x holds counts. They have the mean m and the variance \(m + m^2/r\), where r is the inverse dispersion of Lopez et
    al. (2018, scVI). Both are given by their logs.
    """
    dispersion, total = log_dispersion.exp(), torch.logaddexp(log_mean, log_dispersion)
    ways = (x + dispersion).lgamma() - dispersion.lgamma() - (x + 1).lgamma()
    return (ways + dispersion * (log_dispersion - total) + x * (log_mean - total)).sum(-1)
