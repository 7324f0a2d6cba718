"""Scoring: means, intervals, paired differences and blanks, as properties over arbitrary runs."""

from __future__ import annotations

import math
import random
import statistics
from dataclasses import replace
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from records import COLUMNS, point, record, score_records, started, values
from scipy import stats

from collapsebench.errors import UsageError
from collapsebench.estimates import Direction, Estimate
from collapsebench.observation import Observation
from collapsebench.record import Outcome
from collapsebench.reporting.leaderboard import Cut, compare_with, order, pieces, render, score, select
from collapsebench.reporting.leaderboard.numbers import rounded, with_interval
from collapsebench.reporting.leaderboard.provenance import command, whole_command
from collapsebench.reporting.leaderboard.scoring import Board, Row, SeedSample
from collapsebench.spec import Contender, MethodChoice, RunSpec
from collapsebench.store import Store

moderate = st.floats(-1e6, 1e6).map(lambda number: round(number, 3))
several = st.lists(moderate, min_size=2, max_size=8)
by_seed = st.dictionaries(st.integers(0, 9), moderate, min_size=1, max_size=6)


def runs(label: str, column: dict[int, float], **fields) -> list:
    return [record(label, seed, columns={"neg_elbo": value}, **fields) for seed, value in column.items()]


def row(board: Board, label: str) -> Row:
    return next(row for row in board.rows if row.label == label)


def sample(numbers) -> SeedSample:
    return SeedSample(dict(enumerate(numbers)), {})


@given(several)
def test_mean_and_interval_are_those_of_scipy(numbers):
    scored = sample(numbers)
    assert scored.mean == pytest.approx(math.fsum(numbers) / len(numbers), rel=1e-14, abs=1e-9)
    if statistics.stdev(numbers) > 0:
        low, high = stats.t.interval(0.95, len(numbers) - 1, loc=scored.mean, scale=stats.sem(numbers))
        # numpy's variance cancels for numbers that are close to each other; ours is exact.
        assert scored.half_width == pytest.approx((high - low) / 2, rel=1e-6, abs=1e-9)
    else:
        assert scored.half_width == 0


def test_interval_by_hand():
    """Student's t with 2 degrees of freedom at 97.5 % is 4.302653; the standard error of 1, 2, 3 is 1/sqrt(3)."""
    assert sample([1.0, 2.0, 3.0]).half_width == pytest.approx(4.302652729749464 / math.sqrt(3), rel=1e-12)
    assert sample([1.0]).half_width is None
    assert sample([0.1] * 3).mean == 0.1
    assert sample([0.1] * 3).half_width == 0


@pytest.mark.parametrize(
    ("numbers", "mean"), [([math.inf, 1.0], math.inf), ([-math.inf], -math.inf), ([math.inf, -math.inf], math.nan)]
)
def test_numbers_that_are_not_finite_stay_what_they_are(numbers, mean):
    assert sample(numbers).mean == pytest.approx(mean, nan_ok=True)
    assert len(numbers) == 1 or math.isnan(sample(numbers).half_width)
    assert "±" not in with_interval(sample(numbers))


@given(by_seed, by_seed)
def test_difference_is_the_mean_of_the_differences_over_shared_seeds(base, other):
    board = score_records(runs("vae", base) + runs("skip", other))
    shared = base.keys() & other.keys()
    difference = board.difference(row(board, "skip"), "neg_elbo")
    if not shared:
        assert difference is None
    else:
        assert difference.seeds == {seed: other[seed] - base[seed] for seed in shared}
        assert difference.mean == pytest.approx(statistics.mean(other[seed] - base[seed] for seed in shared), rel=1e-15)
    assert row(board, "vae").differences == {}


@given(by_seed, by_seed)
def test_a_missing_seed_blanks_the_mean_and_is_listed(base, other):
    board = score_records(runs("vae", base) + runs("skip", other))
    for label, own, others in (("vae", base, other), ("skip", other, base)):
        missing = sorted(others.keys() - own.keys())
        assert [problem.seed for problem in row(board, label).problems] == missing
        scored = row(board, label).sample("neg_elbo")
        assert (scored is None) == bool(missing)
        assert scored is None or scored.mean == pytest.approx(statistics.mean(own.values()), rel=1e-15)
    assert {problem.outcome for r in board.rows for problem in r.problems} <= {"missing"}


