"""`collapsebench runs export --format parquet`: all that JSON lines have, one run a row, for data frames."""

from __future__ import annotations

import json
import math
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC
from functools import partial
from io import BytesIO
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pyarrow import parquet
from records import record, records, spec, started, titles, values

from collapsebench.estimates import Estimate
from collapsebench.experiment.counters import COUNTERS
from collapsebench.metrics import METRICS
from collapsebench.record import DeclinedColumn, Finding, Guard, Number, Outcome, RunRecord
from collapsebench.reporting import parquet as writing
from collapsebench.reporting.parquet import ERROR, column_names, export_parquet
from collapsebench.store import Store
from collapsebench.store.interchange import read_line, write_line

SHIPPED = {(metric.name, column.name): column.name for metric in METRICS for column in metric.columns}
COMMAND = [sys.executable, "-c", "from collapsebench.cli import main; main()", "runs", "export"]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.sqlite"


@pytest.fixture
def export(command, path):
    return partial(command, "runs", "export", "--store", path)


def own(column: str, estimate: float | Estimate, metric: str = "mine"):
    """A number that a board shows, of a metric that a plugin has."""
    return values(kl=estimate)[0].model_copy(update={"metric": metric, "column": column})


def every_kind() -> list[RunRecord]:
    """Runs with all that a record can have, and with nothing."""
    entry = own("kl[3]", 0.5, "kl").model_copy(update={"board": False})
    texts = {"message": "größer als 10⁶\n\tNaN?", "code": {"method mine": "ab" * 32}}
    finding = Finding(guard=Guard.USE, text="the decoder gains 3 % of the KL: 日本")
    reason = DeclinedColumn(metric="probe", column="probe", reason="no labels")
    bound = own("neg_elbo", Estimate(30.25, math.nan), "neg-elbo")
    numbers = values(iw_nll=math.inf, kl=math.nan, active_units=-0.0)
    return [
        record("skip", 1, values=(bound, *numbers, entry), findings=(finding,), declined=(reason,), **texts),
        record("vae", 2**63 - 1, columns={"kl": Estimate(-math.inf, 0.125)}),
        record("vae", 2, outcome=Outcome.DIVERGED),
        record("vae", 3, outcome=Outcome.FAILED, message="boom", traceback="Traceback\n  line 3\n"),
        started("vae", 4),
    ]


@pytest.fixture
def filled(path):
    with Store.open(path) as store:
        store.add(every_kind())
    return path


def rebuilt(row: dict) -> RunRecord:
    """The record that a row was made of, without a look at the columns that repeat parts of it."""
    kept = {field: row[field] for field in RunRecord.model_fields if field in row}
    times = {name: row[name] and row[name].astimezone(UTC) for name in ("started_at", "finished_at")}
    texts = {name: json.loads(row[name]) for name in ("spec", "environment")}
    parts = {
        "code": dict(row["code"]),
        "points": [
            point | {"counters": dict(point["counters"]), "values": {k: Number.of(v) for k, v in point["values"]}}
            for point in row["points"]
        ],
        "values": [
            {key: each[key] for key in each if key not in {"value", "standard_error"}}
            | {"estimate": Number.of(each["value"])}
            | {"standard_error": None if each["standard_error"] is None else Number.of(each["standard_error"])}
            for each in row["values"]
        ],
    }
    return RunRecord.model_validate(kept | times | texts | parts)


def assert_row_repeats(row: dict, record: RunRecord, names: dict[tuple[str, str], str]) -> None:
    """The columns that repeat parts of a record hold what the record says, and nothing where it says nothing."""
    environment, spec = record.environment, record.spec
    assert (row["dataset"], row["budget"]) == (spec.protocol.dataset.name, str(spec.protocol.budget))
    assert row["seed"] == spec.seed
    for name in ("collapsebench", "torch", "device"):
        assert row[name] == (environment[name] if isinstance(environment.get(name), str) else None)
    assert {name: row[name] for name in COUNTERS} == {name: record.counters.get(name) for name in COUNTERS}
    shown = {(value.metric, value.column): value for value in record.values if value.board}
    for key, name in names.items():
        numbers = (shown[key].estimate, shown[key].standard_error) if key in shown else (None, None)
        for column, number in zip((name, f"{name}{ERROR}"), numbers, strict=True):
            assert repr(row[column]) == repr(None if number is None else float(number))


