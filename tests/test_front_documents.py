"""CHANGELOG.md and CITATION.cff are of the version that is installed."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERSION = metadata.version("collapsebench")
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
CITATION = (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_the_changelog_begins_with_this_version():
    assert re.search(r"^## (\S+?),", CHANGELOG, re.MULTILINE)[1] == VERSION


def test_every_entry_of_the_changelog_has_a_tag():
    entries = re.findall(r"^- .*", CHANGELOG, re.MULTILINE)
    assert entries
    assert [entry for entry in entries if not re.match(r"- \[(Code|Rules|Results)\] ", entry)] == []


def test_the_citation_is_of_this_version():
    assert re.search(r"^version: (.+)$", CITATION, re.MULTILINE)[1] == VERSION