@pytest.mark.parametrize("outcome", [Outcome.DIVERGED, Outcome.FAILED, Outcome.INTERRUPTED, Outcome.STARTED])
@pytest.mark.parametrize("label", ["vae", "skip"])
def test_a_run_without_result_blanks_mean_and_difference(outcome, label):
    finished = runs("vae", {1: 3.0, 2: 4.0, 3: 5.0}) + runs("skip", {1: 3.0, 2: 4.0, 3: 5.0})
    lost = record(label, 3, outcome=outcome, message="why")
    board = score_records([lost if run.run_id == lost.run_id else run for run in finished])
    assert row(board, label).sample("neg_elbo") is None
    assert row(board, label).problems == ((3, outcome.value, lost.run_id, "why"),)
    assert board.difference(row(board, "skip"), "neg_elbo") is None
    assert board.outcomes == {Outcome.FINISHED: 5, outcome: 1}


def test_a_seed_that_only_started_elsewhere_is_nobodys_gap():
    board = score_records([*runs("vae", {1: 3.0}), *runs("skip", {1: 2.0}), started("skip", 2)])
    assert row(board, "vae").problems == ()
    assert [problem.seed for problem in row(board, "skip").problems] == [2]


@given(
    st.lists(st.tuples(st.sampled_from(["vae", "skip", "a+b"]), st.integers(0, 3)), unique=True, min_size=1),
    st.randoms(),
)
def test_the_order_of_the_records_does_not_matter(chosen, rng: random.Random):
    outcomes = list(Outcome)
    made = [record(label, seed, outcome=rng.choice(outcomes), columns={"kl": rng.random()}) for label, seed in chosen]
    turned = rng.sample(made, len(made))
    assert score_records(turned) == score_records(made)


LABELS = ("vae", "skip", "skip[sites=2]", "a+b")
measured = st.dictionaries(
    st.sampled_from(sorted(COLUMNS)), st.floats() | st.builds(Estimate, st.floats(), st.floats())
)


@pytest.mark.slow
@settings(max_examples=40)
@given(st.dictionaries(st.tuples(st.sampled_from(LABELS), st.integers(0, 3)), measured, min_size=1), st.randoms())
def test_boards_of_a_store_are_those_of_its_records(columns, rng: random.Random):
    made = [
        record(label, seed, columns=values, outcome=rng.choice([*Outcome, *[Outcome.FINISHED] * 9]))
        for (label, seed), values in columns.items()
    ]
    with TemporaryDirectory() as folder, Store.open(f"{folder}/runs.sqlite") as store:
        store.add(made)
        assert content(score(store.observations())) == content(score_records(made))
        cut = Cut.parse("steps=200")
        expected = content(score(cut.through(map(Observation.of, made))))
        assert content(score(cut.through(store.observations(trajectories=True)))) == expected


def content(board: Board) -> str:
    """With every digit of every number; counters of outcomes in one order."""
    return repr(replace(board, outcomes=dict(sorted(board.outcomes.items()))))


def test_boards_are_held_back_until_their_columns_are_known_and_then_made_one_at_a_time():
    made = []

    def boards():
        for columns in ({"kl": 1.0}, {"neg_elbo": 2.0}, {"kl": 3.0}):
            made.append(columns)
            yield score_records([record(columns=columns)])

    chosen = order(boards(), "neg_elbo")
    assert made == []
    next(chosen)
    assert len(made) == 2
    assert len(list(chosen)) == 2
    del made[:]
    assert [next(pieces(boards(), "markdown")).count("## "), len(made)] == [1, 1]


def test_the_baseline_is_first_and_the_others_by_name():
    made = [record(label) for label in ("z", "b", "vae", "a")]
    assert [r.label for r in score_records(made).rows] == ["vae", "a", "b", "z"]


