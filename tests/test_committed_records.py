"""The committed records give the committed exports, whatever is rebuilt between a record and its export."""

from __future__ import annotations

import csv
import gzip
import io
import re
from pathlib import Path

import pytest

RECORDS = sorted((Path(__file__).parents[1] / "results" / "leaderboards").glob("*.jsonl"))
PINNED = Path(__file__).with_name("pinned_exports")

COLUMNS = ("mean", "half_width", "difference", "difference_half_width")
"""The statistics in a CSV export."""
FIELDS = re.compile(r'(?<=_width": )[-+.e0-9]+|(?<="mean": )[-+.e0-9]+')
"""The statistics in a JSON export."""
TOLERANCE = 1e-13
"""Relative. The quantile of Student's t is SciPy's, and its last bit is not the same in all versions."""


def taken_apart(text, format_):
    """An export without its statistics, and the statistics."""
    if format_ == "json":
        return FIELDS.sub("…", text), FIELDS.findall(text)
    rows = list(csv.DictReader(io.StringIO(text)))
    statistics = [row.pop(column) for row in rows for column in COLUMNS]
    return (text.splitlines()[0], [list(row.values()) for row in rows]), statistics


@pytest.mark.parametrize("format_", ["csv", "json"])
@pytest.mark.parametrize("records", RECORDS, ids=lambda path: path.stem)
def test_exports_of_the_committed_records_are_those_that_are_pinned(records, format_, command, tmp_path):
    store = tmp_path / "runs.sqlite"
    assert command("runs", "import", records, "--store", store).code == 0
    got, statistics = taken_apart(command("leaderboard", "--store", store, "--format", format_).out, format_)
    pinned = gzip.decompress((PINNED / f"{records.stem}.{format_}.gz").read_bytes()).decode()
    wanted, expected = taken_apart(pinned, format_)
    assert got == wanted
    assert [number == "" for number in statistics] == [number == "" for number in expected]
    assert [float(number) for number in statistics if number] == pytest.approx(
        [float(number) for number in expected if number], rel=TOLERANCE, abs=0
    )


def test_every_file_of_committed_records_is_pinned():
    assert {path.name.split(".")[0] for path in PINNED.iterdir()} == {path.stem for path in RECORDS}


def test_the_statistics_are_found_in_both_formats():
    for path in PINNED.iterdir():
        text = gzip.decompress(path.read_bytes()).decode()
        assert any(taken_apart(text, path.name.split(".")[1])[1])
