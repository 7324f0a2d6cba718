"""Leaderboards at one point of the trajectories."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import record, score_records

from collapsebench.errors import UsageError
from collapsebench.experiment.counters import COUNTERS
from collapsebench.experiment.meter import Meter
from collapsebench.observation import Observation, TrajectoryPoint
from collapsebench.record import Number, Outcome, Point
from collapsebench.reporting.leaderboard import Cut, render, score
from collapsebench.reporting.leaderboard.layout import lay_out
from collapsebench.reporting.leaderboard.trajectories import curve, value_at
from collapsebench.spec import Budget
from collapsebench.store import Store

FLOPS = 4e9
"""Of a step."""


def points(*bounds, flops=True):
    """One point every ten steps."""
    return tuple(
        Point(
            counters={"steps": 10.0 * step, "seconds": 5.0 * step} | ({"flops": 10 * FLOPS * step} if flops else {}),
            values={"neg_elbo": Number.of(bound), "kl": Number.of(bound / 10), "loss": Number.of(bound + 1)},
        )
        for step, bound in enumerate(bounds, 1)
    )


def board(text, *records):
    cut = Cut.parse(text)
    return score(cut.through(map(Observation.of, records)))


def means(scored, key):
    samples = {row.label: row.sample(key) for row in scored.rows}
    return {label: None if sample is None else sample.mean for label, sample in samples.items()}


RUNS = [
    record("vae", 1, points=points(100, 90, 80)),
    record("vae", 2, points=points(104, 94, 84)),
    record("skip", 1, points=points(98, 78, 76)),
    record("skip", 2, points=points(98, 78, 76)),
    record("svi", 1, points=points(60)),
    record("svi", 2, points=points(60, 50)),
]


@pytest.mark.parametrize(
    ("text", "vae", "skip", "svi"),
    [
        ("steps=10", 102, 98, 60),  # at an evaluation
        ("steps=15", 97, 88, None),  # between two; one run of svi ended before
        ("seconds=15", 82, 76, None),  # at the last
        (f"flops={10 * FLOPS}", 102, 98, 60),
        (f"flops={12.5 * FLOPS}", 99.5, 93, None),
        ("steps=9", None, None, None),  # before the first evaluation
        ("steps=31", None, None, None),
    ],
)
def test_validation_values_are_interpolated_linearly(text, vae, skip, svi):
    scored = board(text, *RUNS)
    assert means(scored, "neg_elbo") == {"vae": vae, "skip": skip, "svi": svi}
    assert means(scored, "kl")["vae"] == (None if vae is None else pytest.approx(vae / 10))


def test_costs_are_those_at_the_point():
    scored = board("steps=15", *RUNS)
    assert means(scored, "seconds") == {"vae": 7.5, "skip": 7.5, "svi": None}
    assert means(scored, "flops")["vae"] == 15 * FLOPS
    assert means(scored, "steps")["vae"] == 15


def test_runs_that_did_not_count_it_are_blank():
    old = record("a", points=points(70, 60, flops=False))
    assert means(board(f"flops={15 * FLOPS}", RUNS[0], old), "neg_elbo") == {"vae": 95, "a": None}
    assert means(board("steps=15", RUNS[0], old), "neg_elbo") == {"vae": 95, "a": 65}


def test_unfinished_runs_have_no_mean():
    diverged = record("skip", 2, points=points(98, 78), outcome=Outcome.DIVERGED)
    scored = board("steps=10", RUNS[0], RUNS[2], diverged)
    assert means(scored, "neg_elbo") == {"vae": None, "skip": None}  # vae has no seed 2
    assert [problem.outcome for row in scored.rows for problem in row.problems] == ["missing", "diverged"]


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=6), st.floats(0, 80))
def test_interpolation_is_that_of_numpy(bounds, amount):
    import numpy as np

    values = curve(map(TrajectoryPoint.of, points(*bounds)), "steps", "neg_elbo")
    xs, ys = zip(*values, strict=True)
    found = value_at(values, amount)
    if xs[0] <= amount <= xs[-1]:
        assert found == pytest.approx(float(np.interp(amount, xs, ys)), abs=1e-9)
    else:
        assert found is None


def test_of_two_evaluations_at_one_place_the_later_counts():
    assert value_at([(1, 5.0), (2, 4.0), (2, 3.0)], 2) == 3.0
    assert value_at([(1, 5.0), (2, 4.0), (2, 3.0)], 1.5) == 4.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flop=1e13", "unknown counter 'flop'. Did you mean 'flops'?"),
        ("flops", "cannot read 'flops': write a counter and an amount, as in flops=1e13"),
        ("flops=many", "cannot read 'flops=many'"),
        ("flops=0", "cannot read 'flops=0'"),
        ("flops=-3", "cannot read"),
        ("flops=nan", "cannot read"),
        ("flops=inf", "cannot read"),
        ("=3", "unknown counter ''"),
    ],
)
def test_what_is_no_point_is_refused(text, message):
    with pytest.raises(UsageError) as error:
        Cut.parse(text)
    assert message in str(error.value)


@pytest.mark.torch
def test_the_counters_are_those_of_the_meter():
    assert set(COUNTERS) == set(Meter(Budget.parse("1steps"), 1).counters())


def test_the_command_labels_the_numbers(command, tmp_path):
    with Store.open(tmp_path / "runs.sqlite") as store:
        store.add(RUNS)
    place = ("leaderboard", "--store", tmp_path / "runs.sqlite")
    table = command(*place, "--at", f"flops={15 * FLOPS}", "--columns", "all").out
    assert "validation split at flops=60000000000" in table
    assert "counters at flops=60000000000" in table
    assert "blank for runs that did not get there" in table
    assert "valid −ELBO" in table
    assert "6.000e10" in table
    answer = json.loads(command(*place, "--at", "steps=15", "--format", "json", "--sort", "neg_elbo").out)["boards"][0]
    assert answer["at"] == "steps=15"
    assert [row["contender"] for row in answer["rows"]] == ["vae", "skip", "svi"]
    assert answer["rows"][1]["scores"]["neg_elbo"]["seeds"]["1"]["value"] == 88
    assert {column["metric"] for column in answer["columns"]} == {"validation", ""}
    plain = command(*place).out
    assert "validation" not in plain
    answer = command(*place, "--at", "steps=31")
    assert (answer.code, answer.err) == (1, "error: no finished run was evaluated both before and after steps=31\n")
    answer = command(*place, "--at", "step=15")
    assert (answer.code, answer.err.splitlines()) == (
        2,
        [f"error: unknown counter 'step'. Did you mean 'steps'? Known: {', '.join(sorted(COUNTERS))}"],
    )


@pytest.mark.parametrize(
    ("flops", "text"), [(950, "950"), (12345678, "12,345,678"), (1.2344e13, "1.234e13"), (5e9, "5.000e9")]
)
def test_flops_are_readable(flops, text):
    run = record("vae", points=(Point(counters={"flops": float(flops)}, values={}),))
    costs = lay_out(score_records([run])).tables[-1]
    assert costs.rows[0][costs.headers.index("flops")].text == text
    assert text in render([score_records([run])], "table")
