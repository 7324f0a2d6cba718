"""The files around the package name one environment, one version and one command for one thing."""

from __future__ import annotations

import re
import tomllib
from configparser import ConfigParser
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
REQUIREMENTS = [Requirement(line) for line in PYPROJECT["project"]["dependencies"]]
EXTRAS = [Requirement(line) for lines in PYPROJECT["project"]["optional-dependencies"].values() for line in lines]
CONSTRAINTS = [Requirement(line) for line in re.findall(r"^\w.*", (ROOT / "constraints.txt").read_text(), re.MULTILINE)]


@pytest.fixture
def tox():
    parser = ConfigParser()
    parser.read(ROOT / "tox.ini", encoding="utf-8")
    return parser


def environments(tox) -> set[str]:
    """The names in tox.ini; `a-{b,c}` are two."""
    sections = [name.removeprefix("testenv:") for name in tox.sections() if name.startswith("testenv:")]
    return set(chain.from_iterable(expanded(section) for section in sections))


def expanded(section: str) -> list[str]:
    head, _, choices = section.partition("{")
    return [head + choice for choice in choices.removesuffix("}").split(",")]


def test_ci_runs_the_test_command_of_the_readme():
    (line,) = re.findall(r"^    (python3 .* \.venv/bin/tox)$", README, re.MULTILINE)
    assert line in (ROOT / ".ci" / "run").read_text()


def test_every_environment_says_what_it_is_for_and_is_told_to_contributors(tox):
    assert all("description" in tox[section] for section in tox.sections() if section.startswith("testenv:"))
    assert environments(tox) <= set(re.findall(r"^\| `([\w.-]+)` \|", CONTRIBUTING, re.MULTILINE))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_environment_named_in_a_document_is_there(path, tox):
    named = re.findall(r"\btox (?:run|exec) (?:-q )?-e ([\w.,-]+)", path.read_text(encoding="utf-8"))
    assert set(chain.from_iterable(names.split(",") for names in named)) - {"NAME"} <= environments(tox)


def test_every_test_named_to_contributors_is_there():
    named = re.findall(r"tests/\w+\.py", CONTRIBUTING)
    assert named
    assert [name for name in named if "NAME" not in name and not (ROOT / name).is_file()] == []


def test_a_commit_is_checked_by_the_lint_environment():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert re.findall(r"entry: (.*)", hooks) == [".venv/bin/tox run -q -e lint"]
    assert "ruff==" not in hooks


def test_environments_take_every_python_that_the_package_takes(tox):
    assert tox["testenv"]["base_python"] == PYPROJECT["project"]["requires-python"]


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda requirement: requirement.name)
def test_every_dependency_has_a_lower_bound_that_can_be_tried(requirement):
    assert [specifier.operator for specifier in requirement.specifier] == [">="]


@pytest.mark.parametrize("constraint", CONSTRAINTS, ids=str)
def test_what_the_environments_pin_is_what_the_package_takes(constraint):
    (version,) = (specifier.version for specifier in constraint.specifier)
    (promised,) = (requirement for requirement in [*REQUIREMENTS, *EXTRAS] if requirement.name == constraint.name)
    assert promised.specifier.contains(version)


def test_the_torch_of_the_environments_is_the_one_of_the_first_page():
    (torch,) = (constraint for constraint in CONSTRAINTS if constraint.name == "torch")
    (version,) = (specifier.version for specifier in torch.specifier)
    assert f"install torch {version}" in README
