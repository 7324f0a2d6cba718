"""`leaderboard --dialect`: the stored runs as another paper would have scored them."""

from __future__ import annotations

import json

import pytest
from records import record, values

from collapsebench.estimates import Estimate
from collapsebench.observation import Observation
from collapsebench.record import Value
from collapsebench.reporting.leaderboard import DIALECTS, in_dialect, score
from collapsebench.reporting.leaderboard.layout import lay_out
from collapsebench.store import Store

HE = DIALECTS["he2019"]
NAMES = [column.name for column in HE.columns]


def scored(label, seed=1, mi=3.4):
    """A run with the entries of a dialect."""
    numbers = {"he2019.kl": Estimate(18.7), "he2019.mi": Estimate(mi, 0.01), "he2019.au": Estimate(2.0)}
    entries = [Value.of("dialects", name, estimate) for name, estimate in numbers.items()]
    return record(label, seed, values=(*values(neg_elbo=333.1, kl=18.7), *entries))


@pytest.fixture
def place(tmp_path):
    with Store.open(tmp_path / "runs.sqlite") as store:
        store.add([scored("vae"), scored("skip", mi=3.46), record("svi", columns={"kl": 1.0})])
        store.add([record("vae", protocol={"dataset": "ptb"})])
    return ("leaderboard", "--store", tmp_path / "runs.sqlite")


def test_a_board_has_the_columns_of_the_dialect_under_its_own_titles():
    runs = [Observation.of(scored(label), NAMES) for label in ("vae", "skip")]
    board = score(in_dialect(runs, HE))
    assert [(column.key, column.title) for column in board.columns if column.metric] == [
        ("he2019.kl", "KL"),
        ("he2019.mi", "MI"),
        ("he2019.au", "AU"),
    ]
    assert board.rows[0].sample("he2019.mi").seeds == {1: 3.4}
    assert board.rows[0].sample("he2019.mi").errors == {1: 0.01}


def test_the_command_shows_the_dialect_and_how_it_estimates(command, place):
    table = command(*place, "--dialect", "he2019").out
    assert "as he2019 scores" in table
    assert "Dialect he2019, He et al., Lagging Inference Networks" in table
    assert "KL: analytic; MI: batch by batch" in table
    assert "ELBO" not in table.partition("Dialect")[0]
    boards = json.loads(command(*place, "--dialect", "he2019", "--format", "json").out)["boards"]
    assert [(board["dataset"], board["dialect"]) for board in boards] == [("digits", "he2019"), ("ptb", "he2019")]
    numbers = {row["contender"]: row["scores"]["he2019.mi"]["aggregate"] for row in boards[0]["rows"]}
    assert (numbers["vae"]["mean"], numbers["skip"]["mean"], numbers["svi"]) == (3.4, 3.46, None)
    assert all(column["metric"] == "" for column in boards[1]["columns"])
    assert json.loads(command(*place, "--format", "json").out)["boards"][0]["dialect"] == ""


def test_people_see_the_columns_of_a_dialect_without_the_costs(command, place):
    usual = command(*place, "--dataset", "digits", "--dialect", "he2019").out
    assert "(he2019.mi)" in usual
    assert "Costs" not in usual
    assert "Costs" in command(*place, "--dialect", "he2019", "--columns", "all").out


def test_columns_and_order_work_in_a_dialect(command, place):
    answer = command(*place, "--dialect", "he2019", "--columns", "he2019.mi", "--sort", "he2019.mi", "--format", "csv")
    assert {line.split(",")[5] for line in answer.out.splitlines()[1:]} == {"he2019.mi"}


def test_what_cannot_be_is_flagged_in_a_dialect():
    runs = [Observation.of(scored("vae", mi=3.98), NAMES)]
    page = lay_out(score(in_dialect(runs, HE)))
    assert any("he2019.mi 3.98 is above log 50 = 3.91202" in note for note in page.notes)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ("--dialect", "li2019"),
            1,
            "no finished run was scored in the dialect li2019: that is done at the end of a run",
        ),
        (("--dialect", "he2019", "--at", "steps=15"), 2, "--dialect does not go with --at"),
        (("--dialect", "he2020"), 2, "'he2020' is not one of 'dieng2019', 'skip-vae-released', 'he2019', 'li2019'"),
    ],
)
def test_what_cannot_be_shown_is_one_line(command, place, arguments, code, message):
    answer = command(*place, *arguments)
    assert answer.code == code
    assert message in answer.err
    assert len(answer.err.splitlines()) == 1


def test_a_run_is_shown_with_what_cannot_be_in_it(command, tmp_path):
    units = [value.model_copy(update={"column": "kl[0]", "board": False}) for value in values(kl=18.0)]
    wrong = record("vae", values=(*values(neg_elbo=333.1, kl=18.7), *units))
    with Store.open(tmp_path / "runs.sqlite") as store:
        store.add([wrong, record("skip")])
    text = "kl 18.7 is not the sum 18 of its 1 units"
    place = ("--store", tmp_path / "runs.sqlite")
    assert f"What cannot be, whatever the model:\n{text}" in command("runs", "show", wrong.run_id, *place).out
    assert json.loads(command("runs", "show", wrong.run_id, "--json", *place).out)["impossible"] == [text]
    fine = record("skip").run_id
    assert "What cannot be" not in command("runs", "show", fine, *place).out
    assert json.loads(command("runs", "show", fine, "--json", *place).out)["impossible"] == []
