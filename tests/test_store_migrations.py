"""A store of an older schema keeps every record and every board, byte for byte (tests/stores)."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing

import pytest
from stored import unpacked

from collapsebench.store import Store, schema
from collapsebench.store.interchange import import_runs, write_line


@pytest.fixture
def old(tmp_path):
    """A store of schema 0003."""
    path = tmp_path / "runs.sqlite"
    path.write_bytes(unpacked("0003", "runs.sqlite"))
    return path


def test_a_reader_exports_the_same_lines_and_draws_the_same_boards(old, command):
    before = old.read_bytes()
    assert command("runs", "export", "-", "--store", old).out.encode() == unpacked("0003", "runs.jsonl")
    assert command("leaderboard", "--format", "json", "--store", old).out.encode() == unpacked("0003", "boards.json")
    assert old.read_bytes() == before


def test_an_upgraded_store_exports_the_same_lines_and_draws_the_same_boards(old, command):
    with Store.open(old):
        pass
    with closing(sqlite3.connect(old)) as upgraded:
        assert upgraded.execute("SELECT version_num FROM collapsebench_version").fetchone() == (schema.HEAD,)
    assert command("runs", "export", "-", "--store", old).out.encode() == unpacked("0003", "runs.jsonl")
    assert command("leaderboard", "--format", "json", "--store", old).out.encode() == unpacked("0003", "boards.json")


FINISHED = "930aa2d25188db66"
DAMAGE = {
    "runs": {
        "spec": ("{", "null", "[]", b"\x00", "{}", "[" * 5000 + "]" * 5000),
        "protocol_id": ("x", b"\x00", ""),
        "dataset": ("mnist", b"\xff"),
        "track": ("x",),
        "contender": ("x", b"\xff"),
        "budget": ("1steps",),
        "seed": (9, "many"),
        "outcome": ("exploded",),
    },
    "points": {
        "counters": ("{", "[]", "7", b"\x00", '{"steps": Infinity}', '{}}, {"counters": {}', "[" * 5000 + "]" * 5000),
        "values": ("{", "[]", '{"kl": {"kind": "finite", "value": null}}', '{}, "more": {}', b"\x00"),
        "selected": (2, "yes"),
    },
    "metric_values": {"kind": ("huge",)},
}
"""By table and column of 0003: what may be there in place of a value."""


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [(table, column, value) for table, of in DAMAGE.items() for column, values in of.items() for value in values],
    ids=lambda value: repr(value)[:30],
)
def test_a_run_that_was_damaged_stays_so_and_costs_no_other(old, table, column, value):
    with closing(sqlite3.connect(old)) as connection, connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        last = "AND number = 2" if table == "points" else ""
        change = f'UPDATE {table} SET "{column}" = ? WHERE run_id = ? {last}'  # noqa: S608
        assert connection.execute(change, (value, FINISHED)).rowcount > 0
    others = [each for each in unpacked("0003", "runs.jsonl").decode().splitlines() if FINISHED not in each]
    for _ in range(2):
        with Store.reading(old) as store:
            assert [write_line(each) for each in store.find()] == others
            assert [each.run_id for each in store.unreadable] == [FINISHED]
        with Store.open(old):
            pass


@pytest.mark.parametrize(
    "damaged", [lambda spec: spec[:-1], lambda spec: spec[:-1] + ', "more": 1}', lambda spec: spec[:-12]]
)
def test_a_spec_whose_end_is_damaged_costs_no_run_that_shares_its_beginning(old, damaged):
    with closing(sqlite3.connect(old)) as connection, connection:
        seeds = "SELECT spec, min(run_id), count(*) FROM runs GROUP BY protocol_id, track, contender ORDER BY 3 DESC"
        spec, first, several = connection.execute(seeds).fetchone()
        assert several > 1
        connection.execute("UPDATE runs SET spec = ? WHERE run_id = ?", (damaged(spec), first))
    with Store.open(old) as store:
        assert len(list(store.find())) == 23
        assert [each.run_id for each in store.unreadable] == [first]


def test_text_that_is_not_utf_8_is_carried_over(old):
    with closing(sqlite3.connect(old)) as connection, connection:
        broken = "CAST(x'7bc328' AS TEXT)"
        connection.execute(f"UPDATE runs SET message = {broken}, spec = {broken} WHERE run_id = ?", (FINISHED,))  # noqa: S608
    with Store.open(old) as store:
        assert len(list(store.find())) == 23
        assert [each.run_id for each in store.unreadable] == [FINISHED]


def test_runs_that_come_after_the_upgrade_share_what_is_there(old, tmp_path):
    """A run is deleted and imported again: no row is made for its protocol and its contender."""
    (tmp_path / "runs.jsonl").write_bytes(unpacked("0003", "runs.jsonl"))
    with Store.open(old) as store:
        store.delete([FINISHED])

    def counts():
        with closing(sqlite3.connect(old)) as connection:
            return [
                connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
                for table in ("protocols", "contenders", "runs", "trajectories")
            ]

    before = counts()
    assert import_runs(old, {"runs.jsonl": tmp_path / "runs.jsonl"}) == (1, 23)
    assert counts() == [*before[:2], before[2] + 1, before[3] + 1]


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        ("VIEW", 'CREATE VIEW "my runs" AS SELECT contender FROM runs'),
        ("INDEX", 'CREATE INDEX "my runs" ON runs (spec)'),
    ],
)
def test_what_a_user_has_added_stops_the_upgrade_in_one_line_only_if_it_needs_what_goes(old, command, kind, made):
    with closing(sqlite3.connect(old)) as connection, connection:
        connection.execute("ALTER TABLE runs ADD COLUMN mine TEXT")
        connection.execute("CREATE TABLE notes (run_id TEXT)")
        connection.execute("CREATE VIEW other AS SELECT run_id, mine FROM runs")
        connection.execute(made)
    before = old.read_bytes()
    for words in (("runs", "list"), ("runs", "delete", FINISHED, "--yes")):
        answer = command(*words, "--store", old)
        assert (answer.code, answer.err.count("\n")) == (1, 1)
        assert f'`DROP {kind} "my runs"` in it' in answer.err
    assert old.read_bytes() == before
    with closing(sqlite3.connect(old)) as connection, connection:
        connection.execute(f'DROP {kind} "my runs"')
    with Store.open(old) as store:
        assert len(list(store.find())) == 24


def test_an_upgrade_that_is_killed_changes_nothing(old, command):
    script = (
        "import os, signal, sys\nfrom collapsebench.store import Store\n"
        "from collapsebench.store.migrations.versions import m0004_shared_rows as migration\n"
        "migration.op.drop_table = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "with Store.open(sys.argv[1]): pass"
    )
    assert subprocess.run([sys.executable, "-c", script, old], check=False).returncode == -signal.SIGKILL
    with closing(sqlite3.connect(old)) as connection:
        assert connection.execute("SELECT version_num FROM collapsebench_version").fetchone() == ("0003",)
    assert command("runs", "export", "-", "--store", old).out.encode() == unpacked("0003", "runs.jsonl")


def test_a_reader_without_a_temporary_folder_is_told_so_in_one_line(old, command, monkeypatch):
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    answer = command("runs", "list", "--store", old)
    assert (answer.code, len(answer.err.splitlines())) == (1, 1)
    assert "is read in a copy, for which there is no folder: No such file or directory" in answer.err
