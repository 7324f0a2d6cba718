"""docs/trust.md shows what is computed and measured as it is, and what guards say of themselves."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from cogapp import Cog

from collapsebench.cli import cli
from collapsebench.verification.comparison import MEASURED, NumberRole

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "trust.md"
TEXT = PAGE.read_text(encoding="utf-8")
GUARDS = sorted(path for path in (ROOT / "collapsebench" / "guards").glob("*.py") if path.stem != "__init__")


@pytest.mark.torch
def test_the_computed_tables_are_those_of_the_page():
    """If not: `tox run -e docs -- -r` writes them anew."""
    assert Cog().main(["cog", "--check", "--diff", "-I", str(ROOT / "docs" / "_ext"), str(PAGE)]) == 0


def test_the_tolerances_are_those_that_were_measured():
    """The last row of the measured table is what the constants of the program are."""
    (row,) = re.findall(r"^\| \*\*largest\*\* +\| *\|(.*)\|$", TEXT, re.MULTILINE)
    assert [float(cell) for cell in row.split("|")] == [MEASURED[role] for role in NumberRole]


def test_the_largest_distances_are_the_largest_of_the_table():
    table = TEXT[TEXT.index("| run ") : TEXT.index("| **largest**")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    columns = zip(*(row[2:] for row in rows), strict=True)
    assert [max(float(cell or 0) for cell in column) for column in columns] == list(MEASURED.values())


@pytest.mark.parametrize("path", GUARDS, ids=lambda path: path.stem)
def test_every_guard_says_what_it_cannot_see(path):
    assert re.search(r"cannot|not\s+seen|says\s+nothing", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("line", re.findall(r"^    (collapsebench .*)$", TEXT, re.MULTILINE))
def test_every_command_shown_takes_the_options_shown(line):
    command, words = cli, shlex.split(line)[1:]
    while isinstance(command, click.Group):
        command = command.get_command(None, words.pop(0))
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known
