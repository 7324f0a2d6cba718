"""Statistics over tasks, against other programs, SciPy, brute force and what must hold for any numbers."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from leagues import FEW, lower, score, scores, tables
from scipy import stats

from collapsebench.estimates import Direction
from collapsebench.reporting.league import (
    Bootstrap,
    Point,
    Shortfall,
    Unit,
    area,
    critical_difference,
    friedman,
    front,
    fronts,
    groups,
    improvement,
    league,
    losses,
    profile,
    ranks,
    regrets,
)

PUBLISHED = Bootstrap(resamples=200, unit=Unit.RUNS)

NLLS = {
    "text": {
        "vae": [100.8, 101.5, 101.3, 99.8, 102.5, 102.0],
        "a": [98.6, 99.5, 100.2, 98.7, 100.9, 100.5],
        "b": [102.1, 100.6, 100.6, 100.8, 101.7, 101.4],
        "c": [101.5, 101.2, 101.9, 100.5, 101.5, 101.4],
    },
    "digits": {
        "vae": [21.5, 21.9, 22.2, 22.3, 22.0, 22.1],
        "a": [21.6, 22.7, 22.2, 21.4, 22.2, 21.8],
        "b": [22.5, 22.2, 23.2, 22.6, 21.7, 22.6],
        "c": [21.6, 22.6, 21.7, 21.6, 22.1, 22.2],
    },
    "pixels": {
        "vae": [84.6, 85.3, 83.6, 85.6, 85.8, 84.6],
        "a": [83.9, 85.3, 84.8, 86.0, 84.8, 83.9],
        "b": [82.3, 82.6, 83.1, 83.6, 82.1, 82.0],
        "c": [85.9, 86.3, 85.2, 86.5, 86.3, 86.0],
    },
}
"""Three tasks, four contenders, six seeds."""

AUC = [
    [0.763, 0.768, 0.771, 0.798],
    [0.599, 0.591, 0.590, 0.569],
    [0.954, 0.971, 0.968, 0.967],
    [0.628, 0.661, 0.654, 0.657],
    [0.882, 0.888, 0.886, 0.898],
    [0.936, 0.931, 0.916, 0.931],
    [0.661, 0.668, 0.609, 0.685],
    [0.583, 0.583, 0.563, 0.625],
    [0.775, 0.838, 0.866, 0.875],
    [1.000, 1.000, 1.000, 1.000],
    [0.940, 0.962, 0.965, 0.962],
    [0.619, 0.666, 0.614, 0.669],
    [0.972, 0.981, 0.975, 0.9749],
    [0.957, 0.978, 0.946, 0.970],
]
"""Table 6 of Demšar (2006). The paper ranks the last number of the row of 0.972 below its neighbour, both 0.975."""

NINE = [
    [-0.8, -0.9, 0.7, 1.8, 2.9, 2.4, 2.1],
    [-0.8, 1.2, 2.5, 1.6, 0.6, 1.3, 4.3],
    [0.2, -1.3, 0.8, 0.2, 1.2, 1.8, 2.0],
    [0.6, 0.4, 0.3, 1.8, 2.6, 0.6, 2.4],
    [-1.0, 0.3, -0.4, 1.4, 1.8, 1.9, 1.7],
    [-0.4, -0.6, -0.5, 1.6, 0.7, 3.4, 3.4],
    [-2.0, 0.7, -0.2, 1.4, 1.8, 0.3, 2.5],
    [-0.3, 1.4, -0.3, 2.1, 0.7, 1.9, 1.9],
    [1.4, 1.0, 3.3, 2.0, 2.6, 3.1, 2.1],
]
"""Nine tasks and seven contenders, with ties."""


def one_seed(rows):
    """Losses of one seed, from a row for each task and a column for each contender."""
    return lower({f"t{i}": {f"c{j}": [value] for j, value in enumerate(row)} for i, row in enumerate(rows)})


LEAGUE = lower(NLLS)


def reordered(table):
    """The same scores, with tasks and contenders in the opposite order."""
    return {task: dict(reversed(own.items())) for task, own in reversed(table.items())}


# --- losses


def test_runs_without_a_result_have_the_worst_loss_and_are_counted():
    found = losses(
        {
            "t": {"a": {1: 3.0, 2: math.nan, 3: None}, "b": {1: 4.0, 4: -math.inf}},
            "u": {"a": {1: 5.0, 2: 6.0}},
        },
        Direction.HIGHER,
    )
    worst = math.inf
    assert [task.seeds for task in found.tasks] == [(1, 2, 3, 4), (1, 2)]
    assert found.tasks[0].runs["a"].tolist() == [-3, worst, worst, worst]
    assert found.tasks[0].runs["b"].tolist() == [-4, worst, worst, worst]
    assert found.tasks[1].runs["b"].tolist() == [worst, worst]
    assert found.shortfalls == {
        "a": {"t": Shortfall(missing=2, diverged=1)},
        "b": {"t": Shortfall(missing=2, diverged=1), "u": Shortfall(missing=2)},
    }
    assert found.shortfall("b") == Shortfall(missing=4, diverged=1)
    assert found.shortfall("a") == Shortfall(missing=2, diverged=1)
    assert found.tasks[1].means == {"a": -5.5, "b": worst}


@given(tables(score))
def test_higher_is_better_is_lower_is_better_of_the_negative(table):
    negative = {
        task: {name: [None if value is None else -value for value in values] for name, values in own.items()}
        for task, own in table.items()
    }
    one, other = lower(table), losses(scores(negative), Direction.HIGHER)
    assert one.shortfalls == other.shortfalls
    for left, right in zip(one.tasks, other.tasks, strict=True):
        assert {name: runs.tolist() for name, runs in left.runs.items()} == {
            name: runs.tolist() for name, runs in right.runs.items()
        }


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: losses({}, Direction.LOWER), "needs one task or more"),
        (lambda: losses({"t": {"a": {}}}, Direction.LOWER), "task 't' has no runs"),
        (lambda: losses({"t": {"a": {1: 1.0}}}, Direction.NONE), "a direction"),
        (lambda: improvement(LEAGUE, "d", "vae"), "'d' is not in the league, which has vae, a, b, c"),
        (lambda: improvement(LEAGUE, "a", "d"), "'d' is not in the league"),
        (lambda: regrets(LEAGUE, "d"), "'d' is not in the league"),
        (lambda: fronts(LEAGUE, LEAGUE, "d"), "'d' is not in the league"),
        (lambda: fronts(LEAGUE, one_seed([[1.0]]), "vae"), "the same tasks, got \\['t0'\\]"),
        (lambda: friedman(np.ones((3, 1))), "two contenders or more, got 1"),
        (lambda: Bootstrap(resamples=0), "one resample or more, got 0"),
        (lambda: Bootstrap(seed=-1), "a seed of 0 or more, got -1"),
        (lambda: profile(regrets(lower({"t": {"a": [1.0], "b": [2.0]}}), "a"), (0.0,)), "needs a task"),
    ],
)
def test_wrong_use_is_an_error_that_says_what_is_wrong(call, text):
    with pytest.raises(ValueError, match=text):
        call()


# --- probability of improvement


@pytest.mark.parametrize(
    ("contender", "over", "probability"),
    [
        ("a", "vae", 0.6435185185185185),
        ("a", "b", 0.5555555555555555),
        ("a", "c", 0.7777777777777778),
        ("b", "vae", 0.5787037037037037),
        ("b", "c", 0.5787037037037037),
        ("c", "vae", 0.3796296296296296),
    ],
)
def test_the_probability_of_improvement_is_that_of_rliable(contender, over, probability):
    """By `metrics.probability_of_improvement` of rliable 1.2.0 with SciPy 1.17.1, of the negative numbers."""
    assert improvement(LEAGUE, contender, over, PUBLISHED).probability == pytest.approx(probability, abs=1e-15)


@given(tables())
def test_the_probability_of_each_task_is_the_statistic_of_mann_and_whitney_over_all_pairs(table):
    found = improvement(lower(table), "c0", "c1", PUBLISHED)
    for task, own in table.items():
        u = stats.mannwhitneyu(own["c1"], own["c0"], method="asymptotic").statistic
        assert found.by_task[task] == pytest.approx(u / len(own["c0"]) ** 2)
    assert found.probability == pytest.approx(np.mean(list(found.by_task.values())))


@given(tables(score))
def test_pairs_of_one_seed_are_not_compared_unless_there_is_only_one(table):
    league = lower(table)
    found = improvement(league, "c0", "c1", FEW)
    for task in league.tasks:
        seeds = range(len(task.seeds))
        pairs = [(i, j) for i in seeds for j in seeds if i != j] or [(0, 0)]
        assert found.by_task[task.task] == pytest.approx(float(won(task.runs["c0"], task.runs["c1"], pairs)))


@given(tables(score), st.sampled_from(Unit))
def test_what_one_wins_the_other_loses(table, unit):
    league, chosen = lower(table), Bootstrap(resamples=200, unit=unit)
    one, other = (improvement(league, *names, chosen) for names in (("c0", "c1"), ("c1", "c0")))
    assert one.probability + other.probability == pytest.approx(1)
    assert (one.interval is None) == (other.interval is None)
    if one.interval is not None:
        assert one.interval == pytest.approx((1 - other.interval.high, 1 - other.interval.low))
        assert 0 <= one.interval.low <= one.interval.high <= 1 + 1e-12


@given(tables(score))
def test_contenders_with_equal_runs_are_alike(table):
    twins = {task: {"a": own["c0"], "b": own["c0"]} for task, own in table.items()}
    found = improvement(lower(twins), "a", "b", FEW)
    assert found.probability == 0.5
    assert found.interval is None or found.interval == (0.5, 0.5)
    assert set(ranks(lower(twins), FEW).means.values()) == {1.5}


@given(tables(score))
def test_the_order_of_tasks_and_contenders_changes_nothing(table):
    one, other = lower(table), lower(reordered(table))
    left, right = (improvement(each, "c0", "c1", FEW) for each in (one, other))
    assert left.by_task == right.by_task
    assert left.probability == pytest.approx(right.probability)
    assert (left.interval is None and right.interval is None) or left.interval == pytest.approx(right.interval)
    assert ranks(one, FEW).means == pytest.approx(ranks(other, FEW).means)


@given(tables(), st.sampled_from([math.nan, None]))
def test_a_run_that_is_lost_never_makes_a_contender_better(table, lost):
    harmed = {task: {name: list(values) for name, values in own.items()} for task, own in table.items()}
    harmed["t0"]["c0"][0] = lost
    one, other = lower(table), lower(harmed)
    assert improvement(other, "c0", "c1", FEW).probability <= improvement(one, "c0", "c1", FEW).probability
    assert ranks(other, FEW).means["c0"] >= ranks(one, FEW).means["c0"]
    assert sum(other.shortfall("c0")) == 1


def exact(table, unit, first, second):
    """The distribution of the probability over all resamples, each as likely as any other, by enumeration."""
    total = {Fraction(0): Fraction(1)}
    for own in table.values():
        number = len(own[first])
        drawn = list(product(range(number), repeat=number))
        if unit is Unit.SEEDS:
            pairs = [[(i, j) for i in x for j in x if i != j] or [(i, i) for i in x] for x in drawn]
        else:
            pairs = [list(product(x, y)) for x in drawn for y in drawn]
        found = [won(own[first], own[second], each) / len(table) for each in pairs]
        total = summed(total, {value: Fraction(found.count(value), len(found)) for value in set(found)})
    return total


def summed(one, other):
    """The distribution of the sum of two independent numbers."""
    found = {}
    for (left, p), (right, q) in product(one.items(), other.items()):
        found[left + right] = found.get(left + right, 0) + p * q
    return found


def won(own, other, pairs):
    """The share of pairs of runs that the first contender wins, a tie being half."""
    return Fraction(sum(2 * int(own[i] < other[j]) + int(own[i] == other[j]) for i, j in pairs), 2 * len(pairs))


@pytest.mark.parametrize("unit", Unit)
@given(table=tables(contenders=st.just(2), tasks=st.integers(1, 2), seeds=st.integers(2, 3)))
def test_an_interval_ends_at_the_percentiles_of_all_resamples(table, unit):
    chosen = Bootstrap(resamples=2000, unit=unit)
    found = improvement(lower(table), "c0", "c1", chosen).interval
    every = exact(table, unit, "c0", "c1")
    ends_at_percentiles(found, every, chosen.resamples)


def ends_at_percentiles(interval, every, resamples):
    """Both ends are percentiles of a distribution, but for 5 standard errors of the share of resamples below them."""
    error = 5 * math.sqrt(0.025 * 0.975 / resamples)
    for end, tail in ((interval.low, 0.025), (interval.high, 0.975)):
        assert sum(p for value, p in every.items() if value < end - 1e-9) <= tail + error
        assert sum(p for value, p in every.items() if value <= end + 1e-9) >= tail - error


@pytest.mark.parametrize(
    ("contender", "over", "low", "high"),
    [
        ("a", "vae", 0.4721064814814834, 0.8148148148148149),
        ("b", "vae", 0.4398148148148148, 0.7222222222222223),
        ("a", "b", 0.4305555555555555, 0.6527777777777778),
    ],
)
def test_drawing_runs_gives_the_intervals_of_rliable(contender, over, low, high):
    """By `library.get_interval_estimates` of rliable 1.2.0 with arch 7.2.0, 20,000 repetitions, percentiles.

    Two of its own seeds differ by one step of this statistic, which is 1/216.
    """
    found = improvement(LEAGUE, contender, over, Bootstrap(resamples=20_000, unit=Unit.RUNS)).interval
    assert found == pytest.approx((low, high), abs=1.01 / 216)


def test_an_interval_of_paired_runs_is_shorter_where_a_seed_is_hard_for_both():
    hard = np.arange(8.0)
    league = lower({"t": {"a": list(hard), "b": list(hard + 0.5)}})
    paired, torn = (improvement(league, "a", "b", Bootstrap(2000, unit=unit)).interval for unit in Unit)
    assert paired.high - paired.low < 0.5 * (torn.high - torn.low)


@pytest.mark.parametrize("shift", [0.0, 0.7])
@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_an_interval_holds_the_truth_about_as_often_as_it_says(correlation, shift):
    """Five seeds are few, so that independent runs reach some 90 %. The bound is 4 standard errors below that."""
    rng, truth, held, trials = np.random.default_rng(0), stats.norm.cdf(shift / math.sqrt(2)), 0, 300
    for _ in range(trials):
        hard, own = rng.normal(size=(4, 5)), rng.normal(size=(2, 4, 5))
        better, worse = math.sqrt(correlation) * hard + math.sqrt(1 - correlation) * own
        league = lower({f"t{i}": {"a": list(better[i] - shift), "b": list(worse[i])} for i in range(4)})
        low, high = improvement(league, "a", "b", Bootstrap(resamples=500)).interval
        held += low <= truth <= high
    assert held >= trials * 0.83


def test_a_bootstrap_of_one_seed_has_no_interval_and_equal_bootstraps_draw_the_same():
    single = lower({task: {name: values[:1] for name, values in own.items()} for task, own in NLLS.items()})
    assert improvement(single, "a", "vae", FEW).interval is None
    assert set(ranks(single, FEW).intervals.values()) == {None}
    assert improvement(LEAGUE, "a", "vae", FEW) == improvement(LEAGUE, "a", "vae", Bootstrap(resamples=200))
    assert improvement(LEAGUE, "a", "vae", FEW) != improvement(LEAGUE, "a", "vae", Bootstrap(resamples=200, seed=1))


# --- ranks


def test_the_example_of_demsar_comes_out_as_printed():
    negative = [[-value for value in row] for row in AUC]
    found = ranks(one_seed(negative), FEW)
    assert [round(found.means[f"c{i}"], 3) for i in range(4)] == [3.143, 2.000, 2.893, 1.964]
    assert round(found.critical_difference, 2) == 1.25
    assert round(critical_difference(4, 14, alpha=0.10), 2) == 1.12
    assert found.groups == (("c3", "c1", "c2", "c0"),)
    assert groups(found.means, critical_difference(4, 14, alpha=0.10)) == (("c3", "c1", "c2"), ("c2", "c0"))


def test_friedmans_statistic_is_that_of_demsar_but_for_the_correction_of_ties():
    """The table has 7 ties of two, two of which are in different rows, and one of four: (7 · 6 + 60) / (14 · 60)."""
    table = stats.rankdata(-np.array(AUC), axis=1)
    tied = sum(
        int(np.sum(np.unique(row, return_counts=True)[1] ** 3 - np.unique(row, return_counts=True)[1])) for row in table
    )
    statistic = friedman(table).statistic * (1 - tied / (14 * 60))
    assert round(statistic, 2) == 9.28
    assert round(13 * statistic / (14 * 3 - statistic), 2) == 3.69


@given(tables(contenders=st.integers(3, 5), tasks=st.integers(1, 5), seeds=st.just(1)))
def test_friedmans_test_is_that_of_scipy(table):
    columns = [[own[name][0] for own in table.values()] for name in table["t0"]]
    found = ranks(lower(table), FEW).friedman
    if all(len(set(row)) == 1 for row in zip(*columns, strict=True)):
        assert found[:2] == (0, 1)
        return
    theirs = stats.friedmanchisquare(*columns)
    assert found.statistic == pytest.approx(theirs.statistic)
    assert found.p_value == pytest.approx(theirs.pvalue)


@given(tables(contenders=st.integers(2, 5), tasks=st.integers(2, 5), seeds=st.just(1)))
def test_the_statistic_of_iman_and_davenport_is_the_analysis_of_variance_of_the_ranks(table):
    """It is the F of a two-way layout, where the rows (tasks) have equal means by construction."""
    ranked = stats.rankdata([[own[name][0] for name in own] for own in table.values()], axis=1)
    tasks, contenders = ranked.shape
    between = tasks * np.sum((ranked.mean(axis=0) - (contenders + 1) / 2) ** 2)
    within = np.sum((ranked - ranked.mean(axis=0)) ** 2)
    assume(within > 1e-6)
    found = friedman(ranked)
    f = (between / (contenders - 1)) / (within / ((contenders - 1) * (tasks - 1)))
    assert found.f_statistic == pytest.approx(f)
    assert found.f_p_value == pytest.approx(stats.f.sf(f, contenders - 1, (contenders - 1) * (tasks - 1)))


def test_tasks_that_agree_in_all_ranks_leave_no_doubt_and_one_task_leaves_all_of_it():
    agreed = friedman(np.array([[1.0, 2, 3], [1, 2, 3]]))
    assert (agreed.statistic, agreed.f_statistic, agreed.f_p_value) == (4, math.inf, 0)
    assert friedman(np.array([[1.0, 2, 3]]))[2:] == (None, None)


def test_a_single_contender_has_rank_one_and_no_test():
    found = ranks(lower({"t": {"a": [1.0, 2.0]}}), FEW)
    assert (found.means, found.friedman, found.critical_difference, found.groups) == ({"a": 1}, None, None, (("a",),))


@given(tables(score))
def test_ranks_are_those_of_scipy_and_their_mean_is_that_of_all_places(table):
    league = lower(table)
    found = ranks(league, FEW)
    for task in league.tasks:
        expected = stats.rankdata([task.means[name] for name in league.contenders])
        assert list(found.by_task[task.task].values()) == expected.tolist()
    assert np.mean(list(found.means.values())) == pytest.approx((len(league.contenders) + 1) / 2)
    assert list(found.means.values()) == sorted(found.means.values())
    for interval in found.intervals.values():
        assert interval is None or 1 <= interval.low <= interval.high <= len(league.contenders)


@given(tables(score, contenders=st.just(3), tasks=st.integers(1, 2), seeds=st.integers(2, 3)))
def test_an_interval_of_a_mean_rank_ends_at_the_percentiles_of_all_resamples(table):
    chosen = Bootstrap(resamples=2000)
    league = lower(table)
    found = ranks(league, chosen).intervals["c1"]
    every = {Fraction(0): Fraction(1)}
    for task in league.tasks:
        drawn = list(product(range(len(task.seeds)), repeat=len(task.seeds)))
        places = [stats.rankdata([task.runs[name][list(x)].sum() for name in league.contenders])[1] for x in drawn]
        of_task = [Fraction(place) / len(league.tasks) for place in places]
        every = summed(every, {rank: Fraction(of_task.count(rank), len(drawn)) for rank in set(of_task)})
    ends_at_percentiles(found, every, chosen.resamples)


def test_a_seed_that_is_drawn_twice_counts_twice_in_a_mean_rank():
    """Of all resamples, 5 % have the good seed three times or more. Only in these the contender is better."""
    found = ranks(lower({"t": {"a": [-3.0, 4.0, 4.0, 4.0], "b": [0.0] * 4}}), Bootstrap(resamples=2000))
    assert found.intervals == {"a": (1, 2), "b": (1, 2)}


@given(tables())
def test_growing_functions_of_the_scores_of_a_task_change_no_win_and_a_straight_one_no_rank(table):
    bent = {task: {n: [math.exp(v) for v in own[n]] for n in own} for task, own in table.items()}
    straight = {task: {n: [4 * v + 8 for v in own[n]] for n in own} for task, own in table.items()}
    one = lower(table)
    assert improvement(lower(bent), "c0", "c1", FEW) == improvement(one, "c0", "c1", FEW)
    assert ranks(lower(straight), FEW).means == ranks(one, FEW).means


@given(tables(contenders=st.just(3)))
def test_a_task_in_which_all_are_equal_moves_all_statistics_to_the_middle(table):
    number = len(table)
    more = table | {"tie": {name: [1.0, 2.0] for name in table["t0"]}}
    one, other = lower(table), lower(more)
    before, after = (improvement(each, "c0", "c1", FEW).probability for each in (one, other))
    assert after == pytest.approx((number * before + 0.5) / (number + 1))
    mean_before, mean_after = (ranks(each, FEW) for each in (one, other))
    for name, rank in mean_before.means.items():
        assert mean_after.means[name] == pytest.approx((number * rank + 2) / (number + 1))
    assert mean_after.friedman.statistic == pytest.approx(mean_before.friedman.statistic)


@pytest.mark.parametrize(
    ("alpha", "values"),
    [
        (0.05, (1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164)),
        (0.10, (1.645, 2.052, 2.291, 2.459, 2.589, 2.693, 2.780, 2.855, 2.920)),
    ],
)
def test_critical_values_are_those_of_table_5_of_demsar(alpha, values):
    """The printed 2.343 and 2.949 are 2.3437 and 2.9483, so one digit of the third decimal is not certain."""
    for contenders, printed in enumerate(values, start=2):
        quantile = critical_difference(contenders, 14, alpha) / math.sqrt(contenders * (contenders + 1) / 84)
        assert quantile == pytest.approx(printed, abs=1e-3)


FIRST_ROW = (
    0.9999664895315582,
    0.8943640994756987,
    0.15569519072563975,
    0.04295024850159168,
    0.018351964665553777,
    0.002068030997280035,
)


def test_critical_differences_are_those_of_the_p_values_of_scikit_posthocs():
    """By `posthoc_nemenyi_friedman` of scikit-posthocs 0.17.1 with SciPy 1.17.1: the first contender and the others.

    At the level of its p-value, the difference of two mean ranks is the critical one.
    """
    means = ranks(one_seed(NINE), FEW).means
    for i, p_value in enumerate(FIRST_ROW, start=1):
        difference = critical_difference(7, 9, alpha=p_value)
        assert difference == pytest.approx(means[f"c{i}"] - means["c0"], rel=1e-4)


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [
        (0.01, ["012345", "23456"]),
        (0.05, ["0123", "1234", "23456"]),
        (0.10, ["0123", "23456"]),
        (0.30, ["012", "2345", "3456"]),
    ],
)
def test_groups_are_the_largest_cliques_of_scikit_posthocs(alpha, expected):
    """By `_find_maximal_cliques` of scikit-posthocs 0.17.1, which draws the bars of its diagrams."""
    means = ranks(one_seed(NINE), FEW).means
    found = groups(means, critical_difference(7, 9, alpha))
    assert ["".join(name[1:] for name in group) for group in found] == expected


@given(st.lists(st.integers(0, 12), min_size=1, max_size=6), st.integers(1, 8))
def test_groups_are_all_sets_that_are_near_and_cannot_grow(numbers, difference):
    means = {f"c{i}": float(number) for i, number in enumerate(numbers)}
    near = [
        set(chosen)
        for size in range(1, len(means) + 1)
        for chosen in combinations(means, size)
        if max(means[n] for n in chosen) - min(means[n] for n in chosen) < difference
    ]
    largest = [one for one in near if not any(one < other for other in near)]
    found = groups(means, difference)
    assert sorted(map(sorted, found)) == sorted(map(sorted, largest))
    assert [means[group[0]] for group in found] == sorted(means[group[0]] for group in found)


# --- profiles


THRESHOLDS = (0.0, 0.25, 0.5, 0.75, 1.0)


@given(tables(score, contenders=st.just(3)), st.integers(1, 3), st.integers(-5, 5))
def test_regrets_do_not_depend_on_the_scale_of_a_task(table, scale, offset):
    other = {
        task: {n: [v if v is None else scale * v + offset for v in own[n]] for n in own} for task, own in table.items()
    }
    one, two = regrets(lower(table), "c2"), regrets(lower(other), "c2")
    assert one.left_out == two.left_out
    for left, right in zip(one.losses.tasks, two.losses.tasks, strict=True):
        for name, runs in left.runs.items():
            assert runs == pytest.approx(right.runs[name], abs=1e-9)
    assert {task: scale * unit for task, unit in one.units.items()} == pytest.approx(two.units)


@given(tables(score))
def test_a_profile_counts_the_runs_within_a_regret_of_the_best(table):
    between = (-0.1234567, 0.1234567, 0.3456789, 0.6789012, 1.0123456)
    with_unit = {task: own | {"a": [0.0] * len(own["c0"]), "z": [4.0] * len(own["c0"])} for task, own in table.items()}
    league = lower(with_unit)
    shown = profile(regrets(league, "z"), between, FEW)
    for name, shares in shown.shares.items():
        for tau, share, interval in zip(between, shares, shown.intervals[name], strict=True):
            assert share == pytest.approx(np.mean([within(task, name, tau) for task in league.tasks]))
            assert interval is None or 0 <= interval.low <= interval.high <= 1
        assert list(shares) == sorted(shares)


def within(task, name, tau):
    """Count the runs of a task by the inequality, multiplied by the unit."""
    best = min(task.means.values())
    return np.mean([loss - best <= tau * (4 - best) for loss in task.runs[name]])


@pytest.mark.parametrize(
    ("contender", "shares", "low", "high"),
    [
        ("vae", (0, 1, 2, 5, 9), (0, 0, 0, 2, 7), (0, 3, 5, 8, 11)),
        ("a", (3, 3, 7, 10, 12), (1, 1, 4, 8, 12), (5, 5, 10, 12, 12)),
        ("b", (4, 5, 6, 9, 9), (2, 3, 6, 7, 7), (6, 6, 6, 11, 11)),
        ("c", (0, 0, 1, 1, 5), (0, 0, 0, 0, 2), (0, 0, 3, 3, 8)),
    ],
)
@pytest.mark.parametrize("unit", Unit)
def test_a_profile_is_that_of_rliable_with_its_intervals(contender, shares, low, high, unit):
    """By `library.create_performance_profile` of rliable 1.2.0, 20,000 repetitions, in twelfths: 2 tasks with 6 runs.

    The scores are the negative regrets. The intervals may differ by one run, as they are those of other draws.
    """
    found = profile(regrets(LEAGUE, "c"), THRESHOLDS, Bootstrap(unit=unit))
    assert found.shares[contender] == pytest.approx([share / 12 for share in shares])
    for interval, *ends in zip(found.intervals[contender], low, high, strict=True):
        assert interval == pytest.approx([end / 12 for end in ends], abs=1.01 / 12)


def test_the_best_contender_has_mean_regret_zero_and_the_baseline_without_z_has_one():
    found = regrets(LEAGUE, "c")
    for task in found.losses.tasks:
        assert min(task.means.values()) == pytest.approx(0, abs=1e-12)
        assert task.means["c"] == pytest.approx(1)


def test_tasks_that_are_left_out_stand_in_their_order():
    tasks = [f"task {number}" for number in range(8)]
    assert regrets(lower({task: {"z": [1], "a": [2]} for task in tasks}), "z").left_out == tuple(tasks)


def test_the_largest_numbers_are_numbers():
    large = [1.5e308, 1.7e308]
    nlls = scores({"t": {"base": [2.0, 3.0], "z": [4.0, 5.0], "a": large, "b": [-number for number in large]}})
    found = league(nlls, nlls, baseline="base", reference="z", bootstrap=FEW)
    assert list(found.ranks.means) == ["b", "base", "z", "a"]
    assert found.improvements["a"].probability == 0


def test_a_task_on_which_nobody_is_better_than_without_z_is_left_out_and_named():
    found = regrets(LEAGUE, "c")
    assert found.left_out == ("digits",)
    assert found.units == pytest.approx({"text": 1.6, "pixels": 3.41666666666667})


@pytest.mark.parametrize("lost", [None, math.nan])
def test_runs_without_a_result_are_never_within_a_regret(lost):
    table = {"t": {"a": [1.0, lost], "b": [2.0, 2.0], "z": [3.0, 3.0]}}
    found = profile(regrets(lower(table), "z"), (-2.0, 0.0, 1e9), FEW)
    assert found.shares == {"a": (0, 0.5, 0.5), "b": (0, 1, 1), "z": (0, 0, 1)}


@pytest.mark.parametrize("missing", ["a", "z"])
def test_a_task_in_which_the_reference_has_no_result_has_no_unit(missing):
    table = {"t": {"a": [1.0, 1.0], "z": [2.0, 2.0]}}
    table["t"][missing] = [1.0, None]
    assert regrets(lower(table), "z").left_out == ("t",)


# --- fronts


point = st.builds(Point, st.integers(0, 8), st.integers(-2, 6))
points = st.lists(point, max_size=7)
REFERENCE = Point(6, 0)


def cells(chosen, reference):
    """Count the unit squares that points dominate above the reference: an area of whole numbers by brute force."""
    return sum(
        any(p.nll <= x and p.information >= y + 1 for p in chosen)
        for x in range(-1, reference.nll)
        for y in range(reference.information, 8)
    )


@given(points)
def test_an_area_counts_the_squares_that_are_dominated(chosen):
    assert area(chosen, REFERENCE) == cells(chosen, REFERENCE)


@given(points)
def test_points_that_are_dominated_change_neither_area_nor_front(chosen):
    named = {f"c{i}": each for i, each in enumerate(chosen)}
    found = front(named)
    best = [name for name, own in named.items() if not any(other.dominates(own) for other in chosen)]
    assert sorted(found) == sorted(best)
    assert area([named[name] for name in found], REFERENCE) == area(chosen, REFERENCE)
    assert [named[name].nll for name in found] == sorted(named[name].nll for name in found)
    assert [named[name].information for name in found] == sorted(named[name].information for name in found)


@given(points, point, st.randoms())
def test_an_area_grows_with_each_point_by_no_more_than_the_area_of_the_point(chosen, more, order):
    before, after = area(chosen, REFERENCE), area([*chosen, more], REFERENCE)
    assert before <= after <= before + area([more], REFERENCE)
    order.shuffle(chosen)
    assert area([more, *chosen], REFERENCE) == after


def test_points_that_are_not_finite_are_on_no_front_and_have_no_area():
    assert front({"a": Point(math.inf, 1), "b": Point(1, math.nan), "c": Point(9, 0), "d": Point(1, math.inf)}) == (
        "c",
    )
    assert area([Point(math.inf, 1), Point(math.nan, 1), Point(1, math.nan)], REFERENCE) == 0


@given(tables(score, contenders=st.just(3)), st.data())
def test_shares_of_the_area_are_between_what_is_lost_and_one(nlls, data):
    informations = {
        task: {name: data.draw(st.lists(score, min_size=len(runs), max_size=len(runs))) for name, runs in own.items()}
        for task, own in nlls.items()
    }
    for found in fronts(lower(nlls), losses(scores(informations), Direction.HIGHER), "c2"):
        assert found.shares.keys() == found.exclusive.keys() == (found.points.keys() if found.area else set())
        for name, share in found.shares.items():
            assert -1e-12 <= found.exclusive[name] <= share + 1e-12 <= 1 + 1e-9
        assert sum(found.exclusive.values()) <= 1 + 1e-9
        assert found.shares.get("c2", 0) == 0
        assert all(name in found.points for name in found.members)


def test_the_front_of_a_task_has_the_means_over_seeds_and_no_point_for_a_lost_run():
    nlls = {"t": {"z": [100.0, 100.0], "a": [98.0, 96.0], "b": [95.0, 94.0], "c": [99.0, 99.0], "d": [80.0, None]}}
    informations = {"t": {"a": [3.0, 1.0], "b": [1.0, 1.0], "c": [0.5, 0.5], "d": [9.0, 9.0]}}
    (found,) = fronts(lower(nlls), losses(scores(informations), Direction.HIGHER), "z")
    assert found.reference == found.points["z"] == Point(100, 0)
    assert found.points == {"z": (100, 0), "a": (97, 2), "b": (94.5, 1), "c": (99, 0.5)}
    assert found.members == ("b", "a")
    assert found.area == 5.5 * 1 + 3 * 1
    assert found.shares == pytest.approx({"z": 0, "a": 6 / 8.5, "b": 5.5 / 8.5, "c": 0.5 / 8.5})
    assert found.exclusive == pytest.approx({"z": 0, "a": 3 / 8.5, "b": 2.5 / 8.5, "c": 0})


def test_a_task_without_the_baseline_without_z_has_a_front_and_no_area():
    nlls = {"t": {"z": [None], "a": [98.0]}}
    (found,) = fronts(lower(nlls), losses(scores({"t": {"a": [3.0]}}), Direction.HIGHER), "z")
    assert (found.members, found.area, found.shares) == (("a",), 0, {})
    assert found.points == {"a": (98, 3)}


# --- all together


def test_a_league_has_each_statistic_of_the_same_numbers():
    informations = scores({task: {n: [1.0] * 6 for n in ("vae", "a", "b")} for task in NLLS})
    found = league(scores(NLLS), informations, baseline="vae", reference="c", bootstrap=FEW)
    assert found.improvements == {name: improvement(LEAGUE, name, "vae", FEW) for name in ("a", "b", "c")}
    assert found.ranks == ranks(LEAGUE, FEW)
    assert found.profile == profile(regrets(LEAGUE, "c"), THRESHOLDS, FEW)
    assert [each.task for each in found.fronts] == list(NLLS)
    assert league(scores(NLLS), informations, baseline="a", reference="c").improvements.keys() == {"vae", "b", "c"}


def test_a_league_in_which_z_never_helps_has_no_profile():
    numbers = scores({"t": {"vae": [2.0], "z": [1.0]}})
    found = league(numbers, numbers, baseline="vae", reference="z", bootstrap=FEW)
    assert (found.profile, found.regrets.left_out, found.fronts[0].area) == (None, ("t",), 0)
