"""The report: what the page holds is what the boards say, whatever the texts of a store are, in one file."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from datetime import timedelta
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from records import SETTING, START, record, score_records, values

from collapsebench.data.generated import LinearGaussian
from collapsebench.estimates import Direction, Estimate
from collapsebench.experiment import events
from collapsebench.experiment.pulses import Pulses
from collapsebench.metrics import METRICS
from collapsebench.observation import Observation, TrajectoryPoint
from collapsebench.printable import printable
from collapsebench.record import DeclinedColumn, Number, Outcome, Point, RunRecord, Value
from collapsebench.reporting.leaderboard import ENTRIES, render, score
from collapsebench.reporting.leaderboard.decisions import leaders
from collapsebench.reporting.report import figures
from collapsebench.reporting.report.content import content
from collapsebench.reporting.report.measures import measures
from collapsebench.reporting.report.page import embedded
from collapsebench.reporting.report.page import render as html_of
from collapsebench.reporting.report.specimens import picture
from collapsebench.spec import Choice
from collapsebench.store import Store

BOARD = {"neg_elbo": 107.0, "iw_nll": 104.0, "kl": 7.0, "active_units": 9.0, "reconstruction": 100.0, "mi_lower": 5.0}
"""Columns of a board, each with about what it is."""


class Parts(HTMLParser):
    """The scripts, styles, policies and attributes of a page, as a browser would find them."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {"script": [], "style": []}
        self.inside = ""

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag in self.texts:
            self.texts[tag].append("")
            self.inside = tag

    def handle_data(self, data):
        if self.inside:
            self.texts[self.inside][-1] += data

    def handle_endtag(self, tag):
        self.inside = ""


def parts(page: str) -> Parts:
    found = Parts()
    found.feed(page)
    found.close()
    return found


def content_of(page: str) -> dict:
    return json.loads(parts(page).texts["script"][0])


@pytest.fixture
def report(command, tmp_path):
    """Write the report of some records, and return the page."""

    def make(*records: RunRecord, arguments=()) -> str:
        with Store.open(tmp_path / "runs.sqlite") as store:
            store.add(records)
        answer = command("report", "--store", tmp_path / "runs.sqlite", "--output", "-", *arguments)
        assert (answer.code, answer.err) == (0, "")
        return answer.out

    return make


def runs(*labels: str, seeds=(1, 2), **fields) -> list[RunRecord]:
    """Finished runs whose numbers differ by contender and seed."""
    return [
        record(
            label,
            seed,
            columns={"neg_elbo": 30.0 + place + seed / 8, "kl": Estimate(1.5 * place + seed, 0.25)},
            **fields,
        )
        for place, label in enumerate(labels)
        for seed in seeds
    ]


def test_the_numbers_are_those_of_the_board(report):
    records = runs("vae", "skip", "a", seeds=(1, 2, 3))
    scored = score_records(records)
    (shown,), (board,) = content_of(report(*records))["boards"], json.loads(render([scored], "json"))["boards"]
    keys = [column["key"] for column in shown["columns"]]
    assert keys == [column["key"] for column in board["columns"]]
    of_contender = {row["contender"]: row for row in board["rows"]}
    assert [row["label"] for row in shown["rows"]] == ["vae", "skip", "a"]  # the likelihood decides
    bold = {column.key: leaders(scored, column) for column in scored.columns}
    for row in shown["rows"]:
        expected = of_contender[row["label"]]
        for key, (text, mean, half_width, best, _, difference, _) in zip(keys, row["cells"], strict=True):
            score = expected["scores"][key]
            assert mean == pytest.approx(score["aggregate"]["mean"])
            assert half_width == pytest.approx(score["aggregate"]["half_width"])
            assert best == (row["label"] in bold[key])
            assert difference == (None if score["difference"] is None else pytest.approx(score["difference"]["mean"]))
            assert text
        for run in row["runs"]:
            values = {key: expected["scores"][key]["seeds"][run["seed"]] for key in keys}
            assert run["values"] == pytest.approx([values[key]["value"] for key in keys])
            assert run["errors"] == {str(keys.index("kl")): 0.25}
            assert run["id"] == expected["runs"][run["seed"]]


