r"""The estimators behind the metrics, as pure functions of tensors. All values are in nats.

Symbols: N examples of a split, D latent units, K importance samples, S samples of z, \(q_i = q(z|x_i)\).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from collapsebench.errors import PluginError
from collapsebench.estimates import SATURATION, Estimate
from collapsebench.model.distributions import LOG_2PI, DiagonalGaussian, PriorDistribution
from collapsebench.model.kernels.blocks import block_of
from collapsebench.model.posterior import PosteriorDistribution

BLOCK = 2**20
"""The largest number of entries in a block of the (N, N) matrix on the CPU: 8 MiB in float64, which stays in the cache.
"""

SINGLE_FROM = 4096
"""The smallest N for which the (N, N) matrix may be in float32. A smaller matrix takes little time in float64."""

ROUNDING = 1e-3
"""The largest rounding error of a log-density in float32, in nats. The error of a mean is about a hundredth of it."""

PAIRED = 8
"""The densities of so many examples at each other's codes are compared with those that `same_information` gives."""

PAIR_TOLERANCE = 1e-4
"""The largest difference of the two, relative to their size or to one. The inverse of a flow loses digits."""


def error_over_examples(values: Float[Tensor, " N"]) -> float:
    r"""Give the standard error \(s/\sqrt N\) of the mean of N independent draws, one for each example. NaN for N = 1.

    It contains the spread between the examples, too. So its square is on average at least the variance of the mean over
    new draws.
    """
    n = len(values)
    return float(((values - values.mean()).square().sum() / (n - 1) / n).sqrt())


def error_over_draws(values: Float[Tensor, "S N"]) -> float:
    r"""Give the standard error \(\frac1N \sqrt{\sum_i s_i^2 / S}\) of a mean over N examples with S draws each.

    \(s_i^2\) is the variance over the draws of example i. NaN for S = 1.
    """
    samples, n = values.shape
    squares = (values - values.mean(0)).square().sum()
    return float((squares / (samples - 1) / samples).sqrt() / n)


class ImportanceBound(NamedTuple):
    r"""The bound \(\log \frac1k \sum_{s \le k} w_s\) for growing k, with \(w_s = p(x, z_s)/q(z_s|x)\).

    It is eq. 8 of Burda et al. 2016, in nats. N examples, and P numbers k of samples.

    One example with the weights 1 and 3 has the bound log 2, and the effective sample size 4² / (1² + 3²):

    >>> import torch
    >>> from collapsebench import ImportanceBound
    >>> from collapsebench.metrics.estimators import importance_bound
    >>> bound = importance_bound(torch.tensor([[1.0], [3.0]], dtype=torch.float64).log())
    >>> isinstance(bound, ImportanceBound), bound.sizes
    (True, (1, 2))
    >>> round(float(bound.nll), 4), round(float(bound.ess[-1]), 4), round(bound.error(), 4)
    (-0.6931, 1.6, 0.5)
    """

    sizes: tuple[int, ...]
    """The numbers of samples: k = 1, 2, 4, … below K, and K."""
    log_p: Tensor
    """The bound on log p(x) from the first k samples, (P, N)."""
    ess: Tensor
    r"""The effective sample size \((\sum w)^2 / \sum w^2\) of the first k samples, from 1 to k, (P, N)."""

    @property
    def nll(self) -> Float[Tensor, " N"]:
        """The estimate of -log p(x) from all K samples, in nats."""
        return -self.log_p[-1]

    def error(self, point: int = -1) -> float:
        r"""Give the standard error of the mean over the examples by the delta method.

        It is \(\frac1N\sqrt{\sum_i (k/\mathrm{ESS}_i - 1)/(k - 1)}\). It is too small if the effective sample size is
        small, and NaN for k = 1. `point` is the position of k in `sizes`. By default k is K.
        """
        size, ess = self.sizes[point], self.ess[point]
        variances = (size / ess - 1).clamp(min=0) / (size - 1)
        return float(variances.sum().sqrt() / len(ess))


def curve_sizes(samples: int) -> tuple[int, ...]:
    """Give the numbers of samples of the curve: 1, 2, 4, … below K, and K."""
    return (*(2**power for power in range((samples - 1).bit_length())), samples)


def importance_bound(log_weights: Float[Tensor, "K N"]) -> ImportanceBound:
    r"""Compute the bound from \(\log w_s\). Infinite and NaN weights give infinite and NaN bounds."""
    sizes = curve_sizes(len(log_weights))
    last = torch.tensor(sizes) - 1
    sums, sums_of_squares = log_weights.logcumsumexp(0)[last], (2 * log_weights).logcumsumexp(0)[last]
    log_sizes = torch.tensor(sizes, dtype=log_weights.dtype).log()
    return ImportanceBound(sizes, sums - log_sizes[:, None], (2 * sums - sums_of_squares).exp())


