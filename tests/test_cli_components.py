"""`collapsebench components`, through the command line's own entry."""

from __future__ import annotations

import json

import pytest

from collapsebench.components import discovery
from collapsebench.components.descriptions import Description

CATALOG = discovery.load()


def test_the_list_has_every_component_under_its_kind(command):
    parts = command("components").out.split("\n\n")
    listed = {(part.splitlines()[0], line.split()[0]) for part in parts for line in part.splitlines()[1:]}
    assert listed == {key for key in CATALOG.entries if key[0] in CATALOG.kinds}
    assert [part.splitlines()[0] for part in parts] == CATALOG.kinds


def test_the_list_of_a_kind_has_the_first_line_of_each_docstring(command):
    heading, *lines = command("components", "decoder").out.splitlines()
    assert heading == "decoder"
    described = [Description(CATALOG.entry("decoder", name)) for name in CATALOG.names("decoder")]
    assert [line.split(maxsplit=1) for line in lines] == [[each.name, each.summary] for each in described]


@pytest.mark.parametrize(
    "key", [("decoder", "lstm"), ("metric", "kl"), ("dataset", "digits"), ("posterior", "gaussian")]
)
def test_a_page_has_every_setting_with_its_default(command, key):
    answer = command("components", *key)
    described = Description(CATALOG.entry(*key))
    assert answer.out == f"{described.as_text()}\n"
    assert all(parameter.text in answer.out for parameter in described.parameters)
    assert "hooks:" not in answer.out
    assert json.loads(command("components", *key, "--json").out) == [described.as_json()]


def test_the_page_of_a_method_is_that_of_methods(command):
    assert command("components", "method", "skip").out == command("methods", "skip").out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("decodr",), "unknown kind of component 'decodr'. Did you mean 'decoder'?"),
        (("decoder", "lstn"), "unknown decoder 'lstn'. Did you mean 'lstm'?"),
    ],
)
def test_an_unknown_name_is_one_line(command, arguments, said):
    answer = command("components", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(f"error: {said} Known: ")
