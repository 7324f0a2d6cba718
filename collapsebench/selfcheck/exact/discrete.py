r"""Exact values of models with few latent units and few different examples, by quadrature over z.

The likelihood and the posterior of the model are tabulated on a grid of z, and a sum over the grid replaces every draw.
The error of such a sum (the trapezoid rule) falls exponentially with the step for smooth functions, and with its square
for rectified ones. Symbols: D units, X different examples; example i occurs n_i times in a split of N. All values are
in nats per example.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from collapsebench.components import composition
from collapsebench.components.interfaces import Decoder
from collapsebench.errors import CollapsebenchError, UsageError
from collapsebench.examples import DataSpec
from collapsebench.experiment.assembly import Architecture, assemble
from collapsebench.model.distributions import LOG_2PI, DiagonalGaussian, StandardNormal, as_gaussian
from collapsebench.model.vae import VAE, Networks
from collapsebench.networks.initializations import LibraryDefault
from collapsebench.networks.posteriors import GaussianPosterior

Floats: TypeAlias = NDArray[np.float64]
TAIL = 8.0
"""The standard deviations on either side of the prior and of every posterior that the grid holds; e^-32 is outside."""
STEPS = tuple(2.0**-power for power in range(1, 13))
"""The steps of the grid in the order of trial, in standard deviations of the narrowest distribution."""
ENTRIES = 2**24
"""The largest number of entries in a table, X times G: 128 MiB."""
ROWS = 2**14
"""The number of rows that the decoder gets at a time."""


def every_image(height: int, width: int) -> NDArray[np.uint8]:
    """Return all binary images of this size, (2^(H W), H, W)."""
    pixels = np.array(list(product((0, 1), repeat=height * width)), np.uint8)
    return pixels.reshape(-1, height, width)


class Lookup(nn.Module):
    """A posterior for each of X different examples. The encoder before it is the identity."""

    examples: Tensor
    parameters_of: Tensor

    def __init__(
        self, examples: Float[Tensor, "X ..."], mean: Float[Tensor, "X D"], logvar: Float[Tensor, "X D"]
    ) -> None:
        super().__init__()
        self.register_buffer("examples", examples.flatten(1))
        self.register_buffer("parameters_of", torch.stack((mean, logvar)))

    def forward(self, x: Tensor) -> DiagonalGaussian:
        """Return q(z|x) over (B, D) for x, (B, ...). An unknown example gets the posterior of the first one."""
        found = (x.flatten(1)[:, None] == self.examples).all(-1)
        return DiagonalGaussian.of(self.parameters_of[:, found.float().argmax(1)])


def untrained(decoder: Decoder, data: DataSpec, latent_dim: int, factor: float, seed: int) -> VAE:
    """Return a model without encoder. Its parameters are the library's first values times a factor: it uses z."""
    architecture = Architecture(latent_dim, None, GaussianPosterior(), decoder, LibraryDefault())
    vae = assemble(architecture, data, composition.compose(()), seed)
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.mul_(factor)
    return vae


def with_posterior(vae: VAE, x: Tensor, posterior: DiagonalGaussian) -> VAE:
    """Return the same prior and decoder with these posteriors for the examples x, rounded to float32."""
    lookup = Lookup(x, posterior.mean.float(), posterior.logvar.float())
    return VAE(Networks(nn.Identity(), lookup, vae.decoder), vae.prior)


