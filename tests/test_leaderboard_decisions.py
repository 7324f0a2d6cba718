"""What a board decides: against SciPy's interval, over arbitrary seeds."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from records import record, score_records
from scipy import stats

from collapsebench.errors import UsageError
from collapsebench.estimates import Direction
from collapsebench.plausibility import Violation
from collapsebench.record import Finding, Guard
from collapsebench.reporting.leaderboard import Presentation, keep, present
from collapsebench.reporting.leaderboard.decisions import (
    MOST_PAIRS,
    deciding,
    differs,
    leaders,
    pairs_to_tell,
    told,
    verdicts,
)
from collapsebench.reporting.leaderboard.notes import decisions
from collapsebench.reporting.leaderboard.scoring import SeedSample

numbers = st.floats(-1e3, 1e3).map(lambda number: round(number, 3))
several = st.lists(numbers, min_size=2, max_size=6)
LABELS = ("vae", "a", "b", "c")


def sample(values):
    return SeedSample(dict(enumerate(values)), {})


def interval(values):
    """The 95 % interval of a mean, by SciPy."""
    return stats.t.interval(0.95, len(values) - 1, loc=statistics.fmean(values), scale=stats.sem(values))


def scored(values):
    """A board of a column, from the numbers of each contender by seed."""
    return score_records(
        record(label, seed, columns={"neg_elbo": number})
        for label, own in values.items()
        for seed, number in enumerate(own, start=1)
    )


@given(several)
def test_what_is_told_has_no_zero_in_its_interval(values):
    assume(statistics.stdev(values) > 1e-2)
    low, high = interval(values)
    assume(min(abs(low), abs(high)) > 1e-9)
    assert told(sample(values)) == (low > 0 or high < 0)


def test_one_pair_and_what_is_not_finite_tell_nothing():
    assert [told(sample(values)) for values in ([1.0], [1.0, math.nan], [1.0, math.inf])] == [None] * 3
    assert told(sample([0.0, 0.0])) is False
    assert told(sample([1.0, 1.0])) is True


@given(several)
def test_so_many_pairs_would_tell_and_one_less_would_not(values):
    pairs, mean, spread = pairs_to_tell(sample(values)), abs(statistics.fmean(values)), statistics.stdev(values)
    assume(spread > 1e-2)

    def half_width(n):
        return stats.t.ppf(0.975, n - 1) * spread / math.sqrt(n)

    if pairs is None:
        assert half_width(MOST_PAIRS) >= mean * (1 - 1e-9)
    else:
        assert half_width(pairs) < mean * (1 + 1e-9)
        assert pairs == 2 or half_width(pairs - 1) >= mean * (1 - 1e-9)


@given(st.lists(st.tuples(*[numbers] * len(LABELS)), min_size=2, max_size=5))
def test_the_leaders_are_the_best_and_what_cannot_be_told_from_it(rows):
    values = dict(zip(LABELS, map(list, zip(*rows, strict=True)), strict=True))
    board = scored(values)
    (column,) = (column for column in board.columns if column.key == "neg_elbo")
    found = leaders(board, column)
    best = min(values, key=lambda label: (statistics.fmean(values[label]), label not in found))
    assert board.best(column) <= found
    for label, own in values.items():
        differences = [ours - theirs for ours, theirs in zip(own, values[best], strict=True)]
        assume(len(set(differences)) == 1 or statistics.stdev(differences) > 1e-2)
        assert (label in found) == (not told(sample(differences)))


def test_a_noisy_contender_is_no_worse_for_its_noise_and_a_paired_one_is_told():
    """Two contenders of one mean: one differs from the best by as much for each seed, the other by anything."""
    board = scored({"vae": [1.0, 9.0, 5.0], "a": [2.0, 10.0, 6.25], "b": [14.0, -2.0, 6.25]})
    (column,) = (column for column in board.columns if column.key == "neg_elbo")
    assert leaders(board, column) == {"vae", "b"}
    assert [differs(board, row, column) for row in board.rows] == [False, True, False]
    assert {verdict.label: verdict.told for verdict in verdicts(board, column)} == {"a": True, "b": False}


def test_what_is_missing_or_impossible_leads_nothing_and_nothing_leads_one_seed():
    board = scored({"vae": [2.0, 3.0], "a": [1.0]})
    (column,) = (column for column in board.columns if column.key == "neg_elbo")
    assert leaders(board, column) == {"vae"}
    assert not differs(board, board.rows[1], column)
    single = scored({"vae": [2.0], "a": [1.0]})
    assert leaders(single, column) == set()
    assert [verdict.told for verdict in verdicts(single, column)] == [None]
    (kl,) = (each for each in score_records([record()]).columns if each.key == "kl")
    assert kl.direction is Direction.NONE
    assert leaders(score_records([record(seed=1), record(seed=2)]), kl) == set()


def test_the_likelihood_decides_or_else_what_has_a_direction():
    columns = {column.key: column for column in score_records(
        [record(columns={"neg_elbo": 1.0, "iw_nll": 1.0, "kl": 1.0, "active_units": 1.0})]).columns}  # fmt: skip
    assert deciding(columns.values()) is columns["iw_nll"]
    assert deciding([columns["kl"], columns["active_units"], columns["neg_elbo"]]) is columns["neg_elbo"]
    assert deciding([columns["kl"], columns["active_units"]]) is columns["active_units"]
    assert deciding([columns["kl"], columns["steps"]]) is None


def test_the_lines_below_a_board_say_what_is_decided_and_what_is_not():
    values = {"vae": [3.0, 4.0, 5.0], "a": [2.0, 3.0, 4.25], "b": [4.0, 6.0, 5.5], "c": [3.0, 4.0, 5.0]}
    board = scored(values | {"d": [5.0, 6.25, 7.0]})
    (column,) = (column for column in board.columns if column.key == "neg_elbo")
    pairs = {verdict.label: verdict.pairs for verdict in verdicts(board, column)}
    assert list(decisions(board, [column])) == [
        "Better than vae by −ELBO: a −0.92 ± 0.36.",
        "Worse than vae by −ELBO: d +2.08 ± 0.36.",
        f"Undecided, with the seeds that would decide: b about {pairs['b']}, c equal.",
    ]
    (line,) = decisions(scored({"vae": [1.0], "a": [2.0]}), [column])
    assert line.startswith("Nothing is decided: one seed")
    assert list(decisions(scored({"vae": [1.0, 2.0]}), [column])) == []
    many = {f"m{number}": [3.0, 4.0, 5.5 + number] for number in range(10)}
    (line,) = (line for line in decisions(scored({"vae": values["vae"]} | many), [column]) if "Undecided" in line)
    assert line.endswith(", and 4 more.")


def test_chosen_contenders_stay_with_the_one_that_they_are_compared_with():
    board, other = scored({label: [1.0, 2.0] for label in LABELS}), scored({"d": [1.0]})
    (kept,) = keep([board, other], ["b", "a"])
    assert [row.label for row in kept.rows] == ["vae", "a", "b"]
    assert kept.difference(kept.rows[1], "neg_elbo") == board.difference(board.rows[1], "neg_elbo")
    with pytest.raises(UsageError, match="unknown contender 'x'"):
        list(keep([board, other], ["x"]))


def test_labels_keep_what_tells_two_versions_apart():
    (board,) = present([scored({"vae": [1.0], "a": [1.0]})], Presentation(labels={"a": "Ours", "vae": "VAE"}))
    assert [row.label for row in board.labelled.rows] == ["VAE", "Ours"]
    assert (board.labelled.against, board.against) == ("VAE", "vae")
    assert [row.contender for row in board.labelled.rows] == ["vae", "a"]


def test_a_decision_by_runs_that_a_guard_doubts_has_their_mark_and_one_by_impossible_numbers_is_none():
    finding = Finding(guard=Guard.OPERATIONS, text="uncounted operations: cdist")
    numbers = {"vae": (3.0, 4.0), "a": (2.0, 3.0), "b": (4.0, 5.0)}
    runs = [
        record(label, seed, columns={"neg_elbo": own[seed - 1]}) for label, own in numbers.items() for seed in (1, 2)
    ]
    doubted = [run.model_copy(update={"findings": (finding,)}) if run.contender == "a" else run for run in runs]
    board = score_records(doubted)
    (column,) = (column for column in board.columns if column.key == "neg_elbo")
    assert list(decisions(board, [column])) == [
        "Better than vae by −ELBO: a ‡ −1 ± 0.",
        "Worse than vae by −ELBO: b +1 ± 0.",
    ]
    baseline = [run.model_copy(update={"findings": (finding,)}) if run.contender == "vae" else run for run in runs]
    assert all(verdict.marked for verdict in verdicts(score_records(baseline), column))
    first, *others = board.rows
    cannot = replace(first, violations={1: (Violation("neg_elbo", "it cannot be"),)})
    assert verdicts(replace(board, rows=(cannot, *others)), column) == []
    assert not any(differs(replace(board, rows=(cannot, *others)), row, column) for row in others)
