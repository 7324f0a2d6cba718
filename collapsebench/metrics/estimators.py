r"""Estimators behind the metrics, as pure functions of tensors. Everything in nats.

Symbols: N examples of a split, D latent units, K importance samples, S samples of z, \(q_i = q(z|x_i)\).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from collapsebench.estimates import SATURATION, Estimate
from collapsebench.model.distributions import LOG_2PI, DiagonalGaussian, PriorDistribution

BLOCK = 2**20
"""Entries of the largest tensor that is built at a time: 8 MiB in float64, which stays in cache."""

SINGLE_FROM = 4096
"""Examples from which on the (N, N) matrix may be in float32; a smaller one takes no time anyway."""

ROUNDING = 1e-3
"""The worst rounding error of a log-density, in nats, with which it may. That of a mean is about a hundredth of it."""


def spread_error(values: Float[Tensor, " N"]) -> float:
    r"""\(s/\sqrt N\): the standard error of a mean of N independent draws, NaN for one.

    Where every draw belongs to another example it also holds the spread between the examples, so that its square is on
    average at least the variance that the draws give the mean.
    """
    n = len(values)
    return float(((values - values.mean()).square().sum() / (n - 1) / n).sqrt())


def repetition_error(values: Float[Tensor, "S N"]) -> float:
    r"""\(\frac1N \sqrt{\sum_i s_i^2 / S}\): the standard error of a mean over N examples, S draws each; NaN for one."""
    samples, n = values.shape
    squares = (values - values.mean(0)).square().sum()
    return float((squares / (samples - 1) / samples).sqrt() / n)


class ImportanceBound(NamedTuple):
    r"""\(\log \frac1k \sum_{s \le k} w_s\), \(w_s = p(x, z_s)/q(z_s|x)\), for growing k (Burda et al. 2016, eq. 8)."""

    sizes: tuple[int, ...]
    """k = 1, 2, 4, … below K, and K."""
    log_p: Tensor
    """The bound on log p(x) from the first k samples, (P, N)."""
    ess: Tensor
    r"""Effective sample size \((\sum w)^2 / \sum w^2\) of the first k samples, between 1 and k, (P, N)."""

    @property
    def nll(self) -> Float[Tensor, " N"]:
        """-log p(x), estimated with all K samples."""
        return -self.log_p[-1]

    def error(self, point: int = -1) -> float:
        r"""\(\frac1N\sqrt{\sum_i (k/\mathrm{ESS}_i - 1)/(k - 1)}\): the standard error of the mean over the examples.

        By the delta method: too small where the effective sample size is; NaN for k = 1. By default from all K samples.
        """
        size, ess = self.sizes[point], self.ess[point]
        variances = (size / ess - 1).clamp(min=0) / (size - 1)
        return float(variances.sum().sqrt() / len(ess))


def curve_sizes(samples: int) -> tuple[int, ...]:
    """1, 2, 4, … below K, and K."""
    return (*(2**power for power in range((samples - 1).bit_length())), samples)


def importance_bound(log_weights: Float[Tensor, "K N"]) -> ImportanceBound:
    r"""Reduce \(\log w_s\) over the samples. Infinite and NaN weights give infinite and NaN bounds."""
    sizes = curve_sizes(len(log_weights))
    last = torch.tensor(sizes) - 1
    sums, sums_of_squares = log_weights.logcumsumexp(0)[last], (2 * log_weights).logcumsumexp(0)[last]
    log_sizes = torch.tensor(sizes, dtype=log_weights.dtype).log()
    return ImportanceBound(sizes, sums - log_sizes[:, None], (2 * sums - sums_of_squares).exp())


class AggregateDensity(NamedTuple):
    """Log densities at one sample z_i of every posterior, each (N,)."""

    own: Tensor
    r"""\(\log q_i(z_i)\)."""
    aggregate: Tensor
    r"""\(\log \frac1N \sum_k q_k(z_i)\)."""
    others: Tensor
    r"""\(\log \frac1{N-1} \sum_{k \ne i} q_k(z_i)\); -inf for N = 1."""


def aggregate_density(
    z: Float[Tensor, "N D"], posterior: DiagonalGaussian, block: int = BLOCK, dtype: torch.dtype | None = None
) -> AggregateDensity:
    r"""The mixture of all N posteriors, and the mixture of the others, exactly and in blocks of bounded memory.

    \(\log q_k(z)\) is linear in \((z^2, z)\), so that a block of the (N, N) matrix is one matrix product. The product
    cancels digits where posteriors are narrow, so the own term, which dominates there, is computed directly. The matrix
    is in `dtype`; by default in float32 if it is large (`SINGLE_FROM`) and no entry loses more than `ROUNDING`.
    """
    n, own = len(z), posterior.log_prob(z[None])[0]
    if n == 1:
        return AggregateDensity(own, own, torch.full_like(own, -math.inf))
    if z.shape[1] == 0:  # all codes are equal; rounding would make some 1e-16 nats of nothing
        return AggregateDensity(own, own, own)
    others = _log_sum_of_others(z, posterior, max(1, block // n), dtype)
    return AggregateDensity(own, torch.logaddexp(own, others) - math.log(n), others - math.log(n - 1))


def _log_sum_of_others(
    z: Float[Tensor, "N D"], posterior: DiagonalGaussian, rows: int, dtype: torch.dtype | None
) -> Float[Tensor, " N"]:
    centre = posterior.mean.mean(0)  # smaller squares, fewer digits lost
    z, mean, logvar = z - centre, posterior.mean - centre, posterior.logvar
    precision = (-logvar).exp()
    dtype = _sufficient(z, mean, precision) if dtype is None else dtype
    powers = torch.cat((z.square(), z), 1).to(dtype)
    coefficients = torch.cat((-0.5 * precision, mean * precision), 1).to(dtype)
    constants = -0.5 * (LOG_2PI + logvar + mean.square() * precision).sum(1).to(dtype)
    buffer, sums = powers.new_empty(min(rows, len(z)), len(z)), []
    for start in range(0, len(z), rows):
        log_q = torch.addmm(constants, powers[start : start + rows], coefficients.T, out=buffer[: len(z) - start])
        log_q.diagonal(start).fill_(-math.inf)
        top = log_q.amax(1)
        # exp is slow where its result is denormal; e^-80 of the largest term is below the last digit anyway
        torch.maximum(log_q, top[:, None] - 80, out=log_q)
        # the largest log-share of the sum is top - log sum: one pass in place of shift, exp and sum
        sums.append(top - torch.log_softmax(log_q, 1, out=log_q).amax(1))
    return torch.cat(sums).to(z.dtype)


def _sufficient(z: Float[Tensor, "N D"], mean: Float[Tensor, "N D"], precision: Float[Tensor, "N D"]) -> torch.dtype:
    """Float32 for a large matrix whose entries do not cancel, the type of z if not.

    An entry is a sum of terms of at most r (|z| + |mean|)^2 / 2 each, with precision r; rounding is relative to them.
    """
    if len(z) < SINGLE_FROM:
        return z.dtype
    largest = 0.5 * (precision * (z.abs().amax(0) + mean.abs()).square()).sum(1).max()
    return torch.float32 if torch.finfo(torch.float32).eps * float(largest) < ROUNDING else z.dtype


class Bracket(NamedTuple):
    """Bounds on the mutual information I_q(x; z) of N examples and their codes."""

    lower: Estimate
    leave_one_out: Estimate
    upper: Estimate
    """The smaller of leave-one-out and KL."""
    aggregate_kl: Estimate
    """KL(q_agg || p), biased upwards."""
    examples: int

    @property
    def saturated(self) -> bool:
        """Whether the lower bound is so near to log N, which it cannot pass, that it says no more than that."""
        return self.lower.value > math.log(self.examples) - SATURATION


def mutual_information_bracket(
    z: Float[Tensor, "N D"],
    posterior: DiagonalGaussian,
    prior: PriorDistribution,
    block: int = BLOCK,
    dtype: torch.dtype | None = None,
) -> Bracket:
    r"""Bounds from one sample \(z_i \sim q_i\) of every example.

    lower = \(KL - \frac1N\sum_i [\log \frac1N \sum_k q_k(z_i) - \log p(z_i)]\), on average at most \(I\) and \(\log N\)
    (Hoffman and Johnson 2016; Dieng et al. 2019, section 5); leave-one-out = the same with the mixture of the others,
    on average at least \(I\) (Poole et al. 2019, eq. 13); and \(I \le KL\), the analytic mean KL to the prior.
    All in float64, but for the matrix of a large set of wide posteriors (see aggregate_density); a `dtype` forced on it
    may lose the leave-one-out bound of narrow ones (float32: log-variance below about -8).
    """
    z, posterior = z.double(), DiagonalGaussian.of(posterior.parameters.double())
    return bracket(z, posterior, prior, aggregate_density(z, posterior, block, dtype))


def bracket(
    z: Float[Tensor, "N D"], posterior: DiagonalGaussian, prior: PriorDistribution, density: AggregateDensity
) -> Bracket:
    """The bounds of mutual_information_bracket, from the densities at z."""
    with torch.no_grad():
        kl = float(prior.kl(posterior).sum(-1).mean())
        log_p = prior.log_prob(z[None])[0]
    aggregate, others = density.aggregate - log_p, density.others - log_p
    error = spread_error(aggregate)
    leave_one_out = Estimate(kl - float(others.mean()), spread_error(others))
    return Bracket(
        lower=Estimate(kl - float(aggregate.mean()), error),
        leave_one_out=leave_one_out,
        upper=Estimate(kl) if kl <= leave_one_out.value else leave_one_out,
        aggregate_kl=Estimate(float(aggregate.mean()), error),
        examples=len(z),
    )


def grouped_aggregate(
    z: Float[Tensor, "N D"], posterior: DiagonalGaussian, groups: Iterable[Tensor]
) -> Float[Tensor, " N"]:
    r"""\(\log \frac1{|G|} \sum_{k \in G} q_k(z_i)\), G the group of example i, itself in it.

    Each of the `groups` is the positions of the examples that share a mixture; together they are all examples.
    """
    log_q = z.new_full((len(z),), math.nan)
    for rows in groups:
        log_q[rows] = aggregate_density(z[rows], posterior[rows]).aggregate
    return log_q


def entropy_information(posterior: DiagonalGaussian, log_q: Float[Tensor, " N"]) -> Estimate:
    r"""\(\frac1N \sum_i \big[E_{q_i} \log q_i(z) - \log \bar q(z_i)\big]\), with the analytic entropy and no prior.

    `log_q` is \(\log \bar q(z_i)\). The mutual information as He et al. 2019 and Li et al. 2019 compute it: by its
    Monte Carlo error it may be negative, or above the logarithm of the size of the mixture.
    """
    information = -0.5 * (LOG_2PI + 1 + posterior.logvar).sum(-1) - log_q
    return Estimate(float(information.mean()), spread_error(information))


def mean_variance(mean: Float[Tensor, "N D"]) -> Float[Tensor, " D"]:
    """The unbiased variance over the examples of each unit's posterior mean; NaN for N = 1."""
    return (mean - mean.mean(0)).square().sum(0) / (len(mean) - 1)


def active_units(variance: Float[Tensor, " D"], threshold: float) -> float:
    """The number of units with a variance above the threshold (Burda et al. 2016); NaN if one of them is NaN."""
    return math.nan if variance.isnan().any() else float((variance > threshold).sum())


def collapsed(kl: Float[Tensor, "N D"], epsilon: float, delta: float) -> float:
    r"""Percent of the units with \(KL_j(x) < \epsilon\) for at least \(1 - \delta\) of the examples; NaN if a KL is.

    Counted by the examples that are not below, at most \(\delta N\) (Lucas et al. 2019, Definition 1).
    """
    if kl.isnan().any():
        return math.nan
    above = (kl >= epsilon).sum(0)
    return 100 * float((above <= delta * len(kl) + 1e-9).double().mean())  # 0.29 · 100 is below 29


def cyclic_permutation(order: Int[Tensor, " N"]) -> Int[Tensor, " N"]:
    """The permutation that maps each element of `order` to the next, and the last to the first.

    No element stays in place (N > 1); over random orders every such cycle is equally likely.
    """
    permutation = torch.empty_like(order)
    permutation[order] = order.roll(-1)
    return permutation
