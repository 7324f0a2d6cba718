"""`collapsebench selfcheck`, through the command line's own entry."""

from __future__ import annotations

import csv
import io
import json
import math
from itertools import islice

import pytest

from collapsebench.metrics import estimators
from collapsebench.selfcheck import cases


@pytest.fixture
def quick(command, monkeypatch):
    """Call the command on one linear model at its optimum, the variance half of the largest eigenvalue."""
    monkeypatch.setattr(cases, "cases", lambda seed: islice(cases.linear_cases(4.5, seed), 1))
    return lambda *arguments: command("selfcheck", *arguments)


@pytest.fixture
def broken(quick, monkeypatch):
    """The same with active units from the biased variance, and standard errors that are NaN."""
    monkeypatch.setattr(estimators, "mean_variance", lambda mean: mean.var(0, correction=0))
    monkeypatch.setattr(estimators, "error_over_examples", lambda values: math.nan)
    return quick


def test_every_check_is_a_line_under_its_case(quick):
    answer = quick()
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[0].split() == ["metric", "entry", "estimate", "±", "SE", "exact", "SEs", "result"]
    assert lines[1] == "linear, variance 4.5, at the optimum"
    assert lines[-1] == f"{len(lines) - 3} checks, all passed"
    assert sum(line.endswith(" pass") for line in lines) == len(lines) - 3
    (kl,) = [line.split() for line in lines[:25] if line.split()[:2] == ["kl", "kl"]]
    assert kl == ["kl", "kl", "0.34657", "=", "0.34657", "pass"]  # ½ ln 2


def test_a_failure_is_named_and_is_exit_code_one(broken):
    answer = broken()
    assert answer.code == 1
    failed = [line.split() for line in answer.out.splitlines() if line.endswith(" FAIL")]
    assert ["active-units", "mean_variance[0]"] in [line[:2] for line in failed]
    total, count = answer.out.splitlines()[-1].split(" checks, ")
    assert count == f"{len(failed)} failed"
    assert answer.err.startswith(f"error: {len(failed)} of {total} checks failed: ")
    assert "linear, variance 4.5, at the optimum" in answer.err
    assert answer.err.count("\n") == 1


def test_json_holds_every_number(quick):
    answer = quick("--json", "--seed", "3")
    assert answer == quick("--format", "json", "--seed", "3")
    found = json.loads(answer.out)
    assert found["passed"] is True
    row = next(row for row in found["checks"] if row["entry"] == "mi_lower")
    assert row["metric"] == "mutual-information"
    allowed = 5 * row["standard_error"] + row["slack"] + row["rounding"]
    assert abs(row["estimate"] - row["exact"]) < allowed
    assert row["errors"] == pytest.approx((row["estimate"] - row["exact"]) / row["standard_error"])
    assert json.loads(quick("--json").out)["checks"][0]["estimate"] != found["checks"][0]["estimate"]


def test_json_of_a_failure_is_valid_json(broken):
    answer = broken("--json")
    assert answer.code == 1
    found = json.loads(answer.out, parse_constant=pytest.fail)
    assert found["passed"] is False
    assert {row["standard_error"] for row in found["checks"] if row["metric"] == "latent-use"} == {"nan"}


def test_csv_and_markdown_have_the_same_rows(quick):
    rows = list(csv.DictReader(io.StringIO(quick("--format", "csv").out)))
    table = quick("--format", "markdown").out.splitlines()
    assert len(table) == len(rows) + 2
    assert {row["passed"] for row in rows} == {"True"}
    assert [cell.strip() for cell in table[2].split("|")][1:4] == [rows[0]["case"], rows[0]["metric"], rows[0]["entry"]]
    assert float(rows[0]["estimate"]) == pytest.approx(float(table[2].split("|")[4]), abs=1e-5)


def test_a_file_is_written(quick, tmp_path):
    answer = quick("--output", "made/check.txt")
    assert (answer.code, answer.out) == (0, "")
    assert (tmp_path / "made" / "check.txt").read_text() == quick().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("--seed", "-1"), "'--seed'"), (("--seed", "x"), "'--seed'"), (("--format", "html"), "'html' is not one of")],
)
def test_wrong_usage(command, arguments, message):
    answer = command("selfcheck", *arguments)
    assert answer.code == 2
    assert message in answer.err
