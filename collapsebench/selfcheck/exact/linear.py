r"""The linear-Gaussian VAE in closed form, at any parameters (Tipping and Bishop 1999; Lucas et al. 2019).

\(z \sim N(0, I_D)\), \(p(x|z) = N(Wz + b, \sigma^2 I_P)\), \(q(z|x) = N(Ax + c, V)\), \(V = \mathrm{diag}(v)\): the
`linear` encoder and decoder with a posterior of constant variance. All values are in nats per example.

Every value but the logarithm of a mixture is the mean of a quadratic function of x. So it depends only on the mean and
the covariance \(\Sigma\) of x. With the moments of a split, the closed forms are exact for that split, and a metric's
only error is that of its draws of z. With the moments of a distribution, they are expectations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, Self, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from collapsebench.components import composition
from collapsebench.data.linear_gaussian import basis, draw
from collapsebench.data.splits import Vectors
from collapsebench.errors import UsageError
from collapsebench.examples import VectorSpec
from collapsebench.experiment.assembly import Architecture, assemble
from collapsebench.model.distributions import LOG_2PI, StandardNormal
from collapsebench.model.vae import VAE
from collapsebench.networks import linear
from collapsebench.networks.decoders import LinearDecoder
from collapsebench.networks.encoders import LinearEncoder
from collapsebench.networks.gaussian import Constant, Gaussian
from collapsebench.networks.initializations import LibraryDefault
from collapsebench.networks.posteriors import GaussianPosterior

Floats: TypeAlias = NDArray[np.floating[Any]]


class Moments(NamedTuple):
    """The mean and the covariance of x."""

    mean: Floats
    """The mean, (P,)."""
    covariance: Floats
    """The mean of the squared deviations, (P, P)."""
    examples: float = math.inf
    """The number of examples; infinity for a distribution."""

    @classmethod
    def of(cls, values: ArrayLike) -> Self:
        """Return the moments of these examples, (N, P)."""
        x = np.asarray(values, np.float64)
        mean: Floats = x.mean(0)
        return cls(mean, (x - mean).T @ (x - mean) / len(x), len(x))

    @property
    def unbiased(self) -> Floats:
        """The covariance with N - 1 in the denominator, (P, P)."""
        return self.covariance if math.isinf(self.examples) else self.covariance * self.examples / (self.examples - 1)


def representative(eigenvalues: ArrayLike, size: int, seed: int) -> Vectors:
    """Return a split whose mean is 0 and whose covariance has these eigenvalues, up to the rounding to float32.

    It is drawn like `linear-gaussian`, then moved and whitened, so that expectations over x hold for the split itself.
    Raises UsageError unless there are more examples than dimensions.
    """
    scale = np.sqrt(np.asarray(eigenvalues, np.float64))
    if size <= len(scale):
        raise UsageError(f"a representative split of {len(scale)} dimensions needs more examples, got {size}")
    (split,) = draw(np.ones_like(scale), [size], seed)
    mean, covariance, _ = Moments.of(split.values)
    values, axes = np.linalg.eigh(covariance)
    white = (split.values - mean) @ (axes / np.sqrt(values)) @ axes.T
    return Vectors((white @ (basis(len(scale)) * scale).T).astype(np.float32))


@dataclass(frozen=True, eq=False)
class LinearVAE:
    r"""The parameters of one model. Below, \(M = W^T W + \sigma^2 I\) and \(m = Ax + c\)."""

    weights: Floats
    """W, (P, D)."""
    bias: Floats
    """b, (P,)."""
    variance: float
    r"""\(\sigma^2\)."""
    encoder: Floats
    """A, (D, P)."""
    encoder_bias: Floats
    """c, (D,)."""
    posterior_variance: Floats
    """v, (D,)."""

    @classmethod
    def with_best_posterior(cls, weights: ArrayLike, bias: ArrayLike, variance: float) -> Self:
        r"""Return a decoder with its best diagonal posterior, which is exact if the columns of W are orthogonal.

        \(A = M^{-1} W^T\), \(c = -Ab\), \(v_j = \sigma^2 / M_{jj}\).
        """
        w, b = np.asarray(weights, np.float64), np.asarray(bias, np.float64)
        m = w.T @ w + variance * np.eye(w.shape[1])
        encoder = np.linalg.solve(m, w.T)
        return cls(w, b, variance, encoder, -encoder @ b, variance / m.diagonal())

    @classmethod
    def optimum(cls, eigenvalues: ArrayLike, latent_dim: int, variance: float) -> Self:
        r"""Return the maximum of the likelihood and of the ELBO at a fixed \(\sigma^2\) on `linear-gaussian` data.

        Column j of W is \(\sqrt{\lambda_j - \sigma^2}\,u_j\) for the j-th largest eigenvalue, and zero where
        \(\lambda_j \le \sigma^2\): the unit collapses (Tipping and Bishop 1999, eq. 7, with R = I).
        """
        spectrum = np.asarray(eigenvalues, np.float64)
        largest = np.argsort(-spectrum, kind="stable")[:latent_dim]
        weights = np.zeros((len(spectrum), latent_dim))
        gain = np.sqrt(np.maximum(spectrum[largest] - variance, 0))
        weights[:, : len(largest)] = basis(len(spectrum))[:, largest] * gain
        return cls.with_best_posterior(weights, np.zeros(len(spectrum)), variance)

    @classmethod
    def of(cls, vae: VAE) -> Self:
        """Return the parameters of a model. Raises UsageError if it is not a linear-Gaussian VAE."""
        head, decoder = vae.posterior, vae.decoder
        if not (
            isinstance(vae.encoder, linear.Encoder)
            and isinstance(head, Gaussian)
            and isinstance(head.logvar, Constant)
            and isinstance(decoder, linear.Decoder)
            and decoder.loadings is not None
            and isinstance(vae.own_prior, StandardNormal)
            and not vae.heads
        ):
            raise UsageError(
                "closed forms need the networks 'linear', constant_variance of the posterior, no head behind it, and "
                "N(0, I)"
            )
        c = np.zeros(vae.latent_dim) if head.mean.bias is None else _array(head.mean.bias)
        v = np.exp(_array(head.logvar.row))
        learned = decoder.log_variance
        variance = math.exp(decoder.first_log_variance if learned is None else learned.item())
        weights, bias = _array(decoder.loadings.weight), _array(decoder.bias)
        return cls(weights, bias, variance, _array(head.mean.weight), c, v)

    def build(self) -> VAE:
        """Return the harness's own model with these parameters, rounded to float32."""
        head, decoder = GaussianPosterior(constant_variance=True), LinearDecoder(variance=self.variance)
        architecture = Architecture(self.latent_dim, LinearEncoder(), head, decoder, LibraryDefault())
        vae = assemble(architecture, VectorSpec(len(self.bias)), composition.compose(()), seed=0)
        values = {
            "posterior.mean.weight": self.encoder,
            "posterior.mean.bias": self.encoder_bias,
            "posterior.logvar.row": np.log(self.posterior_variance),
            "decoder.loadings.weight": self.weights,
            "decoder.bias": self.bias,
        }
        vae.load_state_dict({name: torch.tensor(value, dtype=torch.float32) for name, value in values.items()})
        return vae

    @property
    def latent_dim(self) -> int:
        """D."""
        return len(self.encoder)

    @property
    def _precision(self) -> Floats:
        r"""\(M / \sigma^2\), the precision of p(z|x), (D, D)."""
        precision: Floats = np.eye(self.latent_dim) + self.weights.T @ self.weights / self.variance
        return precision

    def log_density(self, x: ArrayLike) -> Floats:
        r"""Return \(\log p(x) = \log N(x; b, WW^T + \sigma^2 I)\) of every example, (N, P) -> (N,)."""
        deviation = np.asarray(x, np.float64) - self.bias
        covariance = self.weights @ self.weights.T + self.variance * np.eye(len(self.bias))
        squares = (deviation * np.linalg.solve(covariance, deviation.T).T).sum(1)
        log_p: Floats = -0.5 * (len(self.bias) * LOG_2PI + _log_det(covariance) + squares)
        return log_p

    def exact_posterior(self, x: ArrayLike) -> tuple[Floats, Floats]:
        r"""Return the mean \(M^{-1} W^T (x - b)\), (N, D), and covariance \(\sigma^2 M^{-1}\), (D, D), of p(z|x)."""
        covariance = np.linalg.inv(self._precision)
        mean = (np.asarray(x, np.float64) - self.bias) @ self.weights @ covariance / self.variance
        return mean, covariance

    def posterior_mean(self, x: ArrayLike) -> Floats:
        """Return Ax + c, (N, P) -> (N, D)."""
        mean: Floats = np.asarray(x, np.float64) @ self.encoder.T + self.encoder_bias
        return mean

    def example_kl(self, x: ArrayLike) -> Floats:
        r"""\(KL(q_j \| p_j) = \tfrac12 (m_j^2 + v_j - \ln v_j - 1)\) of every example and unit, (N, P) -> (N, D)."""
        v = self.posterior_variance
        kl: Floats = 0.5 * (self.posterior_mean(x) ** 2 + v - np.log(v) - 1)
        return kl

    def kl(self, moments: Moments) -> Floats:
        r"""\(E_x KL(q_j \| p_j) = \tfrac12 (E m_j^2 + v_j - \ln v_j - 1)\) of every unit, (D,)."""
        squares = (
            self.posterior_mean(moments.mean) ** 2 + (self.encoder @ moments.covariance @ self.encoder.T).diagonal()
        )
        kl: Floats = 0.5 * (squares + self.posterior_variance - np.log(self.posterior_variance) - 1)
        return kl

    def reconstruction(self, moments: Moments) -> float:
        r"""\(-E \log p(x|z) = \tfrac{P}{2} \ln 2\pi\sigma^2 + \frac1{2\sigma^2} [E|x - b - Wm|^2 + tr(W V W^T)]\)."""
        residual = np.eye(len(self.bias)) - self.weights @ self.encoder
        offset = residual @ moments.mean - self.weights @ self.encoder_bias - self.bias
        squares = offset @ offset + np.trace(residual @ moments.covariance @ residual.T)
        spread = self.posterior_variance @ np.square(self.weights).sum(0)
        return float(0.5 * (len(self.bias) * (LOG_2PI + math.log(self.variance)) + (squares + spread) / self.variance))

    def neg_elbo(self, moments: Moments) -> float:
        """Reconstruction + KL."""
        return self.reconstruction(moments) + float(self.kl(moments).sum())

    def nll(self, moments: Moments) -> float:
        r"""\(-E_x \log p(x) = \tfrac12 [\ln \det 2\pi C + tr(C^{-1} E(x-b)(x-b)^T)]\), \(C = WW^T + \sigma^2 I\)."""
        covariance = self.weights @ self.weights.T + self.variance * np.eye(len(self.bias))
        offset = moments.mean - self.bias
        squares = np.trace(np.linalg.solve(covariance, moments.covariance + np.outer(offset, offset)))
        return 0.5 * float(len(self.bias) * LOG_2PI + _log_det(covariance) + squares)

    def aggregate(self, moments: Moments) -> tuple[Floats, Floats]:
        r"""Return the mean \(A\,E x + c\), (D,), and covariance \(A \Sigma A^T + V\), (D, D), of q(z)."""
        covariance = self.encoder @ moments.covariance @ self.encoder.T + np.diag(self.posterior_variance)
        return self.posterior_mean(moments.mean), covariance

    def aggregate_kl(self, moments: Moments) -> float:
        r"""\(KL(q \| p) = \tfrac12 [tr T + |\bar m|^2 - D - \ln\det T]\), T the covariance of q(z); x Gaussian."""
        mean, covariance = self.aggregate(moments)
        return 0.5 * float(np.trace(covariance) + mean @ mean - self.latent_dim - _log_det(covariance))

    def mutual_information(self, moments: Moments) -> float:
        r"""Return \(I_q(x; z) = \tfrac12 \ln (\det T / \det V)\) for Gaussian x."""
        return 0.5 * float(_log_det(self.aggregate(moments)[1]) - np.log(self.posterior_variance).sum())

    def bracket_bias(self, moments: Moments, examples: int) -> float:
        r"""Return the distance of the bracket's bounds from I, the mean over splits of N: \((e^{2I} - 1) / 2N\).

        To the first order in 1/N, the lower bound is this much below I and the leave-one-out bound this much above. A
        mixture of N posteriors differs from q(z) by a relative variance of \(\chi^2/N\), where
        \(\chi^2 = \int E_x[q(z|x)^2]/q(z)\,dz - 1\) is \(\det T/\det V - 1\) here. The logarithm subtracts half of it,
        and the posterior that z is drawn from adds all of it.
        """
        return math.expm1(2 * self.mutual_information(moments)) / (2 * examples)

    def mean_variance(self, moments: Moments) -> Floats:
        r"""\(\mathrm{Var}_x\, m_j = (A \Sigma A^T)_{jj}\) of every unit, (D,), unbiased over a split."""
        variance: Floats = (self.encoder @ moments.unbiased @ self.encoder.T).diagonal()
        return variance

    def delta_shuffle(self, moments: Moments) -> float:
        r"""Return \(tr(WA\Sigma)/\sigma^2\): how much E log p(x|z) falls with the z of another example of the split.

        The mean of \(|Wz|^2\) stays, and the covariance of x and Wz is lost.
        """
        return float(np.trace(self.weights @ self.encoder @ moments.unbiased)) / self.variance

    def delta_prior(self, moments: Moments) -> float:
        r"""Return how much E log p(x|z) falls when z is drawn from the prior. S has the second moments of q(z).

        \(\frac1{2\sigma^2} [tr(WW^T) - tr(W S W^T) + 2 E (x-b)^T W m]\).
        """
        mean, covariance = self.aggregate(moments)
        gram = self.weights.T @ self.weights
        second = np.trace(gram @ covariance) + mean @ gram @ mean
        offset = moments.mean - self.bias
        cross = np.trace(self.weights @ self.encoder @ moments.covariance) + offset @ self.weights @ mean
        return float(0.5 * (np.trace(gram) - second + 2 * cross) / self.variance)

    def weight_variance(self, x: ArrayLike) -> Floats:
        r"""Return the relative variance of the importance weight, (N, P) -> (N,).

        \(V = \mathrm{Var}_q(w) / p(x)^2 = \int p(z|x)^2/q(z|x)\,dz - 1\). The effective share of samples tends to
        1 / (1 + V), and the bias of the bound from K samples to V / 2K. V is infinite if the posterior is so narrow
        that the integral diverges.
        """
        mean, covariance = self.exact_posterior(x)
        v = self.posterior_variance
        precision = 2 * np.linalg.inv(covariance) - np.diag(1 / v)
        if np.linalg.eigvalsh(precision)[0] <= 0:
            return np.full(len(mean), math.inf)
        shift = (mean - self.posterior_mean(x)) / v
        log_determinants = 0.5 * (np.log(v).sum() - _log_det(precision)) - _log_det(covariance)
        exponent = 0.5 * (shift * np.linalg.solve(precision, shift.T).T + shift**2 * v).sum(1)
        excess: Floats = np.expm1(log_determinants + exponent)
        return excess


def _array(tensor: Tensor) -> Floats:
    values: Floats = tensor.detach().double().cpu().numpy()
    return values


def _log_det(matrix: Floats) -> float:
    return float(np.linalg.slogdet(matrix)[1])