def assert_same_runs(store, lines: str, table: pa.Table) -> None:
    """A Parquet file and JSON lines are of the same records, in one order."""
    rows = table.to_pylist()
    exported = [read_line(line.encode()) for line in lines.splitlines()]
    assert [write_line(rebuilt(row)) for row in rows] == [write_line(each) for each in exported]
    with Store.reading(store) as opened:
        names = column_names(opened.board_columns())
    for row, each in zip(rows, exported, strict=True):
        assert_row_repeats(row, each, names)


def test_a_row_has_every_number_and_text_of_its_line(export, filled, tmp_path):
    assert export("runs.parquet") == (0, "", "5 runs exported\n")
    assert_same_runs(filled, export("-").out, parquet.read_table(tmp_path / "runs.parquet"))


@pytest.mark.slow
@hypothesis_settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(made=st.lists(records(), max_size=4, unique_by=lambda made: made.run_id))
def test_a_row_of_any_record_has_every_number_and_text_of_its_line(export, path, tmp_path, made):
    with Store.open(path) as opened:
        opened.delete(summary.run_id for summary in opened.summaries())
        opened.add(made)
    assert export("runs.parquet").err == f"{len(made)} runs exported\n"
    assert_same_runs(path, export("-").out, parquet.read_table(tmp_path / "runs.parquet"))


def test_the_columns_and_their_types_are_the_same_whatever_the_runs_are(export, filled, tmp_path):
    schemas = set()
    for selection in ((), ("--outcome", "failed"), ("--contender", "skip"), ("--dataset", "ptb")):
        export("runs.parquet", *selection)
        schemas.add(str(parquet.read_schema(tmp_path / "runs.parquet")))
    (schema,) = schemas
    assert parquet.read_table(tmp_path / "runs.parquet").num_rows == 0
    assert "neg_elbo: double" in schema


def test_a_metric_of_a_plugin_has_columns_of_its_own_and_a_missing_number_is_null(export, path, tmp_path):
    with Store.open(path) as store:
        store.finish(record("vae", 1, values=(own("fidelity", Estimate(math.nan, 0.5)),)))
        store.finish(record("vae", 2))
    export("runs.parquet")
    table = parquet.read_table(tmp_path / "runs.parquet")
    first, second = sorted(table.to_pylist(), key=lambda row: row["seed"])
    assert math.isnan(first["fidelity"])
    assert first["fidelity_standard_error"] == 0.5
    assert (second["fidelity"], second["fidelity_standard_error"]) == (None, None)
    assert {table.schema.field(name).type for name in ("fidelity", "fidelity_standard_error")} == {pa.float64()}
    export("runs.parquet", "--dataset", "ptb")
    assert "fidelity" not in parquet.read_schema(tmp_path / "runs.parquet").names


@pytest.mark.parametrize(
    ("found", "named"),
    [
        ([], []),
        ([("kl", "kl"), ("mine", "b"), ("mine", "a")], ["a", "b"]),
        ([("mine", "kl"), ("mine", "kl_standard_error")], []),
        ([("mine", "seed"), ("mine", "values"), ("mine", "flops")], []),
        ([("mine", "gap"), ("yours", "gap"), ("yours", "other")], ["other"]),
        ([("mine", "a"), ("yours", "a_standard_error"), ("yours", "b")], ["b"]),
    ],
)
def test_no_name_of_a_column_means_two_things(found, named):
    names = column_names(found)
    assert {key: names[key] for key in SHIPPED} == SHIPPED
    assert [name for key, name in names.items() if key not in SHIPPED] == named


few = st.sampled_from(["kl", "kl_standard_error", "seed", "values", "a", "a_standard_error", "a_standard_error" * 2])


@given(found=st.lists(st.tuples(st.sampled_from(["kl", "mine", "yours"]), few | titles), unique=True))
def test_all_columns_of_a_file_have_different_names(found):
    names = writing._schema(column_names(found)).names
    assert len(names) == len(set(names))


