"""Imports point one way: a module imports only modules above it in the list."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import collapsebench

ROOMS = (
    "errors",
    "syntax",
    "spec",
    "record",
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
    "cli",
)
"""From the top to the bottom."""

PACKAGE = Path(collapsebench.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path: Path) -> set[str]:
    """The rooms that a module imports when it is imported or run; what only a type checker reads does not count."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    names = []
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            names += (
                [node.module] if node.module != "collapsebench" else [f"collapsebench.{a.name}" for a in node.names]
            )
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return {name.split(".")[1] for name in names if name.startswith("collapsebench.")}


def test_every_room_is_listed_and_there():
    assert {room(path) for path in MODULES if path.suffix == ".py"} == set(ROOMS)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_up(path):
    own = ROOMS.index(room(path))
    below = {name for name in imported(path) if ROOMS.index(name) > own}
    assert not below
