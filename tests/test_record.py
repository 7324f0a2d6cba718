"""Numbers are stored as what they are."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from collapsebench.record import Number, NumberKind, Outcome


@given(st.floats())
def test_a_number_comes_back_as_it_was_through_json(value):
    again = float(Number.model_validate_json(Number.of(value).model_dump_json()))
    assert (math.isnan(again) and math.isnan(value)) or (
        again == value and math.copysign(1, again) == math.copysign(1, value)
    )


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (NumberKind.FINITE, None),
        (NumberKind.NAN, 1.0),
        (NumberKind.POSITIVE_INFINITY, 0.0),
        (NumberKind.FINITE, math.inf),
    ],
)
def test_kind_and_value_must_agree(kind, value):
    with pytest.raises(ValidationError, match="finite and has a value, or neither"):
        Number(kind=kind, value=value)


def test_only_finished_and_diverged_runs_are_results():
    assert {outcome for outcome in Outcome if outcome.settled} == {Outcome.FINISHED, Outcome.DIVERGED}
