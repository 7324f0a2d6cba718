r"""A posterior is a density: \(\int q(z|x)\,dz = 1\), and its draws have the log-density that it states.

A family with \(\log q(z|x) - c\) in place of \(\log q(z|x)\) lowers its KL, −ELBO and IW-NLL by c, for nothing.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from collapsebench.errors import PluginError
from collapsebench.guards import spheres
from collapsebench.guards.priors import ERRORS, SLACK, wrong_integral
from collapsebench.model.distributions import DiagonalGaussian, PriorDistribution, StandardNormal
from collapsebench.model.posterior import PosteriorDistribution
from collapsebench.model.seeding import Noise

DRAWS = 2**14
"""The draws of all examples together."""

EXAMPLES = 4
"""So many examples are looked at, evenly from a batch."""

COMPARED = 256
"""So many draws are looked at by both functions."""

NARROWER = 0.8
"""The covariance of the Gaussian by that of the draws: it must not have the heavier tails."""

TOLERANCE = 1e-6
"""The largest difference of two log-densities of one draw, relative to their size or to one, in float64."""


def check_posterior(posterior: PosteriorDistribution, prior: PriorDistribution, noise: Noise) -> None:
    r"""Raise PluginError if the posterior of an example is no density. Diagonal Gaussians are known to be one.

    Codes, densities and mean must have their shapes. The log-density of a draw must be that of `log_prob`. The integral
    is \(E_q[r(z)/q(z|x)]\), for the prior and for a Gaussian r with the moments of other draws, or on the unit sphere
    for such a power spherical r. A KL in closed form must be \(E_q[\log q(z|x) - \log p(z)]\), also for Gaussians. This
    catches a density or a KL that is off by a constant or a factor. It is asked as the metrics ask: for several
    examples together, in float64. It says nothing where r covers q badly, and nothing about examples and parameters
    that it does not see.
    """
    known = type(posterior) is DiagonalGaussian
    if not posterior.parameters.shape[1] or (known and type(prior) is StandardNormal):
        return
    with torch.no_grad():
        given = posterior.parameters[:, :EXAMPLES].double()
        number = given.shape[1]
        same = posterior.at(given.repeat(1, DRAWS // number, 1))  # example by example, again and again
        if type(same) is not type(posterior):
            raise PluginError(
                f"the posterior {type(posterior).__name__} becomes {type(same).__name__} at other parameters: at() "
                "must give the same family"
            )
        drawn = same[:].draws((noise,))
        z, found = drawn.z[0], drawn.log_q()[0]
        _check_shapes(same, z, found)
        _check_agreement(found[:COMPARED], same[:COMPARED].log_prob(z[None, :COMPARED])[0], posterior)
        log_p, kl = prior.log_prob(z[None])[0], prior.kl(same[:number])
        for row in range(number):
            its = slice(row, None, number)
            if not known:
                _check_integral(z[its], found[its], log_p[its], posterior)
            if kl is not None:
                _check_kl(kl[row], found[its] - log_p[its], posterior)


def _check_shapes(posterior: PosteriorDistribution, z: Tensor, log_q: Tensor) -> None:
    """Look at codes and densities of N examples, and at the mean of one. The metrics ask for the mean, at the end."""
    number, units = posterior.like.shape
    _check_shape("draws codes", z, (number, units), posterior)
    _check_shape("draws log-densities", log_q, (number,), posterior)
    _check_shape("gives a log_prob", posterior[:1].log_prob(z[:2, None]), (2, 1), posterior)
    _check_shape("has a mean", posterior[:1].mean, (1, units), posterior)


def _check_shape(what: str, found: Tensor, wanted: tuple[int, ...], posterior: PosteriorDistribution) -> None:
    if found.shape != wanted:
        name = type(posterior).__name__
        raise PluginError(f"the posterior {name} {what} of the shape {tuple(found.shape)}, and not {wanted}")


def _check_integral(z: Tensor, log_q: Tensor, log_p: Tensor, posterior: PosteriorDistribution) -> None:
    half = len(z) // 2  # at the draws to which it is fitted a density is too large: by a quarter in 32 units
    for log_r, whole in _compared(z[:half], z[half:], log_p[half:]):
        wrong = wrong_integral(log_r - log_q[half:], whole=whole)
        if wrong:
            raise PluginError(
                f"the posterior {type(posterior).__name__} integrates to 1/({wrong}) and not to 1: "
                "log q(z|x) is no log-density"
            )


def _check_kl(stated: Tensor, ratios: Tensor, posterior: PosteriorDistribution) -> None:
    kl, estimate = float(stated.sum()), float(ratios.mean())
    error = float(ratios.std()) / math.sqrt(len(ratios))
    if not abs(kl - estimate) <= ERRORS * error + SLACK * (1 + abs(kl)):
        raise PluginError(
            f"the KL of the posterior {type(posterior).__name__} is {kl:.4g} nats where its density gives "
            f"{estimate:.4g} ± {error:.2g}; kl() must be exact"
        )


def _check_agreement(drawn: Tensor, given: Tensor, posterior: PosteriorDistribution) -> None:
    if not torch.allclose(drawn, given, rtol=TOLERANCE, atol=TOLERANCE):
        worst = float((drawn - given).abs().max())
        raise PluginError(
            f"the posterior {type(posterior).__name__} states two log-densities of its draws, {worst:.3g} nats apart"
        )


def _compared(fitted: Tensor, z: Tensor, log_p: Tensor) -> tuple[tuple[Tensor, bool], ...]:
    """Give known log-densities of the draws, (N, D): that of the prior, and one with about the moments of other draws.

    Each comes with whether the draws reach all of it. Those of one mode of a prior do not reach the others. A prior on
    the sphere is left out, as a posterior may vanish in one point there.
    """
    if spheres.on_sphere(fitted):
        return ((spheres.around(fitted, z), True),)
    covariance = NARROWER * fitted.T.cov().reshape(z.shape[1], z.shape[1])  # that of one unit is no matrix
    near: Tensor = MultivariateNormal(fitted.mean(0), covariance).log_prob(z)  # type: ignore[no-untyped-call]
    return (log_p, False), (near, True)
