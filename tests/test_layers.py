"""Imports point one way: a module imports only what stands above it. Those for a type checker count like all others."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import collapsebench

ROOMS = (
    "errors",
    "files",
    "syntax",
    "validation",
    "spec",
    "estimates",
    "record",
    "observation",
    "examples",
    "facts",
    "published",
    "plausibility",
    "model",
    "components",
    "data",
    "networks",
    "inference",
    "metrics",
    "store",
    "experiment",
    "reporting",
    "selfcheck",
    "api",
    "cli",
)
"""From the top to the bottom."""

PACKAGE = Path(collapsebench.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
INNER = [name for name in MODULES if name != "collapsebench"]


def named(path: Path) -> Iterator[str]:
    """The dotted names that a module's import statements mention, wherever they stand."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def imported(name: str) -> set[str]:
    """The modules of the package that a module imports; a name in a module counts as that module."""
    found = (next((m for m in (full, full.rpartition(".")[0]) if m in MODULES), None) for full in named(MODULES[name]))
    return {module for module in found if module is not None} - {name}


def room(name: str) -> str:
    return name.split(".")[1]


def is_own_folder(name: str, other: str) -> bool:
    """Whether one of the two is the `__init__` of the folder in which the other stands: two halves of one thing."""
    return name.startswith(f"{other}.") or other.startswith(f"{name}.")


def test_every_room_is_listed_and_there():
    assert {room(name) for name in INNER} == set(ROOMS)


@pytest.mark.parametrize("name", INNER)
def test_imports_point_up(name):
    below = {
        other for other in imported(name) - {"collapsebench"} if ROOMS.index(room(other)) > ROOMS.index(room(name))
    }
    assert not below


def test_the_command_line_alone_knows_click():
    knowing = {room(name) for name in INNER if any(full.split(".")[0] == "click" for full in named(MODULES[name]))}
    assert knowing == {"cli"}


def test_no_imports_go_round_in_a_circle():
    graph = {name: {other for other in imported(name) if not is_own_folder(name, other)} for name in INNER}
    TopologicalSorter(graph).prepare()


def test_imports_for_a_type_checker_count():
    assert "collapsebench.model.vae" in imported("collapsebench.components.interfaces")
