"""`a+b@rate=2`: a contender with a factor of the track's learning rate, which is no part of the protocol."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import rates, record, spec
from test_syntax import calls

import collapsebench
from collapsebench.components import discovery
from collapsebench.errors import UsageError
from collapsebench.experiment.planning import Request, SplitCache, plan
from collapsebench.experiment.suites import Cell
from collapsebench.spec import Contender, Decay, Optimizer
from collapsebench.store.interchange import read_line, write_line
from collapsebench.syntax import BASELINE, Written, canonical, parse_contender, parse_label, print_contender

CATALOG = discovery.load()
LINEAR = "linear-gaussian"
RESULTS = sorted((Path(__file__).parents[1] / "results" / "leaderboards").glob("*.jsonl"))
EVERY = 40
"""Of committed records, one of so many is looked at here; all are by slow tests."""


def labels(text):
    return [contender.label for contender in CATALOG.contenders(text)]


def planned(tmp_path, *methods, baseline=True):
    request = Request(methods=methods, dataset=LINEAR, budget="2steps", baseline=baseline)
    return plan([request], CATALOG, SplitCache(CATALOG, tmp_path)).specs


@given(st.lists(calls, max_size=3), rates)
def test_a_contender_reads_back_as_printed(composition, rate):
    assert parse_contender(print_contender(composition, rate)) == Written(composition, rate)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        (" vae @ rate = 2", "vae@rate=2.0"),
        ("vae@rate=1", "vae"),
        ("skip+free-bits[nats=2]@rate=.25", "skip+free-bits[nats=2]@rate=0.25"),
        ("skip@rate=1e-3", "skip@rate=0.001"),
        ("word-dropout[rate=0.5]@rate=2", "word-dropout[rate=0.5]@rate=2.0"),
    ],
)
def test_a_contender_has_one_form(text, label):
    assert canonical(text) == label
    assert parse_label(f"{text} = Mine") == (label, "Mine")


def test_a_sweep_of_rates_is_a_contender_for_each():
    assert labels("vae@rate=0.5|1|2") == ["vae@rate=0.5", "vae", "vae@rate=2.0"]
    assert labels("free-bits[nats=1|2]@rate=1|4") == [
        f"free-bits[nats={nats}]{rate}" for nats in ("1.0", "2.0") for rate in ("", "@rate=4.0")
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("skip@rate=0", "cannot read 'skip@rate=0': the rate is a number greater than zero, got '0'"),
        ("skip@rate=-1", "the rate is a number greater than zero, got '-1'"),
        ("skip@rate=1e999", "the rate is a number greater than zero, got '1e999'"),
        (f"skip@rate={'9' * 400}", "the rate is a number greater than zero, got '999"),
        ("skip@rate=fast", "the rate is a number greater than zero, got 'fast'"),
        ("skip@rate=2+free-bits", "the rate is a number greater than zero, got '2+free-bits'"),
        ("skip@rate=1|1.0", "'rate' has the alternative 1.0 twice"),
        ("skip@rate", "expected '=', got the end"),
        ("skip@speed=2", "expected 'rate', got 'speed=2'"),
        ("skip@rate=[1,2]", "expected a factor of the learning rate, got '[1,2]'"),
        ("vae[a=1]@rate=2", "'vae' is the baseline without any method"),
        ("vae+skip@rate=2", "'vae' is the baseline without any method"),
    ],
)
def test_a_rate_that_cannot_be_is_one_line(text, said):
    with pytest.raises(UsageError) as caught:
        labels(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_sweep_can_be_where_one_contender_is_meant():
    with pytest.raises(UsageError, match="'rate' has several values, and a sweep is for the contenders"):
        canonical("skip@rate=1|2")


def test_a_model_of_a_suite_is_one_for_each_rate():
    swept = {"VAE": "vae@rate=1|2", "FB": "free-bits[nats=1|2]@rate=0.5"}
    cell = Cell(name="cell", dataset=LINEAR, track="quick", contenders=swept)
    assert cell.contenders == {
        "VAE": "vae@rate=1.0",
        "VAE@rate=2.0": "vae@rate=2.0",
        "FB[nats=1]": "free-bits[nats=1]@rate=0.5",
        "FB[nats=2]": "free-bits[nats=2]@rate=0.5",
    }
    assert cell.methods("VAE") < cell.methods("VAE@rate=2.0") < cell.methods("FB[nats=1]") | {"@rate=2.0"}


def test_the_baseline_beside_a_sweep_is_planned_once(tmp_path):
    assert [each.contender.label for each in planned(tmp_path, "vae@rate=0.5|1")] == ["vae@rate=0.5", "vae"]
    assert [each.contender.label for each in planned(tmp_path, "vae@rate=2")] == ["vae", "vae@rate=2.0"]
    alone = planned(tmp_path, "vae@rate=2", baseline=False)
    assert [each.contender.label for each in alone] == ["vae@rate=2.0"]


def test_a_rate_is_a_part_of_the_run_and_not_of_the_protocol():
    plain, fast = spec(BASELINE), spec("vae@rate=2")
    assert fast.run_id != plain.run_id
    assert fast.protocol.protocol_id == plain.protocol.protocol_id
    assert spec("vae@rate=1").run_id == plain.run_id
    assert "rate" not in plain.model_dump_json().replace("learning_rate", "")
    assert Contender.of((), 1.0).model_dump() == {"methods": ()}


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_committed_records_keep_their_ids_and_their_bytes(path):
    for line in path.read_bytes().splitlines()[::EVERY]:
        assert write_line(read_line(line)) == line.decode()


def test_an_older_collapsebench_refuses_a_line_with_a_rate():
    line = write_line(record("vae@rate=2"))
    assert json.loads(line)["schema"] == 4
    assert read_line(line.encode()).contender == "vae@rate=2.0"


@pytest.mark.parametrize(
    ("label", "claimed"), [("vae@rate=2", "vae"), ("vae", "vae@rate=2.0"), ("skip@rate=2", "skip")]
)
def test_a_line_whose_label_hides_its_rate_is_refused(label, claimed):
    content = json.loads(write_line(record(label))) | {"contender": claimed}
    with pytest.raises(UsageError, match=f"its contender is '{claimed}', but its spec gives"):
        read_line(json.dumps(content).encode())


@given(st.floats(1e-3, 1e3))
def test_a_scaled_decay_stops_after_as_many_steps_down(factor):
    chosen = Optimizer(name="sgd", learning_rate=1, decay=Decay(factor=0.5, stop_below=0.03))

    def steps_down(optimizer):
        return next(n for n in range(99) if optimizer.learning_rate * 0.5**n < optimizer.decay.stop_below)

    assert steps_down(chosen.scaled(factor)) == steps_down(chosen) == 6


@pytest.mark.torch
@pytest.mark.parametrize("method", ["vae", "kl-annealing[schedule=cyclical-restarts]", "svi[steps=2]"])
def test_a_rate_trains_as_a_track_with_that_learning_rate_does(method, tmp_path):
    own = {"dataset": LINEAR, "budget": "30steps", "store": str(tmp_path / "runs.sqlite"), "progress": False}
    own |= {"baseline": False}
    (scaled,) = collapsebench.run([f"{method}@rate=4"], **own)
    (other,) = collapsebench.run([method], settings={"optimizer.learning_rate": 0.04}, **own)
    assert scaled.record.contender == f"{other.record.contender}@rate=4.0"
    assert scaled.record.values == other.record.values
    values = [[point.values for point in each.record.points] for each in (scaled, other)]
    assert values[0] == values[1]


@pytest.mark.torch
def test_boards_and_differences_show_the_rate(tmp_path, command):
    store = tmp_path / "runs.sqlite"
    own = ("-d", LINEAR, "--budget", "2steps", "--store", store)
    assert command("run", "-m", "vae@rate=2", *own, "-q").code == 0
    board = command("leaderboard", "-d", LINEAR, "--store", store).out
    assert "vae@rate=2.0" in board
    assert "--method vae@rate=2.0" in board
    assert command("run", "-m", "vae @rate=2.0", *own, "--dry-run").out.count("stored") >= 2
    listed = json.loads(command("runs", "list", "--json", "--store", store).out)
    by_contender = {run["contender"]: run["run_id"] for run in listed}
    told = command("diff", *by_contender.values(), "--store", store).out
    assert any(line.split() in (["rate", "1", "2"], ["rate", "2", "1"]) for line in told.splitlines())
    compared = command("compare", "vae@rate=2", "vae", "--store", store).out
    assert "vae@rate=2.0" in compared
    assert command("runs", "list", "--contender", "vae@rate=2", "--store", store).out.count("vae@rate=2.0") == 1
