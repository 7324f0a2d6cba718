"""Numbers are stored as what they are."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from records import reasons, record

from collapsebench.estimates import Declined
from collapsebench.printable import printable
from collapsebench.record import DeclinedColumn, Number, NumberKind, Outcome, RunRecord
from collapsebench.store.interchange import read_line, write_line


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


@given(st.text(max_size=120) | reasons)
def test_a_reason_is_one_line_that_can_be_seen(text):
    shown = bool(text.strip()) and len(text) <= 100 and printable(text) == text
    fields = {"metric": "kl", "column": "kl[j]", "reason": text}
    if shown:
        assert Declined(text).reason == DeclinedColumn(**fields).reason == text
        return
    with pytest.raises(ValueError, match="a reason is one line of 1 to 100 visible characters"):
        Declined(text)
    with pytest.raises(ValidationError, match="a reason is one line of 1 to 100 visible characters"):
        DeclinedColumn(**fields)


@given(reasons)
def test_a_record_without_reasons_reads_as_it_always_did(reason):
    declined = (DeclinedColumn(metric="probe", column="probe", reason=reason),)
    plain, told = (json.loads(write_line(record(declined=given))) for given in ((), declined))
    assert (plain["schema"], told["schema"]) == (1, 3)
    assert "declined" not in plain
    assert told.pop("declined") == [{"metric": "probe", "column": "probe", "reason": reason}]
    assert told | {"schema": 1} == plain
    assert RunRecord.model_validate_json(record(declined=declined).model_dump_json()).declined == declined
    assert read_line(write_line(record(declined=declined)).encode()).declined == declined
