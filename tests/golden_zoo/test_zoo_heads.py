"""Heads of the posterior, against the numbers of released programs."""

from __future__ import annotations

import pytest
import torch
from golden.vectors import assert_equal, mismatch

from collapsebench.model.distributions import DiagonalGaussian, StandardNormal
from collapsebench_plugins.bn_vae import BNVAE
from collapsebench_plugins.delta_vae import DeltaVAE
from collapsebench_plugins.du_vae import DUVAE
from golden_zoo.zoo import gradient, load


class Encoder:
    """The linear layer of a file behind features that are given, and the head of a method behind it."""

    def __init__(self, case, head):
        self.case, self.head = case, head.double()
        self.weight = case["param/linear.weight"].requires_grad_()

    def pass_(self, features, loss):
        """The posterior and its KL, and the gradients of the mean KL and what `loss` adds."""
        self.weight.grad = None
        self.head.zero_grad()
        features = features.requires_grad_()
        raw = DiagonalGaussian(*(features @ self.weight.T).chunk(2, -1))
        posterior = self.head(raw, features)
        kl = StandardNormal(posterior.mean.shape[1]).kl(posterior)
        (kl.sum(1).mean() + loss(posterior)).backward()
        grads = {"grad_features": features.grad, "grad_linear": self.weight.grad}
        return {"mean": posterior.mean, "logvar": posterior.logvar, "kl": kl.sum(1), "kl_dim": kl} | grads


def by_the_cotangents(case):
    return lambda q: (case["in/cot_mean"] * q.mean).sum() + (case["in/cot_logvar"] * q.logvar).sum()


def compared(found, case, prefix, row=...):
    """Compare what a file has under a prefix, one row of every array."""
    wanted = {name: array[row] for name, array in case.group(prefix).items()}
    assert_equal({name: found[name] for name in wanted}, wanted)


def test_the_means_of_bn_vae():
    case = load("bn_vae_head")
    for row, gamma in enumerate(case["in/gamma"].tolist()):
        encoder = Encoder(case, BNVAE(gamma=gamma).posterior_head(case.meta["D"]))
        norm = encoder.head
        norm.scale.data.fill_(gamma)  # in the precision of the file
        norm.shift.data.copy_(case["param/mu_bn.bias"])
        modes = [("train", number) for number in range(case.meta["n_batches"])] + [("eval", 0)]
        for mode, number in modes:
            norm.train(mode == "train")
            found = encoder.pass_(case[f"in/batch{number}/features"], by_the_cotangents(case))
            found |= {"running_mean": norm.mean, "running_var": norm.variance, "grad_bias": norm.shift.grad}
            compared(found, case, f"out/bn/{mode}/batch{number}/", row)
            assert norm.scale.grad is None


def test_the_posterior_of_delta_vae():
    case = load("delta_vae_head")
    for row, delta in enumerate(case["in/delta"].tolist()):
        encoder = Encoder(case, DeltaVAE(delta=delta).posterior_head())
        found = encoder.pass_(case["in/features"], by_the_cotangents(case))
        ends = torch.tensor([encoder.head.low, encoder.head.high], dtype=torch.float64)
        assert mismatch(ends, torch.stack([case["out/l"][row], case["out/u"][row]])) == ""
        raw = dict(zip(("h_mean", "h_logvar"), (case["in/features"] @ encoder.weight.T).chunk(2, -1), strict=True))
        assert_equal(raw, {name: case[f"out/{name}"] for name in raw})
        names = ["mean", "logvar", "kl_dim", "grad_features", "grad_linear"]
        assert_equal({name: found[name] for name in names}, {name: case[f"out/{name}"][row] for name in names})


@pytest.mark.parametrize("name", ["kl1", "kl_below_1"])
def test_means_and_variances_of_du_vae(name, monkeypatch):
    case = load("du_vae_head")
    meta = case.meta
    settings = {"gamma": meta["gamma"], "floor": meta["delta_rate"]}
    head = DUVAE(rate=meta["p_drop"], **settings).posterior_head(meta["D"])
    whole = DUVAE(rate=0, **settings).posterior_head(meta["D"]).double()  # the file has log-variances before dropout
    whole.annealed.fill_(name == "kl1")
    encoder, epsilon = Encoder(case, head), case["in/eps"].transpose(0, 1)
    head.scale.data.copy_(case["param/mu_bn.weight"])
    head.shift.data.copy_(case["param/mu_bn.bias"])
    head.annealed.fill_(name == "kl1")
    monkeypatch.setattr(head, "kept", lambda like: case["in/keep"])
    for mode, number in [("train", number) for number in range(meta["n_batches"])] + [("eval", 0)]:
        head.train(mode == "train")
        head.rescale()
        samples = []

        def loss(q, samples=samples):
            samples.append(q.sample(epsilon)[0])
            return (case["in/cot_z"] * samples[0]).sum()

        found = encoder.pass_(case[f"in/batch{number}/features"], loss)
        found |= {"z": samples[0], "bn_weight": head.scale, "running_mean": head.mean, "running_var": head.variance}
        raw = DiagonalGaussian(*(case[f"in/batch{number}/features"] @ encoder.weight.T).chunk(2, -1))
        found |= {"logvar": whole(raw, None).logvar}
        found |= {"grad_bn_weight": gradient(head.scale), "grad_bn_bias": gradient(head.shift)}
        compared(found, case, f"out/{name}/{mode}/batch{number}/")
