r"""Log-likelihoods log p(x|z) in nats: pure tensor mathematics.

Symbols: S samples of z, B examples. x has no sample axis. Each function gives (S, B), the sums over the symbols of an
example.
"""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

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
