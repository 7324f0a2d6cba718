"""Mutual information and active units (Dieng et al. 2019); MI, active units and importance weights (He et al. 2019)."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from collapsebench.data.splits import TextSplit
from collapsebench.inference.amortized import Amortized
from collapsebench.metrics.estimators import (
    active_units,
    aggregate_density,
    entropy_information,
    importance_bound,
    mean_variance,
    mutual_information_bracket,
)
from collapsebench.metrics.evaluation import EvaluatedSplit
from collapsebench.model.distributions import DiagonalGaussian, StandardNormal
from golden.test_golden_lagging import METRICS
from golden.vectors import CASES, assert_equal, build, load

RELEASED_THRESHOLD = 0.02
"""Of the active units that the scripts print; the paper says 0.01."""


def scalar(value):
    return torch.tensor(value, dtype=torch.float64)


def counts(prefix, variance, expected, suffix=""):
    """Active units at every threshold that the file has."""
    pattern = re.compile(rf"{prefix}au_([\d.]+){suffix}")
    found = [match for match in map(pattern.fullmatch, expected) if match]
    assert found
    return {match[0]: scalar(active_units(variance, float(match[1]))) for match in found}


def test_every_case_has_a_test():
    assert set(CASES["metrics"]) == {"mi", "lagging_text"}


def test_mutual_information_and_active_units():
    case = load("mi")
    posterior = DiagonalGaussian(case["in/mean"], case["in/logvar"])
    prior = StandardNormal(posterior.mean.shape[1])
    z = posterior.sample(case["in/eps"][None])[0]
    bracket = mutual_information_bracket(z, posterior, prior)
    kl_dim, variance = prior.kl(posterior), mean_variance(posterior.mean)
    last = slice(*case["in/batch_bounds"][-1].tolist())  # the text script's slip: only the last batch's means
    last_variance = mean_variance(posterior.mean[last])
    both = {"agg_kl": scalar(bracket.aggregate_kl.value), "mi": scalar(bracket.lower.value)}
    expected = case.group("out/")
    outputs = {
        "z": z,
        "kl": kl_dim.sum(-1),
        "kl_dim": kl_dim,
        "kl_mean": kl_dim.sum(-1).mean(),
        "log_qz": aggregate_density(z, posterior).aggregate,
        "log_pz": prior.log_prob(z[None])[0],
        "img/mean_var": variance,
        "img/printed_au": scalar(active_units(variance, RELEASED_THRESHOLD)),
        "text/mean_var_last_batch": last_variance,
        "text/printed_au": scalar(active_units(last_variance, RELEASED_THRESHOLD)),
        **{f"{script}/{name}": value for script in ("img", "text") for name, value in both.items()},
        **counts("img/", variance, expected),
        **counts("text/", last_variance, expected, suffix="_last_batch"),
    }
    assert_equal(outputs, expected)


@dataclass(frozen=True)
class Recorded:
    """The noise of the released program in place of our own: draw s of the only batch is row s."""

    draws: Tensor  # (K, B, D)
    number: int = 0

    def child(self, *labels):
        return Recorded(self.draws, labels[0]) if isinstance(labels[0], int) else self

    def normal(self, shape, like):
        return self.draws[self.number].reshape(shape).to(like)

    def uniform(self, shape, like):
        raise NotImplementedError


@pytest.fixture(scope="module")
def lagging():
    return load("lagging_text")


@pytest.fixture(scope="module")
def vae(lagging):
    return build(lagging).vae.eval()


def encoded(vae, x):
    with torch.no_grad():
        return vae.encode(x)


def batches(case):
    return sorted(match[1] for match in (re.fullmatch(r"in/(batch\d+)/x", key) for key in case.arrays) if match)


def batch_information(posterior, eps):
    """He et al.: with this batch alone as the mixture."""
    z = posterior.sample(eps.transpose(0, 1))[0]
    return scalar(entropy_information(posterior, aggregate_density(z, posterior).aggregate).value)


def test_batch_information_and_active_units(lagging, vae):
    posteriors = {batch: encoded(vae, lagging[f"in/{batch}/x"]) for batch in batches(lagging)}
    information = {b: batch_information(q, lagging[f"in/{b}/eps_mi"]) for b, q in posteriors.items()}
    sizes = torch.tensor([len(posterior) for posterior in posteriors.values()])
    variance = mean_variance(torch.cat([posterior.mean for posterior in posteriors.values()]))
    expected = {name: array for name, array in lagging.group("out/").items() if METRICS.fullmatch(name)}
    expected = {name: array for name, array in expected.items() if "iw" not in name}
    outputs = {
        **{f"{batch}/mi": value for batch, value in information.items()},
        "calc_mi_all": (torch.stack(list(information.values())) * sizes).sum() / sizes.sum(),
        "au_var": variance,
        **counts("", variance, expected),
    }
    assert_equal(outputs, expected)


def test_importance_weights(lagging, vae):
    """Weight by weight, and through the evaluation of a split that draws the released program's noise."""
    x, eps = lagging["in/batch0/x"], lagging["in/eps_iw"].transpose(1, 2).flatten(0, 1)
    tokens, length = x.numpy().astype(np.int32), x.shape[1]
    split = TextSplit(tokens.flatten(), np.full(len(x), length, np.int32))
    whole = EvaluatedSplit(vae, Amortized(), split, Recorded(eps), len(x), torch.device("cpu"))
    z = whole.posterior.sample(eps)
    log_joint, log_q = whole.log_likelihood(x, z) + vae.prior.log_prob(z), whole.posterior.log_prob(z)
    expected = {name: array for name, array in lagging.group("out/batch0/").items() if "iw" in name}
    outputs = {"iw_log_joint": log_joint.T, "iw_log_q": log_q.T, "nll_iw": importance_bound(log_joint - log_q).nll}
    assert_equal(outputs, expected)
    assert_equal(outputs | {"nll_iw": whole.importance_bound(len(eps)).nll}, expected)