@dataclass(frozen=True, eq=False)
class Table:
    """One model on G points of z, for X different examples."""

    z: Floats
    """A rectangular grid, (G, D)."""
    volume: float
    """The volume of one point: the product of the steps."""
    mean: Floats
    """The mean of q(z|x), (X, D)."""
    logvar: Floats
    """The log-variance of q(z|x), (X, D)."""
    log_likelihood: Floats
    """log p(x|z), (X, G)."""

    @property
    def log_prior(self) -> Floats:
        """log p(z), (G,)."""
        log_p: Floats = -0.5 * (LOG_2PI + self.z**2).sum(-1)
        return log_p

    @cached_property
    def log_q(self) -> Floats:
        """log q(z|x), (X, G)."""
        units = zip(self.z.T, self.mean.T, self.logvar.T, strict=True)
        squares = ((z - mean[:, None]) ** 2 * np.exp(-logvar)[:, None] for z, mean, logvar in units)
        log_q: Floats = -0.5 * (sum(squares) + (LOG_2PI + self.logvar).sum(-1, keepdims=True))
        return log_q

    def under_q(self, values: Floats) -> Floats:
        """Return E_q(z|x) of one function of z for each x, (X, G) -> (X,)."""
        means: Floats = (np.exp(self.log_q) * values).sum(1) * self.volume
        return means

    @cached_property
    def log_evidence(self) -> Floats:
        """log p(x) = log ∫ p(z) p(x|z) dz, (X,)."""
        log_p: Floats = np.logaddexp.reduce(self.log_likelihood + self.log_prior, axis=1) + math.log(self.volume)
        return log_p

    @property
    def log_posterior(self) -> Floats:
        """log p(z|x), (X, G)."""
        log_p: Floats = self.log_likelihood + self.log_prior - self.log_evidence[:, None]
        return log_p

    def exact_posterior(self) -> DiagonalGaussian:
        """Return Gaussians with the means and variances of p(z|x), which are the nearest ones in KL(p || q)."""
        density = np.exp(self.log_posterior) * self.volume
        mean = density @ self.z
        variance = density @ self.z**2 - mean**2
        return DiagonalGaussian(torch.from_numpy(mean), torch.from_numpy(np.log(variance)))

    @property
    def reconstruction(self) -> Floats:
        """-E_q log p(x|z), (X,)."""
        return -self.under_q(self.log_likelihood)

    @property
    def kl(self) -> Floats:
        """KL(q || p), (X,)."""
        return self.under_q(self.log_q - self.log_prior)

    @property
    def weight_variance(self) -> Floats:
        r"""\(\int p(z|x)^2/q(z|x)\,dz - 1\), the relative variance of an importance weight, on this grid, (X,)."""
        ratios = np.exp(np.minimum(2 * self.log_posterior - self.log_q, 300))
        variance: Floats = ratios.sum(1) * self.volume - 1
        return variance

    @property
    def unit_kl(self) -> Floats:
        r"""\(KL(q_j \| p_j)\) of every unit in closed form, (X, D)."""
        kl: Floats = 0.5 * (self.mean**2 + np.exp(self.logvar) - self.logvar - 1)
        return kl

    def mutual_information(self, counts: ArrayLike) -> float:
        r"""Return \(I(i; z)\) of a split: \(\sum_i \frac{n_i}N E_{q_i}[\log q_i - \log \sum_k \frac{n_k}N q_k]\).

        It is the mean of the bracket's lower bound over the draws of z, without any bias.
        """
        weights = np.asarray(counts) / np.sum(counts)
        return float(weights @ self.under_q(self.log_q - self._mixture(weights)))

    def aggregate_kl(self, counts: ArrayLike) -> float:
        r"""Return \(KL(\sum_k \frac{n_k}N q_k \| p)\)."""
        weights = np.asarray(counts) / np.sum(counts)
        return float(weights @ self.under_q(self._mixture(weights) - self.log_prior))

    def leave_one_out(self, counts: ArrayLike) -> float:
        r"""Return \(\sum_i \frac{n_i}N E_{q_i}[\log q_i - \log \frac1{N-1} (\sum_k n_k q_k - q_i)]\).

        It is the mean of the leave-one-out bound over the draws of z, for this split.
        """
        n = np.asarray(counts, np.float64)
        used = n > 0
        n, log_q = n[used], self.log_q[used]
        with np.errstate(divide="ignore"):  # an example that occurs once leaves none
            others = log_q + np.log((n - 1) / (n.sum() - 1))[:, None]
        weighted = log_q + np.log(n / (n.sum() - 1))[:, None]
        # sums of what is before and after each example, as a difference would lose digits
        np.logaddexp(others[1:], np.logaddexp.accumulate(weighted[:-1]), out=others[1:])
        np.logaddexp(others[:-1], np.logaddexp.accumulate(weighted[:0:-1])[::-1], out=others[:-1])
        ratios = np.zeros_like(self.log_q)
        ratios[used] = log_q - others
        return float(np.asarray(counts) / n.sum() @ self.under_q(ratios))

    def mean_variance(self, counts: ArrayLike) -> Floats:
        """Return the unbiased variance of the posterior mean over a split for every unit, (D,)."""
        variance: Floats = np.repeat(self.mean, np.asarray(counts), axis=0).var(0, ddof=1)
        return variance

    def delta_shuffle(self, counts: ArrayLike) -> float:
        r"""Return \(E \log p(x_i|z_i) - E \log p(x_i|z_k)\), with k uniform over the other examples of the split."""
        n = np.asarray(counts, np.float64)
        crossed = self.log_likelihood @ (np.exp(self.log_q) * self.volume).T  # [i, k]: E log p(x_i|z), z of k
        own = n @ crossed.diagonal()
        others = (n @ crossed @ n - own) / (n.sum() - 1)
        return float((own - others) / n.sum())

    def delta_prior(self, counts: ArrayLike) -> float:
        r"""Return \(E_q \log p(x|z) - E_p \log p(x|z)\)."""
        weights = np.asarray(counts) / np.sum(counts)
        from_prior = self.log_likelihood @ np.exp(self.log_prior) * self.volume
        return float(weights @ (-self.reconstruction - from_prior))

    def _mixture(self, weights: Floats) -> Floats:
        """Return log sum_k w_k q(z|x_k), (G,), without examples of weight zero."""
        used = weights > 0
        mixture: Floats = np.logaddexp.reduce(self.log_q[used] + np.log(weights[used])[:, None], axis=0)
        return mixture