def test_numbers_without_a_column_of_their_own_are_among_the_values(export, path, tmp_path):
    with Store.open(path) as store:
        store.finish(record("vae", 7, values=(own("seed", 0.5),)))
    export("runs.parquet")
    (row,) = parquet.read_table(tmp_path / "runs.parquet").to_pylist()
    assert row["seed"] == 7
    assert [(each["metric"], each["column"], each["value"]) for each in row["values"]] == [("mine", "seed", 0.5)]


def test_pandas_reads_the_file_as_the_documentation_says(export, filled, tmp_path):
    export("runs.parquet")
    frame = pd.read_parquet(tmp_path / "runs.parquet")
    frame = frame.set_index(["contender", "seed"])
    assert frame.loc[("skip", 1), "neg_elbo"] == 30.25
    assert frame.loc[("skip", 1), "steps"] == 350
    assert frame["kl_standard_error"].notna().sum() == 1
    assert str(frame["started_at"].dt.tz) == "UTC"
    assert frame["finished_at"].isna().sum() == 2
    assert {frame[name].dtype for name in ("neg_elbo", "probe", "steps")} == {pd.Series([0.5]).dtype}
    points = frame.loc[("skip", 1), "points"]
    assert [dict(each["counters"])["steps"] for each in points] == [175, 350]
    exact = pd.read_parquet(tmp_path / "runs.parquet", dtype_backend="pyarrow").set_index(["contender", "seed"])
    assert math.isnan(exact.loc[("skip", 1), "kl"])
    assert exact.loc[("vae", 4), "kl"] is pd.NA