def test_a_board_is_of_one_protocol():
    with pytest.raises(ValueError, match="exactly one protocol"):
        score_records([record(), record(protocol={"budget": "351steps"})])
    with pytest.raises(ValueError, match="exactly one protocol"):
        score_records([])


def test_columns_are_metrics_then_parameters_then_counters():
    board = score_records(
        [record("vae", columns={"iw_nll": 3.0, "kl": 1.0}), record("skip", columns={"kl": 1.0, "neg_elbo": 2.0})]
    )
    keys = [column.key for column in board.columns]
    assert keys == ["iw_nll", "kl", "neg_elbo", "parameters", "steps", "examples", "encoder_evaluations", "seconds"]
    assert board.columns[0][1:] == ("iw-nll", "IW-NLL", "nats", Direction.LOWER)
    assert row(board, "vae").sample("steps").mean == 350


def test_what_boards_do_not_show_is_no_column():
    hidden = values(kl=1.0)[0].model_copy(update={"column": "kl[3]", "board": False})
    assert "kl[3]" not in [column.key for column in score_records([record(values=(hidden, *values(kl=2.0)))]).columns]


def test_equal_names_of_two_metrics_stay_apart():
    first, second = values(kl=1.0)[0], values(kl=2.0)[0].model_copy(update={"metric": "other"})
    third = first.model_copy(update={"metric": "clock", "column": "seconds"})
    board = score_records([record(values=(first, second, third))])
    assert [column.key for column in board.columns][:4] == ["kl.kl", "other.kl", "clock.seconds", "parameters"]
    assert [board.rows[0].sample(key).mean for key in ("kl.kl", "other.kl", "clock.seconds", "seconds")] == [1, 2, 1, 7]


def test_equal_labels_of_two_versions_stay_apart():
    old = record("skip")
    newer = Contender.of((MethodChoice(name="skip", version=2),))
    spec = RunSpec(contender=newer, protocol=old.spec.protocol, seed=old.spec.seed)
    board = score_records([old, record("skip", spec=spec, run_id=spec.run_id), record("vae")])
    labels = [r.label for r in board.rows]
    assert len(set(labels)) == 3
    assert all(label.startswith("skip #") for label in labels[1:])
    assert command(board).count("--method skip") == 1


def test_parameters_are_compared_to_the_baseline():
    board = score_records([record("vae", parameters=1000), record("skip", parameters=1234)])
    assert board.difference(row(board, "skip"), "parameters").mean == 234


def board_of(**means: float) -> Board:
    return score_records(
        [
            record(label.replace("_", "-"), columns={"neg_elbo": mean, "active_units": mean / 2, "kl": mean})
            for label, mean in means.items()
        ]
    )


@pytest.mark.parametrize(
    ("means", "lowest", "highest"),
    [
        ({"vae": 2.0, "a": 1.0, "b": 3.0}, {"a"}, {"b"}),
        ({"vae": 1.0, "a": 1.0, "b": 3.0}, {"vae", "a"}, {"b"}),
        ({"vae": math.nan, "a": 1.0, "b": math.inf}, {"a"}, {"a"}),
        ({"vae": math.nan, "a": -math.inf}, set(), set()),
    ],
)
def test_best(means, lowest, highest):
    board = board_of(**means)
    by_key = {column.key: board.best(column) for column in board.columns}
    assert by_key["neg_elbo"] == lowest
    assert by_key["active_units"] == highest
    assert by_key["kl"] == by_key["seconds"] == by_key["parameters"] == set()


def test_best_leaves_out_blank_cells():
    board = score_records([*runs("vae", {1: 2.0, 2: 2.0}), *runs("a", {1: 1.0}), *runs("b", {1: 3.0, 2: 3.0})])
    assert board.best(board.columns[0]) == {"vae"}