def tabulate(vae: VAE, x: Tensor, tolerance: float = 1e-7) -> Table:
    """Return the table of a model with the prior N(0, I) and its encoder's posterior, in float64, for the examples x.

    The step is halved until neither log p(x) nor the reconstruction of any example changes by the tolerance. Raises
    UsageError for another prior, and CollapsebenchError if that needs a table of more than ENTRIES.
    """
    if not isinstance(vae.own_prior, StandardNormal):
        raise UsageError(f"quadrature needs the prior N(0, I), got {vae.own_prior!r:.200}")
    double = copy.deepcopy(vae).double().eval()
    x = x.double() if x.is_floating_point() else x
    with torch.no_grad():
        posterior = as_gaussian(double.encode(x)).detach()
    mean, logvar = posterior.mean.numpy(), posterior.logvar.numpy()
    before = np.full(2 * len(x), math.inf)
    for step in STEPS:
        axes = _axes(mean, np.exp(0.5 * logvar), step)
        if len(x) * math.prod(map(len, axes)) > ENTRIES:
            break
        z = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))
        volume = math.prod(float(axis[1] - axis[0]) for axis in axes)
        table = Table(z, volume, mean, logvar, _likelihoods(double, x, torch.from_numpy(z)))
        now = np.concatenate([table.log_evidence, table.reconstruction])
        if np.abs(now - before).max() < tolerance:
            return table
        before = now
    raise CollapsebenchError(f"the quadrature over z does not settle to {tolerance:g} nats on {ENTRIES} entries")


def _axes(mean: Floats, scale: Floats, step: float) -> list[Floats]:
    starts = np.minimum(-TAIL, (mean - TAIL * scale).min(0))
    ends = np.maximum(TAIL, (mean + TAIL * scale).max(0))
    steps = step * np.minimum(1, scale.min(0))
    counts = np.ceil((ends - starts) / steps).astype(int) + 1
    return [np.linspace(start, end, count) for start, end, count in zip(starts, ends, counts, strict=True)]


def _likelihoods(vae: VAE, x: Tensor, z: Tensor) -> Floats:
    size = max(1, ROWS // len(x))
    blocks = (z[at : at + size, None].expand(-1, len(x), -1) for at in range(0, len(z), size))
    with torch.no_grad():
        log_p: Floats = torch.cat([vae.log_likelihood(x, block) for block in blocks]).T.numpy()
    return log_p
