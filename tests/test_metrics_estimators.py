"""Estimators against closed forms, brute force and their own limits."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from collapsebench.metrics import estimators
from collapsebench.metrics.estimators import (
    SATURATION,
    active_units,
    aggregate_density,
    collapsed_percentage,
    curve_sizes,
    cyclic_permutation,
    error_over_draws,
    error_over_examples,
    evenly_spaced,
    importance_bound,
    mean_variance,
    mutual_information_bracket,
)
from collapsebench.model.distributions import DiagonalGaussian, StandardNormal


def generator(seed):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def sampled(mean, logvar, seed=1):
    posterior = DiagonalGaussian(mean, logvar)
    return posterior.sample(normal(1, *mean.shape, seed=seed))[0], posterior


def posteriors(n, d, logvar, seed=0):
    """Scattered posteriors, and one sample of each."""
    return sampled(normal(n, d, seed=seed), logvar + 0.3 * normal(n, d, seed=seed + 1), seed + 2)


def linear_gaussian(n, ratios, seed=0):
    """Exact posteriors of pPCA with ratios λ/σ² (Lucas et al. 2019), and I = ½ Σ log λ/σ².

    The means have their exact second moments over the examples, so that the mean KL is I to the last digit.
    """
    shrink = 1 / torch.tensor(ratios, dtype=torch.float64)
    white = normal(n, len(ratios), seed=seed)
    mean = white / white.square().mean(0).sqrt() * (1 - shrink).sqrt()
    return *sampled(mean, shrink.log().expand_as(mean), seed + 1), -0.5 * float(shrink.log().sum())


def direct(z, posterior):
    """All N² log densities in the squared form, without any product."""
    squares = (z[:, None] - posterior.mean).square() * (-posterior.logvar).exp()
    return -0.5 * (math.log(2 * math.pi) + posterior.logvar + squares).sum(-1)


@pytest.mark.parametrize("seed", range(3))
def test_bracket_of_a_linear_gaussian_model_holds_the_exact_information(seed):
    z, posterior, information = linear_gaussian(2000, [2.0, 1.5, 1.0], seed=10 * seed)
    bracket = mutual_information_bracket(z, posterior, StandardNormal(3))
    assert information == pytest.approx(0.5 * math.log(3))
    assert StandardNormal(3).kl(posterior).mean(0).sum() == pytest.approx(information, rel=1e-12)
    assert bracket.upper.value <= information + 1e-12
    assert bracket.lower.value == pytest.approx(information, abs=4 * bracket.lower.standard_error)
    assert bracket.leave_one_out.value == pytest.approx(information, abs=4 * bracket.leave_one_out.standard_error)
    assert bracket.aggregate_kl.value == pytest.approx(information - bracket.lower.value, abs=1e-12)
    assert not bracket.saturated


def test_bounds_are_on_either_side_of_the_exact_information():
    """On average: log N is not far above I here, so that the bounds are apart."""
    brackets = [
        mutual_information_bracket(z, posterior, StandardNormal(2))
        for z, posterior, _ in (linear_gaussian(60, [9.0, 4.0], seed=seed) for seed in range(50))
    ]
    lower, leave_one_out = torch.tensor([[b.lower.value, b.leave_one_out.value] for b in brackets]).T
    assert lower.mean() + 0.05 < 0.5 * math.log(36) < leave_one_out.mean() - 0.05
    assert (lower < leave_one_out).all()


def test_lower_bound_stops_at_log_n_and_says_so():
    z, posterior, information = linear_gaussian(300, [1e4, 1e4])
    bracket = mutual_information_bracket(z, posterior, StandardNormal(2))
    assert bracket.saturated
    assert math.log(300) - SATURATION < bracket.lower.value < math.log(300) + 3 * bracket.lower.standard_error
    assert bracket.upper == (pytest.approx(information), None)
    assert bracket.leave_one_out.value > information


def test_infonce_is_at_most_log_n_for_every_example():
    z, posterior = posteriors(200, 4, logvar=-6)
    density = aggregate_density(z, posterior)
    assert (density.own - density.aggregate).max() <= math.log(200) + 1e-12


def test_identical_posteriors_carry_no_information():
    mean, logvar = normal(1, 3).expand(500, 3), 0.3 * normal(1, 3, seed=1).expand(500, 3)
    z, posterior = sampled(mean, logvar, seed=5)
    density = aggregate_density(z, posterior)
    torch.testing.assert_close(density.aggregate, density.own, rtol=0, atol=1e-12)
    bracket = mutual_information_bracket(z, posterior, StandardNormal(3))
    assert bracket.lower.value == pytest.approx(0, abs=4 * bracket.lower.standard_error)
    assert bracket.leave_one_out.value == pytest.approx(bracket.lower.value, abs=1e-12)


@pytest.mark.parametrize("logvar", [1, -4, -12])
def test_aggregate_density_equals_brute_force(logvar):
    z, posterior = posteriors(120, 5, logvar)
    matrix, density = direct(z, posterior), aggregate_density(z, posterior)
    others = matrix.masked_fill(torch.eye(120, dtype=torch.bool), -math.inf)
    torch.testing.assert_close(density.own, matrix.diagonal(), rtol=1e-12, atol=1e-9)
    torch.testing.assert_close(density.aggregate, matrix.logsumexp(1) - math.log(120), rtol=1e-12, atol=1e-9)
    torch.testing.assert_close(density.others, others.logsumexp(1) - math.log(119), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("rows", [1, 7, 50, 1000])
def test_blocks_do_not_change_the_result(rows):
    z, posterior = posteriors(50, 3, logvar=-2)
    whole, blocked = aggregate_density(z, posterior, 50 * 50), aggregate_density(z, posterior, rows * 50)
    for expected, got in zip(whole, blocked, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-13, atol=1e-13)


def test_float32_keeps_the_lower_bound_of_narrow_posteriors_and_float64_all():
    z, posterior = posteriors(400, 8, logvar=-12)
    matrix = direct(z, posterior).fill_diagonal_(-math.inf)
    kl = float(StandardNormal(8).kl(posterior).sum(-1).mean())
    log_p = StandardNormal(8).log_prob(z[None])[0]
    others = float((matrix.logsumexp(1) - math.log(399) - log_p).mean())
    prior = StandardNormal(8)
    double = mutual_information_bracket(z, posterior, prior)
    single = mutual_information_bracket(z, posterior, prior, dtype=torch.float32)
    assert double.leave_one_out.value == pytest.approx(kl - others, rel=1e-12)
    assert single.lower.value == pytest.approx(double.lower.value, abs=1e-3)


@pytest.mark.parametrize("logvar", [1.0, -1.0, -3.0, -8.0, -12.0])
def test_a_large_matrix_is_in_float32_where_that_is_exact_enough(logvar, monkeypatch):
    """Wide posteriors keep every bound to 1e-4 nats; narrow ones are computed in float64."""
    monkeypatch.setattr(estimators, "SINGLE_FROM", 600)
    z, posterior = posteriors(600, 32, logvar=logvar)
    prior = StandardNormal(32)
    chosen, double = (mutual_information_bracket(z, posterior, prior, dtype=dtype) for dtype in (None, torch.float64))
    assert (chosen == double) == (logvar < -4)
    for name in ("lower", "leave_one_out", "upper", "aggregate_kl"):
        assert getattr(chosen, name).value == pytest.approx(getattr(double, name).value, abs=1e-4)
    assert mutual_information_bracket(z[:599], posterior[:599], prior) == mutual_information_bracket(
        z[:599], posterior[:599], prior, dtype=torch.float64
    )


def test_single_precision_input_is_computed_in_double():
    z, posterior = posteriors(100, 4, logvar=-3)
    single = DiagonalGaussian(posterior.mean.float(), posterior.logvar.float())
    double = DiagonalGaussian(single.mean.double(), single.logvar.double())
    prior = StandardNormal(4)
    got = mutual_information_bracket(z.float(), single, prior)
    assert got == mutual_information_bracket(z.float().double(), double, prior)


def test_one_example_has_no_others():
    z, posterior = posteriors(1, 3, logvar=0)
    bracket = mutual_information_bracket(z, posterior, StandardNormal(3))
    kl = float(StandardNormal(3).kl(posterior).sum())
    density = aggregate_density(z, posterior)
    assert density.aggregate == density.own
    assert bracket.leave_one_out.value == math.inf
    assert bracket.upper.value == pytest.approx(kl)
    assert math.isnan(bracket.lower.standard_error)


def test_no_units_no_information():
    z, posterior = posteriors(20, 0, logvar=0)
    bracket = mutual_information_bracket(z, posterior, StandardNormal(0))
    assert bracket.lower.value == pytest.approx(0, abs=1e-12)
    assert bracket.upper.value == pytest.approx(0, abs=1e-12)


def test_nan_posteriors_give_nan():
    z, posterior = posteriors(20, 2, logvar=0)
    posterior.mean[3] = math.nan
    bracket = mutual_information_bracket(z, posterior, StandardNormal(2))
    assert math.isnan(bracket.lower.value)
    assert math.isnan(bracket.upper.value)


@pytest.mark.parametrize(
    ("samples", "sizes"), [(1, (1,)), (2, (1, 2)), (5, (1, 2, 4, 5)), (8, (1, 2, 4, 8)), (9, (1, 2, 4, 8, 9))]
)
def test_curve_sizes(samples, sizes):
    assert curve_sizes(samples) == sizes


def test_importance_bound_equals_its_definition():
    log_weights = 3 * normal(37, 6) - 700  # exp underflows
    bound = importance_bound(log_weights)
    weights = (log_weights + 700).exp()
    assert bound.sizes == (1, 2, 4, 8, 16, 32, 37)
    for point, size in enumerate(bound.sizes):
        first = weights[:size]
        torch.testing.assert_close(bound.log_p[point], first.mean(0).log() - 700)
        torch.testing.assert_close(bound.ess[point], first.sum(0).square() / first.square().sum(0))
        if size > 1:
            variance = (first.var(0) / first.mean(0).square() / size).sum()
            assert bound.error(point) == pytest.approx(float(variance.sqrt()) / 6)
    assert torch.equal(bound.nll, -bound.log_p[-1])


def test_equal_weights_are_exact_and_one_large_weight_is_alone():
    equal = importance_bound(torch.full((10, 3), -5.0, dtype=torch.float64))
    torch.testing.assert_close(equal.ess[-1], torch.full((3,), 10.0, dtype=torch.float64))
    assert equal.error() == pytest.approx(0, abs=1e-7)
    log_weights = torch.zeros(10, 1, dtype=torch.float64)
    log_weights[4] = 100
    alone = importance_bound(log_weights)
    assert float(alone.ess[-1]) == pytest.approx(1)
    assert float(alone.nll) == pytest.approx(math.log(10) - 100)


def test_infinite_and_nan_weights_stay_what_they_are():
    log_weights = torch.tensor([[-math.inf, -math.inf, math.nan], [-math.inf, 1.0, 1.0]], dtype=torch.float64)
    bound = importance_bound(log_weights)
    assert bound.nll[0] == math.inf
    assert float(bound.nll[1]) == pytest.approx(math.log(2) - 1)
    assert bound.nll[2].isnan()
    assert bound.ess[-1, [0, 2]].isnan().all()


def test_one_sample_has_no_standard_error():
    assert math.isnan(importance_bound(normal(1, 4)).error())
    assert math.isnan(error_over_draws(normal(1, 4)))
    assert math.isnan(error_over_examples(normal(1)))


def test_standard_errors_equal_their_definitions():
    values = normal(5, 40)
    assert error_over_draws(values) == pytest.approx(float((values.var(0) / 5).sum().sqrt()) / 40)
    assert error_over_examples(values[0]) == pytest.approx(float(values[0].std()) / math.sqrt(40))


def test_spread_error_covers_the_monte_carlo_error():
    """Draws of N examples with means of their own: s/√N is no smaller than the error that the draws make."""
    means = normal(30, seed=3)
    draws = means + normal(2000, 30, seed=4)
    assert draws.mean(1).std() < torch.tensor([error_over_examples(draw) for draw in draws[:100]]).mean()


def test_active_units_are_counted_strictly_above_the_threshold():
    mean = torch.tensor([[0.0, 1.0, 5.0], [2.0, 1.0, 6.0]], dtype=torch.float64)
    torch.testing.assert_close(mean_variance(mean), torch.tensor([2.0, 0.0, 0.5], dtype=torch.float64))
    assert [active_units(mean_variance(mean), t) for t in (0.01, 0.5, 2.0)] == [2, 1, 0]


def test_active_units_are_undefined_where_a_variance_is():
    assert math.isnan(active_units(mean_variance(normal(1, 3)), 0.01))
    assert active_units(mean_variance(normal(5, 0)), 0.01) == 0


@given(st.integers(1, 400), st.integers(0, 100), st.integers(0, 400))
def test_a_unit_is_collapsed_if_at_most_a_share_of_the_examples_is_above(examples, percent, above):
    above = min(above, examples)
    kl = torch.tensor([1.0] * above + [0.5] * (examples - above), dtype=torch.float64)
    expected = 100 if 100 * above <= percent * examples else 0
    assert collapsed_percentage(kl[:, None], 1.0, percent / 100) == expected


@given(st.floats(1e-4, 2), st.floats(0, 0.9), st.integers(0, 1000))
def test_collapse_grows_with_its_threshold_and_its_share(epsilon, delta, seed):
    kl = normal(30, 6, seed=seed).square()
    least = collapsed_percentage(kl, epsilon, delta)
    assert (
        0
        <= least
        <= min(collapsed_percentage(kl, 2 * epsilon, delta), collapsed_percentage(kl, epsilon, delta + 0.09))
        <= 100
    )


def test_collapse_is_undefined_where_a_kl_is():
    assert math.isnan(collapsed_percentage(torch.tensor([[0.0, math.nan]]), 0.01, 0.01))


@given(st.integers(1, 500), st.data())
def test_evenly_spaced_positions_are_different_and_leave_equal_gaps(size, data):
    number = data.draw(st.integers(1, size))
    rows = evenly_spaced(size, number)
    gaps = torch.diff(rows, append=torch.tensor([size]))
    assert rows[0] == 0
    assert set(gaps.tolist()) <= {size // number, size // number + 1}
    assert len(gaps) == number


@given(st.integers(2, 200), st.integers(0, 2**31))
def test_cyclic_permutation_is_one_cycle(n, seed):
    permutation = cyclic_permutation(torch.randperm(n, generator=generator(seed)))
    seen, at = set(), 0
    for _ in range(n):
        at = int(permutation[at])
        seen.add(at)
    assert seen == set(range(n))
    assert not (permutation == torch.arange(n)).any()


def test_without_units_the_bracket_is_exactly_zero():
    empty = DiagonalGaussian(torch.zeros(1000, 0), torch.zeros(1000, 0))
    bracket = mutual_information_bracket(torch.zeros(1000, 0), empty, StandardNormal(0))
    assert bracket.lower.value == bracket.upper.value == bracket.leave_one_out.value == 0
