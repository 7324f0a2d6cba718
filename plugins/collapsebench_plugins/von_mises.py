r"""The von Mises-Fisher distribution: its constants, and its sampler by Wood (1994).

Its concentration is a number, so that the constants are floats of 64 bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import special
from torch import Tensor, nn

from collapsebench import DiagonalGaussian, Draw, Noise
from collapsebench_plugins.rejection import first_accepted
from collapsebench_plugins.spheres import SphericalPosterior, cosine, log_area, unit


def log_bessel(order: float, x: float) -> float:
    r"""Give \(\ln I_\nu(x)\) of the modified Bessel function, also where the function itself leaves the floats.

    Above, it is scaled by \(e^{-x}\). Below, with an order far above x, its series \(\sum_k (x/2)^{2k+\nu} / (k!\,
    \Gamma(\nu+k+1))\) ends soon.
    """
    scaled = float(special.ive(order, x))
    if scaled > 1e-290:
        return math.log(scaled) + x
    k = np.arange(int(x) + 100)
    terms = (2 * k + order) * math.log(x / 2) - special.gammaln(k + 1) - special.gammaln(order + k + 1)
    return float(special.logsumexp(terms))


@cache
def log_constant(latent_dim: int, kappa: float) -> float:
    r"""Give \(\ln C_D(\kappa)\), of the density \(C_D(\kappa)\, e^{\kappa \mu^\top z}\)."""
    order = latent_dim / 2 - 1
    return order * math.log(kappa) - latent_dim / 2 * math.log(2 * math.pi) - log_bessel(order, kappa)


@cache
def mean_resultant(latent_dim: int, kappa: float) -> float:
    r"""Give \(A_D(\kappa) = I_{D/2}(\kappa) / I_{D/2-1}(\kappa)\), the length of the mean of z."""
    above, below = (float(special.ive(order, kappa)) for order in (latent_dim / 2, latent_dim / 2 - 1))
    if above > 1e-290:
        return above / below
    return math.exp(log_bessel(latent_dim / 2, kappa) - log_bessel(latent_dim / 2 - 1, kappa))


def divergence(latent_dim: int, kappa: float) -> float:
    r"""Give the KL to the uniform distribution on the sphere, \(\kappa A_D(\kappa) + \ln C_D(\kappa) + \ln |S|\)."""
    return kappa * mean_resultant(latent_dim, kappa) + log_constant(latent_dim, kappa) + log_area(latent_dim)


def wood(latent_dim: int, kappa: float, beta: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    r"""Give what Wood's rejection makes of draws from Beta((D-1)/2, (D-1)/2) and U[0, 1): 1 - w, and the accepted ones.

    w is the cosine of code and direction. Its distance from one keeps its digits where codes lie close to it.
    """
    number = latent_dim - 1
    b = number / (2 * kappa + math.sqrt(4 * kappa**2 + number**2))
    start = 2 * b / (1 + b)  # 1 - w of the mode of the ratio of both densities
    distance = 2 * b * beta / (1 - (1 - b) * beta)
    tilt = (start + (1 - start) * distance).log() - math.log(start * (2 - start))
    return distance, kappa * (start - distance) + number * tilt >= uniform.log()


def around(mu: Tensor, distance: Tensor, normal: Tensor) -> Tensor:
    r"""Give \(z = w \mu + \sqrt{1 - w^2}\, v\) of directions and normal draws, both (B, D), and of 1 - w, (B,).

    v is the direction of the part of the normal draw that is orthogonal to \(\mu\).
    """
    distance = distance[:, None]
    across = unit(normal - (normal * mu).sum(-1, keepdim=True) * mu)
    return (1 - distance) * mu + (distance * (2 - distance)).sqrt() * across


@dataclass(frozen=True)
class VonMisesFisher(SphericalPosterior):
    """The distributions around the directions of vectors, (B, D), with one concentration for all."""

    location: Tensor
    kappa: float

    @property
    def mean(self) -> Tensor:
        """E[z], (B, D), which lies within the sphere."""
        return mean_resultant(self._dim, self.kappa) * self.mu

    @property
    def parameters(self) -> Tensor:
        """The vectors, (1, B, D), of any length."""
        return self.location[None]

    def at(self, parameters: Tensor) -> VonMisesFisher:
        """Give the distributions around the directions of these vectors, (1, B, D)."""
        return VonMisesFisher(parameters[0], self.kappa)

    def draw(self, noise: Noise) -> Draw:
        """Draw by Wood's rejection. The gradient goes through the directions, as the cosine does not depend on them."""
        distance = first_accepted(self._propose, noise.child("along"))
        z = around(self.mu, distance, noise.child("across").normal(tuple(self.mu.shape), self.mu))
        return Draw(z, lambda: self.log_prob(z[None])[0])

    def _propose(self, noise: Noise, number: int) -> tuple[Tensor, Tensor]:
        """Give proposals from the first coordinates of uniform directions: (1 + those)/2 has the Beta distribution."""
        directions = unit(noise.child("beta").normal((number, *self.mu.shape), self.mu))
        uniform = noise.child("uniform").uniform((number, len(self.mu)), self.mu)
        return wood(self._dim, self.kappa, (1 + directions[..., 0]) / 2, uniform)

    def log_prob(self, z: Tensor) -> Tensor:
        r"""Give \(\kappa \mu^\top z + \ln C_D(\kappa)\), (S, B), in nats."""
        return self.kappa * cosine(self.mu, z) + log_constant(self._dim, self.kappa)

    def kl_to_uniform(self) -> Tensor:
        """Give the KL, which is the same for all examples."""
        return self.mu.new_full((len(self.mu), 1), divergence(self._dim, self.kappa))

    @property
    def _dim(self) -> int:
        return self.location.shape[1]


class AroundTheMean(nn.Module):
    """(q, features) -> the distribution around the direction of the mean of q."""

    def __init__(self, kappa: float) -> None:
        super().__init__()
        self.kappa = kappa

    def forward(self, posterior: DiagonalGaussian, features: Tensor) -> VonMisesFisher:
        """Leave the log-variances out."""
        del features
        return VonMisesFisher(unit(posterior.mean), self.kappa)
