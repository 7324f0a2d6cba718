"""Mean and deviation are those of Python's `statistics`, to the last bit."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapsebench.reporting.leaderboard.moments import deviation, mean

numbers = st.floats(allow_nan=False, allow_infinity=False)
alike = st.floats(29, 31)
several = st.lists(numbers, min_size=2, max_size=8) | st.lists(alike, min_size=2, max_size=200)


@given(several)
def test_they_are_those_of_statistics(values):
    assert mean(values).hex() == statistics.mean(values).hex()
    try:
        expected = statistics.stdev(values)
    except OverflowError:
        return
    assert deviation(values).hex() == expected.hex()


@given(alike, st.integers(2, 9))
def test_equal_numbers_do_not_deviate(value, n):
    assert (mean([value] * n), deviation([value] * n)) == (value, 0)


@pytest.mark.parametrize("values", [[5e-324, 5e-324], [1.7e308, 1.7e308], [5e-324, 1.7e308], [0.0, -0.0], [2.0, 4.0]])
def test_extremes(values):
    assert (mean(values), deviation(values)) == (statistics.mean(values), statistics.stdev(values))


@given(st.lists(st.floats(), min_size=1, max_size=5))
def test_what_is_not_finite_stays_so(values):
    found, expected = mean(values), statistics.mean(values)
    assert found == expected or (math.isnan(found) and math.isnan(expected))
