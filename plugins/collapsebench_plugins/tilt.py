r"""The tilted normal prior \(p(z) \propto e^{\tau |z|} N(z; 0, I)\), and posteriors of unit variance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt
from scipy import optimize, special
from torch import Tensor, nn

from collapsebench import DiagonalGaussian, Draw, Noise, PosteriorDistribution, Prior
from collapsebench.model.distributions import LOG_2PI
from collapsebench_plugins.rejection import first_accepted
from collapsebench_plugins.spheres import unit


def derivative(latent_dim: int, order: int, x: Any) -> Any:
    r"""Give the derivative of that order of \(E|z|\), \(z \sim N(m, I)\), by \(x = |m|^2/2\).

    \(E|z| = \sqrt2\, \Gamma(\frac{D+1}2) / \Gamma(\frac D2)\; {}_1F_1(-\frac12; \frac D2; -x)\), and the n-th
    derivative of \({}_1F_1(a; b; -x)\) is \((-1)^n \frac{(a)_n}{(b)_n} {}_1F_1(a + n; b + n; -x)\).
    """
    b = latent_dim / 2
    scale = math.sqrt(2) * math.exp(math.lgamma(b + 0.5) - math.lgamma(b))
    if order == 0:  # by its neighbours, which have no overflow, and are both positive
        return scale * (special.hyp1f1(0.5, b, -x) + x / b * special.hyp1f1(0.5, b + 1, -x))
    factor = (-1) ** order * special.poch(-0.5, order) / special.poch(b, order)
    return scale * factor * special.hyp1f1(order - 0.5, b + order, -x)


class _MeanLength(torch.autograd.Function):
    """E|z| by x, or a derivative of it. Its gradient is the next derivative, so that it has gradients of any order."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, latent_dim: int, order: int) -> Tensor:
        ctx.save_for_backward(x)
        ctx.latent_dim, ctx.order = latent_dim, order
        found = derivative(latent_dim, order, x.detach().cpu().double().numpy())
        return torch.as_tensor(found).to(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        slope: Tensor = _MeanLength.apply(x, ctx.latent_dim, ctx.order + 1)  # type: ignore[no-untyped-call]
        return gradients[0] * slope, None, None


def mean_length(mean: Tensor) -> Tensor:
    """Give the mean of |z| under N(mean, I), (B,) of (B, D), by scipy on the CPU."""
    found: Tensor = _MeanLength.apply(mean.square().sum(-1) / 2, mean.shape[1], 0)  # type: ignore[no-untyped-call]
    return found


@cache
def log_partition(latent_dim: int, tau: float) -> float:
    r"""Give \(\ln Z = \ln E_{N(0, I)}\, e^{\tau |z|}\), by the series \(\sum_n \frac{\tau^n}{n!} E|z|^n\)."""
    radius = (tau + math.sqrt(tau**2 + 4 * latent_dim)) / 2
    n = np.arange(int(tau * radius + 40 * math.sqrt(tau * (tau + radius))) + 200)
    moments = n / 2 * math.log(2) + special.gammaln((latent_dim + n) / 2) - math.lgamma(latent_dim / 2)
    return float(special.logsumexp(n * math.log(tau) - special.gammaln(n + 1) + moments))


@cache
def best_length(latent_dim: int, tau: float) -> float:
    r"""Give \(\gamma\), the length of the mean at which the KL is least, where \(\tau\, dE|z|/dx = 1\), or 0."""

    def slope(length: float) -> float:
        return tau * float(derivative(latent_dim, 1, length**2 / 2)) - 1

    return 0.0 if slope(0.0) <= 0 else float(optimize.brentq(slope, 0.0, tau, xtol=1e-12))


@dataclass(frozen=True)
class UnitGaussian(PosteriorDistribution):
    r"""\(q(z|x) = N(z; m, I)\) of the means, (B, D), which are all its parameters."""

    mean: Tensor

    @property
    def parameters(self) -> Tensor:
        """The means, (1, B, D)."""
        return self.mean[None]

    def at(self, parameters: Tensor) -> UnitGaussian:
        """Give the distributions with these means, (1, B, D)."""
        return UnitGaussian(parameters[0])

    @cached_property
    def gaussian(self) -> DiagonalGaussian:
        """The same as a diagonal Gaussian."""
        return DiagonalGaussian(self.mean, torch.zeros_like(self.mean))

    def draw(self, noise: Noise) -> Draw:
        """Draw as the Gaussian does."""
        return self.gaussian.draw(noise)

    def log_prob(self, z: Tensor) -> Tensor:
        """Give the density of the Gaussian, (S, B), in nats."""
        return self.gaussian.log_prob(z)

    def same_information(self, z: Tensor) -> tuple[PosteriorDistribution, Tensor]:
        """Give the Gaussian, whose mixtures are products of matrices."""
        return self.gaussian, z


@dataclass(frozen=True)
class TiltedNormal:
    r"""\(p(z) = e^{\tau |z|} N(z; 0, I) / Z\)."""

    latent_dim: int
    tau: float

    def sample(self, number: int, noise: Noise) -> Tensor:
        """Draw a direction and a radius for each of `number` codes."""
        directions = unit(noise.child("direction").normal((number, self.latent_dim), torch.empty(0)))

        def propose(source: Noise, proposals: int) -> tuple[Tensor, Tensor]:
            shape = (proposals, number)
            normal = source.child("normal").normal(shape, directions)
            return self._radii(normal, source.child("uniform").uniform(shape, directions))

        return directions * first_accepted(propose, noise.child("radius"))[:, None]

    def _radii(self, normal: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
        r"""Give proposals N(r*, 1) for the radius, and which are accepted, with the mode r*.

        The log-density \((D-1) \ln r - (r - \tau)^2/2\) is bent more than that of the proposal, which covers it. About
        seven of ten are accepted, or more, for any τ and D > 1, and half of them or more for D = 1.
        """
        further = self.latent_dim - 1
        if not further:  # a half of N(tau, 1)
            return self.tau + normal, self.tau + normal > 0
        mode = (self.tau + math.sqrt(self.tau**2 + 4 * further)) / 2
        ratio = 1 + normal / mode
        bound = further * (ratio.clamp(min=0).log() - (ratio - 1))
        return mode * ratio, (ratio > 0) & (uniform.log() <= bound)

    def log_prob(self, z: Tensor) -> Tensor:
        """Give the log-density, (S, B), in nats."""
        length: Tensor = z.norm(dim=-1)
        constant = self.latent_dim / 2 * LOG_2PI + log_partition(self.latent_dim, self.tau)
        return self.tau * length - 0.5 * length.square() - constant

    def kl(self, posterior: PosteriorDistribution) -> Tensor | None:
        r"""Give \(\ln Z - \tau E|z| + |m|^2/2\), (B, 1), in nats, for unit variances; there is no other closed form."""
        if not isinstance(posterior, UnitGaussian):
            return None
        mean = posterior.mean.double()
        found = log_partition(self.latent_dim, self.tau) - self.tau * mean_length(mean) + mean.square().sum(-1) / 2
        return found[:, None].to(posterior.mean)


class TiltedPrior(Prior):
    """The tilted normal distribution."""

    name: ClassVar[str] = "tilted-normal"
    latent_dim: PositiveInt = Field(description="number of latent units")
    tau: PositiveFloat = Field(description="the tilt τ")

    def build(self) -> TiltedNormal:
        """Build the distribution."""
        return TiltedNormal(self.latent_dim, self.tau)


class UnitVariances(nn.Module):
    """(q, features) -> N(mean of q, I)."""

    def forward(self, posterior: DiagonalGaussian, features: Tensor) -> UnitGaussian:
        """Leave the log-variances out."""
        del features
        return UnitGaussian(posterior.mean)
