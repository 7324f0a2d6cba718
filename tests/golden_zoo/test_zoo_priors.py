"""VampPrior, against the numbers of the authors' program and of Pythae's."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from golden.vectors import assert_equal
from torch import nn

from collapsebench.components.composition import compose
from collapsebench.components.interfaces import Method
from collapsebench.examples import ImageSpec
from collapsebench.experiment.assembly import objective_at
from collapsebench.model.distributions import DiagonalGaussian, StandardNormal
from collapsebench.model.vae import VAE, Networks
from collapsebench_plugins.beta_vae import BetaVAE
from collapsebench_plugins.mixtures import PseudoInputs
from collapsebench_plugins.vamp_prior import VampPrior
from golden_zoo.zoo import START, GivenNoise, Pythae, gradient, load


def constant(case):
    """What both programs leave out of log-densities, as it cancels in the KL."""
    return 0.5 * case.meta["D"] * math.log(2 * math.pi)


FLOAT32 = 1e-7
"""Tolerance of Pythae's numbers (README): it has log C in float32."""


class Gated(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.h, self.g = nn.Linear(inputs, outputs), nn.Linear(inputs, outputs)

    def forward(self, x):
        return self.h(x) * self.g(x).sigmoid()


class Head(nn.Module):
    """The authors clamp log-variances."""

    def __init__(self, hidden, latent):
        super().__init__()
        self.mean, self.logvar = nn.Linear(hidden, latent), nn.Linear(hidden, latent)

    def forward(self, features):
        return DiagonalGaussian(self.mean(features), nn.functional.hardtanh(self.logvar(features), -6.0, 2.0))


class Decoder(nn.Module):
    """They clamp probabilities, too."""

    def __init__(self, latent, hidden, outputs):
        super().__init__()
        self.layers = nn.Sequential(Gated(latent, hidden), Gated(hidden, hidden))
        self.out = nn.Linear(hidden, outputs)

    def forward(self, x, z, dropout):
        p = self.out(self.layers(z)).sigmoid().clamp(1e-5, 1 - 1e-5)
        return (x * p.log() + (1 - x) * (1 - p).log()).sum(-1)


OURS = {
    "q_z_layers.0": "encoder.1",
    "q_z_layers.1": "encoder.2",
    "q_z_mean": "posterior.mean",
    "q_z_logvar.linear": "posterior.logvar",
    "p_x_layers": "decoder.layers",
    "p_x_mean.linear": "decoder.out",
}
PSEUDO = "means.linear.weight"
"""Their matrix has a pseudo-input in each column."""


class Authors:
    """The authors' tiny model, with our prior."""

    def __init__(self, case):
        self.case, meta = case, case.meta
        P, H, D = meta["P"], meta["H"], meta["D"]
        encoder = nn.Sequential(nn.Flatten(), Gated(P, H), Gated(H, H))
        vae = VAE(Networks(encoder, Head(H, D), Decoder(D, H, P)), StandardNormal(D))
        vae.own_prior = VampPrior(components=meta["number_components"]).prior(D, ImageSpec((1, 1, P)), H).build()
        self.vae = vae.double()
        self.names = {theirs: self.ours(theirs) for theirs in case.group("param/") if theirs != PSEUDO}
        parameters = {ours: case[f"param/{theirs}"] for theirs, ours in self.names.items()}
        pseudo = case[f"param/{PSEUDO}"].T.reshape_as(vae.own_prior.values)
        self.vae.load_state_dict(parameters | {"own_prior.values": pseudo})

    @staticmethod
    def ours(theirs):
        start = next(start for start in OURS if theirs.startswith(start))
        return OURS[start] + theirs.removeprefix(start)

    def values(self, *methods: Method):
        self.vae.zero_grad()
        x, noise = self.case["in/x"], GivenNoise({"z": self.case["in/eps"]})
        terms = objective_at(compose(methods), START, noise)(self.vae, x, self.vae.encode(x)).backward()
        loss = terms.reconstruction + terms.kl_weight * terms.kl[:, 0]
        grads = {f"grad/{theirs}": gradient(self.vae.get_parameter(ours)) for theirs, ours in self.names.items()}
        return grads | {"loss": loss, "RE": -terms.reconstruction, "KL": terms.kl[:, 0]}


CASES = {"vamp": (), "vamp_beta": ("beta",)}


@pytest.fixture
def case():
    return load("vampprior")


@pytest.fixture
def authors(case):
    return Authors(case)


@pytest.mark.parametrize("name", CASES)
def test_the_objective_of_the_authors_and_its_gradients(case, authors, name):
    found = authors.values(*(BetaVAE(beta=case.meta[key]) for key in CASES[name]))
    pseudo = gradient(authors.vae.own_prior.values).flatten(1).T
    assert_equal(found | {f"grad/{PSEUDO}": pseudo}, case.group(f"out/{name}/"))


class Estimated(StandardNormal):
    """N(0, I) as the authors have it: its KL is estimated."""

    def kl(self, posterior):
        return None


def test_their_standard_normal_prior(case, authors):
    del authors.vae.own_prior
    authors.vae.own_prior = Estimated(case.meta["D"])
    unused = {f"grad/{PSEUDO}": torch.zeros_like(case[f"param/{PSEUDO}"])}
    assert_equal(authors.values() | unused, case.group("out/standard/"))


def test_the_density_of_the_authors_prior(case, authors):
    z = case["in/z_points"].requires_grad_()
    mixture = authors.vae.prior
    log_p = mixture.log_prob(z[None])[0]
    log_p.sum().backward()
    posterior = authors.vae.encode(case["in/x"])
    found = {
        "log_p_z": log_p + constant(case),
        "grad_log_p_z": z.grad,
        "pseudo_inputs": authors.vae.own_prior.values.clamp(0, 1).flatten(1),
        "pseudo_mean": mixture.components.mean,
        "pseudo_logvar": mixture.components.logvar,
        "mean": posterior.mean,
        "logvar": posterior.logvar,
    }
    whole = {key for key in case.group("out/") if not key.startswith((*CASES, "standard/"))}
    assert_equal(found, {key: case[f"out/{key}"] for key in whole})


@pytest.fixture
def pythae_case():
    return load("pythae_vamp")


@pytest.fixture
def pythae(pythae_case):
    """Pythae's pseudo-inputs have a common bias: ours are the sums."""
    networks = {key: array for key, array in pythae_case.arrays.items() if not key.startswith("param/pseudo_inputs")}
    model = Pythae(replace(pythae_case, arrays=networks))
    weight, bias = (pythae_case[f"param/pseudo_inputs.0.{kind}"] for kind in ("weight", "bias"))
    model.vae.own_prior = PseudoInputs(weight.T + bias, pythae_case.meta["D"], (0.0, 1.0))
    return model


@pytest.mark.parametrize("name", ["vamp", "vamp_warm"])
def test_the_objective_of_pythae_and_its_gradients(pythae_case, pythae, name):
    meta = pythae_case.meta
    weight = meta["epoch"] / meta["linear_scheduling_steps"] if name == "vamp_warm" else 1.0
    found = pythae.values([BetaVAE(beta=weight)])
    by_inputs = gradient(pythae.vae.own_prior.values)
    found |= {"grad/pseudo_inputs.0.weight": by_inputs.T, "grad/pseudo_inputs.0.bias": by_inputs.sum(0)}
    assert_equal(found, pythae_case.group(f"out/{name}/"), FLOAT32)


def test_the_density_of_pythae_s_prior(pythae_case, pythae):
    z = pythae_case["in/z_points"].requires_grad_()
    log_p = pythae.vae.prior.log_prob(z[None])[0]
    log_p.sum().backward()
    inputs = pythae.vae.own_prior.values.clamp(0, 1)
    found = {"log_p_z": log_p + constant(pythae_case), "grad_log_p_z": z.grad, "pseudo_inputs": inputs}
    whole = {key for key in pythae_case.group("out/") if not key.startswith("vamp")}
    assert_equal(found, {key: pythae_case[f"out/{key}"] for key in whole}, FLOAT32)
