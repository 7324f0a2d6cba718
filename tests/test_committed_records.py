"""The committed records give the committed exports, whatever is rebuilt between a record and its export."""

from __future__ import annotations

import csv
import gzip
import io
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

RECORDS = sorted((Path(__file__).parents[1] / "results" / "leaderboards").glob("*.jsonl"))
PINNED = Path(__file__).with_name("pinned_exports")

TOLERANCES = {"mean": 1e-13, "half_width": 1e-10, "difference": 1e-13, "difference_half_width": 1e-10, "value": 1e-13}
"""The statistics, and by how much of its size each may differ: SciPy before 1.17 has Student's t to 1e-11 alone.

The `value` of what is best possible is an integral, which CSV has as a mean. Its last digit depends on the processor.
"""
BEST = re.compile(r'"best_possible": \{(?:[^{}]|\{[^{}]*\})*\}')
"""What is best possible in a JSON export."""
VALUE = re.compile(r'"(value)": ([-+.e0-9]+)')
FIELDS = re.compile(r'"(mean|half_width)": ([-+.e0-9]+)')
"""The statistics in a JSON export."""


def taken_apart(text, format_):
    """An export without its statistics; and these, each with its name."""
    if format_ == "json":
        best = [pair for part in BEST.findall(text) for pair in VALUE.findall(part)]
        rest = FIELDS.sub("…", BEST.sub(lambda part: VALUE.sub("…", part[0]), text))
        return rest, [*FIELDS.findall(text), *best]
    rows = list(csv.DictReader(io.StringIO(text)))
    statistics = [(column, number) for row in rows for column in TOLERANCES if (number := row.pop(column, ""))]
    return (text.splitlines()[0], [list(row.values()) for row in rows]), statistics


@pytest.fixture(scope="module", params=RECORDS, ids=lambda path: path.stem)
def imported(request, prepare, tmp_path_factory):
    """A store of committed records, with the name of these."""
    folder = tmp_path_factory.mktemp("imported")
    prepare(folder, "runs", "import", request.param, "--store", "runs.sqlite")
    return request.param.stem, folder / "runs.sqlite"


@pytest.mark.parametrize("format_", ["csv", "json"])
def test_exports_of_the_committed_records_are_those_that_are_pinned(imported, format_, command):
    name, store = imported
    got, statistics = taken_apart(command("leaderboard", "--store", store, "--format", format_).out, format_)
    pinned = gzip.decompress((PINNED / f"{name}.{format_}.gz").read_bytes()).decode()
    wanted, expected = taken_apart(pinned, format_)
    assert got == wanted
    assert [name for name, _ in statistics] == [name for name, _ in expected]
    for (statistic, number), (_, value) in zip(statistics, expected, strict=True):
        assert float(number) == pytest.approx(float(value), rel=TOLERANCES[statistic], abs=0)


def test_every_file_of_committed_records_is_pinned():
    assert {path.name.split(".")[0] for path in PINNED.iterdir()} == {path.stem for path in RECORDS}


def test_the_statistics_are_found_in_both_formats():
    for path in PINNED.iterdir():
        text = gzip.decompress(path.read_bytes()).decode()
        assert any(taken_apart(text, path.name.split(".")[1])[1])
