"""What is tuned of a method: ranges, and what methods declare."""

from __future__ import annotations

import math
from collections import Counter
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, NonNegativeFloat

from collapsebench import IntegerRange, Method, OneOf, Range, SearchRange, hookimpl
from collapsebench.components import discovery
from collapsebench.components.descriptions import describe_methods, required
from collapsebench.errors import PluginError

SEARCHED = {each.name: each.entry.component for each in describe_methods() if each.entry.component.search}
GRID = [(step + 0.5) / 1000 for step in range(1000)]
"""Shares that are spread evenly."""

ends = st.tuples(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6)).map(sorted).filter(lambda pair: pair[0] < pair[1])
whole = st.tuples(st.integers(1, 1000), st.integers(1, 1000)).map(sorted).filter(lambda pair: pair[0] < pair[1])
shares = st.floats(0, 1)


@given(ends, st.booleans(), st.lists(shares, min_size=2, max_size=5))
def test_a_range_rises_from_its_low_to_its_high_end(ends, log, shares):
    searched = Range(*ends, log=log)
    values = [searched.at(share) for share in sorted(shares)]
    assert values == sorted(values)
    assert all(searched.low <= value <= searched.high for value in values)
    assert (searched.at(0), searched.at(1)) == pytest.approx(ends, rel=5e-3)


@given(whole, st.booleans(), st.lists(shares, min_size=2, max_size=5))
def test_a_range_of_integers_rises_from_its_low_to_its_high_end(ends, log, shares):
    searched = IntegerRange(*ends, log=log)
    values = [searched.at(share) for share in sorted(shares)]
    assert values == sorted(values)
    assert all(isinstance(value, int) and searched.low <= value <= searched.high for value in values)
    assert [searched.at(0), searched.at(1)] == list(ends)


@given(ends, shares)
def test_a_drawn_number_has_three_digits_or_is_an_end(ends, share):
    value = Range(*ends).at(share)
    assert value in ends or value == float(f"{value:.3g}")


def test_a_linear_scale_is_even_and_a_logarithmic_one_is_even_in_the_exponent():
    linear, log = Range(2, 6), Range(0.01, 100, log=True)
    assert [linear.at(share) for share in (0.25, 0.5, 0.75)] == [3, 4, 5]
    assert [log.at(share) for share in (0.25, 0.5, 0.75)] == [0.1, 1, 10]
    exponents = [math.log10(log.at(share)) for share in GRID]
    assert exponents == pytest.approx([4 * share - 2 for share in GRID], abs=3e-3)


def test_integers_are_balanced_on_a_linear_scale_and_octaves_on_a_logarithmic_one():
    counted = Counter(IntegerRange(3, 7).at(share) for share in GRID)
    assert counted == dict.fromkeys(range(3, 8), 200)
    octaves = Counter(math.floor(math.log2(IntegerRange(1, 15, log=True).at(share))) for share in GRID)
    assert octaves == dict.fromkeys(range(4), 250)


def test_choices_are_balanced():
    counted = Counter(OneOf("a", "b", None, 4).at(share) for share in GRID)
    assert counted == dict.fromkeys(("a", "b", None, 4), 250)
    assert OneOf("a", "b").at(1) == "b"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Range(2, 1), "a range goes from a number to a larger one, got 2 and 1"),
        (lambda: Range(1, 1), "got 1 and 1"),
        (lambda: Range(0, math.inf), "got 0 and inf"),
        (lambda: Range(math.nan, 1), "got nan and 1"),
        (lambda: Range(0, 1, log=True), "a logarithmic range begins above 0, got 0"),
        (lambda: IntegerRange(-1, 1, log=True), "begins above 0, got -1"),
        (lambda: IntegerRange(3, 3), "got 3 and 3"),
        (lambda: OneOf(1), "a choice is of two values at least, got 1"),
    ],
)
def test_a_range_that_cannot_be_is_an_error(make, said):
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.parametrize(("name", "method"), SEARCHED.items(), ids=SEARCHED)
def test_the_range_of_a_shipped_method_has_values_of_its_field_and_is_told(name, method):
    (described,) = describe_methods(name=name)
    told = {each.name: each.search for each in described.parameters if each.search}
    assert told == {field: searched.text for field, searched in method.search.items()}
    assert "Tuned: " in (method.__doc__ or "") or any("Tuned: " in (base.__doc__ or "") for base in method.__mro__)
    for field, searched in method.search.items():
        assert f"tuned {searched.text})" in described.as_text()
        for share in GRID[::50]:
            value = searched.at(share)
            assert getattr(method(**(required(method) | {field: value})), field) == value


def test_an_inherited_search_is_that_of_the_fields():
    assert SEARCHED["sa-vae"].search == SEARCHED["svi"].search == {"steps": OneOf(10, 20)}


class Searched(Method):
    """A method with a field."""

    name: ClassVar[str] = "searched"
    beta: NonNegativeFloat = Field(1, description="weight")

    @hookimpl
    def kl_weight(self):
        return self.beta


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"bete": Range(0, 1)}, "Searched.search: unknown field 'bete'. Did you mean 'beta'?"),
        ({"beta": (0, 1)}, r"Searched.search: 'beta' needs a Range, IntegerRange or OneOf, got \(0, 1\)"),
    ],
)
def test_a_search_that_cannot_be_is_named_when_the_plugin_loads(search, said, monkeypatch):
    monkeypatch.setattr(Searched, "search", search)
    with pytest.raises(PluginError, match=said):
        discovery.check_component(Searched, "mine")


@pytest.mark.torch
def test_a_range_beyond_its_field_is_found_by_check(monkeypatch):
    from collapsebench.testing.checks import CheckError, described
    from collapsebench.testing.subjects import Subject

    searched: dict[str, SearchRange] = {"beta": Range(-1, 1)}
    monkeypatch.setattr(Searched, "search", searched)
    monkeypatch.setattr(Searched, "citation", "mine")
    with pytest.raises(CheckError, match=r"Searched.search has beta=-1.0: beta: Input should be greater than or equal"):
        described(Subject(Searched))
