"""The store of the benchmark: real records, and SQL that says the same as the boards."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from records import score_records

from collapsebench.record import Outcome
from collapsebench.store import Store
from collapsebench.store.interchange import read_lines, write_line


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A hundred runs: fifty contenders, two seeds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[1])
        from bench import store as bench
    path = tmp_path_factory.mktemp("bench") / "runs.sqlite"
    bench.fill(path, 100)
    with Store.open(path) as store:
        yield bench, path, list(store.find())


def test_its_records_are_real(filled):
    """Importing checks every id against its content."""
    _, _, records = filled
    assert list(read_lines((write_line(record).encode() for record in records), "bench")) == records
    assert len({(record.contender, record.spec.seed) for record in records}) == 100
    finished = [record for record in records if record.outcome is Outcome.FINISHED]
    assert {len(record.points) for record in records} == {10}
    assert {len(record.values) for record in finished} == {40}
    assert {sum(value.board for value in record.values) for record in finished} == {12}


def test_its_sql_has_the_means_of_the_board(filled):
    bench, path, records = filled
    board = score_records(records)
    rows = {row.label: row for row in board.rows}
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute(bench.PAIRS.format(chosen="")).fetchall()
        counters = connection.execute(bench.COUNTERS.format(chosen="")).fetchall()
    assert len(found) == 50 * 12
    for _, label, _, column, n, mean, _, pairs, difference, _ in found:
        sample = rows[label].samples[column]
        assert (len(sample.seeds), sample.mean) == (n, pytest.approx(mean))
        if label != "vae":
            paired = rows[label].differences[column]
            assert (len(paired.seeds), paired.mean) == (pairs, pytest.approx(difference, abs=1e-9))
    assert {(label, name): mean for _, label, name, _, mean, _ in counters} == {
        (label, name): pytest.approx(row.samples[name].mean)
        for label, row in rows.items()
        for name in ("steps", "seconds", "flops", "epochs", "examples", *PASSES)
    }


PASSES = ("encoder_evaluations", "decoder_evaluations", "decoder_gradients")
