"""The image models of Dieng et al. 2019: PixelCNN and MLP, VAE and Skip-VAE, forward passes and gradients."""

from __future__ import annotations

import re

import pytest
import torch

from collapsebench.networks import pixelcnn
from golden.vectors import CASES, assert_equal, build, load, prefixed

LARGE = 1600
"""Tensors of more elements have the statistics of their gradient in the file, not the gradient."""


def forward(model, case):
    """Every output of one pass by its name in the file, and the loss to differentiate."""
    vae, x = model.vae, case["in/img"]
    posterior = vae.encode(x)
    z = posterior.sample(case["in/eps"][None])
    decoder = vae.decoder
    prob = decoder.probability(x, z) if isinstance(decoder, pixelcnn.Decoder) else decoder.predictions(x, z)[..., 0]
    nll = -vae.log_likelihood(x, z)[0]
    kl_dim = vae.prior.kl(posterior)
    kl = kl_dim.sum(-1)
    loss = (nll + kl).mean()
    outputs = {"mean": posterior.mean, "logvar": posterior.logvar, "z": z[0], "prob": prob.view(x.shape), "nll": nll}
    return outputs | {"kl": kl, "kl_dim": kl_dim, "nll_mean": nll.mean(), "kl_mean": kl.mean(), "neg_elbo": loss}


def backward(model, case, loss):
    """The gradients of the loss, or their sum, norm and product with the parameter, by their names in the file."""
    loss.backward()
    gradients = model.gradients()
    statistics = {
        name: torch.stack([gradient.sum(), gradient.norm(), (gradient * case[f"param/{name}"]).sum()])
        for name, gradient in gradients.items()
    }
    small = {name: gradient for name, gradient in gradients.items() if gradient.numel() <= LARGE}
    return prefixed("grad/", small) | prefixed("gradstat/", statistics)


@pytest.mark.parametrize("name", [name for name in CASES["images"] if "pixelcnn" in name])
def test_pixelcnn(name):
    case = load(name)
    model = build(case)
    model.vae.eval()
    assert_equal(forward(model, case), case.group("out/eval/"))
    model.vae.train()
    outputs = forward(model, case)
    outputs |= backward(model, case, outputs["neg_elbo"]) | prefixed("buffer_after/", model.buffers())
    before_norm = {key for key in outputs if re.fullmatch(r"grad(stat)?/enc_cnn\.\d+\.conv\d\.bias", key)}
    assert_equal(outputs, case.group("out/train/"), absolute=before_norm)
    assert len(case.group("out/")) == len(case.group("out/eval/")) + len(case.group("out/train/"))


@pytest.mark.parametrize("name", [name for name in CASES["images"] if "mlp" in name])
def test_mlp(name):
    case = load(name)
    model = build(case)
    outputs = forward(model, case)
    assert_equal(outputs | backward(model, case, outputs["neg_elbo"]), case.group("out/"))
