"""The command line is thin: a command parses options, makes a library call and prints.

Statements are counted, not lines, as options and calls with many arguments take many lines and are no work. Imports and
docstrings do not count.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from collapsebench import cli

FOLDER = Path(cli.__file__).parent
TREES = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.py"))}
FUNCTIONS = {
    f"{module}.{node.name}": node
    for module, tree in TREES.items()
    for node in ast.walk(tree)
    if isinstance(node, ast.FunctionDef)
}

LONGEST_COMMAND = 10
"""Statements of a command that prints as it goes, or prints text as well as JSON: `data fetch`, `plugins`."""
LONGEST = 12
"""Statements of `main`, which turns every error into one line and an exit code."""


def is_command(function: ast.FunctionDef) -> bool:
    """Whether a decorator makes it a command, as in `@command.command("list")`."""
    calls = (node.func for node in function.decorator_list if isinstance(node, ast.Call))
    return any(isinstance(call, ast.Attribute) and call.attr == "command" for call in calls)


COMMANDS = {name: function for name, function in FUNCTIONS.items() if is_command(function)}


def statements(function: ast.FunctionDef) -> int:
    """How many statements a function has, those of its blocks included."""
    body = function.body[ast.get_docstring(function) is not None :]
    nodes = [node for statement in body for node in ast.walk(statement) if isinstance(node, ast.stmt)]
    return sum(not isinstance(node, ast.Import | ast.ImportFrom) for node in nodes)


def from_the_library(function: ast.FunctionDef) -> Iterator[str]:
    """The names that a function imports from the library."""
    for node in ast.walk(function):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("collapsebench."):
            yield from (alias.name for alias in node.names)


def test_every_module_of_the_command_line_has_commands():
    assert {name.partition(".")[0] for name in COMMANDS} == set(cli.COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_short(name):
    assert statements(COMMANDS[name]) <= LONGEST_COMMAND


@pytest.mark.parametrize("name", FUNCTIONS)
def test_nothing_in_the_command_line_is_long(name):
    assert statements(FUNCTIONS[name]) <= LONGEST


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_makes_one_call_of_the_library(name):
    """It imports what it calls, and at most one thing more: the store that it opens, or what writes the answer."""
    assert len(set(from_the_library(COMMANDS[name]))) <= 2
