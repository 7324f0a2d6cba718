r"""The power spherical distribution: \(q(z) = C\, (1 + \mu^\top z)^\kappa\) on the unit sphere.

The cosine is t = 2b - 1 with b from Beta(α, β), \(\alpha = \kappa + \beta\) and \(\beta = (D-1)/2\).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special
from torch import Tensor, nn

from collapsebench import DiagonalGaussian, Draw, Noise
from collapsebench_plugins.spheres import SphericalPosterior, cosine, log_area, unit

NODES = 64
"""The nodes of the integral behind the gradient of the cosine."""

ENDS = 1e-6
"""The smallest distance of half the angle to 0 and to a quarter turn."""

FINER = 2.0**-24
"""The distance of two uniform draws in float32, which a second one fills."""


@dataclass(frozen=True)
class PowerSpherical(SphericalPosterior):
    """The distributions around the directions of vectors, (B, D), of concentrations 1 + softplus(spread), (B,)."""

    location: Tensor
    spread: Tensor

    @property
    def kappa(self) -> Tensor:
        """The concentrations, (B,)."""
        return 1 + nn.functional.softplus(self.spread)

    @property
    def parameters(self) -> Tensor:
        """The vectors, and what the concentrations are made of, which is repeated for each unit: (2, B, D)."""
        return torch.stack((self.location, self.spread[:, None].expand_as(self.location)))

    def at(self, parameters: Tensor) -> PowerSpherical:
        """Give the distributions of these parameters. Of the repeated ones the first counts."""
        return PowerSpherical(parameters[0], parameters[1, :, 0])

    @property
    def mean(self) -> Tensor:
        """E[z], (B, D), which lies within the sphere."""
        return (self.kappa / (self.kappa + 2 * self._beta))[:, None] * self.mu

    def draw(self, noise: Noise) -> Draw:
        """Draw the cosine, and a direction around the first axis, which is reflected to μ. Both have gradients."""
        angle = self._half_angle(noise.child("along"))
        distance = (2 * angle.sin().square()).to(self.mu)
        shape = (len(self.mu), self.mu.shape[1] - 1)
        z = reflected(self.mu, distance, noise.child("across").normal(shape, self.mu))
        return Draw(z, lambda: self.log_prob(z[None])[0])

    def _half_angle(self, noise: Noise) -> Tensor:
        """Draw half of the angle between z and μ, (B,), whose sine is the root of a Beta draw.

        At the same noise it is a smooth function of the concentration, as a finite difference of it has to be.
        """
        kappa = self.kappa.double()
        coarse, fine = (noise.child(name).uniform(tuple(kappa.shape), kappa) for name in ("coarse", "fine"))
        angle = half_angle(coarse + FINER * fine, kappa.detach(), self._beta)
        return with_gradient(angle, kappa, self._beta) if kappa.requires_grad else angle

    def log_prob(self, z: Tensor) -> Tensor:
        r"""Give \(\ln C + \kappa \ln(1 + \mu^\top z)\), (S, B), in nats."""
        return log_constant(self.kappa, self._beta) + self.kappa * torch.log1p(cosine(self.mu, z))

    def kl_to_uniform(self) -> Tensor:
        r"""Give \(\ln C + \kappa\, (\ln 2 + \psi(\alpha) - \psi(\alpha + \beta)) + \ln |S|\), (B, 1)."""
        kappa, beta = self.kappa.double(), self._beta
        bent = math.log(2) + torch.digamma(kappa + beta) - torch.digamma(kappa + 2 * beta)
        found = log_constant(kappa, beta) + kappa * bent + log_area(self.mu.shape[1])
        return found[:, None].to(self.mu)

    @property
    def _beta(self) -> float:
        return (self.location.shape[1] - 1) / 2


@dataclass(frozen=True)
class FixedPowerSpherical(PowerSpherical):
    """The distributions around the directions of vectors, (B, D), of one concentration."""

    fixed: float

    @property
    def kappa(self) -> Tensor:
        """The concentration, for each example, (B,)."""
        return torch.full_like(self.spread, self.fixed)

    @property
    def parameters(self) -> Tensor:
        """The vectors, (1, B, D), of any length."""
        return self.location[None]

    def at(self, parameters: Tensor) -> FixedPowerSpherical:
        """Give the distributions around the directions of these vectors, (1, B, D)."""
        return fixed(parameters[0], self.fixed)


def fixed(location: Tensor, kappa: float) -> FixedPowerSpherical:
    """Give the distributions around the directions of vectors, (B, D), of one concentration."""
    return FixedPowerSpherical(location, location.new_zeros(len(location)), kappa)


def log_constant(kappa: Tensor, beta: float) -> Tensor:
    r"""Give \(\ln C = -(\alpha + \beta) \ln 2 - \beta \ln \pi - \ln \Gamma(\alpha) + \ln \Gamma(\alpha + \beta)\)."""
    constant = (kappa + 2 * beta) * math.log(2) + beta * math.log(math.pi)
    return torch.lgamma(kappa + 2 * beta) - torch.lgamma(kappa + beta) - constant


def reflected(mu: Tensor, distance: Tensor, normal: Tensor) -> Tensor:
    r"""Give the codes at cosines t of the directions, (B, D), by 1 - t, (B,), and normal draws, (B, D - 1).

    \((t, \sqrt{1 - t^2}\, v)\) with the direction v of the draw is reflected by the vector \(e_1 - \mu\), which maps
    the first axis to μ.
    """
    distance = distance[:, None]
    code = torch.cat((1 - distance, (distance * (2 - distance)).sqrt() * unit(normal)), 1)
    mirror = -mu + torch.eye(1, mu.shape[1], dtype=mu.dtype, device=mu.device)
    precision = torch.finfo(mu.dtype)
    square = mirror.square().sum(-1, keepdim=True).clamp(min=precision.tiny / precision.eps)
    return code - 2 * (code * mirror).sum(-1, keepdim=True) / square * mirror


def half_angle(share: Tensor, kappa: Tensor, beta: float) -> Tensor:
    """Give the half angles, (B,), below which are these shares of the distribution, by scipy on the CPU."""
    squares = special.betaincinv(beta, kappa.cpu().numpy() + beta, share.cpu().numpy())
    return torch.as_tensor(squares).to(kappa).sqrt().asin().clamp(ENDS, math.pi / 2 - ENDS)


def with_gradient(angle: Tensor, kappa: Tensor, beta: float) -> Tensor:
    r"""Give the drawn half angles, (B,), with their gradient by the concentrations at a fixed share \(u = F(\phi)\).

    It is that of a step of Newton's method for \(F(\phi; \kappa) = u\), which leaves the angle itself where it is. The
    second step makes the second derivative right, too.
    """
    share = None
    for _ in range(2):
        below, density = _below(angle, kappa, beta)
        share = below.detach() if share is None else share
        angle = angle - (below - share) / density
    return angle


def _below(angle: Tensor, kappa: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    r"""Give \(F(\phi)\) and its density \(\frac{2}{B(\alpha, \beta)} \cos^{2\alpha-1}\phi\, \sin^{2\beta-1}\phi\)."""
    nodes, weights = (torch.from_numpy(each).to(angle) for each in _rule())
    alpha = kappa + beta
    constant = math.log(2) + torch.lgamma(alpha + beta) - torch.lgamma(alpha) - math.lgamma(beta)

    def density(phi: Tensor) -> Tensor:
        return (constant + (2 * alpha - 1) * phi.cos().log() + (2 * beta - 1) * phi.sin().log()).exp()

    inner = density(angle * (nodes[:, None] + 1) / 2)
    return angle / 2 * (weights[:, None] * inner).sum(0), density(angle)


@cache
def _rule() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the nodes and the weights of Gauss and Legendre's rule."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    return nodes, weights


class PowerAroundTheMean(nn.Module):
    """(q, features) -> the distribution around the direction of the mean of q."""

    def __init__(self, width: int, kappa: float | None) -> None:
        super().__init__()
        self.kappa = kappa
        self.spread = None if kappa is not None else nn.Linear(width, 1)

    def forward(self, posterior: DiagonalGaussian, features: Tensor) -> PowerSpherical:
        """Leave the log-variances out. A learned concentration is a layer of its own on the features."""
        location = unit(posterior.mean)
        if self.spread is None or self.kappa is not None:
            return fixed(location, float(self.kappa or 0))
        return PowerSpherical(location, self.spread(features)[:, 0])
