"""The public names: complete, documented, each with an example that runs."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import io
import re
from collections.abc import Iterator
from functools import cached_property
from importlib import util
from pathlib import Path
from types import ModuleType

import pytest

import collapsebench

pytestmark = pytest.mark.torch

NAMES = sorted(collapsebench.__all__)
PACKAGE = Path(collapsebench.__file__).parent
STUB = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def public():
    """The extension of the documentation that lists the public names."""
    path = Path(__file__).parents[1] / "docs" / "_ext" / "public.py"
    spec = util.spec_from_file_location("docs_public", path)
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def definitions(module: ModuleType) -> dict[str, str]:
    """From the names that a module defines or imports from the package, to the modules that define them."""
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    imported = {
        alias.asname or alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("collapsebench")
        for alias in node.names
    }
    own = {node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    own |= {target.id for node in tree.body if isinstance(node, ast.AnnAssign) for target in [node.target]}
    return imported | dict.fromkeys(own, module.__name__)


def members(thing: type) -> Iterator[object]:
    """The public methods and properties that a class has from the package."""
    for base in thing.__mro__:
        if base.__module__.startswith("collapsebench"):
            for name, value in vars(base).items():
                if not name.startswith("_") or name in {"__init__", "__call__"}:
                    yield value


def annotations(thing: object) -> Iterator[tuple[str, str]]:
    """The annotations in a public signature, each with the name of the module in which it is written."""
    if isinstance(thing, type):
        for base in thing.__mro__:
            if base.__module__.startswith("collapsebench"):
                fields = inspect.get_annotations(base)
                yield from ((str(text), base.__module__) for name, text in fields.items() if not name.startswith("_"))
        for member in members(thing):
            yield from annotations(member)
    functions = {property: "fget", cached_property: "func", classmethod: "__func__", staticmethod: "__func__"}
    function = getattr(thing, functions[type(thing)]) if type(thing) in functions else inspect.unwrap(thing)
    if inspect.isfunction(function):
        yield from ((str(text), function.__module__) for text in inspect.get_annotations(function).values())


def mentioned(thing: object) -> set[str]:
    """The names of the package in a public signature."""
    found = set()
    for text, where in annotations(thing):
        known = definitions(importlib.import_module(where))
        found |= {
            word for word in re.findall(r"[A-Za-z_]\w*", re.sub(r"'[^']*'|\"[^\"]*\"", "", text)) if word in known
        }
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_name_in_a_public_signature_is_public(name):
    assert mentioned(getattr(collapsebench, name)) <= set(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_has_a_docstring_with_an_example_that_works(name, public, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    example = doctest.DocTestParser().get_doctest(public.documentation(name), {}, name, None, None)
    assert example.examples
    report = io.StringIO()
    failed, _ = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=report.write)
    assert not failed, report.getvalue()


def test_the_list_of_public_names_is_sorted_and_without_doubles():
    listed = [alias.name for node in STUB.body for alias in node.names]
    assert len(set(listed)) == len(listed)
    assert sorted(listed) == NAMES == sorted(collapsebench.__all__)


def test_every_public_name_and_method_has_a_docstring(public):
    assert public.undocumented() == []


class Bare(collapsebench.Component):
    def act(self):
        return 1

    @property
    def fact(self):
        """Documented."""


def test_names_and_methods_without_a_docstring_are_found(public, monkeypatch):
    Bare.__module__ = "collapsebench.bare"
    module = ModuleType("collapsebench")
    module.__all__ = ["Bare", "Method", "number", "hookimpl"]
    module.Bare, module.Method, module.number = Bare, collapsebench.Method, 3
    module.hookimpl = collapsebench.hookimpl
    monkeypatch.setattr(public, "collapsebench", module)
    assert public.undocumented() == ["Bare", "number", "Bare.act"]


def test_the_text_below_an_assignment_is_its_docstring(public, tmp_path):
    path = tmp_path / "module.py"
    path.write_text('a: int = 1\n"""One."""\nb = 2\nc = 3\n"""Three,\nor more."""\n')
    assert [public.text_below(name, path) for name in "abcd"] == ["One.", "", "Three,\nor more.", ""]
