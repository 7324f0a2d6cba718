"""Whether a method still helps beside another one, against the analysis of variance and SciPy's t interval."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from leagues import lower
from scipy import stats

from collapsebench.reporting.leaderboard.decisions import pairs_to_tell
from collapsebench.reporting.league import Factorial, Shortfall, effects, interactions

NAMES = ("vae", "skip", "free", "skip+free")
CHOSEN = Factorial("skip", "free", "skip+free")

whole = st.integers(-50, 50).map(float)
runs = st.integers(2, 6).flatmap(lambda seeds: st.lists(st.lists(whole, min_size=4, max_size=4), min_size=seeds))


def table(rows):
    """A task, from a row for each seed: baseline, first, second, both."""
    return {name: list(column) for name, column in zip(NAMES, zip(*rows, strict=True), strict=True)}


def only(rows):
    (found,) = interactions(lower({"t": table(rows)}), "vae", [CHOSEN])
    return found


@given(runs)
def test_effects_are_differences_of_runs_of_one_seed(rows):
    found = only(rows)
    for effect, weights in (
        (found.first, (-1, 1, 0, 0)),
        (found.second, (-1, 0, 1, 0)),
        (found.first_beside_second, (0, 0, -1, 1)),
        (found.interaction, (1, -1, -1, 1)),
    ):
        assert effect.difference.seeds == {seed: float(np.dot(weights, row)) for seed, row in enumerate(rows)}
        assert effect.lacking == {}


@given(st.lists(st.tuples(whole, whole, whole), min_size=1, max_size=6))
def test_effects_that_add_up_have_no_interaction(numbers):
    found = only([(base, base + first, base + second, base + first + second) for base, first, second in numbers])
    assert set(found.interaction.difference.seeds.values()) == {0}
    assert found.interaction.difference.mean == 0
    assert found.first.difference == found.first_beside_second.difference
    assert found.interaction.told is (False if len(numbers) > 1 else None)


@given(runs)
def test_an_interaction_is_that_of_the_analysis_of_variance(rows):
    """Two factors with two levels, repeated on each seed: F has 1 and n - 1 degrees of freedom, and is t squared."""
    sample = only(rows).interaction.difference
    cells = np.array(rows).reshape(len(rows), 2, 2)  # seeds, second, first
    residuals = (
        cells
        - cells.mean(axis=1, keepdims=True)
        - cells.mean(axis=2, keepdims=True)
        + cells.mean(axis=(1, 2), keepdims=True)
    )
    freedom = len(rows) - 1
    of_interaction = len(rows) * np.sum(residuals.mean(axis=0) ** 2)
    of_error = np.sum((residuals - residuals.mean(axis=0)) ** 2)
    quantile = stats.t.ppf(0.975, freedom)
    assert sample.mean**2 * of_error / freedom == pytest.approx(
        of_interaction * (sample.half_width / quantile) ** 2, abs=1e-6
    )
    assert sample.mean**2 == pytest.approx(4 * of_interaction / len(rows), abs=1e-9)
    assert sample.half_width == pytest.approx(quantile * math.sqrt(4 * of_error / freedom / len(rows)), abs=1e-6)


@given(runs)
def test_the_interval_of_each_effect_is_that_of_scipy(rows):
    found = only(rows)
    for effect in (found.first, found.second, found.first_beside_second, found.interaction):
        values = list(effect.difference.seeds.values())
        if len(set(values)) == 1:
            continue
        low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        center, half_width = effect.difference.mean, effect.difference.half_width
        assert (center - half_width, center + half_width) == (pytest.approx(low), pytest.approx(high))
        assert effect.told is bool(low > 0 or high < 0)
        assert effect.pairs == (None if effect.told else pairs_to_tell(effect.difference))


@given(runs)
def test_the_two_methods_may_change_places(rows):
    league = lower({"t": table(rows)})
    one, other = interactions(league, "vae", [CHOSEN, Factorial("free", "skip", "skip+free")])
    assert one.interaction.difference == other.interaction.difference
    assert (one.first, one.second) == (other.second, other.first)


def test_undecided_effects_say_how_many_seeds_would_decide():
    found = only([(0.0, -1.0, 0.0, -5.0), (0.0, 2.0, 0.0, -5.1), (0.0, 3.5, 0.0, -4.9)])
    assert (found.first.told, found.first.pairs) == (False, 12)
    assert (found.first_beside_second.told, found.first_beside_second.pairs) == (True, None)
    single = only([(0.0, -1.0, 0.0, -5.0)])
    assert (single.first.told, single.first.pairs) == (None, None)
    assert single.first.difference.mean == -1


@pytest.mark.parametrize(("lost", "counted"), [(None, Shortfall(missing=1)), (math.nan, Shortfall(diverged=1))])
@pytest.mark.parametrize(
    ("place", "known"),
    [(0, {"first_beside_second"}), (1, {"second", "first_beside_second"}), (2, {"first"}), (3, {"first", "second"})],
)
def test_an_effect_is_known_only_if_all_its_runs_have_a_result(place, known, lost, counted):
    rows = [[0.0, 1.0, 2.0, 4.0], [0.0, 1.0, 2.0, 5.0]]
    rows[1][place] = lost
    found = only(rows)
    effects = {name: getattr(found, name) for name in ("first", "second", "first_beside_second", "interaction")}
    assert {name for name, effect in effects.items() if effect.difference is not None} == known
    for name, effect in effects.items():
        assert effect.lacking == ({} if name in known else {NAMES[place]: counted})
        assert (effect.told is None) is (name not in known)
        assert name in known or effect.pairs is None


def test_tasks_of_a_composition_follow_each_other_and_have_nothing_to_do_with_each_other():
    one, lost = table([(0.0, 1.0, 2.0, 4.0)]), table([(0.0, None, 2.0, 4.0)])
    more = {"bn": [1.0], "skip+bn": [7.0]}
    other = Factorial("skip", "bn", "skip+bn")
    found = interactions(lower({"t": one | more, "u": lost | more}), "vae", [CHOSEN, other])
    assert [(each.task, each.factorial) for each in found] == [("t", CHOSEN), ("u", CHOSEN), ("t", other), ("u", other)]
    assert [None if each.interaction.difference is None else each.interaction.difference.mean for each in found] == [
        1,
        None,
        5,
        None,
    ]


@pytest.mark.parametrize("names", [("a", "free", "vae"), ("skip", "a", "vae"), ("skip", "free", "a")])
def test_contenders_that_are_not_there_are_refused(names):
    league = lower({"t": table([(0.0, 1.0, 2.0, 4.0)])})
    with pytest.raises(ValueError, match="'a' is not in the league"):
        interactions(league, "vae", [Factorial(*names)])
    with pytest.raises(ValueError, match="'a' is not in the league"):
        interactions(league, "a", [CHOSEN])


@given(runs)
def test_what_a_contender_changes_of_the_baseline_is_the_first_effect_of_its_composition(rows):
    league = lower({"t": table(rows), "u": table([[2 * number for number in row] for row in rows])})
    found = effects(league, "vae")
    for own in interactions(league, "vae", [CHOSEN]):
        assert found[own.task]["skip"] == own.first
        assert found[own.task]["free"] == own.second
    assert {task: set(each) for task, each in found.items()} == dict.fromkeys(("t", "u"), {*NAMES} - {"vae"})


def test_what_has_no_result_changes_nothing_that_is_known():
    found = effects(lower({"t": table([(3.0, 2.0, math.nan, 1.0), (3.0, 1.0, 2.0, 1.0)])}), "vae")["t"]
    assert (found["free"].difference, found["free"].told, found["free"].pairs) == (None, None, None)
    assert found["free"].lacking == {"free": Shortfall(diverged=1)}
    assert found["skip"].difference.seeds == {0: -1.0, 1: -2.0}
    with pytest.raises(ValueError, match="skipped"):
        effects(lower({"t": table([(1.0, 1.0, 1.0, 1.0)])}), "skipped")
