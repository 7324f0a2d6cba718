"""docs/field.md shows every shipped method, with the numbers of the committed records."""

from __future__ import annotations

from pathlib import Path

import pytest
from cogapp import Cog

from collapsebench.components import discovery
from collapsebench.components.interfaces import Family
from collapsebench.experiment import suites
from collapsebench.syntax import BASELINE, parse_composition

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "field.md"
TEXT = PAGE.read_text(encoding="utf-8")
SUITES = ("field/text", "field/images")


@pytest.mark.torch
def test_the_computed_tables_are_those_of_the_page():
    """If not: `tox run -e docs -- -r` writes them anew."""
    assert Cog().main(["cog", "--check", "--diff", "-I", str(ROOT / "docs" / "_ext"), str(PAGE)]) == 0


def in_cells(*names):
    """The method of each contender, with the name of its cell."""
    return {
        (parse_composition(written)[0].name, cell.name)
        for name in names
        for cell in suites.suite(name).cells("small")
        for written in cell.contenders.values()
    }


def test_every_shipped_method_stands_in_the_cell_of_its_family():
    components = discovery.load()
    entries = [components.entry("method", name) for name in components.names("method")]
    families = {(entry.component.name, str(entry.component.family)) for entry in entries if entry.code is None}
    assert {each for each in in_cells(*SUITES) if each[0] != BASELINE} == families


@pytest.mark.parametrize("name", SUITES)
def test_every_family_has_a_board_of_equal_flops(name):
    cells = suites.suite(name).cells("small")
    assert [cell.name for cell in cells] == [str(family) for family in Family if family is not Family.OTHER]
    assert len({(cell.base, cell.settings) for cell in cells}) == 1
    assert cells[0].budget.endswith("flops")
    assert all(next(iter(cell.contenders.values())) == BASELINE for cell in cells)


def test_every_contender_has_a_claim():
    contenders = {model for name in SUITES for cell in suites.suite(name).cells("small") for model in cell.contenders}
    for model in contenders - {"VAE"}:
        assert f"\n| {model} | " in TEXT
