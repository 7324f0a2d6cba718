"""The outlook of a grid: what is over, and the time that is left."""

from __future__ import annotations

import pytest
import records
from hypothesis import given
from hypothesis import strategies as st

from collapsebench.experiment import events
from collapsebench.experiment.outlook import Outlook, in_words
from collapsebench.record import Outcome


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def run(
    outlook: Outlook, clock: Clock, label: str, seconds: float, outcome: Outcome = Outcome.FINISHED, **spec
) -> None:
    """One run from its beginning to its end."""
    begun = records.started(label, **spec)
    outlook.observe(events.Started(begun))
    clock.now += seconds
    outlook.observe(events.Finished(begun.model_copy(update={"outcome": outcome})))


def step(outlook: Outlook, label: str, share: float, **spec) -> None:
    outlook.observe(events.Stepped(records.started(label, **spec).run_id, 1, share, 30.0, 1.0))


@given(st.integers(1, 6), st.floats(1, 1e5))
def test_a_grid_of_equal_runs_takes_as_long_as_its_first_run_says(number, seconds):
    clock = Clock()
    outlook = Outlook([records.spec(seed=seed) for seed in range(number)], clock=clock)
    assert outlook.left() is None
    for seed in range(number):
        run(outlook, clock, "skip", seconds, seed=seed)
        assert outlook.left() == pytest.approx((number - seed - 1) * seconds)
        assert (outlook.done, outlook.total, outlook.share) == (seed + 1, number, (seed + 1) / number)


@given(st.floats(0.03, 0.99), st.floats(1, 1e5))
def test_a_first_run_at_an_even_speed_says_when_it_ends_and_how_long_the_others_take(share, seconds):
    clock = Clock()
    outlook = Outlook([records.spec(seed=seed) for seed in (1, 2)], clock=clock)
    outlook.observe(events.Started(records.started(seed=1)))
    clock.now = share * seconds
    step(outlook, "skip", share, seed=1)
    assert outlook.left_of(records.started(seed=1).run_id) == pytest.approx((1 - share) * seconds)
    assert outlook.left() == pytest.approx((1 - share) * seconds + seconds)


@given(st.floats(0.05, 0.9), st.floats(0.03, 0.09), st.floats(1, 1e5))
def test_a_resumed_run_is_foreseen_by_what_it_does_here(first, more, seconds):
    clock, run_id = Clock(), records.started().run_id
    outlook = Outlook([records.spec()], clock=clock)
    outlook.observe(events.Started(records.started()))
    outlook.observe(events.Resumed(run_id, 100))
    step(outlook, "skip", first)
    assert outlook.left() is None
    clock.now = more * seconds
    step(outlook, "skip", first + more)
    assert outlook.left() == pytest.approx((1 - first - more) * seconds, rel=1e-6)


def test_runs_that_are_alike_tell_more_than_others():
    clock = Clock()
    slow = [records.spec("sa-vae", seed) for seed in (1, 2)]
    quick = [records.spec("vae", seed) for seed in (1, 2)]
    outlook = Outlook([*slow, *quick], clock=clock)
    run(outlook, clock, "sa-vae", 1000.0, seed=1)
    run(outlook, clock, "vae", 10.0, seed=1)
    assert outlook.left() == pytest.approx(1010.0)


def test_another_protocol_of_the_same_unit_takes_its_time_in_proportion_to_the_budget():
    clock = Clock()
    outlook = Outlook([records.spec("vae"), records.spec("vae", budget="700steps")], clock=clock)
    run(outlook, clock, "vae", 10.0)
    assert outlook.left() == pytest.approx(20.0)


def test_runs_that_failed_say_nothing_of_the_time():
    clock = Clock()
    outlook = Outlook([records.spec(seed=seed) for seed in (1, 2)], clock=clock)
    run(outlook, clock, "skip", 1.0, Outcome.FAILED, seed=1)
    assert (outlook.left(), outlook.done, outlook.ended) == (None, 1, {Outcome.FAILED: 1})


def test_workers_share_what_is_left_but_no_run_is_shorter_for_that():
    clock = Clock()
    outlook = Outlook([records.spec(seed=seed) for seed in range(5)], workers=4, clock=clock)
    run(outlook, clock, "skip", 100.0, seed=0)
    assert outlook.left() == pytest.approx(100.0)
    for seed in range(1, 5):
        outlook.observe(events.Started(records.started(seed=seed)))
    clock.now += 40
    assert outlook.left() == pytest.approx(60.0)
    clock.now += 500
    assert outlook.left() == 0.0


def test_stored_and_skipped_runs_are_done():
    outlook = Outlook([records.spec()], stored=3)
    outlook.observe(events.Skipped(records.started(), "another process computes it"))
    assert (outlook.done, outlook.total, outlook.share, outlook.left()) == (4, 4, 1.0, 0.0)


@given(st.floats(0, 1e9))
def test_a_time_in_words_is_as_long_as_the_time(seconds):
    number, unit = in_words(seconds).split()
    size = {"s": 1, "min": 60, "h": 3600, "d": 86400}[unit]
    assert float(number) * size == pytest.approx(seconds, rel=0.05, abs=1)