def test_the_page_is_one_file_whose_policy_allows_its_own_script_and_style_alone(report):
    page = report(*runs("vae", "skip"))
    found = parts(page)
    (policy,) = [own["content"] for tag, own in found.elements if tag == "meta" and "http-equiv" in own]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    (style,), (_, script) = found.texts["style"], found.texts["script"]
    for rule, text in (("style-src", style), ("script-src", script)):
        assert rules[rule] == f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
    assert not [
        own
        for _, own in found.elements
        if {"src", "href", "style", "onclick"} & own.keys() and own.get("href") != "#boards"
    ]
    assert set(re.findall(r"https?://[^\"'\s]+", page)) == {"http://www.w3.org/2000/svg"}


ATTACKS = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "<!--<script>",
    "\"'`${1}",
    "\u202eevil\u2066",
    "a\nb\x1b[2J",
)


@pytest.mark.parametrize("attack", ATTACKS)
def test_hostile_texts_stay_texts_and_can_be_seen(attack, report):
    shown = values(neg_elbo=1.0)[0].model_copy(update={"title": attack, "unit": attack})
    declined = (DeclinedColumn(metric="kl", column="kl", reason="no closed form <b>"),)
    records = [
        *runs("vae", environment={"platform": attack, attack: 1}),
        record("skip", 1, values=(shown,), declined=declined, code={attack: attack}),
        record("skip", 2, outcome=Outcome.FAILED, message=attack),
    ]
    page = report(*records)
    found = parts(page)
    assert len(found.texts["script"]) == 2
    assert not {"img", "b"} & {tag for tag, _ in found.elements}
    (board,) = json.loads(found.texts["script"][0])["boards"]
    assert board["rows"][1]["code"] == [[printable(attack), printable(attack), ["1"]]]
    assert printable(page.replace("\n", "")) == page.replace("\n", "")


class Kept(NamedTuple):
    """A store that hands out these observations, whatever they hold."""

    runs: list[Observation]

    def observations(self, **_):
        return iter(self.runs)


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_hostile_name_of_a_contender_stays_a_text_and_can_be_seen(attack):
    records = [*runs("vae"), *(each.model_copy(update={"contender": attack}) for each in runs("skip"))]
    observed = [Observation.of(each, ENTRIES) for each in records]
    page = html_of(content(Kept(observed), [score(observed)]))
    found = content_of(page)
    assert [row["label"] for row in found["boards"][0]["rows"]] == ["vae", printable(attack)]
    assert set(found["looks"]) == {"vae", printable(attack)}
    assert [tag for tag, _ in parts(page).elements].count("script") == 2
    assert "img" not in {tag for tag, _ in parts(page).elements}


@given(
    st.recursive(
        st.text() | st.sampled_from(ATTACKS),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=4,
    )
)
def test_embedded_json_reads_back_and_ends_no_element(value):
    text = embedded({"value": value})
    assert json.loads(text) == {"value": value}
    assert "<" not in text


def test_runs_that_are_going_on_or_ended_badly_are_shown_with_their_message(report):
    started = RunRecord.started(record("skip", 3).spec, START + timedelta(hours=1), {})
    failed = record("skip", 4, outcome=Outcome.FAILED, message="out of\nmemory")
    (board,) = content_of(report(*runs("vae", "skip"), started, failed))["boards"]
    assert board["outcomes"] == {"started": 1, "finished": 4, "failed": 1}
    vae, skip = board["rows"]
    assert [(run["seed"], run.get("outcome"), run.get("message")) for run in skip["runs"]] == [
        ("1", None, None),
        ("2", None, None),
        ("3", "started", None),
        ("4", "failed", "out of memory"),
    ]
    assert skip["runs"][2]["started"] == "2026-11-22 09:30 UTC"
    assert "missing" not in vae