def test_order_keeps_the_baseline_first_and_blanks_last():
    board = score_records(
        [
            *runs("vae", {1: 5.0, 2: 5.0}),
            *runs("a", {1: 3.0, 2: 3.0}),
            *runs("b", {1: 0.0}),
            *runs("c", {1: 1.0, 2: 1.0}),
            *runs("d", {1: math.nan, 2: 1.0}),
            *runs("e", {1: math.inf, 2: math.inf}),
        ]
    )
    assert [r.label for r in next(order([board], "neg_elbo")).rows] == ["vae", "c", "a", "e", "b", "d"]
    ranked = next(order([board_of(vae=1.0, a=2.0, b=3.0)], "active_units"))
    assert [r.label for r in ranked.rows] == ["vae", "b", "a"]


@given(by_seed, by_seed, by_seed)
def test_differences_to_another_contender(vae, a, b):
    board = score_records([*runs("vae", vae), *runs("a", a), *runs("b", b)])
    turned = next(compare_with([board], "b"))
    assert [r.label for r in turned.rows] == ["b", "vae", "a"]
    assert row(turned, "b").differences == {}
    for label, own in (("vae", vae), ("a", a)):
        shared = own.keys() & b.keys()
        differences = row(turned, label).differences
        assert ("neg_elbo" in differences) == bool(shared)
        assert {s: own[s] - b[s] for s in shared} == (differences["neg_elbo"].seeds if shared else {})
    back = next(compare_with([turned], "vae"))
    assert {r.label: r for r in back.rows} == {r.label: r for r in board.rows}


def test_what_is_compared_says_so():
    board = score_records([*runs("vae", {1: 5.0, 2: 6.0}), *runs("a", {1: 3.0, 2: 3.0}), *runs("b", {1: 2.5, 2: 2.0})])
    turned = next(compare_with([board], "a"))
    assert "Paired difference to a\n" in "".join(render([turned], "table"))
    assert '"against": "a"' in "".join(pieces([turned], "json"))
    assert command(turned) == command(board)


def test_boards_without_the_contender_have_no_differences():
    with_it, without = board_of(vae=1.0, a=2.0), board_of(vae=1.0, b=2.0)
    turned = list(compare_with([without, with_it], "a"))
    assert [board.compared is None for board in turned] == [True, False]
    assert not any(r.differences for r in turned[0].rows)
    assert "Paired difference" not in "".join(render(turned[:1], "table"))
    with pytest.raises(UsageError, match=r"unknown contender 'aa'\. Did you mean 'a'\? Known: a, b, vae"):
        next(compare_with([without, with_it], "aa"))


def test_select_columns():
    text, image = (
        score_records([record(columns={"kl": 1.0})]),
        score_records([record(columns={"neg_elbo": 1.0, "kl": 2.0})]),
    )
    chosen = select([text, image], ["seconds", "neg_elbo", "kl", "kl"])
    assert [[column.key for column in board.columns] for board in chosen] == [
        ["seconds", "kl"],
        ["seconds", "neg_elbo", "kl"],
    ]
    for choose in (select, lambda boards, keys: order(boards, keys[0])):
        with pytest.raises(UsageError, match=r"unknown column 'kll'\. Did you mean 'kl'\? Known: .*neg_elbo"):
            next(choose([text, image], ["kll"]))


@pytest.mark.parametrize(
    ("number", "uncertainty", "text"),
    [
        (98.4142, 0.3142, "98.41"),
        (98.4142, 0.0996, "98.41"),
        (98.4142, 0.00994, "98.4142"),
        (98.4142, 9.96, "98"),
        (98.4142, 12.0, "98"),
        (1234.5, 123.0, "1230"),
        (-0.004, 0.3, "0.00"),
        (-1.5, 0.3, "−1.50"),
        (98.4142, None, "98.41"),
        (0.0123456, None, "0.01235"),
        (12345.678, None, "12346"),
        (8.0, None, "8"),
        (8.0, 0.0, "8"),
        (0.0, 0.0, "0"),
        (1.5e-7, None, "1.500e−07"),
        (30.0, 1e-15, "30"),
        (math.nan, 1.0, "nan"),
        (-math.inf, None, "−inf"),
        (1.25, math.nan, "1.250"),
    ],
)
def test_rounded(number, uncertainty, text):
    assert rounded(number, uncertainty) == text


