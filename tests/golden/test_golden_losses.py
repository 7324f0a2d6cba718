"""The released loss functions on their own."""

from __future__ import annotations

import torch

from collapsebench.model.distributions import DiagonalGaussian, StandardNormal
from collapsebench.model.kernels.likelihoods import bernoulli
from golden.vectors import assert_equal, load


def test_losses():
    case = load("utils_losses")
    probability = case["in/pred"].requires_grad_()
    log_bernoulli = -bernoulli(probability.flatten(1)[None], case["in/y"].flatten(1))[0]
    (slope,) = torch.autograd.grad(log_bernoulli.mean(), probability)
    first = DiagonalGaussian(case["in/mean1"], case["in/logvar1"])
    second = DiagonalGaussian(case["in/mean2"], case["in/logvar2"])
    wide = DiagonalGaussian(torch.zeros_like(first.mean), case["in/logvar_prior"].expand_as(first.mean))
    standard = StandardNormal(first.mean.shape[1])
    z, x = case["in/z"][None], case["in/x"]
    kl_dim = standard.kl(first)
    outputs = {
        "log_bernoulli": log_bernoulli,
        "log_bernoulli_mean": log_bernoulli.mean(),
        "d_log_bernoulli_mean_d_pred": slope,
        "kl_1_to_2_mean": first.kl(second).sum(-1).mean(),
        "kl_diag": kl_dim.sum(-1),
        "kl_diag_mean": kl_dim.sum(-1).mean(),
        "kl_diag_prior": first.kl(wide).sum(-1),
        "kl_dim": kl_dim,
        "log_gaussian": first.log_prob(z)[0],
        "log_is_weight": (standard.log_prob(z) - first.log_prob(z))[0],
        "logsumexp_rows": x.logsumexp(1),
        "logsumexp_cols": x.logsumexp(0),
    }
    assert_equal(outputs, case.group("out/"))
