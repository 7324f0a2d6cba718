"""How much two orders agree, against SciPy, the definition by pairs, and what must hold for any orders."""

from __future__ import annotations

import math
import tracemalloc
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from leagues import FEW, lower, one_to_three, score, scores, tables, whole
from scipy import stats

from collapsebench.estimates import Direction
from collapsebench.reporting.league import Bootstrap, Unit, agreement, losses

MANY = st.integers(2, 7)
mostly_whole = st.one_of(whole, whole, whole, whole, score)
"""So that contenders with all results are not rare."""


@st.composite
def two_tables(draw, numbers=mostly_whole, seeds=one_to_three):
    """Two scores of the same runs."""
    one = draw(tables(numbers, contenders=MANY, seeds=seeds))
    other = {
        task: {name: draw(st.lists(numbers, min_size=len(runs), max_size=len(runs))) for name, runs in own.items()}
        for task, own in one.items()
    }
    return one, other


def tau_by_pairs(first, second):
    """The coefficient by its definition: concordant minus discordant pairs, over those that are no ties."""
    concordant = discordant = tied_in_first = tied_in_second = 0
    for (a, b), (c, d) in combinations(zip(first, second, strict=True), 2):
        tied_in_first += a == c
        tied_in_second += b == d
        concordant += (a < c and b < d) or (a > c and b > d)
        discordant += (a < c and b > d) or (a > c and b < d)
    pairs = math.comb(len(first), 2)
    ordered = (pairs - tied_in_first) * (pairs - tied_in_second)
    return (concordant - discordant) / math.sqrt(ordered) if ordered else None


@given(two_tables(whole) | two_tables())
def test_a_coefficient_is_that_of_scipy_and_of_the_definition(both):
    one, other = map(lower, both)
    found = agreement(one, other, FEW)
    for first, second in zip(one.tasks, other.tasks, strict=True):
        means = [[task.means[name] for name in one.contenders] for task in (first, second)]
        tau, theirs = found.taus[first.task], float(stats.kendalltau(*means, variant="b").statistic)
        assert tau == (pytest.approx(theirs) if math.isfinite(theirs) else None)
        assert tau == (None if (own := tau_by_pairs(*means)) is None else pytest.approx(own))


def test_the_example_with_ties_has_its_known_coefficient():
    """Six pairs: four agree, one does not, one is a tie in the second order."""
    first = lower({"t": {n: [v] for n, v in zip("abcd", (1.0, 2.0, 3.0, 4.0), strict=True)}})
    second = lower({"t": {n: [v] for n, v in zip("abcd", (1.0, 3.0, 2.0, 3.0), strict=True)}})
    assert agreement(first, second, FEW).mean == pytest.approx(3 / math.sqrt(6 * 5))


@given(tables(score, contenders=MANY))
def test_equal_orders_agree_wholly(table):
    one = lower(table)
    found = agreement(one, one, FEW)
    known = [tau for tau in found.taus.values() if tau is not None]
    assert set(known) <= {1}
    assert found.mean == (1 if known else None)
    assert found.interval in ((1, 1), None)


@given(tables(contenders=MANY))
def test_reversed_orders_disagree_wholly(table):
    opposed = agreement(lower(table), losses(scores(table), Direction.HIGHER), FEW)
    assert {tau for tau in opposed.taus.values() if tau is not None} <= {-1}
    assert opposed.interval in ((-1, -1), None)


@given(two_tables())
def test_agreement_is_mutual_and_within_its_bounds(both):
    one, other = map(lower, both)
    found, back = agreement(one, other, FEW), agreement(other, one, FEW)
    assert found == back
    known = [tau for tau in found.taus.values() if tau is not None]
    assert all(-1 <= tau <= 1 for tau in known)
    assert found.mean == (pytest.approx(np.mean(known)) if known else None)
    if found.interval is not None:
        assert -1 <= found.interval.low <= found.interval.high <= 1
    if all(len(task.seeds) == 1 for task in one.tasks):
        assert found.interval is None


@given(two_tables())
def test_growing_functions_of_the_means_change_nothing(both):
    """Straight ones, as others would move the means."""
    one, other = both
    bent = {task: {n: [v if v is None else 4 * v + 8 for v in own[n]] for n in own} for task, own in other.items()}
    assert agreement(lower(one), lower(other), FEW) == agreement(lower(one), lower(bent), FEW)


@pytest.mark.parametrize("unit", Unit)
def test_the_interval_ends_at_percentiles_of_the_coefficients_of_drawn_seeds(unit):
    """By SciPy's coefficient in each resample, with the draws that the bootstrap makes."""
    rng = np.random.default_rng(3)
    one = {t: {f"c{i}": (i + rng.normal(0, 2, 4)).tolist() for i in range(5)} for t in ("t", "u")}
    other = {t: {n: (np.array(v) + rng.normal(0, 1, 4)).tolist() for n, v in own.items()} for t, own in one.items()}
    chosen = Bootstrap(resamples=300, unit=unit)
    first, second = lower(one), lower(other)
    drawn = []
    for number in range(chosen.resamples):
        of_tasks = []
        for left, right in zip(first.tasks, second.tasks, strict=True):
            counts = {name: chosen.counts(left, name)[number] for name in first.contenders}
            means = [[counts[n] @ task.runs[n] for n in first.contenders] for task in (left, right)]
            of_tasks.append(stats.kendalltau(*means).statistic)
        drawn.append(np.mean(of_tasks))
    assert agreement(first, second, chosen).interval == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])))


