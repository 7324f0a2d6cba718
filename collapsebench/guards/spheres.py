"""Densities on the unit sphere, with respect to its surface, with which a prior or a posterior there is compared.

A comparison says nothing where draws of the posterior lie around more than one direction.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

ROUNDING = 1e-5
"""The standard deviation of the length of codes on a sphere, in float32."""

CLOSER = 1.25
"""The concentration of the comparison by that of the draws: it must not have the heavier tails."""


def on_sphere(z: Tensor) -> bool:
    """Say if the codes, (N, D), lie on the unit sphere."""
    return bool(((z.norm(dim=-1) - 1).abs() < ROUNDING).all())


def uniform(number: int, like: Tensor) -> Tensor:
    """Give the log-density of the uniform distribution over the sphere in `number` dimensions, in nats."""
    log_area = math.log(2) + number / 2 * math.log(math.pi) - math.lgamma(number / 2)
    return torch.full_like(like, -log_area)


def around(fitted: Tensor, z: Tensor) -> Tensor:
    r"""Give the log-density of codes, (N, D), under \(p(z) \propto (1 + m^\top z)^k\), (N,), in nats.

    m is the mean direction of other codes, and k fits its length: \(|E z| = k/(k + D - 1)\) (De Cao and Aziz, The Power
    Spherical Distribution, 2020).
    """
    number, mean = z.shape[1], fitted.mean(0)
    length = float(mean.norm())
    k, half = CLOSER * (number - 1) * length / max(1 - length, 1e-12), (number - 1) / 2
    constant = (2 * half + k) * math.log(2) + half * math.log(math.pi)
    constant += math.lgamma(half + k) - math.lgamma(2 * half + k)
    return k * torch.log1p((z @ mean / length).clamp(min=-1)) - constant
