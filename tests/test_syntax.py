"""The small language: what is printed reads back, and mistakes are named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapsebench.errors import UsageError
from collapsebench.syntax import (
    Call,
    parse_composition,
    parse_setting,
    print_call,
    print_composition,
    print_value,
)

names = st.from_regex(r"[a-z0-9][a-z0-9-]{0,8}", fullmatch=True)
keys = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,6}", fullmatch=True)
scalars = st.one_of(
    st.booleans(), st.none(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=12)
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=6)
calls = st.builds(Call, names, st.dictionaries(keys, values, max_size=3))


@given(st.lists(calls, min_size=1, max_size=3))
def test_a_composition_reads_back_as_printed(composition):
    assert parse_composition(print_composition(composition)) == composition


@given(keys, values)
def test_a_setting_reads_back_with_the_same_type(key, value):
    path, found = parse_setting(f"{key}.{key}={print_value(value)}")
    assert path == f"{key}.{key}"
    assert found == value
    assert type(found) is type(value)


@given(keys, calls)
def test_a_setting_may_be_a_name_with_parameters(key, call):
    expected = call if call.params else call.name
    path, found = parse_setting(f"{key} = {print_composition([call])}")
    assert path == key
    if call.params:
        assert found == expected
        assert isinstance(found, Call)


@given(st.text(max_size=20))
def test_any_text_is_read_or_refused_in_one_line(text):
    try:
        composition = parse_composition(text)
    except UsageError:
        with pytest.raises(UsageError, match=r"^cannot read .*"):
            parse_composition(text)
    else:
        assert parse_composition(print_composition(composition)) == composition


def test_reading_the_documented_example():
    assert parse_composition("skip+sa-vae[steps=20, hvp=exact]") == [
        Call("skip", {}),
        Call("sa-vae", {"steps": 20, "hvp": "exact"}),
    ]


def test_parameters_are_printed_sorted():
    assert print_call("a", {"y": [1, 2.5], "x": "1"}) == 'a[x="1",y=[1,2.5]]'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("skip+", "expected a name, got the end"),
        ("skip[steps]", "expected '=', got ']'"),
        ("skip[a=1 b=2]", "expected ',' or ']', got 'b=2]'"),
        ("skip[a=1", "expected ',' or ']', got the end"),
        ("skip[a=1,a=2]", "'a' is given twice"),
        ("_skip", "expected a name, got '_skip'"),
        ('skip[a="x]', "expected a closing quote"),
        (f"skip[a={'9' * 5000}]", "an integer of 5000 digits"),
        (f"skip[a={'[' * 3000}]", "more than 20 lists within each other"),
    ],
)
def test_mistakes_are_named_with_their_place(text, expected):
    with pytest.raises(UsageError, match="cannot read") as caught:
        parse_composition(text)
    assert expected in str(caught.value)
