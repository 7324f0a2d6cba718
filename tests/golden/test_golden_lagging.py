"""The LSTM VAE of He et al. 2019: posterior, losses and gradients (its metrics are in test_golden_metrics.py)."""

from __future__ import annotations

import re

import pytest
import torch

from golden.vectors import assert_equal, build, load, prefixed

METRICS = re.compile(r"(batch\d+/(mi|nll_iw|iw_log_joint|iw_log_q)|calc_mi_all|au_.*)")
"""Outputs that test_golden_metrics.py checks."""


@pytest.fixture(scope="module")
def case():
    return load("lagging_text")


def expected(case, pattern):
    outputs = case.group("out/")
    return {name: outputs[name] for name in outputs if re.fullmatch(pattern, name)}


def terms(vae, x, noise):
    """Posterior, samples, and per example the reconstruction averaged over samples, and KL; noise is (B, S, D)."""
    posterior = vae.encode(x)
    z = posterior.sample(noise.transpose(0, 1))
    return posterior, z, -vae.log_likelihood(x, z).mean(0), vae.prior.kl(posterior).sum(-1)


def test_forward(case):
    vae = build(case).vae
    outputs = {}
    batches = [key.split("/")[1] for key in case.arrays if re.fullmatch(r"in/batch\d+/x", key)]
    for batch in batches:
        posterior, _, rec, kl = terms(vae, case[f"in/{batch}/x"], case[f"in/{batch}/eps_loss"])
        values = {"mu": posterior.mean, "logvar": posterior.logvar, "loss": rec + kl, "rec": rec, "kl": kl}
        outputs |= prefixed(f"{batch}/", values)
    assert_equal(outputs, expected(case, r"batch\d+/(mu|logvar|loss|rec|kl)"))


def test_samples_and_logits(case):
    vae, x = build(case).vae, case["in/batch0/x"]
    _, z, _, _ = terms(vae, x, case["in/batch0/eps_loss"])
    outputs = {"batch0/z": z.transpose(0, 1), "batch0/logits": vae.decoder.logits(x[:, :-1], z)[0]}
    assert_equal(outputs, expected(case, "batch0/(z|logits)"))


def test_several_samples_and_a_kl_weight(case):
    vae, x = build(case).vae, case["in/batch0/x"]
    _, _, rec, kl = terms(vae, x, case["in/eps_loss_3samples"])
    (name,) = expected(case, r"batch0/loss_3samples_klw[\d.]+")
    weight = float(name.rpartition("klw")[2])
    outputs = {"batch0/rec_3samples": rec, name: rec + weight * kl}
    assert_equal(outputs, expected(case, r"batch0/(rec|loss)_3samples.*"))


def test_gradients(case):
    """All agree but one row: theirs takes padding index -1 for the last word, whose decoder embedding never learns."""
    model = build(case)
    _, _, rec, kl = terms(model.vae, case["in/batch0/x"], case["in/batch0/eps_loss"])
    (rec + kl).mean().backward()
    unused = {"decoder.loss.weight"}
    assert {name for name, ours in model.names.items() if not ours} == unused
    ours, theirs = model.gradients(), case.group("out/grad/")
    assert torch.equal(theirs["decoder.embed.weight"][-1], torch.zeros_like(theirs["decoder.embed.weight"][-1]))
    for gradients in (ours, theirs):
        gradients["decoder.embed.weight"] = gradients["decoder.embed.weight"][:-1]
    assert_equal(ours, theirs)


def test_every_output_is_checked(case):
    checked = r"grad/.*|batch\d+/(mu|logvar|loss|rec|kl)|batch0/(z|logits|(rec|loss)_3samples.*)"
    left = set(case.group("out/")) - set(expected(case, checked))
    assert all(METRICS.fullmatch(name) for name in left), left