class AggregateDensity(NamedTuple):
    """Log-densities of posteriors and their mixtures at one sample z_i of each of N posteriors. Each is (N,), in nats.

    Two posteriors do not overlap. So at each code the own posterior has twice the density of the mixture:

    >>> import torch
    >>> from collapsebench import AggregateDensity, DiagonalGaussian
    >>> from collapsebench.metrics.estimators import aggregate_density
    >>> z = torch.tensor([[0.0], [100.0]], dtype=torch.float64)
    >>> density = aggregate_density(z, DiagonalGaussian(mean=z, logvar=torch.zeros_like(z)))
    >>> isinstance(density, AggregateDensity)
    True
    >>> [round(value, 4) for value in (density.own - density.aggregate).exp().tolist()]
    [2.0, 2.0]
    """

    own: Tensor
    r"""\(\log q_i(z_i)\), the own posterior."""
    aggregate: Tensor
    r"""\(\log \frac1N \sum_k q_k(z_i)\), the mixture of all posteriors."""
    others: Tensor
    r"""\(\log \frac1{N-1} \sum_{k \ne i} q_k(z_i)\), the mixture of the others. -inf for N = 1."""


def aggregate_density(
    z: Float[Tensor, "N D"], posterior: PosteriorDistribution, block: int = BLOCK, dtype: torch.dtype | None = None
) -> AggregateDensity:
    r"""Compute the mixture of all N posteriors, and the mixture of the others, exactly and in bounded memory.

    For Gaussians \(\log q_k(z)\) is linear in \((z^2, z)\), so that a block of the (N, N) matrix is one matrix product.
    The product loses digits if the posteriors are narrow. The own term dominates then, so it is computed directly. The
    matrix is in `dtype`. By default it is in float32 if it is large (`SINGLE_FROM`) and no entry loses more than
    `ROUNDING`. The densities of a flow that all examples share differ from those of its start by the same volume for
    all k, so that the matrix is that of the start.
    """
    with torch.no_grad():
        start, codes = posterior.same_information(z)
        found = _start_density(codes, start, block, dtype)
    if start is posterior:
        return found
    with torch.no_grad():
        own = posterior.log_prob(z[None])[0]
        _check_same_information(z, posterior, codes, start)
    volume = own - found.own
    return AggregateDensity(own, found.aggregate + volume, found.others + volume)


def _check_same_information(
    z: Float[Tensor, "N D"], posterior: PosteriorDistribution, codes: Float[Tensor, "N D"], start: PosteriorDistribution
) -> None:
    r"""Raise PluginError if \(\log q_k(z_i) - \log q_i(z_i)\) of some pairs is another one for the start."""
    rows = evenly_spaced(len(z), min(PAIRED, len(z)))
    found, wanted = _against_own(codes[rows], start[rows]), _against_own(z[rows], posterior[rows])
    if not torch.allclose(found, wanted, rtol=PAIR_TOLERANCE, atol=PAIR_TOLERANCE, equal_nan=True):
        worst = float((found - wanted).abs().max())
        raise PluginError(
            f"same_information() of {type(posterior).__name__} tells something else about x than the posterior: a "
            f"ratio of two densities is {worst:.3g} nats off"
        )


def _against_own(z: Float[Tensor, "N D"], posterior: PosteriorDistribution) -> Float[Tensor, "N N"]:
    log_q = posterior.log_prob(z[:, None].expand(-1, len(z), -1))
    return log_q - log_q.diagonal()[:, None]


