"""The text models of Dieng et al. 2019: VAE, Skip-VAE and language model, forward passes and gradients."""

from __future__ import annotations

import pytest
import torch

from golden.vectors import CASES, assert_equal, build, load, prefixed


@pytest.mark.parametrize("name", CASES["text"])
def test_forward_and_gradients(name):
    case = load(name)
    model = build(case)
    vae, x = model.vae, case["in/sents"]
    posterior = vae.encode(x)
    z = posterior.sample(case["in/eps"][None]) if "in/eps" in case else x.new_zeros(1, len(x), 0, dtype=torch.float64)
    logprob = vae.decoder.logits(x[:, :-1], z)[0].log_softmax(-1)
    nll = -vae.log_likelihood(x, z)[0]
    kl_dim = vae.prior.kl(posterior)
    loss = (nll + kl_dim.sum(-1)).mean()
    loss.backward()
    outputs = {
        "logprob": logprob,
        "nll_tok": -logprob.gather(-1, x[:, 1:, None])[..., 0],
        "nll": nll,
        "nll_mean": nll.mean(),
    }
    if "in/eps" in case:
        outputs |= {"mean": posterior.mean, "logvar": posterior.logvar, "z": z[0]}
        outputs |= {"kl_dim": kl_dim, "kl": kl_dim.sum(-1), "kl_mean": kl_dim.sum(-1).mean(), "neg_elbo": loss}
    assert_equal(outputs | prefixed("grad/", model.gradients()), case.group("out/"))
