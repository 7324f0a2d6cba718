"""The published tables: every row of them, as printed, and in this project's words."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from collapsebench.errors import UsageError
from collapsebench.published import SETTING, publication, publication_names, publications

DIENG = publication("dieng-2019")


def printed(rows, column):
    return [row.values[column].printed if column in row.values else "-" for row in rows]


def total(rows, column):
    return sum(row.values[column].value for row in rows if column in row.values)


def implied_nll(row):
    """Nats per example, from the perplexity and the tokens."""
    return math.log(row.values["perplexity"].value) * row.tokens


# ---------------------------------------------------------------------------------------------- Dieng et al. 2019


def test_every_row_of_the_paper_is_there():
    assert Counter(row.table for row in DIENG.rows) == {
        "Table 1": 10,
        "Table 2": 16,
        "Table 3": 6,
        "Table 4": 7,
        "text: probe": 4,
    }
    assert Counter(row.contender for row in DIENG.rows) == {
        "vae": 19,
        "skip": 19,
        "sa-vae": 2,
        "skip+sa-vae": 2,
        "no-latent": 1,
    }


@pytest.mark.parametrize(
    ("table", "neg_elbo", "kl", "mi", "units"),
    [
        ("Table 1", 831.88, 70.00, 62.27, 78),
        ("Table 2", 1433.50, 133.96, 109.36, 268),
        ("Table 3", 570.11, 145.18, 55.24, 107),
        ("Table 4", 1976.5, 46.495, 24.862, 121),
    ],
)
def test_the_columns_add_up(table, neg_elbo, kl, mi, units):
    """Sums over the columns as printed, VAE and Skip together, added up apart from this file."""
    rows = DIENG.table(table)
    sums = [total(rows, column) for column in ("neg_elbo", "kl", "mi_lower", "active_units")]
    assert sums == pytest.approx([neg_elbo, kl, mi, units], abs=1e-9)


def test_digits_are_kept_as_printed():
    rows = DIENG.table("Table 2")
    assert printed(rows, "neg_elbo")[:4] == ["-89.64", "-89.22", "-84.38", "-84.03"]
    assert printed(rows, "kl")[:2] == ["13.31", "13.40"]
    kl = rows[1].values["kl"]
    assert (kl.value, kl.rounding, kl.bound, kl.doubtful) == (13.4, 0.005, False, False)
    elbo = DIENG.table("Table 4")[1].values["neg_elbo"]
    assert (elbo.printed, elbo.value, elbo.rounding) == ("-330.1", 330.1, 0.05)


def test_settings_estimators_and_sizes_stand_with_every_row():
    row = DIENG.table("Table 3")[-1]
    assert row.setting == {
        "dataset": "mnist",
        "latent_dim": 50,
        "encoder.name": "mlp",
        "decoder.name": "mlp",
        "decoder.layers": 4,
    }
    assert (row.publication, row.label, row.contender) == ("dieng-2019", "SKIP-VAE", "skip")
    assert row.mixture == row.examples == 10_000
    assert set(row.estimators) == set(row.values)
    omniglot = [row for row in DIENG.rows if row.setting["dataset"] == "omniglot-burda"]
    assert {row.examples for row in omniglot} == {8070}
    accuracy = DIENG.table("text: probe")[0].values["probe_accuracy"]
    assert (accuracy.value, accuracy.rounding) == pytest.approx((0.9719, 0.00005))


def test_table_3_is_at_the_limit_of_its_estimator():
    for row in DIENG.table("Table 3"):
        mi = row.values["mi_lower"]
        assert abs(mi.value - math.log(row.mixture)) < 0.02


def test_perplexities_of_table_4_give_the_likelihoods_known_for_them():
    """field of the table: 329.1, 330.1, 329.2, 326.8, 328.2, 327.3, 327.7 nats; no gap to the ELBO is negative."""
    rows = DIENG.table("Table 4")
    assert [round(implied_nll(row), 1) for row in rows] == [329.1, 330.1, 329.2, 326.8, 328.2, 327.3, 327.7]
    for row in rows[1:]:
        perplexity, bound = row.values["perplexity"], row.values["neg_elbo"]
        rounding = bound.rounding + perplexity.rounding / perplexity.value * row.tokens
        assert bound.value - implied_nll(row) > -rounding


# ---------------------------------------------------------------------------------------------- all publications


@pytest.mark.parametrize("found", publications(), ids=lambda found: found.name)
def test_every_publication_says_where_it_is_from_and_what_it_compares_with(found):
    assert found.citation
    for row in found.rows:
        assert row.values, row
        assert row.comparable
        assert row.setting.keys() <= set(SETTING)
        assert row.setting["dataset"]


# ---------------------------------------------------------------------------------------------- bad files

GOOD = """
title = "t"
citation = "c"
provenance = "read"
contenders = { "VAE" = "vae" }
[columns]
kl = { printed = "KL" }
[[tables]]
table = "Table 1"
caption = "c"
setting = { dataset = "mnist" }
comparable = "nothing"
columns = ["label", "kl"]
rows = [["VAE", 1.50], ["B", "<=2.0"], ["C", "5.86?"], ["D", "-"]]
"""


def read(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return publication(path)


def test_bounds_doubts_and_gaps(tmp_path):
    rows = read(tmp_path, GOOD).rows
    assert [row.contender for row in rows] == ["vae", None, None, None]
    assert [(v.value, v.bound, v.doubtful) for row in rows for v in row.values.values()] == [
        (1.5, False, False),
        (2.0, True, False),
        (5.86, False, True),
    ]


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('title = "t"', 'titel = "t"', "title: Field required"),
        ('"read"', '"memory"', "provenance: Input should be 'read' or 'ocr', got 'memory'"),
        ('"label", "kl"', '"label", "kll"', "unknown column 'kll'. Did you mean 'kl'?"),
        ('{ dataset = "mnist" }', '{ datset = "mnist" }', "unknown setting 'datset'. Did you mean 'dataset'?"),
        ('["VAE", 1.50]', '["VAE"]', "Table 1 has 2 columns, got 1 cells: VAE"),
        ("1.50", '"1,50"', "cannot read '1,50': write a number as printed"),
        ('"VAE" = "vae"', '"VEA" = "vae"', "unknown label 'VEA'. Did you mean 'VAE'?"),
        ('"VAE" = "vae"', '"VAE" = "skip + sa-vae"', "contender 'skip + sa-vae' is written 'skip+sa-vae'"),
        ('["label", "kl"]', '["dataset", "kl"]', "Table 1 has no column 'label'"),
        ("provenance", "provenance = ", "cannot read the published file"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path, old, new, complaint):
    assert old in GOOD
    with pytest.raises(UsageError) as caught:
        read(tmp_path, GOOD.replace(old, new, 1))
    assert complaint in str(caught.value)
    assert "mine.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(UsageError, match=r"unknown publication 'dieng-2091'. Did you mean 'dieng-2019'\?"):
        publication("dieng-2091")
    with pytest.raises(UsageError, match=r"dieng-2019: unknown table 'Table 9'"):
        DIENG.table("Table 9")
    assert "dieng-2019" in publication_names()
