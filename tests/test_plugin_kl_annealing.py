"""The schedules of the KL weight."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapsebench import Progress
from collapsebench_plugins.kl_annealing import KLAnnealing, Schedule

shares = st.floats(0, 1)
schedules = st.sampled_from(list(Schedule))


def weight(share, **settings):
    return KLAnnealing(**settings).kl_weight(Progress(float(share), step=0))


@given(shares, schedules, shares, st.floats(0.01, 1))
def test_weights_stay_between_zero_and_one(share, schedule, start, warmup):
    assert 0 <= weight(share, schedule=schedule, start=start, warmup=warmup) <= 1


@given(shares)
def test_from_the_start_at_one_it_is_the_plain_elbo(share):
    assert weight(share, start=1) == 1
    assert weight(share, schedule=Schedule.CYCLICAL, start=1) == 1


@given(shares, shares, st.sampled_from([Schedule.LINEAR, Schedule.LOGISTIC]))
def test_linear_and_logistic_weights_never_fall(one, other, schedule):
    assert weight(min(one, other), schedule=schedule) <= weight(max(one, other), schedule=schedule)


def test_linear_reaches_one_at_the_end_of_the_warmup():
    assert weight(0, start=0.1) == pytest.approx(0.1)
    assert weight(0.2, start=0.1, warmup=0.4) == pytest.approx(0.55)
    assert weight(0.4, start=0.1, warmup=0.4) == 1


def test_logistic_is_one_half_in_the_middle_of_the_warmup():
    assert weight(0.2, schedule=Schedule.LOGISTIC, warmup=0.4) == 0.5


def test_cyclical_starts_again_in_every_cycle():
    settings = {"schedule": Schedule.CYCLICAL, "cycles": 4, "warmup": 0.5}
    for cycle in range(4):
        assert weight(cycle / 4, **settings) == 0
        assert weight(cycle / 4 + 1 / 16, **settings) == pytest.approx(0.5)
        assert weight(cycle / 4 + 3 / 16, **settings) == 1


def rate(share, **settings):
    return KLAnnealing(**settings).learning_rate(Progress(float(share), step=0))


@given(shares, schedules)
def test_the_learning_rate_stays_between_zero_and_that_of_the_track(share, schedule):
    found = rate(share, schedule=schedule)
    assert 0 <= found <= 1
    assert found == 1 or schedule is Schedule.CYCLICAL_RESTARTS


@given(shares, shares)
def test_restarts_leave_the_weights_of_the_cyclical_schedule(share, start):
    with_restarts = weight(share, schedule=Schedule.CYCLICAL_RESTARTS, start=start)
    assert with_restarts == weight(share, schedule=Schedule.CYCLICAL, start=start)


def test_the_rate_is_whole_at_the_start_of_a_cycle_a_half_in_its_middle_and_gone_at_its_end():
    settings = {"schedule": Schedule.CYCLICAL_RESTARTS, "cycles": 4}
    for cycle in range(4):
        assert rate(cycle / 4, **settings) == 1
        assert rate(cycle / 4 + 1 / 8, **settings) == pytest.approx(0.5)
        assert rate(math.nextafter((cycle + 1) / 4, 0), **settings) == pytest.approx(0, abs=1e-12)
