"""Every public name has a docstring: the Python page is made of them."""

from __future__ import annotations

from importlib import util
from pathlib import Path
from types import ModuleType

import pytest

import collapsebench

PUBLIC = Path(__file__).parents[1] / "docs" / "_ext" / "public.py"


@pytest.fixture(scope="module")
def public():
    spec = util.spec_from_file_location("docs_public", PUBLIC)
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_public_name_has_a_docstring(public):
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