class Pieces(BytesIO):
    """A stream that knows how much of it was written when."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[int] = []

    def write(self, content) -> int:
        self.written.append(self.tell() + len(content))
        return super().write(content)


def test_runs_are_written_group_by_group_while_the_store_is_read(path, monkeypatch):
    monkeypatch.setattr(writing, "ROW_GROUP", 20)
    monkeypatch.setattr(writing, "BATCH", 10)
    with Store.open(path) as store:
        store.add(record("vae", seed) for seed in range(1, 46))
    stream, positions = Pieces(), []
    with Store.reading(path) as store:
        find = store.find

        def watched(**filters):
            for each in find(**filters):
                positions.append(len(stream.written))
                yield each

        store.find = watched
        assert export_parquet(store, stream) == 45
    assert positions == [0] * 20 + [1] * 20 + [2] * 5
    found = parquet.ParquetFile(stream)
    assert [found.metadata.row_group(number).num_rows for number in range(found.num_row_groups)] == [20, 20, 5]
    assert sorted(found.read(["seed"])["seed"].to_pylist()) == list(range(1, 46))


def test_a_stream_whose_runs_cannot_be_read_to_the_end_is_no_parquet_file(path, monkeypatch):
    """Where standard output goes to, nobody deletes what was written: it must not look whole."""
    monkeypatch.setattr(writing, "ROW_GROUP", 1)
    monkeypatch.setattr(writing, "BATCH", 1)
    with Store.open(path) as store:
        store.add([record("vae", 1), record("vae", 2)])
    stream = BytesIO()
    with Store.reading(path) as store:
        find = store.find

        def broken(**filters):
            yield next(find(**filters))
            raise KeyboardInterrupt

        store.find = broken
        with pytest.raises(KeyboardInterrupt):
            export_parquet(store, stream)
    assert stream.getvalue().startswith(b"PAR1")
    assert not stream.getvalue().endswith(b"PAR1")
    with pytest.raises(pa.ArrowInvalid):
        parquet.ParquetFile(stream)


def test_the_end_of_the_name_decides_unless_a_format_is_given(export, filled, tmp_path):
    export("a.parquet")
    export("b.jsonl")
    export("c.data", "--format", "parquet")
    export("d.parquet", "--format", "jsonl")
    content = {name: (tmp_path / name).read_bytes() for name in ("a.parquet", "b.jsonl", "c.data", "d.parquet")}
    assert content["a.parquet"] == content["c.data"]
    assert content["b.jsonl"] == content["d.parquet"]
    assert export("-").out.encode() == content["b.jsonl"]


@pytest.mark.slow
def test_standard_output_may_be_a_pipe_and_no_terminal(export, filled, tmp_path):
    export("runs.parquet")
    words = [*COMMAND, "-", "--format", "parquet", "--store", filled]
    piped = subprocess.run(words, capture_output=True, check=True)
    assert piped.stdout == (tmp_path / "runs.parquet").read_bytes()
    here, there = os.openpty()
    with closing(os.fdopen(here)), closing(os.fdopen(there)):
        shown = subprocess.run(words, stdout=there, stderr=subprocess.PIPE, check=False)
    message = b"error: a Parquet file cannot be shown on a terminal: name a file in place of -\n"
    assert (shown.returncode, shown.stderr) == (2, message)


@pytest.mark.slow
def test_a_pipe_that_nobody_reads_ends_the_export_as_that_of_json_lines(filled):
    ends = []
    for format_ in ("jsonl", "parquet"):
        reading, written = os.pipe()
        os.close(reading)
        words = [*COMMAND, "-", "--format", format_, "--store", filled]
        done = subprocess.run(words, stdout=written, stderr=subprocess.PIPE, check=False)
        os.close(written)
        ends.append((done.returncode, done.stderr))
    assert ends[0] == ends[1]


def test_without_pyarrow_one_line_says_how_to_get_it_before_anything_is_read(command, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "no.sqlite").write_text("this is no store")
    (tmp_path / "runs.parquet").write_text("old")
    answer = command("runs", "export", "runs.parquet", "--store", "no.sqlite")
    assert answer == (2, "", "error: a Parquet file needs pyarrow: pip install 'collapsebench[parquet]'\n")
    assert (tmp_path / "runs.parquet").read_text() == "old"
    assert command("runs", "export", "runs.jsonl", "--store", "no.sqlite").code == 1


def test_a_full_disk_is_one_line(export, filled):
    message = "error: cannot write '/dev/full': No space left on device\n"
    assert export("/dev/full", "--format", "parquet") == (1, "", message)


def test_runs_that_cannot_be_read_are_told_and_the_others_written(export, filled, tmp_path):
    with closing(sqlite3.connect(filled)) as connection, connection:
        connection.execute("UPDATE runs SET outcome = 'exploded' WHERE seed = 2")
        connection.execute("UPDATE metric_values SET \"column\" = x'ff' WHERE metric = 'iw-nll'")
    answer = export("runs.parquet")
    assert answer.err.startswith("3 runs exported\n2 runs cannot be read: ")
    assert spec("vae", 2).run_id in answer.err
    assert_same_runs(filled, export("-").out, parquet.read_table(tmp_path / "runs.parquet"))


def test_half_a_character_in_an_edited_store_becomes_a_mark(export, path, tmp_path):
    with Store.open(path) as store:
        store.add([record("vae", 1), record("skip", 1)])
    with closing(sqlite3.connect(path)) as connection, connection:
        damaged = """UPDATE runs SET code = '{"method x": "\\ud800ß"}' WHERE run_id = ?"""
        connection.execute(damaged, [spec("vae", 1).run_id])
    assert export("runs.parquet").err == "2 runs exported\n"
    found = parquet.read_table(tmp_path / "runs.parquet").to_pylist()
    assert {row["contender"]: row["code"] for row in found} == {"vae": [("method x", "?ß")], "skip": []}


def test_weights_are_copied_beside_the_file(export, filled, tmp_path):
    answer = export("runs.parquet", "--weights", "kept")
    assert answer.err == "5 runs exported\nweights of 0 runs in 'kept'\n"
    assert parquet.read_table(tmp_path / "runs.parquet").num_rows == 5


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A store whose export takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[1])
        from bench.store import fill
    path = tmp_path_factory.mktemp("large") / "runs.sqlite"
    fill(path, 1500)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("ending", "code", "left"), [(signal.SIGINT, 130, 0), (signal.SIGKILL, -signal.SIGKILL, 1)])
def test_an_export_that_is_interrupted_leaves_the_old_file(large, tmp_path, ending, code, left):
    (tmp_path / "runs.parquet").write_text("old")
    words = [*COMMAND, tmp_path / "runs.parquet", "--store", large]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while process.poll() is None and not list(tmp_path.glob("*.part")):
            time.sleep(0.01)
        process.send_signal(ending)
        process.communicate()
    assert process.returncode == code
    assert (tmp_path / "runs.parquet").read_text() == "old"
    assert len(list(tmp_path.glob("*.part"))) == left
