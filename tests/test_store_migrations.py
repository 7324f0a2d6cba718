"""A store of an older schema keeps every record and every board, byte for byte (tests/stores)."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from stored import unpacked

from collapsebench.store import Store, schema


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
