"""Imports point one way: a module imports only what stands above it. Those for a type checker count like all others."""

from __future__ import annotations

import ast
import subprocess
import sys

import import_graph
import pytest
from import_graph import PACKAGE, ROOMS, ROOT, arrows_up, circle, module_graph, modules, named, room

FILES = modules()


@pytest.fixture(scope="module")
def graph():
    return module_graph()


def defined(module: str) -> set[str]:
    """The names that a module's own statements define."""
    names = set()
    for node in ast.parse(FILES[module].read_text(encoding="utf-8")).body:
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
            case ast.Assign(targets=targets):
                names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def test_every_room_is_listed_and_there():
    assert set(map(room, FILES)) == set(ROOMS)


def test_no_arrow_leads_up(graph):
    assert not arrows_up(graph)


def test_no_imports_go_round_in_a_circle(graph):
    assert not circle(graph)


def test_imports_for_a_type_checker_count(graph):
    assert f"{PACKAGE}.model.vae" in graph[f"{PACKAGE}.components.interfaces"]


def test_nothing_inside_the_package_imports_its_public_names(graph):
    assert not [module for module, imported in graph.items() if PACKAGE in imported]


def test_public_names_come_from_the_modules_that_define_them():
    names = [name.rpartition(".") for name in named(FILES[PACKAGE])]
    assert names
    assert not [f"{module}.{name}" for module, _, name in names if name not in defined(module)]


def test_the_command_line_alone_knows_click():
    files = [*FILES.values(), *(ROOT / "plugins").rglob("*.py")]
    knowing = {path for path in files if any(name.split(".")[0] == "click" for name in named(path))}
    assert {path.parent for path in knowing} == {ROOT / PACKAGE / "cli"}


def test_the_library_does_not_import_the_command_line(graph):
    assert not [m for m, imported in graph.items() if room(m) != "cli" and "cli" in map(room, imported)]


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import os.path as p, re", ["os.path", "re"]),
        ("from torch import nn as n, Tensor", ["torch.nn", "torch.Tensor"]),
        ("from . import vae\nfrom .kernels.gate import Gate", ["house.model.vae", "house.model.kernels.gate.Gate"]),
        ("from .. import errors\nfrom ..spec import Budget", ["house.errors", "house.spec.Budget"]),
        ("def f():\n    if TYPE_CHECKING:\n        import house.api", ["house.api"]),
    ],
)
def test_imports_of_every_form_are_seen(source, names, tmp_path, monkeypatch):
    monkeypatch.setattr(import_graph, "ROOT", tmp_path)
    path = tmp_path / "house" / "model" / "__init__.py"
    path.parent.mkdir(parents=True)
    path.write_text(source)
    assert list(named(path)) == names


def with_imports(*arrows: str) -> dict[str, set[str]]:
    """A graph with these imports alone, each as `A imports B`."""
    pairs = [arrow.split(" imports ") for arrow in arrows]
    return {f"{PACKAGE}.{module}": {f"{PACKAGE}.{other}"} for module, other in pairs}


def test_an_arrow_up_is_found():
    wrong = with_imports("model.vae imports components.catalog", "api imports spec", "cli imports cli.options")
    assert arrows_up(wrong) == [(f"{PACKAGE}.components.catalog", f"{PACKAGE}.model.vae")]
    assert arrows_up({f"{PACKAGE}.api": {PACKAGE}}) == [(PACKAGE, f"{PACKAGE}.api")]


def test_a_circle_is_found_but_for_a_folder_and_its_own_modules():
    wrong = with_imports("store.a imports store.b", "store.b imports store.c", "store.c imports store.a")
    assert set(circle(wrong)) == set(wrong)
    assert not circle(with_imports("store imports store.a", "store.a imports store"))


@pytest.mark.parametrize("options", [[], ["--modules"], ["--dot"], ["--modules", "--dot"]], ids=" ".join)
def test_the_command_prints_every_room_or_module_and_that_nothing_is_wrong(options, graph):
    command = [sys.executable, import_graph.__file__, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stderr if "--dot" in options else done.stdout).endswith("no arrow up, no circle\n")
    shown = graph if "--modules" in options else ROOMS
    if "--dot" in options:
        assert done.stdout.startswith("digraph")
        assert all(f'\n  "{import_graph.short(name)}"\n' in done.stdout for name in shown)
    else:
        first = [line.split()[0] for line in done.stdout.splitlines()[:-1]]
        assert first == [import_graph.short(name) for name in shown]


def test_what_is_wrong_is_named_and_is_exit_code_one(monkeypatch, capsys):
    wrong = with_imports("spec imports api", "api imports spec")
    monkeypatch.setattr(import_graph, "module_graph", lambda: wrong)
    monkeypatch.setattr(sys, "argv", ["import_graph.py"])
    with pytest.raises(SystemExit) as left:
        import_graph.main()
    assert left.value.code == 1
    *_, arrow, round_ = capsys.readouterr().out.splitlines()
    assert arrow == f"arrow up: {PACKAGE}.spec imports {PACKAGE}.api"
    assert round_.startswith("circle: ")