def test_a_run_that_is_going_on_says_how_far_it_is(report, tmp_path):
    begun = RunRecord.started(record("skip", 1).spec, START, {})
    folder = tmp_path / "runs.sqlite.checkpoints"
    folder.mkdir()
    pulses = Pulses(folder)
    pulses(events.Stepped(begun.run_id, 7, 0.25, 30.0, 1.0))
    (board,) = content_of(report(*runs("vae"), begun))["boards"]
    assert board["rows"][1]["runs"][0]["progress"] == "25%"


def test_what_the_contender_has_and_the_baseline_has_not(report):
    (board,) = content_of(report(*runs("vae", "skip+sa-vae[steps=5]", code={"method sa-vae": "ab12"})))["boards"]
    vae, other = board["rows"]
    assert "methods" not in vae
    assert other["methods"] == [["skip", 1, {}], ["sa-vae", 1, {"steps": 5}]]
    assert other["code"] == [["method sa-vae", "ab12", ["1", "2"]]]
    assert other["command"].endswith(
        "--method 'skip+sa-vae[steps=5]' --seed 1 --seed 2 --no-baseline --plugin PLUGIN.py"
    )


def test_a_number_that_is_not_finite_is_a_text(report):
    records = [record("vae", seed, columns={"kl": value}) for seed, value in ((1, float("nan")), (2, float("inf")))]
    (board,) = content_of(report(*records))["boards"]
    place = next(place for place, column in enumerate(board["columns"]) if column["key"] == "kl")
    assert [run["values"][place] for run in board["rows"][0]["runs"]] == ["nan", "+inf"]
    assert board["rows"][0]["cells"][place][1] == "nan"


planes = st.dictionaries(st.integers(0, 9), st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=8)
ways = st.tuples(
    st.sampled_from([Direction.LOWER, Direction.HIGHER]), st.sampled_from([Direction.LOWER, Direction.HIGHER])
)


@given(planes, ways)
def test_the_front_is_what_nothing_beats(points, better):
    def beats(one, other):
        gains = [
            (a < b) - (a > b) if way is Direction.LOWER else (a > b) - (a < b)
            for a, b, way in zip(one, other, better, strict=True)
        ]
        return min(gains) >= 0 and max(gains) > 0

    expected = {own for own in points if not any(beats(other, points[own]) for other in points.values())}
    found = figures.front(points, better)
    assert set(found) == expected
    assert len(found) == len(expected)
    assert [points[own][0] for own in found] == sorted(points[own][0] for own in found)


@given(st.integers(0, 200))
def test_a_long_trajectory_is_thinned_evenly_and_keeps_its_ends(length):
    points = [TrajectoryPoint({"steps": step}, {}) for step in range(length)]
    kept = [point.counters["steps"] for point in figures.thinned(points)]
    assert len(kept) == min(length, figures.POINTS)
    assert kept == sorted(set(kept))
    assert length == 0 or (kept[0], kept[-1]) == (0, length - 1)
    gaps = {after - before for before, after in pairwise(kept)}
    assert not gaps or max(gaps) - min(gaps) <= 1


@given(st.lists(st.floats(0, 9), max_size=6))
def test_a_spectrum_falls_and_has_every_unit(units):
    entries = [Value.of("kl", f"kl[{unit}]", Estimate(value)) for unit, value in enumerate(units)]
    run = record(values=(*values(kl=1.0), *entries))
    names = figures.unit_entries(run.spec.protocol) + [f"kl[{unit}]" for unit in range(len(units))]
    found = figures.spectrum(Observation.of(run, names))
    assert found == pytest.approx(sorted(units, reverse=True), rel=1e-3)


def large(number: int) -> list[RunRecord]:
    """Records as large as real ones: 6 columns of metrics, 50 units, 40 evaluations, three seeds for a contender."""
    made = []
    for place in range(number):
        label, seed = f"m{place // 3}[rate={place // 3 / 7:.4f}]", place % 3 + 1
        more = place / 300 + 1 / (place + 7)
        metric = [
            Value.of(name, name, Estimate(value + more, 0.01 / (place + 1)), unit="nats", title=name, board=True)
            for name, value in (BOARD | {"neg_elbo": 107.0 + more}).items()
        ]
        units = [Value.of("kl", f"kl[{unit}]", Estimate(1 / (unit + place + 1.7))) for unit in range(50)]
        points = tuple(
            Point(
                counters={"steps": step, "flops": 1e9 * (step + place / 7), "seconds": step / (place + 3)},
                values={name: Number.of(100 / (step + at + place)) for at, name in enumerate(figures.TRACKED)},
            )
            for step in range(10, 410, 10)
        )
        setting = record().spec.protocol.setting.model_copy(update={"latent_dim": 50}).model_dump(mode="json")
        made.append(record(label, seed, values=(*metric, *units), points=points, protocol={"setting": setting}))
    return made