@given(st.floats(-1e4, 1e4), st.floats(1e-5, 1e4))
def test_rounding_keeps_two_digits_of_the_interval(mean, half_width):
    width = rounded(half_width, half_width)
    assert float(width) == pytest.approx(half_width, rel=0.0501)
    assert float(f"{half_width:.1e}") == pytest.approx(float(width), rel=1e-9)
    text = rounded(mean, half_width).replace("−", "-")
    assert abs(float(text) - mean) <= 0.0501 * half_width
    assert len(text.partition(".")[2]) == len(width.partition(".")[2])


def test_one_seed_is_rounded_by_the_standard_error_of_its_estimator():
    assert with_interval(SeedSample({1: 30.123456}, {1: 0.0123})) == "30.123"
    assert with_interval(SeedSample({1: 30.123456}, {})) == "30.12"
    assert with_interval(SeedSample({1: 30.0, 2: 30.0}, {1: 0.0123})) == "30 ± 0"


def test_signed_differences():
    assert with_interval(sample([0.5, 0.7]), signed=True) == "+0.6 ± 1.3"
    assert with_interval(sample([0.01, 0.7, -0.7]), signed=True) == "0.0 ± 1.7"
    assert with_interval(sample([-0.5, -0.7]), signed=True) == "−0.6 ± 1.3"


def test_the_error_of_a_difference_of_one_seed():
    difference = SeedSample({1: 3.0}, {1: 0.3}).minus(SeedSample({1: 1.0}, {1: 0.4}))
    assert difference == SeedSample({1: 2.0}, {1: 0.5})
    assert SeedSample({1: 3.0}, {}).minus(SeedSample({1: 1.0}, {})).uncertainty is None


def test_estimator_errors_come_from_the_records():
    board = score_records([record("vae", columns={"kl": Estimate(1.23456, 0.012)}, points=(point(),))])
    assert board.rows[0].sample("kl").uncertainty == 0.012
    assert "kl" not in score_records([record("vae", columns={"kl": 1.0})]).rows[0].sample("kl").errors


def test_the_command_of_a_board():
    protocol = {"track": "quick", "overrides": {"decoder.layers": 3, "x": "a b"}, "budget": "5e13flops"}
    made = [record(label, seed, protocol=protocol) for label in ("vae", "skip[sites=2]") for seed in (3, 1)]
    assert command(score_records(made)) == (
        "collapsebench run --dataset digits --track quick --budget 5e13flops --set decoder.layers=3 "
        "--set 'x=\"a b\"' --method 'skip[sites=2]' --seed 1 --seed 3"
    )
    assert command(score_records([record()])).endswith("--method skip --seed 1 --no-baseline")


@pytest.mark.parametrize(
    ("dataset", "code", "places"),
    [
        ("digits", {}, ""),
        ("mnist", {}, " --data-dir DATA"),
        ("digits", {"method mine": "ab" * 32}, " --plugin PLUGIN.py"),
        ("my-own", {"dataset my-own": "ab" * 32}, " --plugin PLUGIN.py"),
        ("my-own", {"dataset my-own": "ab" * 32, "method mine": "cd" * 32}, " --plugin PLUGIN.py"),
        ("added", {"method mine": "ab" * 32}, " --plugin PLUGIN.py --data-dir DATA"),
    ],
)
def test_people_get_a_command_with_what_no_record_can_know(dataset, code, places):
    board = score_records([record("vae", protocol={"dataset": dataset}, code=code)])
    assert whole_command(board) == command(board) + places
    text = "".join(render([board], "table"))
    assert f"Made by: {whole_command(board)}\n" in text
    assert [f"{word} is the " in text for word in ("PLUGIN.py", "DATA")] == [
        word in places for word in ("PLUGIN.py", "DATA")
    ]
    assert ("Each file has its own --plugin." in text) is (len(code) > 1)
