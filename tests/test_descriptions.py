"""Components described by what they declare."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import ClassVar, Literal

import pytest
from pydantic import Field, PositiveFloat

from collapsebench import Method
from collapsebench.components import discovery
from collapsebench.components.catalog import Entry
from collapsebench.components.descriptions import Description, origins, parameters, with_required


class Pace(StrEnum):
    """A choice of names."""

    SLOW = "slow"
    FAST = "fast"


class Described(Method):
    r"""The first line.

    More, as \(\beta = 1\).
    """

    name: ClassVar[str] = "described"

    weight: PositiveFloat = Field(description="a weight")
    steps: int = Field(3, ge=1, lt=9, description="some steps")
    limit: PositiveFloat | None = Field(None, description="a limit")
    how: Literal["a", "b"] | None = Field("a", description="a way")
    pace: Pace = Field(Pace.SLOW, description="a pace")
    text: str = Field("x", description="some text")
    exact: bool = Field(default=False, description="a flag")


DESCRIPTION = Description(Entry(Described, "mine", "mine.py", None))
CATALOG = discovery.load()


@pytest.mark.parametrize(
    ("name", "type_", "default"),
    [
        ("weight", "number > 0", None),
        ("steps", "integer >= 1 and < 9", 3),
        ("limit", "number > 0 or none", None),
        ("how", "a|b or none", "a"),
        ("pace", "slow|fast", "slow"),
        ("text", "text", "x"),
        ("exact", "boolean", False),
    ],
)
def test_a_parameter_is_described_with_its_type_its_bounds_and_its_default(name, type_, default):
    found = next(parameter for parameter in parameters(Described) if parameter.name == name)
    assert (found.type, found.default, found.required) == (type_, default, name == "weight")
    assert found.description == Described.model_fields[name].description


def test_a_required_parameter_says_so():
    assert DESCRIPTION.parameters[0].text == "  weight  (number > 0; required)\n      a weight"


def test_what_a_method_requires_is_its_example_or_one():
    class Requiring(Described):
        name: ClassVar[str] = "requiring"

        pace: Pace = Field(description="a pace", examples=[Pace.FAST])
        text: str = Field("x", description="some text")

    assert with_required(Described) == "described[weight=1]"
    assert with_required(Requiring) == "requiring[pace=fast,weight=1]"


def test_the_summary_is_the_first_line_of_the_docstring():
    assert DESCRIPTION.summary == "The first line."
    assert DESCRIPTION.as_text().startswith("described: The first line.\n\nMore, as β = 1.\n\nfamily:   other\n")


@pytest.mark.parametrize("key", CATALOG.entries, ids=" ".join)
def test_every_component_can_be_described(key):
    entry = CATALOG.entries[key]
    described = json.loads(json.dumps(Description(entry).as_json()))
    assert described["name"] == entry.component.name
    assert [parameter["name"] for parameter in described["parameters"]] == list(entry.component.model_fields)
    assert all(parameter["type"] for parameter in described["parameters"])


def test_origins_are_in_the_order_of_kinds_and_names():
    found = [(origin.kind, origin.name) for origin in origins(CATALOG)]
    assert found == sorted(CATALOG.entries)
