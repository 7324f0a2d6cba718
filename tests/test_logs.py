"""Logs of runs for other programs: every number once, whatever becomes of the run, and no run the worse for a log."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest
import records
import toys
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import collapsebench
from collapsebench.errors import UsageError
from collapsebench.experiment import events, logs
from collapsebench.experiment.executors import InProcess
from collapsebench.experiment.grids import prepare, run_grid
from collapsebench.experiment.logs import KINDS, CsvLog, JsonLinesLog, LogRequest, TensorBoardLog
from collapsebench.record import Number, Outcome, Point
from collapsebench.store import Store

pytestmark = pytest.mark.torch

RUN = records.started("skip")


def read_csv(folder: Path) -> list[tuple[int, str, float]]:
    (path,) = folder.rglob("*.csv")
    with path.open(encoding="utf-8") as file:
        return [(int(row["step"]), f"{row['part']}/{row['name']}", float(row["value"])) for row in csv.DictReader(file)]


def read_json(folder: Path) -> list[tuple[int, str, float]]:
    (path,) = folder.rglob("*.jsonl")
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [(row["step"], f"{row['part']}/{row['name']}", float(row["value"])) for row in rows]


def read_tensorboard(folder: Path) -> list[tuple[int, str, float]]:
    (place,) = {path.parent for path in folder.rglob("events.*")}
    read = EventAccumulator(str(place))
    read.Reload()
    tags = read.Tags()["scalars"]
    return [(each.step, tag.partition(" [")[0], each.value) for tag in tags for each in read.Scalars(tag)]


READERS = {CsvLog: read_csv, JsonLinesLog: read_json, TensorBoardLog: read_tensorboard}


def stepped(log, steps):
    for step in steps:
        log(events.Stepped(RUN.run_id, step, step / 10, 30.0 + step, 1.0))


@pytest.fixture(params=list(READERS))
def kind(request):
    return request.param


def test_a_run_is_logged_with_its_points_and_its_values(kind, tmp_path):
    point = Point(counters={"steps": 2.0, "seconds": 0.5}, values={"kl": Number.of(0.25)})
    log = kind(tmp_path)
    log(events.Started(RUN))
    stepped(log, [1])
    log(events.Evaluated(RUN.run_id, point))
    log(events.Finished(records.record("skip", columns={"kl": 0.75}, points=(point,))))
    assert sorted(READERS[kind](tmp_path)) == [
        (1, "training/kl", 1.0),
        (1, "training/loss", 31.0),
        (2, "cost/seconds", 0.5),
        (2, "cost/steps", 2.0),
        (2, "test/kl", 0.75),
        (2, "validation/kl", 0.25),
    ]


@pytest.mark.parametrize("kept", [1, 3, 5])
def test_a_resumed_run_has_every_step_once(kind, tmp_path, kept):
    first = kind(tmp_path)
    first(events.Started(RUN))
    stepped(first, range(1, 6))
    again = kind(tmp_path)  # the process was killed, and another one goes on
    again(events.Started(RUN))
    again(events.Resumed(RUN.run_id, kept))
    stepped(again, range(kept + 1, 8))
    again(events.Finished(RUN.model_copy(update={"outcome": Outcome.INTERRUPTED})))
    assert [step for step, name, _ in sorted(READERS[kind](tmp_path)) if name == "training/loss"] == list(range(1, 8))


def test_a_run_that_begins_anew_has_a_new_log(kind, tmp_path):
    for steps in ([1, 2, 3], [2, 4]):
        log = kind(tmp_path)
        log(events.Started(RUN))
        stepped(log, steps)
    assert [step for step, name, _ in sorted(READERS[kind](tmp_path)) if name == "training/kl"] == [2, 4]


@pytest.mark.parametrize("kind", [CsvLog, JsonLinesLog])
@pytest.mark.parametrize("torn", ["half a li", '{"step": 2', "\x00\x00", "a,b,c\n", "{}\n", "[1]\n"])
def test_what_was_torn_by_a_kill_is_dropped(kind, tmp_path, torn):
    log = kind(tmp_path)
    log(events.Started(RUN))
    stepped(log, [1, 2])
    (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
    with path.open("a", encoding="utf-8") as file:
        file.write(torn)
    log = kind(tmp_path)
    log(events.Started(RUN))
    log(events.Resumed(RUN.run_id, 2))
    stepped(log, [3])
    assert sorted({step for step, _, _ in READERS[kind](tmp_path)}) == [1, 2, 3]


@settings(max_examples=20)
@given(st.lists(st.floats(), min_size=1, max_size=4))
def test_numbers_that_json_cannot_hold_are_texts_and_the_others_are_exact(tmp_path_factory, values):
    for kind in (CsvLog, JsonLinesLog):
        folder = tmp_path_factory.mktemp("logs")
        log = kind(folder)
        log(events.Started(RUN))
        for step, value in enumerate(values, 1):
            log(events.Stepped(RUN.run_id, step, 0.5, value, 1.0))
        read = [value for _, name, value in READERS[kind](folder) if name == "training/loss"]
        assert all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(read, values, strict=True))


def test_runs_at_the_same_time_have_files_of_their_own(tmp_path):
    log = CsvLog(tmp_path)
    runs = [records.started("a[text=../../x]", seed) for seed in (1, 2)]
    for run in runs:
        log(events.Started(run))
    for step in (1, 2):
        for run in runs:
            log(events.Stepped(run.run_id, step, 0.5, 1.0, 1.0))
    names = sorted(path.name for path in (tmp_path / "digits").iterdir())
    assert names == [f"a[text=.._.._x]-seed-{run.spec.seed}-{run.run_id}.csv" for run in runs]


def test_units_are_those_of_the_columns_of_boards():
    point = Point(counters={"steps": 1.0, "flops": 2.0}, values={"kl": Number.of(1.0), "active_units": Number.of(2.0)})
    units = {number.name: number.unit for number in logs.numbers(events.Evaluated("0", point))}
    assert units == {"kl": "nats", "active_units": "units", "steps": "", "flops": "FLOP"}


@pytest.mark.parametrize("text", [*KINDS, "csv=~/logs", "jsonl=a=b"])
def test_a_request_is_a_kind_and_perhaps_a_folder(text):
    request = LogRequest.parse(text)
    assert request.kind is KINDS[text.partition("=")[0]]
    assert str(request.folder) == str(Path(text.partition("=")[2]).expanduser()) if "=" in text else not request.folder


@pytest.mark.parametrize(("text", "message"), [("cvs", "unknown log 'cvs'. Did you mean 'csv'"), ("csv=", "no folder")])
def test_what_is_no_log_is_an_error(text, message):
    with pytest.raises(UsageError, match=message):
        LogRequest.parse(text)


@pytest.mark.parametrize("texts", [("csv", "csv"), ("csv=x", "jsonl=x", "csv=./y/../x"), ("csv", "csv=usual")])
def test_two_logs_that_would_write_the_same_files_are_refused(texts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(LogRequest.parsed(texts[:-1], Path("usual"))) == len(texts) - 1
    with pytest.raises(UsageError, match=f"--log '{texts[-1]}' is there already"):
        LogRequest.parsed(texts, Path("usual"))


def test_without_tensorboard_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(logs, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install 'collapsebench\\[tensorboard\\]'"):
        TensorBoardLog(tmp_path)


def test_a_command_logs_what_its_records_have(command, tmp_path):
    kinds = [word for name in KINDS for word in ("--log", name)]
    grid = ("run", "--dataset", "linear-gaussian", "--budget", "2steps", "--store", "my.sqlite")
    assert command(*grid, *kinds).code == 0
    with Store.reading("my.sqlite") as store:
        (record,) = store.find()
    for kind, read in READERS.items():
        found = {name: value for step, name, value in read(tmp_path / "my.sqlite.logs") if step == 2}
        for value in record.values:
            if value.board:
                assert found[f"test/{value.column}"] == pytest.approx(float(value.estimate), rel=1e-6), kind


def test_a_log_that_cannot_be_written_costs_a_line_and_no_run(command, tmp_path):
    (tmp_path / "file").write_text("")
    grid = ("run", "--dataset", "linear-gaussian", "--budget", "2steps", "--store", "my.sqlite")
    answer = command(*grid, "--log", "csv=file", "--log", "jsonl=made")
    assert answer.code == 0
    (line,) = (line for line in answer.err.splitlines() if "a log failed" in line)
    assert line.startswith("warning: a log failed: NotADirectoryError: ")
    assert line.endswith("; the runs go on")
    assert list((tmp_path / "made").rglob("*.jsonl"))


def test_a_log_that_does_not_exist_is_refused_before_anything_runs(command, tmp_path):
    answer = command("run", "--dataset", "linear-gaussian", "--budget", "2steps", "--log", "cvs", "--store", "s.sqlite")
    assert (answer.code, answer.err) == (
        2,
        "error: unknown log 'cvs'. Did you mean 'csv'? Known: csv, jsonl, tensorboard\n",
    )
    assert not (tmp_path / "s.sqlite").exists()


@pytest.mark.parametrize("log", ["csv", CsvLog("logs"), ["csv=logs"], [1]])
def test_from_python_a_log_is_a_list_of_functions(log, tmp_path):
    with pytest.raises(UsageError, match=r"log must be a list|log has functions of events"):
        collapsebench.run(dataset="linear-gaussian", budget="2steps", store=tmp_path / "s.sqlite", log=log)
    assert list(tmp_path.iterdir()) == []


def test_the_bits_of_a_run_are_those_without_a_log(tmp_path):
    made = []
    for observe in (lambda event: None, CsvLog(tmp_path / "logs")):
        setup = toys.setup(store=tmp_path / f"{len(made)}.sqlite")
        made += run_grid(prepare(setup), InProcess(), observe)
    assert made[0].values == made[1].values