def test_two_hundred_runs_fit_into_500_kilobytes():
    """The page grows evenly with its runs, so that two small ones say how large a large one is."""
    sizes = {}
    for number in (3, 43):
        observed = [Observation.of(each, {*ENTRIES, *(f"kl[{unit}]" for unit in range(50))}) for each in large(number)]
        found = content(Kept(observed), [score(observed)])
        assert sum(len(row["runs"]) for row in found["boards"][0]["rows"]) == number
        assert max(map(len, found["lines"])) == figures.POINTS
        sizes[number] = len(html_of(found).encode())
    assert sizes[3] + (200 - 3) * (sizes[43] - sizes[3]) / (43 - 3) <= 500_000


ROOT = Path(__file__).parents[1]
RECORDS = ROOT / "results" / "leaderboards" / "table-3-small.jsonl"


def test_published_numbers_stand_beside_ours_with_the_reasons_why_they_do_not_compare(command):
    command("runs", "import", RECORDS)
    suite = ("--suite", "dieng-2019/table-3")
    facts = json.loads(command("leaderboard", *suite, "--format", "json").out)["comparison"]
    content = content_of(command("report", *suite, "--output", "-").out)
    assert [board["cells"] for board in content["boards"]] == ["2 layers", "3 layers", "4 layers"]
    shown = {
        (board["cells"], label, board["columns"][int(place)]["key"]): own
        for board in content["boards"]
        for label, columns in board["published"].items()
        for place, own in columns.items()
    }
    own = [fact for fact in facts if not fact["against"] and not fact["since"] and fact["published"] is not None]
    assert shown.keys() == {(fact["cell"], fact["contender"], fact["column"]) for fact in own}
    for fact in own:
        printed, difference, source, reasons = shown[fact["cell"], fact["contender"], fact["column"]]
        assert float(printed.lstrip("≤ ").rstrip("?")) == pytest.approx(fact["published"], abs=fact["rounding"] / 100)
        assert float(difference.replace("−", "-")) == pytest.approx(fact["difference"], abs=1.1 * fact["rounding"])
        assert source == f"dieng-2019, Table 3, {fact['cell']}, {fact['model']}"
        assert "; ".join(reasons) == fact["reasons"]
    assert [table["caption"] for table in content["paper"]["tables"]][:2] == ["−ELBO [nats] ↓", "KL [nats]"]


def test_how_far_the_best_possible_is_stands_with_the_evidence(report):
    dataset = LinearGaussian()
    choice = Choice(name=dataset.name, version=dataset.version, params=dataset.model_dump(mode="json"))
    decoder = {"name": "linear", "params": {"variance": 0.25, "learn_variance": False}}
    protocol = {"dataset": choice.model_dump(), "setting": SETTING | {"decoder": decoder}}
    records = [record("vae", seed, columns={"iw_nll": 20.0}, protocol=protocol) for seed in (1, 2)]
    (board,) = content_of(report(*records))["boards"]
    place = str([column["key"] for column in board["columns"]].index("iw_nll"))
    text, best, _ = board["reference"][place]
    assert best == pytest.approx(dataset.best_possible(records[0].spec.protocol.setting)["iw_nll"].value)
    assert float(text) == pytest.approx(best, rel=1e-3)
    assert board["rows"][0]["distances"] == {place: f"regret {20.0 - best:.4g} ± 0 nats"}


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]), st.randoms())
def test_an_image_is_a_png_of_its_levels(high, wide, channels, random):
    levels = np.array([random.randrange(256) for _ in range(channels * high * wide)], np.uint8)
    image = (levels / np.float32(255)).reshape(channels, high, wide)
    kind, _, text = picture(image).partition(",")
    assert kind == "data:image/png;base64"
    drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))
    assert np.array_equal(np.atleast_3d(drawn).transpose(2, 0, 1).ravel(), levels)


