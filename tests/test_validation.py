"""What is wrong with a value is one line that names the place, the mistake and the choices."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from collapsebench.validation import describe


class Leaf(BaseModel):
    model_config = ConfigDict(extra="forbid")

    size: int
    colour: str = "green"


class Tree(BaseModel):
    model_config = ConfigDict(extra="forbid")

    leaf: Leaf | None = None
    leaves: tuple[Leaf, ...] = ()
    named: dict[str, Leaf] = {}

    @model_validator(mode="after")
    def _few(self):
        if len(self.leaves) > 2:
            raise ValueError(f"at most 2 leaves, got {len(self.leaves)}")
        return self


LEAF = {"size": 1}


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (
            {"leaf": {"size": "big"}},
            "leaf.size: Input should be a valid integer, unable to parse string as an integer, got 'big'",
        ),
        ({"leaf": {}}, "leaf.size: Field required"),
        ({"lea": LEAF}, "unknown field 'lea'. Did you mean 'leaf'? Known: leaf, leaves, named"),
        (
            {"leaf": LEAF | {"color": 1}},
            "unknown field 'leaf.color'. Did you mean 'leaf.colour'? Known: leaf.colour, leaf.size",
        ),
        (
            {"leaves": [LEAF, LEAF | {"color": 1}]},
            "unknown field 'leaves.1.color'. Did you mean 'leaves.1.colour'? Known: leaves.1.colour, leaves.1.size",
        ),
        (
            {"named": {"a": LEAF | {"color": 1}}},
            "unknown field 'named.a.color'. Did you mean 'named.a.colour'? Known: named.a.colour, named.a.size",
        ),
        ({"leaves": [LEAF] * 3}, "at most 2 leaves, got 3"),
    ],
)
def test_the_first_mistake_is_described(content, line):
    with pytest.raises(ValidationError) as caught:
        Tree.model_validate(content)
    assert describe(caught.value, Tree, "field") == line
