"""Rules that no model can break: what breaks them is flagged, and nothing else is."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import record

from collapsebench.estimates import Estimate
from collapsebench.observation import Observation
from collapsebench.plausibility import (
    ColumnRole,
    Quantity,
    Scores,
    checker,
    estimated,
    published_scores,
    role,
    violations,
)
from collapsebench.published import publication, publication_names
from collapsebench.record import Value
from collapsebench.store.interchange import read_lines

LEADERBOARDS = Path(__file__).parents[1] / "results" / "leaderboards"


def broken(units=None, samples=None, tokens=None, mixtures=None, **columns):
    """The texts of the violations of exact numbers."""
    quantities = {name.replace("__", "."): q if isinstance(q, Quantity) else Quantity(q) for name, q in columns.items()}
    tokens = None if tokens is None else Quantity(tokens)
    return [found.text for found in violations(Scores(quantities, units, samples, tokens, mixtures or {}))]


# ---------------------------------------------------------------------------------------------- one rule at a time


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"kl": -0.01}, "kl -0.01 is below 0"),
        ({"kl": 1.0, "mi_lower": 1.1}, "mi_lower 1.1 is above kl 1"),
        ({"kl": 1.0, "mi": 1.1}, "mi 1.1 is above kl 1"),
        ({"kl": 9.0, "he2019__mi": 1.1, "he2019__kl": 1.0}, "he2019.mi 1.1 is above kl 1"),
        ({"mi_lower": 9.3, "mixtures": {"mi_lower": 10_000}}, "mi_lower 9.3 is above log 10,000 = 9.21034"),
        ({"mi_lower": 1.1, "mi_upper": 1.0}, "mi_lower 1.1 is above mi_upper 1"),
        ({"iw_nll": 90.1, "neg_elbo": 90.0}, "iw_nll 90.1 is above neg_elbo 90"),
        (
            {"neg_elbo": 90.0, "reconstruction": 80.0, "kl": 9.0},
            "neg_elbo 90 is not reconstruction 80 + kl 9",
        ),
        ({"active_units": 33, "units": 32}, "active_units 33 is above the 32 latent units"),
        ({"he2019__au": 33, "units": 32}, "he2019.au 33 is above the 32 latent units"),
        ({"active_units": -1}, "active_units -1 is below 0"),
        ({"ess": 0.9, "samples": 50}, "ess 0.9 is not between 1 and 50 samples"),
        ({"ess": 50.1, "samples": 50}, "ess 50.1 is not between 1 and 50 samples"),
        (
            {"perplexity": math.e, "tokens": 20.0, "iw_nll": 21.0},
            "perplexity 2.71828 (20 nats for 20 tokens) is not iw_nll 21",
        ),
        (
            {"perplexity": math.e, "tokens": 20.0, "neg_elbo": 19.0},
            "perplexity 2.71828 (20 nats for 20 tokens) is above neg_elbo 19",
        ),
        (
            {"perplexity_bound": math.e, "tokens": 20.0, "neg_elbo": 21.0},
            "perplexity_bound 2.71828 (20 nats for 20 tokens) is not neg_elbo 21",
        ),
    ],
)
def test_what_cannot_be(given, text):
    assert broken(**given) == [text]


def test_units_that_do_not_add_up():
    scores = {"kl": Quantity(3.0), "kl[0]": Quantity(1.0), "kl[1]": Quantity(1.9)}
    assert [found.text for found in violations(Scores(scores))] == ["kl 3 is not the sum 2.9 of its 2 units"]
    assert not violations(Scores(scores | {"kl[1]": Quantity(2.0)}))
    (negative,) = violations(Scores({"kl": Quantity(0.0), "kl[0]": Quantity(0.5), "kl[1]": Quantity(-0.5)}))
    assert negative.text == "kl[1] -0.5 is below 0"


@pytest.mark.parametrize(
    "given",
    [
        {"kl": 0.0, "mi_lower": 0.0, "mi_upper": 0.0, "active_units": 0, "units": 0},
        {"iw_nll": 90.0, "neg_elbo": 90.0},
        {"neg_elbo": 90.0, "reconstruction": 80.0, "kl": 10.0},
        {"ess": 1.0, "samples": 1},
        {"ess": 50.0, "samples": 50},
        {"perplexity": math.e, "tokens": 20.0, "iw_nll": 20.0, "neg_elbo": 20.0},
        {"mi_lower": math.log(50), "mixtures": {"mi_lower": 50}},
    ],
)
def test_what_just_can(given):
    assert broken(**given) == []


def test_nan_breaks_no_rule():
    nan = math.nan
    columns = (
        "kl",
        "mi_lower",
        "mi_upper",
        "iw_nll",
        "neg_elbo",
        "reconstruction",
        "active_units",
        "ess",
        "perplexity",
    )
    assert broken(units=2, samples=5, tokens=3.0, mixtures={"mi_lower": 9}, **dict.fromkeys(columns, nan)) == []


def test_rounding_and_chance_are_allowed_for():
    kl = Quantity(1.0, rounding=0.05)
    assert broken(kl=kl, mi_lower=Quantity(1.1, rounding=0.05)) == []
    assert broken(kl=kl, mi_lower=Quantity(1.2, chance=0.1)) == ["mi_lower 1.2 is above kl 1"]
    assert broken(kl=kl, mi_lower=Quantity(1.2, chance=0.15)) == []
    off_by_chance = {"neg_elbo": Quantity(90.0, chance=5.0), "reconstruction": Quantity(80.0, chance=5.0)}
    assert len(broken(kl=kl, **off_by_chance)) == 1
    assert broken(kl=Quantity(1.0, chance=9.0), **off_by_chance) == []  # the bound may be of more draws than the KL
    assert len(broken(kl=Quantity(1.0, chance=8.9), **off_by_chance)) == 1


def test_an_upper_bound_may_be_anything_below():
    assert broken(iw_nll=Quantity(91.0, bound=True), neg_elbo=90.0) == []
    assert len(broken(iw_nll=91.0, neg_elbo=Quantity(90.0, bound=True))) == 1


exact = st.floats(0, 50)


@given(kl=st.lists(exact, min_size=1, max_size=4), share=st.floats(0, 1), reconstruction=exact, gap=exact)
def test_what_holds_together_is_never_flagged(kl, share, reconstruction, gap):
    total = math.fsum(kl)
    columns = {
        "kl": total,
        "mi_lower": min(total * share, math.log(100)),
        "mi_upper": total,
        "reconstruction": reconstruction,
        "neg_elbo": reconstruction + total,
        "iw_nll": reconstruction + total - gap,
        "active_units": len(kl) * share,
        **{f"kl[{unit}]": value for unit, value in enumerate(kl)},
    }
    scores = {name: Quantity(value) for name, value in columns.items()}
    assert not violations(Scores(scores, units=len(kl), mixtures={"mi_lower": 100}))


# ---------------------------------------------------------------------------------------------- published rows

IMPOSSIBLE = {
    ("della-2022", "yelp", "DELLA"): {"mi 10.78 is above log 10,000 = 9.21034"},
    ("della-2022", "yahoo", "DELLA"): {"mi 12.31 is above log 10,000 = 9.21034"},
    ("della-2022", "snli", "DELLA"): {"mi 16.58 is above kl 5.86", "mi 16.58 is above log 10,000 = 9.21034"},
    ("della-2022", None, "Softmax (384)"): {"mi 7.15 is above kl 5.04"},
    ("della-2022", None, "GPT-2-medium"): {"mi 23.69 is above kl 17.09"},
}


def test_the_impossible_rows_are_flagged_and_no_other():
    found = {
        (row.publication, row.setting.get("dataset"), row.label): {v.text for v in violations(published_scores(row))}
        for name in publication_names()
        for row in publication(name).rows
        if violations(published_scores(row))
    }
    assert found == IMPOSSIBLE


def test_the_paper_s_perplexities_are_checked_against_its_bounds():
    """The tightest row of Table 4: 327.27 nats by its perplexity, 327.3 by its bound."""
    (row,) = (row for row in publication("dieng-2019").table("Table 4") if row.values["perplexity"].printed == "60.20")
    scores = published_scores(row)
    lower = scores.values | {"neg_elbo": Quantity(327.1, 0.05)}
    assert not violations(scores)
    (violation,) = violations(Scores(lower, scores.units, tokens=scores.tokens))
    assert violation.text == "perplexity 60.2 (327.269 nats for 79.867 tokens) is above neg_elbo 327.1"


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        *((name, ColumnRole.INFORMATION) for name in ("mi", "mi_lower", "he2019.mi", "skip-vae-released.mi")),
        *((name, ColumnRole.UNITS) for name in ("active_units", "active_units[0.2]", "li2019.au")),
        ("kl[12]", ColumnRole.RATE_OF_UNIT),
        *((name, None) for name in ("kl", "mi_upper", "mi_examples", "mi_leave_one_out", "aggregate_kl", "ess")),
    ],
)
def test_the_role_of_a_column_is_known_by_its_name(column, expected):
    assert role(column) is expected


# ---------------------------------------------------------------------------------------------- runs


def flagged(entries=None, **columns):
    """The texts of the violations of a run of 2 units."""
    kept = tuple(Value.of("mutual-information", name, Estimate(value)) for name, value in (entries or {}).items())
    made = record(columns=columns)
    run = Observation.of(made.model_copy(update={"values": (*made.values, *kept)}), entries or ())
    return [found.text for found in checker(run.protocol)(run)]


def test_a_run_may_miss_by_five_standard_errors():
    assert not flagged(iw_nll=Estimate(90.4, 0.05), neg_elbo=Estimate(90.0, 0.04))
    assert flagged(iw_nll=Estimate(90.5, 0.05), neg_elbo=Estimate(90.0, 0.04))
    assert not flagged(iw_nll=Estimate(99.0, math.nan), neg_elbo=90.0)


def test_a_run_knows_its_units_and_its_number_of_examples():
    assert flagged(active_units=3) == ["active_units 3 is above the 2 latent units"]
    assert flagged({"mi_examples": 100, "mi_lower": 4.7}) == ["mi_lower 4.7 is above log 100 = 4.60517"]


@pytest.mark.parametrize("path", sorted(LEADERBOARDS.glob("*.jsonl")), ids=lambda path: path.stem)
def test_no_run_of_the_committed_evidence_is_flagged(path):
    with path.open("rb") as lines:
        for made in read_lines(lines, str(path)):
            run = Observation.of(made, {value.column for value in made.values})
            assert len(estimated(run)) > 8
            assert not checker(run.protocol)(run)
