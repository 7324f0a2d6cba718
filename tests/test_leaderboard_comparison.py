"""Measured beside published: differences, and what can be compared with what."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
import records

from collapsebench.errors import UsageError
from collapsebench.experiment.suites import Cell, Scale
from collapsebench.published import publication
from collapsebench.record import Finding, Guard
from collapsebench.reporting.leaderboard import page_pieces
from collapsebench.reporting.leaderboard.comparison import MeasuredCell, compare
from collapsebench.reporting.leaderboard.comparison_page import comparison_csv, comparison_json, comparison_page
from collapsebench.reporting.leaderboard.scoring import RowFinding, RowReason

TABLE = publication("dieng-2019").table("Table 3")
"""Two, three and four layers: VAE 94.88, 95.38, 97.09, Skip-VAE 94.80, 94.17, 93.79."""
LABELS = {"VAE": "vae", "SKIP-VAE": "skip"}


def cell(layers=2, contenders=None, dataset="mnist", **changes):
    return Cell(
        **{
            "name": f"{layers} layers",
            "dataset": dataset,
            "track": "quick",
            "contenders": LABELS if contenders is None else contenders,
            "published": {"decoder.layers": layers},
        }
        | changes
    )


def board(threshold=0.01, **columns):
    """Two seeds of both models, with Skip-VAE two below the VAE."""
    setting = records.SETTING | {
        "evaluation": {"every": "10steps", "metrics": {"active-units": {"threshold": threshold}, "kl": {}}}
    }
    runs = [
        records.record(label, seed, columns={key: value + seed - low for key, value in columns.items()})
        for label, low in (("vae", 0), ("skip", 2))
        for seed in (1, 2)
    ]
    runs = [
        records.record(run.contender, run.spec.seed, values=run.values, protocol={"setting": setting}) for run in runs
    ]
    return records.score_records(runs)


def pairs(*cells, departs="", examples=10_000, of=None, columns=()):
    scale = Scale(description="", hours=1, departs=departs, cells=tuple(each for each, _ in cells))
    measured = [MeasuredCell(each, each.contenders, examples, found) for each, found in cells]
    found = compare(scale, measured, TABLE, columns)
    return [pair for pair in found if of is None or pair.column.key == of]


def test_measured_minus_published():
    vae, skip, gain = pairs((cell(4), board(neg_elbo=95.0)), of="neg_elbo")
    assert (vae.measured.mean, vae.published.value) == (96.5, 97.09)
    assert vae.difference == pytest.approx(-0.59)
    assert skip.difference == pytest.approx(94.5 - 93.79)
    assert (gain.model, gain.against) == ("SKIP-VAE", "VAE")
    assert gain.measured.mean == -2.0
    assert gain.measured.half_width == 0.0
    assert gain.published.value == pytest.approx(93.79 - 97.09)
    assert gain.published.rounding == pytest.approx(0.01)
    assert vae.comparable
    assert skip.comparable
    assert gain.comparable


def test_a_model_minus_one_of_another_protocol_seed_by_seed():
    """The other has seeds 1 and 2 at 96 and 97, Skip at 95 and 95.5: -1 and -1.5."""
    plain = cell(name="wide", contenders={"wide VAE": "vae"}, published=None, settings=["decoder.hidden=9"])
    skip = cell(contenders={"SKIP-VAE": "skip"}, against="wide")
    runs = [records.record("skip", seed, columns={"neg_elbo": 94.5 + seed / 2}) for seed in (2, 1)]
    other, own = board(neg_elbo=95.0), records.score_records(runs)
    vae, alone, gain = pairs((plain, other), (skip, own), of="neg_elbo")
    assert (vae.against, alone.against) == ("", "")
    assert (gain.cell, gain.model, gain.against) == ("2 layers", "SKIP-VAE", "wide VAE")
    assert gain.measured.seeds == {1: -1.0, 2: -1.5}
    assert gain.measured.half_width == pytest.approx(0.25 * 12.706204736)
    assert own.protocol_id != other.protocol_id
    assert (gain.protocol_id, gain.against_protocol_id) == (own.protocol_id, other.protocol_id)
    assert (gain.published, gain.difference, gain.comparable) == (None, None, None)
    *_, gain = pairs((plain, None), (skip, own), of="neg_elbo")
    assert (gain.measured, gain.against_protocol_id) == (None, "")


def test_what_has_not_run_is_there_as_published():
    ran, _, _, missing, _, gain, growth = pairs((cell(2), board(neg_elbo=95.0)), (cell(3), None), of="neg_elbo")
    assert ran.measured is not None
    assert (missing.measured, missing.published.value) == (None, 95.38)
    assert (missing.difference, missing.comparable) == (None, None)
    assert gain.measured is None
    assert gain.published.value == pytest.approx(94.17 - 95.38)
    assert (growth.measured, growth.published.value) == (None, pytest.approx(94.17 - 95.38 - 94.80 + 94.88))


def test_how_a_difference_grows_from_the_first_cell_of_a_dataset_to_the_last():
    """Seed by seed; the cell of another dataset has a difference and no growth."""
    runs = {("vae", 1): 97.0, ("vae", 2): 99.0, ("skip", 1): 93.0, ("skip", 2): 94.5}
    deep = records.score_records(
        [records.record(label, seed, columns={"neg_elbo": value}) for (label, seed), value in runs.items()]
    )
    shallow, other = board(neg_elbo=95.0), cell(name="other", dataset="mnist-static", published=None)
    cells = [(cell(2), shallow), (other, shallow), (cell(3), None), (cell(4), deep)]
    *_, growth = pairs(*cells, of="neg_elbo")
    assert (growth.cell, growth.since, growth.model, growth.against) == ("4 layers", "2 layers", "SKIP-VAE", "VAE")
    assert growth.measured.seeds == {1: -4.0 + 2.0, 2: -4.5 + 2.0}
    assert growth.published.value == pytest.approx((93.79 - 97.09) - (94.80 - 94.88))
    assert growth.published.rounding == pytest.approx(0.02)
    assert [pair.since for pair in pairs(*cells) if pair.since] == ["2 layers"] * 4
    page = comparison_page("title", [growth], [], "a command")
    assert page.tables[0].rows[0][0].text == "4 layers − 2 layers · SKIP-VAE − VAE"
    *_, growth = pairs((cell(2), None), (cell(3), shallow), (cell(4), deep), of="neg_elbo")
    assert (growth.cell, growth.since) == ("4 layers", "3 layers")
    *_, growth = pairs((cell(2), shallow), (cell(3), None), (cell(4), None), of="neg_elbo")
    assert (growth.cell, growth.since, growth.measured) == ("4 layers", "2 layers", None)


def test_a_model_that_the_paper_does_not_have_is_there_as_measured():
    own = cell(2, {"plain": "vae", "SKIP-VAE": "skip"})
    plain, skip, gain = pairs((own, board(neg_elbo=95.0)), of="neg_elbo")
    assert (plain.measured.mean, plain.published, plain.comparable) == (96.5, None, None)
    assert skip.published.value == 94.80
    assert (gain.against, gain.measured.mean, gain.published) == ("plain", -2.0, None)


def test_a_column_that_the_paper_does_not_print():
    """With the same differences between models as in the columns that it prints."""
    vae, skip, gain = pairs((cell(4), board(neg_elbo=95.0, iw_nll=90.0)), columns=["iw_nll"])
    assert [pair.column.key for pair in (vae, skip, gain)] == ["iw_nll"] * 3
    assert (vae.measured.mean, skip.measured.mean, gain.measured.mean) == (91.5, 89.5, -2.0)
    assert (gain.against, gain.published, gain.comparable) == ("VAE", None, None)
    with pytest.raises(UsageError, match=r"unknown column 'iw_nl'\. Did you mean 'iw_nll'"):
        pairs((cell(4), board(iw_nll=90.0)), columns=["iw_nl"])


def test_models_that_the_paper_has_none_of_are_differences_to_each_other():
    found = pairs((cell(published=None), board(neg_elbo=95.0)), of="neg_elbo")
    assert [(pair.model, pair.against) for pair in found] == [("VAE", ""), ("SKIP-VAE", ""), ("SKIP-VAE", "VAE")]
    assert found[-1].measured.seeds == {1: -2.0, 2: -2.0}


def test_a_model_is_a_difference_to_each_that_has_a_part_of_its_methods():
    """Whatever their order; a method with other hyperparameters is another one."""
    written = {"both": "skip+sa-vae[steps=2]", "SA": "sa-vae[steps=2]", "other": "sa-vae", "S": "skip", "plain": "vae"}
    found = pairs((cell(contenders=written, published=None), None), columns=["neg_elbo"])
    gains = [(pair.model, pair.against) for pair in found if pair.against]
    assert gains == [
        *(("both", part) for part in ("SA", "S", "plain")),
        *((model, "plain") for model in ("SA", "other", "S")),
    ]


def test_a_departure_from_the_setting_spoils_every_comparison():
    found = pairs((cell(), board(neg_elbo=95.0, kl=24.0)), departs="ten steps")
    judged = [pair for pair in found if pair.difference is not None]
    assert len(judged) == 6
    assert {pair.comparable for pair in judged} == {False}
    assert {pair.reasons for pair in judged} == {("another setting: ten steps",)}


def test_another_dataset_spoils_every_comparison():
    vae, *_ = pairs((cell(dataset="mnist-static"), board(neg_elbo=95.0)), of="neg_elbo")
    assert vae.reasons == ("another dataset: mnist-static, published on mnist",)


@pytest.mark.parametrize("threshold", [0.01, 0.02])
def test_active_units_need_the_published_threshold(threshold, monkeypatch):
    units = {**records.COLUMNS, "active_units": ("active-units", *records.COLUMNS["active_units"][1:])}
    monkeypatch.setattr(records, "COLUMNS", units)
    vae, *_ = pairs((cell(), board(threshold, active_units=0.0)), of="active_units")
    assert vae.comparable == (threshold == 0.01)
    assert threshold == 0.01 or vae.reasons == ("another estimator: threshold 0.02, published with 0.01",)


def test_information_at_its_limit_or_of_another_n_is_not_comparable(monkeypatch):
    monkeypatch.setitem(records.COLUMNS, "mi_lower", ("mutual-information", "nats", "MI ≥", "none"))
    vae, *_ = pairs((cell(), board(mi_lower=9.0)), of="mi_lower")
    assert vae.reasons == ("at its limit: an estimate of MI with N 10,000 cannot pass ln N = 9.21",)
    table = publication("dieng-2019").table("Table 1")
    own = Cell(name="20", dataset="mnist", track="paper", contenders=LABELS, published={"latent_dim": 20})
    scale = Scale(description="", hours=1, cells=(own,))
    for examples, fits in ((10_000, True), (397, False), (None, False)):
        found = compare(scale, [MeasuredCell(own, LABELS, examples, board(mi_lower=6.0))], table)
        verdicts = {pair.comparable for pair in found if pair.difference is not None}
        assert verdicts == {fits}


def test_what_cannot_be_as_printed_is_not_comparable():
    """16.58 nats of information at a KL of 5.86, by 10,000 examples."""
    table = publication("della-2022").table("Tables 1 and 8")
    snli = Cell(name="SNLI", dataset="snli", track="quick", contenders={"DELLA": "vae"}, published={"dataset": "snli"})
    scale = Scale(description="", hours=1, cells=(snli,))
    found = {
        pair.column.key: pair.reasons for pair in compare(scale, [MeasuredCell(snli, {"DELLA": "vae"}, 1, None)], table)
    }
    assert found["mi"] == ("impossible as printed: mi 16.58 is above kl 5.86; mi 16.58 is above log 10,000 = 9.21034",)
    assert found["kl"] == ()


def test_the_page_has_a_table_for_every_printed_column_and_numbers_the_reasons():
    found = pairs((cell(), board(neg_elbo=95.0, kl=24.0)), (cell(3), None), departs="ten steps")
    page = comparison_page("title", found, ["a note"], "a command")
    captions = [table.caption.split()[0] for table in page.tables]
    assert captions == ["−ELBO", "KL", "mi_lower", "active_units"]
    rows = [[text.text for text in row] for row in page.tables[0].rows]
    assert rows[0] == ["2 layers · VAE", "2", "96.5 ± 6.4", "94.88", "+1.62", "no (1)"]
    assert rows[2] == ["2 layers · SKIP-VAE − VAE", "2", "−2 ± 0", "−0.08", "−1.92", "no (1)"]
    assert rows[3] == ["3 layers · VAE", "", "—", "95.38", "", ""]
    assert page.notes[1:] == ("(1) another setting: ten steps.", "a note")
    for format_ in ("table", "markdown", "latex", "html"):
        text = "".join(page_pieces([page], format_))
        assert "94.88" in text
        assert "ten steps" in text


def test_exports_hold_every_pair_in_full_precision():
    found = pairs((cell(), board(neg_elbo=95.1)), (cell(3), None), departs="ten steps")
    lines = list(csv.DictReader(io.StringIO(comparison_csv("a", "small", found))))
    facts = json.loads(comparison_json("a", "small", found))["comparison"]
    assert len(lines) == len(facts) == len(found)
    for line, fact, pair in zip(lines, facts, found, strict=True):
        assert fact["difference"] == pair.difference
        assert line["difference"] == ("" if pair.difference is None else repr(pair.difference))
        assert fact["comparable"] is (None if pair.difference is None else False)
        assert list(line) == list(fact)


def test_what_boards_mark_is_marked_beside_published_numbers():
    finding = Finding(guard=Guard.OVERSHOOT, text="spent 3 steps more than its budget")
    impossible = board(kl=-9.0)
    (vae, skip) = impossible.rows
    row = RowFinding(finding.guard.value, finding.text, (1,))
    marked = replace(impossible, rows=(replace(vae, findings=(row,)), skip))
    found = pairs((cell(), marked), of="kl")
    assert {pair.model: bool(pair.impossible) for pair in found if not pair.against} == {"VAE": True, "SKIP-VAE": True}
    assert all(pair.comparable is not True for pair in found)
    page = comparison_page("title", found, [], "a command")
    rows = {cells[0].text: cells[2].text for cells in page.tables[0].rows}
    assert rows["2 layers · VAE ‡"].endswith(" !")
    assert rows["2 layers · SKIP-VAE − VAE ‡"].endswith(" !")
    assert "2 layers · vae: spent 3 steps more than its budget" in page.notes
    assert any(note.startswith("2 layers · VAE, seed 1: kl -8 is below 0") for note in page.notes)
    facts = json.loads(comparison_json("s", "small", found))["comparison"]
    assert facts[0]["findings"] == "vae: spent 3 steps more than its budget"
    assert "kl -8 is below 0" in facts[0]["impossible"]
    rows = list(csv.DictReader(io.StringIO(comparison_csv("s", "small", found))))
    assert [row["findings"] for row in rows] == [fact["findings"] for fact in facts]
    clean = json.loads(comparison_json("s", "small", pairs((cell(), board(neg_elbo=95.0)))))["comparison"]
    assert not {"findings", "impossible", "declined"} & set(clean[0])


def test_a_number_that_a_metric_declines_is_marked_beside_the_published_one():
    measured = board(kl=9.0)
    (vae, skip) = measured.rows
    bare = replace(skip, samples={}, differences={}, declined={"kl": (RowReason("no KL per unit", (1, 2)),)})
    found = pairs((cell(), replace(measured, rows=(vae, bare))), of="kl")
    page = comparison_page("title", found, [], "a command")
    rows = {cells[0].text: cells[2].text for cells in page.tables[0].rows}
    assert rows["2 layers · SKIP-VAE (skip)"] == rows["2 layers · SKIP-VAE − VAE"] == "— §"
    assert "§" not in rows["2 layers · VAE"]
    assert "§ marks cells whose metric has no number for a model, and says why; these 1:" in page.notes
    assert "2 layers · KL · skip: no KL per unit" in page.notes
    facts = json.loads(comparison_json("s", "small", found))["comparison"]
    rows = list(csv.DictReader(io.StringIO(comparison_csv("s", "small", found))))
    assert [row["declined"] for row in rows] == [fact["declined"] for fact in facts]
    assert {fact["declined"] for fact in facts} == {"", "skip: no KL per unit"}
