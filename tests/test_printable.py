"""What is printed can be seen: no character reaches a terminal that moves its cursor or hides another."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapsebench.printable import printable, printable_lines

HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""The categories of Unicode that have no shape of their own."""


@given(st.text())
def test_every_character_can_be_seen_in_one_line(text):
    shown = printable(text)
    assert not {unicodedata.category(character) for character in shown} & HIDDEN
    assert len(shown.splitlines()) <= 1
    assert printable(shown) == shown
    shown.encode()


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"], max_codepoint=0x2FF)))
def test_what_can_be_seen_stays(text):
    assert printable(text) == text


@given(st.text(), st.text())
def test_texts_that_differ_without_backslashes_differ_when_printed(one, other):
    assert "\\" in one + other or (printable(one) == printable(other)) == (one == other)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b2J", r"\x9b2J"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\u202eevil", r"\u202eevil"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("\ud800", r"\ud800"),
        ("tag\U000e0041", r"tag\U000e0041"),
        ("\u3164", r"\u3164"),
        ("β − ± ≥ α ² é 中文", "β − ± ≥ α ² é 中文"),
        ("thin\u2009space", "thin\u2009space"),
    ],
)
def test_escapes_are_those_of_python(text, shown):
    assert printable(text) == shown


@given(st.lists(st.text()))
def test_lines_stay_lines(lines):
    shown = printable_lines("\n".join(lines)).split("\n")
    assert len(shown) == "\n".join(lines).count("\n") + 1
    assert all(printable(line) == line for line in shown)


def test_tabs_become_spaces_between_lines():
    assert printable_lines("a\tb\r\nc\x1b") == "a       b\nc\\x1b"
