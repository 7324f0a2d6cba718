"""Columns that mean nothing for a contender: a mark in the blank cell, and the reason wherever it is shown."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import point, reasons, record, score_records

from collapsebench.estimates import Estimate
from collapsebench.notebook import Run, Runs
from collapsebench.observation import Observation
from collapsebench.record import DeclinedColumn, Outcome, Value
from collapsebench.reporting.leaderboard import DIALECTS, FORMATS, Cut, in_dialect, render, score, select
from collapsebench.reporting.leaderboard.layout import lay_out
from collapsebench.reporting.leaderboard.scoring import RowReason
from collapsebench.store import Store
from collapsebench.verification.comparison import other_reasons

FLOW = "no KL per unit: flow"
NO_KL = DeclinedColumn(metric="kl", column="kl", reason=FLOW)
GROUP = DeclinedColumn(metric="kl", column="kl[j]", reason=FLOW)
NO_LABELS = DeclinedColumn(metric="probe", column="probe", reason="no labels")


def without_kl(label, seed=1, reason=FLOW, **fields):
    """A run whose KL means nothing, as one column and as its parts, in a setting without labels."""
    declined = (NO_KL.model_copy(update={"reason": reason}), GROUP, NO_LABELS)
    return record(label, seed, columns={"neg_elbo": 30.0 + seed}, declined=declined, **fields)


def cells(page, number, head):
    """The cells of a column of one of the tables, by the label of the row."""
    table = page.tables[number]
    return {row[0].text: row[table.headers.index(head)].text for row in table.rows}


def marks(page):
    """The notes of the mark, without their head."""
    start = next(place for place, note in enumerate(page.notes) if note.startswith("§ marks cells"))
    number = int(page.notes[start].rpartition(" ")[2].rstrip(":"))
    return list(page.notes[start + 1 : start + 1 + number])


@pytest.mark.parametrize("format_", FORMATS)
def test_a_reason_is_told_in_every_format_and_columns_that_nobody_has_stay_absent(format_, command, tmp_path):
    with Store.open(tmp_path / "runs.sqlite") as store:
        store.add([record("vae"), without_kl("iaf")])
    text = command("leaderboard", "--store", tmp_path / "runs.sqlite", "--format", format_).out
    assert FLOW in " ".join(text.split())
    assert "no labels" not in text
    plain = render([score_records([record("vae"), record("iaf")])], format_)
    assert not {"§", "declined"} & {word.strip('":,') for word in plain.replace(",", " ").split()}


def test_a_blank_cell_has_the_mark_whatever_makes_it_blank():
    runs = [
        *(record("vae", seed) for seed in (1, 2)),
        *(without_kl("iaf", seed) for seed in (1, 2)),
        *(record("older", seed, columns={"neg_elbo": 30.0}) for seed in (1, 2)),
        *(record("partly", 1), without_kl("partly", 2)),
        *(without_kl("failing", 1), record("failing", 2, outcome=Outcome.FAILED)),
    ]
    page = lay_out(score_records(runs))
    blank = {"iaf": "§", "older": "", "failing": "— 0 of 2 seeds §"}
    own, differences = cells(page, 0, "KL [nats]"), cells(page, 1, "Δ KL [nats]")
    assert {label: cell for label, cell in own.items() if label != "vae"} == blank | {"partly": "— 1 of 2 seeds §"}
    assert {label: cell for label, cell in differences.items() if label != "partly"} == blank
    assert "§" not in own["vae"] + differences["partly"], "one seed of the difference has both numbers"
    assert marks(page) == [f"failing, KL: {FLOW}", f"iaf, KL: {FLOW}", f"partly, seed 2, KL: {FLOW}"]


def test_a_difference_to_a_contender_that_declines_has_the_mark():
    page = lay_out(score_records([without_kl("vae"), record("skip"), without_kl("iaf")]))
    assert cells(page, 1, "Δ KL [nats]") == {"iaf": "§", "skip": "— 0 of 1 seeds §"}
    assert cells(page, 1, "Δ −ELBO [nats] ↓")["skip"] == "−1"


def test_a_distance_from_the_best_possible_has_the_mark():
    declined = (DeclinedColumn(metric="iw-nll", column="iw_nll", reason="no density"),)
    runs = [record("vae", columns={"iw_nll": 20.0}), record("skip", columns={"kl": 1.0}, declined=declined)]
    board = replace(score_records(runs), reference={"iw_nll": Estimate(19.0)})
    assert cells(lay_out(board), 1, "regret of IW-NLL [nats] ↓") == {"vae": "1", "skip": "— §"}


def test_each_reason_is_told_once_for_its_columns_and_for_the_columns_that_are_shown():
    both = (NO_KL, DeclinedColumn(metric="active-units", column="active_units", reason=FLOW))
    runs = [record("vae", columns={"kl": 1.0, "active_units": 2.0, "neg_elbo": 3.0})]
    runs.append(record("iaf", columns={"neg_elbo": 3.0}, declined=both))
    board = score_records(runs)
    assert marks(lay_out(board)) == [f"iaf, KL, AU: {FLOW}"]
    (shown,) = select([board], ["active_units"])
    assert marks(lay_out(shown)) == [f"iaf, AU: {FLOW}"]
    (other,) = select([board], ["neg_elbo"])
    for format_ in FORMATS:
        assert FLOW not in render([other], format_)


def test_columns_of_one_name_have_reasons_of_their_own():
    """The KL of another metric is no KL of `kl`."""
    mine = Value.of("mine", "kl", Estimate(1.0), board=True)
    board = score_records([record("vae"), record("skip", values=(mine,), declined=(NO_KL,))])
    (skip,) = (row for row in board.rows if row.label == "skip")
    assert dict(skip.declined) == {"kl.kl": (RowReason(FLOW, (1,)),)}


@given(reasons, reasons)
def test_exports_have_the_reasons_with_their_seeds(one, other):
    runs = [record("vae"), *(without_kl("iaf", seed, reason) for seed, reason in enumerate((one, other, one), 1))]
    board = score_records(runs)
    expected = [{"text": one, "seeds": [1, 2, 3]}]
    if one != other:
        expected = [{"text": one, "seeds": [1, 3]}, {"text": other, "seeds": [2]}]
    (shown,) = json.loads(render([board], "json"))["boards"]
    told = {row["contender"]: row.get("declined") for row in shown["rows"]}
    assert told == {"vae": None, "iaf": {"kl": expected}}
    lines = list(csv.DictReader(io.StringIO(render([board], "csv"), newline="")))
    found = {(line["contender"], line["column"]): line["declined"] for line in lines if line["declined"]}
    assert list(found) == [("iaf", "kl")]
    assert found["iaf", "kl"].startswith(f"seed {', '.join(map(str, expected[0]['seeds']))} ")


def test_a_dialect_has_the_reasons_of_its_columns():
    dialect = DIALECTS["skip-vae-released"]
    names = [column.name for column in dialect.columns]
    entries = tuple(Value.of("dialects", name, Estimate(1.0)) for name in names)
    declined = tuple(DeclinedColumn(metric="dialects", column=name, reason="no encoder") for name in names)
    runs = [record("vae", values=entries), record("svi", values=(), declined=declined)]
    board = score(in_dialect((Observation.of(each, names) for each in runs), dialect))
    assert marks(lay_out(board)) == ["svi, KL, MI, AU: no encoder"]


def test_a_cut_has_other_numbers_and_no_reasons():
    points = (point(100, selected=False), point(350))
    board = score(Cut("steps", 200).through([Observation.of(without_kl("vae", points=points))]))
    assert board.rows[0].declined == {}


def test_a_run_shows_its_reasons_as_text_and_as_json(command, tmp_path):
    made = without_kl("iaf")
    with Store.open(tmp_path / "runs.sqlite") as store:
        store.add([made])
    show = ("runs", "show", made.run_id, "--store", tmp_path / "runs.sqlite")
    text = command(*show).out
    assert f"What has no number, and why:\nkl, kl[j]: {FLOW} (kl)\nprobe: no labels (probe)\n" in text
    assert json.loads(command(*show, "--json").out)["declined"][1] == json.loads(GROUP.model_dump_json())


def test_a_notebook_shows_the_reason_where_the_number_would_be():
    records = [record("vae", columns={"neg_elbo": 1 / 3, "kl": 1.0}), without_kl("iaf"), record("a", columns={})]
    found = Runs(map(Run, records))
    assert found[1].declined == {"kl": FLOW, "kl[j]": FLOW, "probe": "no labels"}
    rows = [line.split(maxsplit=4)[1:] for line in repr(found).splitlines()[2:]]
    assert [row[:3] for row in rows] == [["vae", "1", "finished"], ["iaf", "1", "finished"], ["a", "1", "finished"]]
    assert [row[3].split(maxsplit=1) for row in rows[:2]] == [["0.3333", "1"], ["31", FLOW]]
    assert f">{FLOW}<" in found._repr_html_()


@given(st.lists(st.sampled_from([NO_KL, GROUP, NO_LABELS]), unique=True), st.booleans())
def test_a_run_computed_again_has_the_reasons_that_are_stored(stored, reworded):
    """A record that is older than the reasons has none."""
    again = [NO_KL, GROUP.model_copy(update={"reason": "another"}) if reworded else GROUP, NO_LABELS]
    found = other_reasons(record(declined=tuple(stored)), record(declined=tuple(again)))
    assert found == ((f"kl kl[j]: {FLOW}",) if reworded and GROUP in stored else ())