def _start_density(
    z: Float[Tensor, "N D"], posterior: PosteriorDistribution, block: int, dtype: torch.dtype | None
) -> AggregateDensity:
    n, own = len(z), posterior.log_prob(z[None])[0]
    if n == 1:
        return AggregateDensity(own, own, torch.full_like(own, -math.inf))
    if z.shape[1] == 0:  # all codes are equal: rounding would give about 1e-16 nats in place of 0
        return AggregateDensity(own, own, own)
    rows = max(1, block_of(block, z.device) // n)
    if isinstance(posterior, DiagonalGaussian):
        others = _log_sum_of_others(z, posterior, rows, dtype)
    else:
        others = _any_log_sum_of_others(z, posterior, max(1, rows // z.shape[1]))
    return AggregateDensity(own, torch.logaddexp(own, others) - math.log(n), others - math.log(n - 1))


def _any_log_sum_of_others(z: Float[Tensor, "N D"], posterior: PosteriorDistribution, rows: int) -> Float[Tensor, " N"]:
    """Give the logarithm of the sum of the densities of the other posteriors at each code, for any family."""
    sums = []
    for start in range(0, len(z), rows):
        some = z[start : start + rows]
        log_q = posterior.log_prob(some[:, None].expand(-1, len(z), -1))  # (rows, N)
        log_q.diagonal(start).fill_(-math.inf)
        sums.append(log_q.logsumexp(1))
    return torch.cat(sums)


def _log_sum_of_others(
    z: Float[Tensor, "N D"], posterior: DiagonalGaussian, rows: int, dtype: torch.dtype | None
) -> Float[Tensor, " N"]:
    centre = posterior.mean.mean(0)  # smaller squares lose fewer digits
    z, mean, logvar = z - centre, posterior.mean - centre, posterior.logvar
    precision = (-logvar).exp()
    dtype = _matrix_dtype(z, mean, precision) if dtype is None else dtype
    powers = torch.cat((z.square(), z), 1).to(dtype)
    coefficients = torch.cat((-0.5 * precision, mean * precision), 1).to(dtype)
    constants = -0.5 * (LOG_2PI + logvar + mean.square() * precision).sum(1).to(dtype)
    buffer, sums = powers.new_empty(min(rows, len(z)), len(z)), []
    for start in range(0, len(z), rows):
        log_q = torch.addmm(constants, powers[start : start + rows], coefficients.T, out=buffer[: len(z) - start])
        log_q.diagonal(start).fill_(-math.inf)
        top = log_q.amax(1)
        # exp is slow if its result is denormal, and e^-80 of the largest term is below the last digit of the sum
        torch.maximum(log_q, top[:, None] - 80, out=log_q)
        # the largest share has the logarithm top - log sum: so one pass replaces shift, exp and sum
        sums.append(top - torch.log_softmax(log_q, 1, out=log_q).amax(1))
    return torch.cat(sums).to(z.dtype)


def _matrix_dtype(z: Float[Tensor, "N D"], mean: Float[Tensor, "N D"], precision: Float[Tensor, "N D"]) -> torch.dtype:
    """Choose float32 for a large matrix whose entries lose few digits, and the type of z otherwise.

    An entry is a sum of terms. Each is at most r (|z| + |mean|)^2 / 2, with precision r, and its rounding error is
    relative to that.
    """
    if len(z) < SINGLE_FROM:
        return z.dtype
    largest = 0.5 * (precision * (z.abs().amax(0) + mean.abs()).square()).sum(1).max()
    return torch.float32 if torch.finfo(torch.float32).eps * float(largest) < ROUNDING else z.dtype


class Bracket(NamedTuple):
    """Bounds on the mutual information I_q(x; z) of N examples and their codes, in nats."""

    lower: Estimate
    leave_one_out: Estimate
    upper: Estimate
    """The smaller of the leave-one-out bound and the KL."""
    aggregate_kl: Estimate
    """KL(q_agg || p). The estimate is biased upwards."""
    examples: int

    @property
    def saturated(self) -> bool:
        """True if the lower bound is within `SATURATION` of log N, its limit. Then it says no more than that."""
        return self.lower.value > math.log(self.examples) - SATURATION


def mutual_information_bracket(
    z: Float[Tensor, "N D"],
    posterior: PosteriorDistribution,
    prior: PriorDistribution,
    block: int = BLOCK,
    dtype: torch.dtype | None = None,
) -> Bracket:
    r"""Bound the mutual information \(I\) by one sample \(z_i \sim q_i\) of every example.

    - lower = \(KL - \frac1N\sum_i [\log \frac1N \sum_k q_k(z_i) - \log p(z_i)]\) is on average at most \(I\) and
      \(\log N\) (Hoffman and Johnson 2016; Dieng et al. 2019, section 5).
    - leave-one-out is the same with the mixture of the others. It is on average at least \(I\) (Poole et al. 2019,
      eq. 13).
    - \(I\) is at most the mean KL to the prior.

    Where the KL has no closed form, it is estimated at the same codes.

    The values are in float64. The matrix of a large set of wide posteriors is in float32 (see `aggregate_density`). A
    float32 that `dtype` forces on narrow posteriors, of log-variance below about -8, spoils the leave-one-out bound.
    """
    z, posterior = z.double(), posterior.at(posterior.parameters.double())
    return bracket_from_densities(z, posterior, prior, aggregate_density(z, posterior, block, dtype))


def bracket_from_densities(
    z: Float[Tensor, "N D"], posterior: PosteriorDistribution, prior: PriorDistribution, density: AggregateDensity
) -> Bracket:
    """Give the bounds of `mutual_information_bracket` from the densities at z."""
    with torch.no_grad():
        closed, log_p = prior.kl(posterior), prior.log_prob(z[None])[0]
    aggregate, others = density.aggregate - log_p, density.others - log_p
    rate = density.own - log_p if closed is None else closed.sum(-1)
    leave_one_out, upper = _difference(rate, others, closed), _mean_kl(rate, closed)
    return Bracket(
        lower=_difference(rate, aggregate, closed),
        leave_one_out=leave_one_out,
        upper=upper if upper.value <= leave_one_out.value else leave_one_out,
        aggregate_kl=Estimate(float(aggregate.mean()), error_over_examples(aggregate)),
        examples=len(z),
    )


def _mean_kl(rate: Float[Tensor, " N"], closed: Tensor | None) -> Estimate:
    """Give the mean KL. It has an error if it is estimated."""
    return Estimate(float(rate.mean()), None if closed is not None else error_over_examples(rate))


def _difference(rate: Float[Tensor, " N"], mixture: Float[Tensor, " N"], closed: Tensor | None) -> Estimate:
    """Give the mean of KL - log-ratio of the mixture. At the same code the errors of both belong together."""
    error = error_over_examples(mixture if closed is not None else rate - mixture)
    return Estimate(float(rate.mean()) - float(mixture.mean()), error)


def grouped_aggregate(
    z: Float[Tensor, "N D"], posterior: PosteriorDistribution, groups: Iterable[Tensor]
) -> Float[Tensor, " N"]:
    r"""Give \(\log \frac1{|G|} \sum_{k \in G} q_k(z_i)\), where G is the group that contains example i.

    A group is the positions of the examples that share a mixture. Every example is in one group.
    """
    log_q = z.new_full((len(z),), math.nan)
    for rows in groups:
        log_q[rows] = aggregate_density(z[rows], posterior[rows]).aggregate
    return log_q


def entropy_information(posterior: DiagonalGaussian, log_q: Float[Tensor, " N"]) -> Estimate:
    r"""Estimate the mutual information by the analytic entropy, without the prior (He et al. 2019; Li et al. 2019).

    It is \(\frac1N \sum_i \big[E_{q_i} \log q_i(z) - \log \bar q(z_i)\big]\), and `log_q` is \(\log \bar q(z_i)\). Its
    Monte Carlo error can make it negative, or larger than the logarithm of the size of the mixture.
    """
    information = -0.5 * (LOG_2PI + 1 + posterior.logvar).sum(-1) - log_q
    return Estimate(float(information.mean()), error_over_examples(information))


def mean_variance(mean: Float[Tensor, "N D"]) -> Float[Tensor, " D"]:
    """Give the unbiased variance over the examples of each unit's posterior mean. NaN for N = 1."""
    return (mean - mean.mean(0)).square().sum(0) / (len(mean) - 1)


def active_units(variance: Float[Tensor, " D"], threshold: float) -> float:
    """Count the units with a variance above the threshold (Burda et al. 2016). NaN if a variance is NaN."""
    return math.nan if variance.isnan().any() else float((variance > threshold).sum())


def collapsed_percentage(kl: Float[Tensor, "N D"], epsilon: float, delta: float) -> float:
    r"""Give the percentage of units with \(KL_j(x) < \epsilon\) for a share of at least \(1 - \delta\) of the examples.

    Such a unit has at most \(\delta N\) examples that are not below (Lucas et al. 2019, Definition 1). NaN if a KL is
    NaN.
    """
    if kl.isnan().any():
        return math.nan
    above = (kl >= epsilon).sum(0)
    return 100 * float((above <= delta * len(kl) + 1e-9).double().mean())  # in floating point 0.29 · 100 is below 29


def evenly_spaced(size: int, number: int) -> Int[Tensor, " K"]:
    """Give K different positions among `size` that lie as evenly as whole numbers can, the first one included."""
    return torch.arange(number) * size // number


def cyclic_permutation(order: Int[Tensor, " N"]) -> Int[Tensor, " N"]:
    """Give the permutation that maps each element of `order` to the next one, and the last to the first.

    No element keeps its place if N > 1. Random orders give every such cycle with equal probability.
    """
    permutation = torch.empty_like(order)
    permutation[order] = order.roll(-1)
    return permutation
