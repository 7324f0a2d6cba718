"""docs/methods.md has every shipped method, as its plugin describes it."""

from __future__ import annotations

import re
from pathlib import Path

from cogapp import Cog

from collapsebench.components.descriptions import describe_methods

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "methods.md"


def test_the_page_is_what_plugins_and_records_say():
    folders = [option for folder in ("docs/_ext", "tests") for option in ("-I", str(ROOT / folder))]
    assert Cog().main(["cog", "--check", "--diff", *folders, str(PAGE)]) == 0


def test_each_method_has_a_line_of_the_table_and_a_place_of_its_own():
    text = PAGE.read_text(encoding="utf-8")
    names = {method.name for method in describe_methods()}
    assert set(re.findall(r"^\| \[`([^`]+)`\]\(#method-", text, re.MULTILINE)) == names
    entries = re.findall(r"^\(method-(.+)\)=\n\*\*`(.+)`\*\* (.+)\n\n", text, re.MULTILINE)
    assert {name for name, _, _ in entries} == names
    assert all(anchor == name for anchor, name, _ in entries)
    assert len(re.findall(r"^\*Bound\*: .+ \*Cost\*: .+ \*Source\*:$", text, re.MULTILINE)) == len(names)
