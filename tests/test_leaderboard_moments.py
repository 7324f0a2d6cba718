"""Mean and deviation of a board against exact fractions."""

from __future__ import annotations

import math
import statistics
from decimal import Decimal, localcontext
from fractions import Fraction
from sys import float_info

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapsebench.reporting.leaderboard.scoring import deviation, mean

finite = st.floats(allow_nan=False, allow_infinity=False)
moderate = st.floats(-1e300, 1e300)
alike = st.floats(29, 31)
neighbours = st.integers(-3, 3).map(lambda steps: 30 + steps * math.ulp(30.0))
"""Numbers that differ in their last digits alone, so that the mean is rounded by about as much as they deviate."""


def lists(elements):
    return st.lists(elements, min_size=2, max_size=11)


def exact_mean(values):
    return sum(map(Fraction, values)) / len(values)


def exact_deviation(values):
    center = exact_mean(values)
    variance = sum((Fraction(value) - center) ** 2 for value in values) / (len(values) - 1)
    with localcontext() as context:
        context.prec = 40
        return Fraction((Decimal(variance.numerator) / Decimal(variance.denominator)).sqrt())


@given(lists(finite) | lists(alike))
def test_the_mean_is_exact_to_the_last_bit_or_two(values):
    exact = exact_mean(values)
    assert abs(Fraction(mean(values)) - exact) <= abs(exact) * Fraction(float_info.epsilon) + Fraction(5e-324)


@given(lists(moderate) | lists(alike) | lists(neighbours))
def test_the_deviation_is_exact_to_some_bits(values):
    exact = exact_deviation(values)
    assert abs(Fraction(deviation(values)) - exact) <= exact * 8 * Fraction(float_info.epsilon) + Fraction(5e-323)


@given(finite, st.integers(2, 11))
def test_equal_numbers_are_their_own_mean_and_do_not_deviate(value, n):
    assert (mean([value] * n), deviation([value] * n)) == (value, 0)


@pytest.mark.parametrize("values", [[5e-324, 5e-324], [1.7e308, 1.7e308], [5e-324, 1.7e308], [0.0, -0.0], [2.0, 4.0]])
def test_extremes(values):
    assert (mean(values), deviation(values)) == (statistics.mean(values), statistics.stdev(values))


@given(st.lists(st.floats(), min_size=1, max_size=5))
def test_what_is_not_finite_stays_so(values):
    found, expected = mean(values), statistics.mean(values)
    assert found == pytest.approx(expected, rel=2 * float_info.epsilon, abs=5e-324, nan_ok=True)
