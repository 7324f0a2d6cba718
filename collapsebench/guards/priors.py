r"""A prior is a density: \(\int p(z)\,dz = 1\), and its KL is that of its density.

A prior with \(\log p(z) + c\) in place of \(\log p(z)\) lowers every −ELBO and IW-NLL by c, for nothing.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from collapsebench.errors import PluginError
from collapsebench.guards import spheres
from collapsebench.model.distributions import DiagonalGaussian, PriorDistribution, StandardNormal
from collapsebench.model.seeding import Noise

DRAWS = 2**15
"""The draws of each estimate."""

POSTERIORS = 4
"""The posteriors at which the KL is compared."""

WIDER = 1.1
"""The variance of the proposal by that of the prior's own draws: it must not have the lighter tails."""

ENOUGH = 200.0
"""The least effective number of draws of an estimate that tells something."""

ERRORS = 6.0
"""So many standard errors are no accident."""

SLACK = 1e-3
"""Rounding of a density whose parameters are in float32, in nats."""


def check_prior(prior: PriorDistribution, noise: Noise) -> None:
    r"""Raise PluginError if a prior does not integrate to one, or its KL is not that of its density.

    The integral is \(E_r[p(z)/r(z)]\) with a Gaussian r around the prior's own draws. If these lie on the unit sphere,
    r is uniform there, and densities are those on its surface. The KL of four posteriors is
    compared with \(E_q[\log q(z) - \log p(z)]\), if there is one. This catches a density or a KL that is off by a
    constant, by a factor or in a unit. It says nothing where r covers the prior badly, as with narrow components in
    many dimensions, and nothing about a posterior far from the prior. Codes are in float64, as those of the metrics.
    """
    if type(prior) is StandardNormal or not prior.latent_dim:
        return
    with torch.no_grad():
        _check_kl(prior, noise.child("kl"))
        _check_integral(prior, noise.child("integral"))


def _check_integral(prior: PriorDistribution, noise: Noise) -> None:
    drawn = prior.sample(DRAWS, noise.child("prior")).double()
    normal = noise.normal((DRAWS, 1, prior.latent_dim), drawn)
    if spheres.on_sphere(drawn):
        z = torch.nn.functional.normalize(normal, dim=-1)
        log_r = spheres.uniform(prior.latent_dim, z[..., 0])
    else:
        mean, variance = drawn.mean(0, keepdim=True), drawn.var(0, keepdim=True) * WIDER
        proposal = DiagonalGaussian(mean, variance.clamp_min(1e-12).log())
        z = proposal.sample(normal)
        log_r = proposal.log_prob(z)
    found = wrong_integral(prior.log_prob(z) - log_r)
    if found:
        raise PluginError(
            f"the prior {type(prior).__name__} integrates to {found} and not to 1: log p(z) is no log-density"
        )


def wrong_integral(log_weights: Tensor, *, whole: bool = True) -> str:
    """Give the mean of the weights of draws with its error, as a text, if there are enough draws and it is not one.

    It may be less if draws do not reach the `whole` density that they are weighted with.
    """
    weights = log_weights.exp()
    integral, error = float(weights.mean()), float(weights.std()) / math.sqrt(weights.numel())
    effective = float(weights.sum().square() / weights.square().sum())
    excess = abs(integral - 1) if whole else integral - 1
    wrong = effective > ENOUGH and excess > ERRORS * error + SLACK
    return f"{integral:.4g} ± {error:.2g}" if wrong else ""


def _check_kl(prior: PriorDistribution, noise: Noise) -> None:
    like = torch.empty(0, dtype=torch.float64)
    mean = noise.child("mean").normal((POSTERIORS, prior.latent_dim), like)
    posterior = DiagonalGaussian(mean, noise.child("logvar").uniform(tuple(mean.shape), like) - 1)
    kl = prior.kl(posterior)
    if kl is None:
        return
    z = posterior.sample(noise.normal((DRAWS, *mean.shape), like))
    ratios = posterior.log_prob(z) - prior.log_prob(z)  # (S, B)
    estimates, errors = ratios.mean(0), ratios.std(0) / math.sqrt(DRAWS)
    stated = kl.sum(-1).double()
    off = (stated - estimates).abs() > ERRORS * errors + SLACK * (1 + stated.abs())
    if off.any():
        worst = int(off.float().argmax())
        raise PluginError(
            f"the prior {type(prior).__name__} gives a KL of {stated[worst]:.4g} nats where its density gives "
            f"{estimates[worst]:.4g} ± {errors[worst]:.2g}; kl() must be exact"
        )
