"""The published tables: every row of them, as printed, and in this project's words."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from collapsebench.components import discovery
from collapsebench.errors import UsageError
from collapsebench.metrics import METRICS
from collapsebench.metrics.dialects import DIALECTS
from collapsebench.published import SETTING, publication, publication_names

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
    accuracy = DIENG.table("text: probe")[0].values["mlp_probe"]
    assert (accuracy.value, accuracy.rounding) == (97.19, 0.005)


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


# ---------------------------------------------------------------------------------------------- others


def test_every_row_of_the_others_is_there():
    assert {name: Counter(row.table for row in publication(name).rows) for name in publication_names()} == {
        "chen-2017": {"Table 1": 6, "Table 2": 6, "Table 3": 7},
        "della-2022": {"Tables 1 and 8": 16, "Table 5": 5},
        "dieng-2019": Counter(row.table for row in DIENG.rows),
        "he-2019": {"Table 1": 39},
        "he-2019-log": {"example.out": 1},
        "pythae": {"VAE": 2, "VampPrior": 2, "IWAE and SVAE": 4},
        "sentence-vae": {"README": 1},
        "texar": {"Results": 4},
    }


def test_columns_of_he_et_al_add_up():
    rows = publication("he-2019").rows
    sums = {
        dataset: [
            round(total([row for row in rows if row.setting["dataset"] == dataset], column), 2)
            for column in ("iw_nll", "kl", "he2019.mi")
        ]
        for dataset in ("yahoo", "yelp15", "omniglot-burda")
    }
    assert sums == {
        "yahoo": [4275.2, 55.49, 13.8],
        "yelp15": [4294.4, 33.2, 11.7],
        "omniglot-burda": [1276.98, 144.48, 28.1],
    }
    quoted = [row.values["iw_nll"] for row in rows if "quoted" in row.label]
    assert [value.bound for value in quoted] == [True, True, True, True, False, False]


def test_the_log_of_he_et_al_adds_up():
    (row,) = publication("he-2019-log").rows
    value = {column: found.value for column, found in row.values.items()}
    assert value["reconstruction"] + value["kl"] == pytest.approx(value["neg_elbo"], abs=0.006)
    assert implied_nll(row) == pytest.approx(value["iw_nll"], abs=0.003)


def test_perplexities_of_texar_are_those_of_its_bounds():
    for row in publication("texar").rows:
        perplexity = row.values["perplexity_bound"]
        rounding = row.tokens * perplexity.rounding / perplexity.value + row.values["neg_elbo"].rounding
        assert math.log(perplexity.value) * row.tokens == pytest.approx(row.values["neg_elbo"].value, abs=rounding)


# ---------------------------------------------------------------------------------------------- all publications

PUBLICATIONS = tuple(map(publication, publication_names()))

OTHER = {"mi", "nll", "ppl", "perplexity_bound", "active_units[0.2]"}
"""What has another estimator than any of ours, or an unknown one."""


def test_columns_are_those_of_metrics_and_dialects():
    ours = {column.name for metric in METRICS for column in metric.columns}
    ours |= {column.name for dialect in DIALECTS for column in dialect.columns}
    assert {column for found in PUBLICATIONS for column in found.columns} <= ours | OTHER


def test_contenders_are_written_as_they_run():
    components = discovery.load()
    written = {contender for found in PUBLICATIONS for contender in found.contenders.values()}
    assert {components.contender(contender)[0].label for contender in written} == written


@pytest.mark.parametrize("found", PUBLICATIONS, ids=lambda found: found.name)
def test_every_publication_says_where_it_is_from_and_what_it_compares_with(found):
    assert found.citation
    for row in found.rows:
        assert row.values, row
        assert row.comparable
        assert row.setting.keys() <= set(SETTING)
        assert row.setting


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
        ('title = "t"', 'titel = "t"', "unknown field 'titel'. Did you mean 'title'?"),
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
