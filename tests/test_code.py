import os
import sys
from types import ModuleType

import pytest

from collapsebench.components import discovery
from collapsebench.components.code import class_hash, harness_hash, module_hash, normal
from collapsebench.errors import UsageError

METHOD = '''"""A method."""
import json
from typing import ClassVar

from collapsebench import Method, hookimpl
{head}

class Mine(Method):
    """Mine."""

    name: ClassVar[str] = "mine"

    @hookimpl
    def kl_weight(self):
        {body}


@hookimpl
def collapsebench_components():
    return [Mine]
'''


@pytest.fixture(autouse=True)
def own_path(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])


@pytest.fixture
def code(tmp_path):
    """Write files into a folder, and return the hash of the method in one of them."""
    names = {"helper": "helper.py", "deeper": "deeper.py", "part": "parts/helper.py", "package": "parts/__init__.py"}
    names |= {"unused": "unused.py", "weights": "w.json"}

    def write(source=None, **files):
        given = {names[name]: content for name, content in files.items()} | ({"mine.py": source} if source else {})
        for name, content in given.items():
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)
            os.utime(path, (1, 1))  # an edit within a second, as an editor's save and a call right behind it
        return discovery.load([tmp_path / "mine.py"]).entry("method", "mine").code

    return write


def method(head="", body="return 1.0"):
    return METHOD.format(head=head, body=body)


def test_a_hash_is_of_the_program_and_not_of_its_words(code):
    first = code(method())
    assert len(first) == 16
    assert int(first, 16)
    assert code(method("# a comment\n\n", 'return 1.0  # "a" remark')) == first
    assert code(method().replace('"""Mine."""', '"""Mine,\n    in two lines."""')) == first
    assert code(method(body="return 2.0")) != first
    assert code(method(body='return 1.0 if "# no comment" else 2.0')) != first
    assert code(method()) == first


@pytest.mark.parametrize(
    ("source", "same"),
    [
        (b"x = 1\n", b"x = 1\r\n"),
        (b"x = 1\n", b"\xef\xbb\xbfx = 1"),
        (b"x = '\xc3\xa9'", b"# -*- coding: latin-1 -*-\nx = '\xe9'"),
        (b"def f():\n    'words'\n    return 1", b"def f():\n    return 1"),
        (b"'words'; x = 1", b"; x = 1"),
        (b"y = '\xc3\xa9'  # \xc3\xa9\nx = 1", b"y = '\xc3\xa9'\n\n\nx = 1"),
        (b"not Python (", b"not Python ("),
    ],
)
def test_the_normal_form_of_a_source(source, same):
    assert normal(source) == normal(same) or normal(source) == same


@pytest.mark.parametrize(
    ("head", "body", "file", "before", "after"),
    [
        ("from helper import WEIGHT", "return WEIGHT", "helper", "WEIGHT = 1.0", "WEIGHT = 2.0"),
        ("", "import helper; return helper.WEIGHT", "helper", "WEIGHT = 1.0", "WEIGHT = 2.0"),
        ("from parts import helper", "return helper.W", "part", "W = 1.0", "W = 2.0"),
        ("import parts.helper as h", "return h.W", "part", "W = 1.0", "W = 2.0"),
        (
            "from importlib import import_module",
            "return import_module('helper').WEIGHT",
            "helper",
            "WEIGHT = 1.0",
            "WEIGHT = 2.0",
        ),
        (
            "from pathlib import Path",
            'return json.loads(Path(__file__).with_name("w.json").read_text())',
            "weights",
            "1.0",
            "2.0",
        ),
    ],
)
def test_what_lies_beside_and_is_used_counts(code, head, body, file, before, after):
    source = method(head, body)
    first = code(source, package="", **{file: before})
    assert code(source, unused="1") == first
    assert code(**{file: after}) != first
    assert code(**{file: before}) == first


def test_helpers_of_helpers_count(code):
    files = {"helper": "from deeper import W", "deeper": "W = 1.0"}
    first = code(method("from helper import W"), **files)
    assert code(deeper="W = 2.0") != first


def test_the_hash_is_of_what_was_loaded_and_not_of_an_edit_since(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(method())
    catalog = discovery.load([path])
    before = catalog.entry("method", "mine").code
    path.write_text(method(body="return 3.0"))
    assert catalog.entry("method", "mine").code == before
    assert discovery.load([path]).entry("method", "mine").code != before


def test_what_comes_with_the_harness_has_no_hash_of_its_own():
    assert {entry.code for entry in discovery.load().entries.values()} == {None}
    assert len(harness_hash()) == 16


def cell(source):
    """The class `Mine` of a notebook whose cells hold this source."""
    module = ModuleType("a_notebook")
    sys.modules["a_notebook"] = module
    exec(source, vars(module))  # noqa: S102 - as a notebook does
    return module.Mine


@pytest.mark.parametrize(
    "edit",
    [("return W * half(1)", "return half(1)"), ("W = 0.5", "W = 0.7"), ("x / 2", "x / 3"), ("Field(4.0", "Field(5.0")],
)
def test_a_class_of_a_notebook_is_hashed_with_what_it_names(edit):
    source = (
        "from collapsebench import Method, hookimpl\nfrom pydantic import Field\n"
        "W = 0.5\ndef half(x):\n    return x / 2\n"
        "class Mine(Method):\n    name = 'mine'\n    beta: float = Field(4.0, description='weight')\n"
        "    @hookimpl\n    def kl_weight(self):\n        return W * half(1)\n"
    )
    assert edit[0] in source
    first = class_hash(cell(source))
    assert class_hash(cell(source + "V = 2\n")) == first
    assert class_hash(cell(source.replace(*edit))) != first
    assert module_hash(sys.modules["a_notebook"]) is None


def test_a_plugin_is_a_python_file(tmp_path):
    (tmp_path / "mine.txt").write_text("x = 1")
    with pytest.raises(UsageError, match="is not a Python file"):
        discovery.load([tmp_path / "mine.txt"])