def test_runs_of_one_seed_stay_together_and_other_seeds_are_drawn_on_their_own():
    """Seeds decide the order. Both columns have the same one for each seed, so that they agree in each resample."""
    numbers = {"a": [0.0, 10.0, 0.5, 11.0], "b": [9.0, 1.0, 8.0, 2.5]}
    same = losses({"t": {n: dict(enumerate(v)) for n, v in numbers.items()}}, Direction.LOWER)
    others = losses({"t": {n: dict(enumerate(v, start=7)) for n, v in numbers.items()}}, Direction.LOWER)
    assert agreement(same, same, FEW).interval == (1, 1)
    found = agreement(same, others, FEW)
    assert found.mean == 1
    assert found.interval == (-1, 1)
    apart = replace(FEW, seed=FEW.seed + 1)
    assert not np.array_equal(FEW.counts(same.tasks[0], "a"), apart.counts(others.tasks[0], "a"))


def test_the_first_three_of_two_orders_may_be_others():
    """Ties at the third place count, and one with a lost run does not."""
    one = lower({"t": {n: [v] for n, v in zip("abcdef", (1.0, 2.0, 3.0, 3.0, 9.0, None), strict=True)}})
    other = lower({"t": {n: [v] for n, v in zip("abcdef", (5.0, 8.0, 3.0, 4.0, 9.0, 0.0), strict=True)}})
    assert agreement(one, other, FEW).shared_first == {"t": ("c", "d")}
    assert agreement(one, one, FEW).shared_first == {"t": ("a", "b", "c", "d")}


@given(two_tables(whole) | two_tables())
def test_the_first_three_are_those_that_few_are_better_than(both):
    one, other = map(lower, both)
    found = agreement(one, other, FEW)
    for first, second in zip(one.tasks, other.tasks, strict=True):
        ranked = [
            stats.rankdata([task.means[name] for name in one.contenders], method="min") for task in (first, second)
        ]
        expected = [
            name
            for name, rank, other_rank in zip(one.contenders, *ranked, strict=True)
            if max(rank, other_rank) <= 3 and math.isfinite(first.means[name]) and math.isfinite(second.means[name])
        ]
        assert found.shared_first[first.task] == tuple(expected)


def test_only_contenders_of_both_orders_count_and_tasks_may_stand_in_any_order():
    one = lower({"t": {"a": [1.0], "b": [2.0], "c": [3.0]}, "u": {"a": [1.0], "b": [2.0], "c": [3.0]}})
    other = lower({"u": {"d": [9.0], "b": [2.0], "a": [1.0]}, "t": {"d": [0.0], "b": [1.0], "a": [2.0]}})
    found = agreement(one, other, FEW)
    assert found.contenders == ("a", "b")
    assert found.taus == {"t": -1, "u": 1}
    assert (found.mean, found.interval) == (0, None)
    assert found.shared_first == {"t": ("a", "b"), "u": ("a", "b")}


def test_a_task_without_an_order_has_no_coefficient_and_is_left_out_of_the_mean():
    one = lower({"t": {"a": [1.0], "b": [2.0]}, "u": {"a": [1.0], "b": [1.0]}})
    found = agreement(one, one, FEW)
    assert (found.taus, found.mean) == ({"t": 1, "u": None}, 1)
    nothing = agreement(lower({"t": {"a": [None], "b": [math.nan]}}), lower({"t": {"a": [1.0], "b": [2.0]}}), FEW)
    assert (nothing.taus, nothing.mean, nothing.interval) == ({"t": None}, None, None)
    assert nothing.shared_first == {"t": ()}


@pytest.mark.parametrize(
    ("other", "text"),
    [
        ({"u": {"a": [1.0], "b": [2.0]}}, r"the same tasks, got \['u'\]"),
        ({"t": {"a": [1.0], "c": [2.0]}}, "two contenders or more in common, got 1"),
    ],
)
def test_orders_that_cannot_be_compared_are_refused(other, text):
    with pytest.raises(ValueError, match=text):
        agreement(lower({"t": {"a": [1.0], "b": [2.0]}}), lower(other), FEW)


@pytest.mark.parametrize(("better", "worse"), [(1.0, 1.0), (1.0, None), (None, 1.0), (None, None)])
def test_runs_without_a_result_are_last_and_tie(better, worse):
    one = lower({"t": {"a": [0.0], "b": [better], "c": [worse]}})
    other = lower({"t": {"a": [0.0], "b": [1.0], "c": [2.0]}})
    means = [0.0, math.inf if better is None else better, math.inf if worse is None else worse]
    assert agreement(one, other, FEW).mean == pytest.approx(tau_by_pairs(means, [0.0, 1.0, 2.0]))


def test_many_resamples_need_no_table_of_all_pairs():
    drawn = np.random.default_rng(0).normal(size=(40, 4))
    own = lower({"t": {f"c{number}": list(values) for number, values in enumerate(drawn)}})
    tracemalloc.start()
    try:
        agreement(own, own, Bootstrap(resamples=5000))
        assert tracemalloc.get_traced_memory()[1] < 5000 * 780 * 8  # a table of one number for each pair
    finally:
        tracemalloc.stop()
