"""The self-check passes on sound estimators, covers all of them, and fails on every broken one."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from pydantic import ConfigDict

from collapsebench.estimates import Estimate
from collapsebench.metrics import METRICS, estimators, evaluation
from collapsebench.metrics.evaluation import EvaluatedSplit
from collapsebench.metrics.metric import Metric
from collapsebench.model.distributions import StandardNormal
from collapsebench.selfcheck.cases import METRICS as METRICS_CHECKED
from collapsebench.selfcheck.cases import SAMPLES, VARIANCES, cases, linear_cases, word_cases
from collapsebench.selfcheck.checks import Case, Check, Exact, Relation

pytestmark = pytest.mark.slow

NOT_OF_THESE_MODELS = {"probe", "mlp-probe", "time-to-collapse"}
"""Metrics of labels and of trajectories, which these models have not."""


def failures(made):
    return [check for case in made for check in case.checks() if not check.passed]


@pytest.fixture(scope="module")
def some():
    """Two linear models and one of words: every metric but the slow one, in little time."""
    saturated, _, _ = linear_cases(0.25, 0)
    _, wrong, _ = linear_cases(1.5, 0)
    return [replace(case, metrics=METRICS_CHECKED) for case in (saturated, wrong, next(word_cases(0)))]


@pytest.fixture(scope="module")
def every():
    return [check for case in cases(0) for check in case.checks()]


def test_everything_passes(every):
    assert [check for check in every if not check.passed] == []
    assert len(every) > 300


@pytest.mark.parametrize("seed", [1, 2])
def test_other_seeds_draw_other_numbers_and_pass(seed, every):
    checks = [check for variance in (0.25, 4.5) for case in linear_cases(variance, seed) for check in case.checks()]
    assert all(check.passed for check in checks)
    assert checks[0].estimate != every[0].estimate


def test_every_metric_is_checked_at_the_optimum_away_from_it_and_collapsed(every):
    tested = {}
    for check in every:
        tested.setdefault(check.metric, set()).add(check.case)
    assert set(tested) == {metric.name for metric in METRICS} - NOT_OF_THESE_MODELS
    for name, where in tested.items():
        if name != "perplexity":
            collapsed = {case for case in where if case.startswith(f"linear, variance {VARIANCES[-1]:g}")}
            assert {case.rsplit(", ", 1)[1] for case in collapsed} == {
                "at the optimum",
                "wrong posterior",
                "wrong decoder",
            }
    assert {case.split(",")[0] for case in tested["perplexity"]} == {"words", "synthetic-text"}


def test_what_refinement_may_leave_is_a_small_share_of_the_gap(every):
    gaps = [check.exact for check in every if check.entry == "amortization_gap"]
    assert {gap.relation for gap in gaps} == {Relation.EQUAL}
    assert sum(gap.value > 0.1 for gap in gaps) == 4
    assert all(gap.slack < 0.02 * gap.value + 1e-9 for gap in gaps)


def test_columns_without_a_check_are_few(every):
    """Effective sample size has no finite closed form; all other columns of these metrics are compared."""
    names = {check.metric for check in every}
    columns = {column.name for metric in METRICS if metric.name in names for column in metric.columns}
    assert columns - {check.entry for check in every} == {"ess"}


def test_errors_are_spread_as_standard_errors_say(every):
    """Neither all too small, which would hide a wrong standard error, nor too large."""
    errors = torch.tensor([check.errors for check in every if check.errors and check.exact.relation is Relation.EQUAL])
    assert len(errors) > 100
    assert 0.5 < errors.square().mean().sqrt() < 1.5


def test_no_slack_is_larger_than_what_draws_may_add(every):
    """But for refinement, which stops short of the best posterior without drawing anything where z is not used."""
    for check in (check for check in every if check.metric != "gap"):
        assert check.exact.slack <= 5 * (check.standard_error or 0) + check.rounding


def test_collapse_is_total_where_the_noise_is_larger_than_every_eigenvalue(every):
    (case,) = {check.case for check in every if check.case.startswith("linear, variance 9.5, at the optimum")}
    values = {check.entry: check.estimate.value for check in every if check.case == case}
    assert values["active_units"] == 0
    assert values["collapse"] == 100
    assert abs(values["mi_lower"]) < 1e-9


def patched_bound(change):
    """IW-NLL with something wrong in the reduction of its weights."""
    right = evaluation.importance_bound
    return evaluation, "importance_bound", lambda log_weights: change(right(log_weights), log_weights)


def off_by_log_k(bound, log_weights):
    del log_weights
    return bound._replace(log_p=bound.log_p + math.log(SAMPLES))


def averaged_too_early(bound, log_weights):
    return bound._replace(log_p=log_weights.mean(0).expand_as(bound.log_p))


def times(function, factor):
    return lambda *arguments: function(*arguments) * factor


def without_the_own(z, posterior, *rest):
    """The mixture of the others in both places, as a program that masks the diagonal has it."""
    density = RIGHT_DENSITY(z, posterior, *rest)
    return density._replace(aggregate=density.others)


def off_by_log_n(z, posterior, *rest):
    density = RIGHT_DENSITY(z, posterior, *rest)
    return density._replace(aggregate=density.aggregate + math.log(len(z)))


RIGHT_DENSITY = estimators.aggregate_density
RIGHT_KL, RIGHT_POSTERIOR = StandardNormal.kl, EvaluatedSplit.posterior.func
BROKEN = {
    "IW-NLL off by log K": (*patched_bound(off_by_log_k), "iw_nll"),
    "IW-NLL averaged before the logarithm": (*patched_bound(averaged_too_early), "iw_nll"),
    "KL term dropped": (EvaluatedSplit, "kl_mean", property(lambda self: 0.0), "neg_elbo"),
    "KL halved": (StandardNormal, "kl", times(RIGHT_KL, 0.5), "kl"),
    "MI off by log N": (None, "aggregate_density", off_by_log_n, "mi_lower"),
    "own posterior left out": (None, "aggregate_density", without_the_own, "mi_lower"),
    "biased variance of the mean": (
        estimators,
        "mean_variance",
        lambda mean: mean.var(0, correction=0),
        "mean_variance[0]",
    ),
    "units of the prior's scale": (estimators, "mean_variance", lambda mean: mean.square().mean(0), "mean_variance[0]"),
    "codes that stay": (estimators, "cyclic_permutation", lambda order: order.sort().values, "delta_shuffle"),
    "standard errors 100 times too small": (estimators, "error_over_examples", lambda values: 1e-4, "delta_shuffle"),
    "tokens counted with BOS": (
        EvaluatedSplit,
        "predictions",
        property(lambda self: torch.tensor(self.split.predictions) + 1),
        "perplexity",
    ),
    "prior twice as wide": (
        StandardNormal,
        "log_prob",
        lambda self, z: -0.5 * (math.log(2 * math.pi * 4) + z.square() / 4).sum(-1),
        "iw_nll",
    ),
    "collapse of the mean": (
        estimators,
        "collapsed_percentage",
        lambda kl, epsilon, delta: 100 * float((kl.mean(0) < 2 * epsilon + 0.2).double().mean()),
        "collapse",
    ),
}


@pytest.fixture(scope="module")
def entries(some):
    """The metrics and their entries that are checked on these models."""
    return {(check.metric, check.entry) for case in some for check in case.checks()}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_estimator_is_found(name, some, entries, monkeypatch):
    where, what, wrong, entry = BROKEN[name]
    metrics = [metric for metric in METRICS_CHECKED if (metric.name, entry) in entries]  # the others take long
    made = [replace(case, metrics=metrics, split=replace(case.split)) for case in some]  # nothing is computed yet
    for module in [estimators, evaluation] if where is None else [where]:
        monkeypatch.setattr(module, what, wrong, raising=where is not None)
    assert entry in {check.entry for check in failures(made)}


class Constant(Metric):
    """Always the same."""

    model_config = ConfigDict(allow_inf_nan=True)
    name = "constant"
    columns = ()
    value: float
    error: float | None = None

    def evaluate(self, split):
        return {"constant": Estimate(self.value, self.error), "unknown": Estimate(0.0)}


def check(value, exact, error=None):
    (found,) = Case("case", None, [Constant(value=value, error=error)], {"constant": exact}).checks()
    return found


@pytest.mark.parametrize(
    ("value", "exact", "error", "passed"),
    [
        (1.04, Exact(1.0), 0.01, True),
        (1.06, Exact(1.0), 0.01, False),
        (0.94, Exact(1.0), 0.01, False),
        (1.06, Exact(1.0, slack=0.02), 0.01, True),
        (1.000009, Exact(1.0), None, True),
        (1.001, Exact(1.0), None, False),
        (1000.005, Exact(1000.0), None, True),
        (0.5, Exact(1.0, Relation.AT_MOST), 0.01, True),
        (1.06, Exact(1.0, Relation.AT_MOST), 0.01, False),
        (2.0, Exact(1.0, Relation.AT_LEAST), None, True),
        (0.94, Exact(1.0, Relation.AT_LEAST), 0.01, False),
        (math.nan, Exact(1.0), 0.01, False),
        (math.nan, Exact(1.0, Relation.AT_LEAST), 0.01, False),
        (math.inf, Exact(1.0), math.inf, False),
        (1.0, Exact(1.0), math.nan, False),
    ],
)
def test_what_passes(value, exact, error, passed):
    assert check(value, exact, error).passed is passed


def test_errors_lost_in_rounding_are_none():
    assert check(1.1, Exact(1.0), 0.05).errors == pytest.approx(2)
    assert check(1.1, Exact(1.0), 1e-7).errors is None
    assert check(1.1, Exact(1.0)).errors is None
    assert isinstance(check(1.0, Exact(1.0)), Check)