@pytest.mark.slow
@pytest.mark.torch
def test_samples_of_kept_weights_stand_below_the_board(command):
    grid = ("--dataset", "linear-gaussian", "--budget", "2steps", "--quiet")
    assert command("run", *grid, "--method", "skip").code == 0
    (board,) = content_of(command("report", "--samples", 3, "--output", "-").out)["boards"]
    assert [samples["label"] for samples in board["samples"]] == ["vae", "skip"]
    for samples, row in zip(board["samples"], board["rows"], strict=True):
        assert samples["run"] in {run["id"] for run in row["runs"]}
        assert samples["verdict"].startswith("they vary by ")
        assert len(samples["groups"]) == 3
        assert [made for _, _, made in samples["groups"][1]] == [0, 1]  # an example, and what the model makes of it


def test_without_kept_weights_there_are_no_samples(command, tmp_path):
    with Store.open(tmp_path / "runs.sqlite") as store:
        store.add(runs("vae"))
    refused = command("report", "--store", "runs.sqlite", "--samples", 3)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "no finished run of these boards has kept its weights" in refused.err


def test_a_metric_says_its_formula_its_estimator_and_its_trap():
    names = [metric.name for metric in METRICS]
    found = measures([*names, "of a plugin"])
    assert list(found) == names
    for parts in found.values():
        assert [part for part, _ in parts] == ["Formula", "Estimator", "Trap"]
        assert not any(sign in text for _, text in parts for sign in ("\\(", "`", "\n"))
    assert dict(found["kl"])["Formula"] == "1/N ∑_i ∑_j KL(q_ij ‖ p_j)."


def test_the_pictures_of_the_documentation_are_small():
    pictures = list((ROOT / "docs" / "_static").glob("report-*.png"))
    assert {path.stem for path in pictures} == {"report-light", "report-dark", "report-narrow", "report-evidence"}
    assert max(path.stat().st_size for path in pictures) <= 150_000


def test_a_file_is_written_and_said(command, tmp_path):
    with Store.open(tmp_path / "runs.sqlite") as store:
        store.add([*runs("vae", "skip"), *runs("vae", protocol={"dataset": "ptb"})])
    answer = command("report", "--store", "runs.sqlite")
    assert (answer.code, answer.out) == (0, "")
    size = (tmp_path / "report.html").stat().st_size
    assert answer.err == f"wrote report.html: 2 boards of 6 runs, {size / 1000:.0f} kB\n"
    answer = command("report", "--store", "runs.sqlite", "--dataset", "ptb", "--output", "one.html")
    assert "1 board of 2 runs" in answer.err


def test_differences_are_to_the_contender_that_is_asked_for(report):
    page = report(*runs("vae", "skip", "sa-vae"), arguments=("--against", "skip"))
    (board,) = content_of(page)["boards"]
    assert board["against"] == board["rows"][0]["label"] == "skip"
    place = [column["key"] for column in board["columns"]].index("neg_elbo")
    means = {row["label"]: row["cells"][place][1] for row in board["rows"]}
    for row in board["rows"][1:]:
        assert row["cells"][place][5] == pytest.approx(means[row["label"]] - means["skip"])


def test_wrong_usage_is_one_line(command, tmp_path):
    with Store.open(tmp_path / "runs.sqlite") as store:
        store.add(runs("vae"))
    wrong = command("report", "--store", "runs.sqlite", "--suite", "dieng-2019/table-3", "--dataset", "digits")
    assert (wrong.code, wrong.err) == (2, "error: --suite does not go with --dataset\n")
    missing = command("report", "--store", "runs.sqlite", "--dataset", "mnist")
    assert (missing.code, missing.err.count("\n")) == (1, 1)
    assert "no runs of dataset 'mnist'" in missing.err
    assert not (tmp_path / "report.html").exists()
