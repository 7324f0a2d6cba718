"""Docstrings as a terminal shows them."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapsebench.components import discovery
from collapsebench.components.descriptions import Description
from collapsebench.components.interfaces import Family
from collapsebench.components.typeset import FORMULA, formula, readable

ENTRIES = discovery.load().entries
METHODS = {name: entry for (kind, name), entry in ENTRIES.items() if kind == "method"}


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"\beta\, KL", "β KL"),
        (r"KL(q \| p) \ge \delta", "KL(q ‖ p) ≥ δ"),
        (r"\frac1B \sum_i KL_{ij}", "1/B ∑_i KL_ij"),
        (r"\frac wB", "w/B"),
        (r"\frac{1}{MB} \log \bar q_j", "1/(MB) log q̄_j"),
        (r"\frac{a + b}{B^2}", "(a + b)/B²"),
        (r"C_{t-1} e^{-k(s/w - 1/2)}", "C_(t-1) e^(-k(s/w - 1/2))"),
        (r"10^{-5} K^* x^{12}", "10⁻⁵ K* x¹²"),
        (r"\sqrt v + \sqrt{s^2_j + \epsilon}", "√v + √(s²_j + ε)"),
        (r"\mathrm{clip}(W_t, \tilde z) \cdot \lambda", "clip(W_t, z̃) · λ"),
        (r"\{j : x\}", "{j : x}"),
        ("a\n  b", "a b"),
        (r"\nosuchcommand x", "nosuchcommand x"),
        (r"x^{}", "x^()"),
        (r"e^{s_t} z_{t-1} + q_{k_c}", "e^(s_t) z_(t-1) + q_(k_c)"),
        (r"\mu^\top z + \mu^{\top} z", "μ^⊤ z + μ^⊤ z"),
    ],
)
def test_formulas_stand_on_one_line_of_unicode(latex, text):
    assert formula(latex) == text


@given(st.text("abx\\{}_^ 12+|\n", max_size=30))
def test_every_text_can_be_read_as_a_formula(latex):
    assert "\n" not in formula(latex)


@given(st.text("abc xyz+-=()[]|,.", max_size=30))
def test_what_is_no_latex_stays(text):
    assert formula(text) == " ".join(text.split())


def test_paragraphs_and_items_are_filled_and_formulas_may_cross_lines():
    said = "The weight\n\\(\\beta =\n1\\) is new.\n\n- one\n  more\n- two"
    assert readable(said) == "The weight β = 1 is new.\n\n- one more\n- two"
    assert readable("some words here", width=10) == "some words\nhere"


@given(st.lists(st.sampled_from(["a", "bcd", "-"]), min_size=1, max_size=20), st.integers(5, 20))
def test_a_minus_begins_no_line(words, width):
    lines = readable(" ".join(["x", *words, "y"]), width).split("\n")
    assert " ".join(lines) == " ".join(["x", *words, "y"])
    assert not any(line.startswith("- ") for line in lines[1:])


@pytest.mark.parametrize("name", METHODS)
def test_a_page_has_the_items_of_its_docstring(name):
    docstring = inspect.cleandoc(METHODS[name].component.__doc__)
    found = [text.count("\n- ") for text in (docstring, readable(docstring))]
    assert found[0] == found[1]


@pytest.mark.parametrize("name", METHODS)
def test_a_shipped_method_reads_well_in_a_terminal(name):
    entry = METHODS[name]
    assert FORMULA.search(inspect.cleandoc(entry.component.__doc__).partition("\n")[0]) is None
    assert len(Description(entry).summary) <= 90  # with the name before it, a line of the list
    text = Description(entry).as_text()
    assert not {"\\", "{", "}", "$"} & set(text)


@pytest.mark.parametrize("key", ENTRIES, ids=" ".join)
def test_no_component_shows_latex(key):
    assert "\\" not in readable(ENTRIES[key].component.__doc__)


@pytest.mark.parametrize("name", METHODS)
def test_every_shipped_method_says_its_family(name):
    assert METHODS[name].component.family is not Family.OTHER
