"""What docs/paper.md names is there, and its computed tables are as computed."""

from __future__ import annotations

import re
import shlex
from fnmatch import fnmatch
from itertools import pairwise, product
from pathlib import Path

import pytest
from cogapp import Cog

from collapsebench.components import discovery
from collapsebench.experiment import suites
from collapsebench.facts import dataset_names

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "paper.md"
TEXT = PAGE.read_text(encoding="utf-8")
SUITES = [name for name in suites.suite_names() if name.startswith("dieng-2019/")]
COMMANDS = [shlex.split(line) for line in re.findall(r"^    (collapsebench .*)$", TEXT, re.MULTILINE)]


@pytest.mark.torch
def test_the_computed_tables_are_those_of_the_page():
    """If not: `tox run -e docs -- -r` writes them anew."""
    assert Cog().main(["cog", "--check", "--diff", "-I", str(ROOT / "docs" / "_ext"), str(PAGE)]) == 0


def test_every_suite_has_a_row_of_evidence():
    section = TEXT.split("\n## Evidence\n")[1].split("\n## ")[0]
    assert set(SUITES) <= {f"dieng-2019/{name}" for name in re.findall(r"^\| ([\w-]+) \|", section, re.MULTILINE)}


def given(arguments, option):
    """The values of an option in a command."""
    return [value for name, value in pairwise(arguments) if name == option]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_commands_name_contenders_and_suites_that_exist(command):
    components = discovery.load()
    assert all(components.contender(written)[1] for written in given(command, "--method"))
    assert {word for word in command if word.startswith("dieng-2019/")} <= set(SUITES)
    assert set(given(command, "--dataset")) <= set(dataset_names())


def test_every_variant_named_is_one():
    scales = [(suites.suite(name), scale) for name in SUITES for scale in ("paper", "small")]
    known = {variant for suite, scale in scales for variant in suite.known_variants(scale)}
    assert set(re.findall(r"[Vv]ariant `([^`]+)`", TEXT)) <= known


@pytest.mark.parametrize("module", sorted(set(re.findall(r"`((?:\w+/)*\w+\.py)`", TEXT))))
def test_every_module_named_is_there(module):
    assert any((folder / module).is_file() for folder in (ROOT, ROOT / "collapsebench"))


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#]+)\)", TEXT))))
def test_every_link_leads_somewhere(link):
    assert (PAGE.parent / link).exists()


def test_every_golden_test_named_is_there():
    source = (ROOT / "tests" / "golden" / "test_golden_svi.py").read_text(encoding="utf-8")
    assert set(re.findall(r"`(test_\w+)`", TEXT)) <= set(re.findall(r"^def (test_\w+)", source, re.MULTILINE))


def cases(written):
    """The names that braces stand for: `a_{b,c}` is two."""
    parts = [part.strip("{}").split(",") for part in re.split(r"({[^}]*})", written)]
    return map("".join, product(*parts))


@pytest.mark.parametrize("written", sorted(set(re.findall(r"`((?:savae|svi|img|text)_[\w{},*]+)`", TEXT))))
def test_every_golden_case_named_is_there(written):
    stored = [path.stem for path in (ROOT / "tests" / "golden" / "vectors").glob("*.npz")]
    assert all(any(fnmatch(name, case) for name in stored) for case in cases(written))
