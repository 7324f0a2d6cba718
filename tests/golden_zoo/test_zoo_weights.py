"""Importance weighted objectives, against the numbers of Pythae and of a re-implementation of DReG."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from golden.vectors import assert_equal
from torch import Tensor, nn

from collapsebench.components.composition import compose
from collapsebench.experiment.assembly import objective_at
from collapsebench.model.distributions import DiagonalGaussian, StandardNormal
from collapsebench.model.vae import VAE, Networks, Terms
from collapsebench_plugins.iwae import IWAE, drawn
from golden_zoo.zoo import START, GivenNoise, Pythae, gradient, load, unread


class Found(NamedTuple):
    """What one step of the strategy computes, and what it computes it from."""

    terms: Terms
    z: Tensor  # (S, B, D)
    log_p: Tensor  # (S, B)
    log_w: Tensor  # (S, B)


def trained(method: IWAE, vae: VAE, x: Tensor, epsilon: Tensor) -> Found:
    """One step with given noise (S, B, D); its gradients are in the parameters."""
    vae.zero_grad()
    posterior = vae.encode(x)
    noise = GivenNoise({str(number or "z"): each for number, each in enumerate(epsilon)})
    z, log_q = drawn(posterior, method.noises(noise), fixed=False)
    log_p = vae.log_likelihood(x, z)
    terms = method.gradients(vae, x, objective_at(compose(()), START, noise))
    return Found(terms, z.detach(), log_p.detach(), (log_p + vae.prior.log_prob(z) - log_q).detach())


def reported(method: IWAE, log_w: Tensor) -> Tensor:
    """What the programs report as a loss: minus the weighted mean of the log-weights, which is no bound."""
    return -(method.weights(log_w) * log_w).sum(0).mean() / method.groups


NOT_SHIPPED = {
    "out/ciwae/loss": "CIWAE is not shipped: it is a mean of two objectives with a weight of its own",
    "out/ciwae/grad/": "CIWAE is not shipped",
    "out/miwae/loss": "the released MIWAE exchanges the axes of its samples; miwae_equation/ is compared",
    "out/miwae/grad/": "the released MIWAE exchanges the axes of its samples; miwae_equation/ is compared",
    "out/piwae/loss": "PIWAE is not shipped: it trains encoder and decoder by two objectives",
    "out/piwae/encoder_loss": "PIWAE is not shipped",
    "out/piwae/grad/": "PIWAE is not shipped",
}
"""Why arrays of `pythae_iw` are compared with nothing."""

COMPARED = (
    "out/iwae/",
    *(f"out/ciwae/{name}" for name in ("all_z", "log_w", "z", "bound_equation")),
    *(f"out/miwae/{name}" for name in ("all_z", "log_w", "z", "bound_equation", "bound_as_released")),
    *(f"out/piwae/{name}" for name in ("all_z", "log_w", "z", "decoder_loss")),
    "out/miwae_equation/",
)


def test_iwae_of_pythae():
    case = load("pythae_iw")
    model, method = Pythae(case), IWAE(samples=case.meta["K"])
    found = trained(method, model.vae, case["in/x"], case["in/eps_k"].transpose(0, 1))
    values = {
        "all_z": found.z.transpose(0, 1),
        "z": found.z[0],
        "log_w": found.log_w.T,
        "loss": reported(method, found.log_w),
        "recon_loss": -found.log_p.mean(),
        "reg_loss": (found.log_p - found.log_w).mean(),
        "bound_equation": found.terms.loss,
    }
    assert_equal(values | gradients(model), case.group("out/iwae/"))


def gradients(model: Pythae) -> dict[str, Tensor]:
    return {f"grad/{theirs}": gradient(model.vae.get_parameter(ours)) for theirs, ours in model.names.items()}


def test_the_bound_of_ciwae_is_a_mean_of_ours():
    case = load("pythae_iw")
    method, share = IWAE(samples=case.meta["K"]), case.meta["beta_ciwae"]
    found = trained(method, Pythae(case).vae, case["in/x"], case["in/eps_k"].transpose(0, 1))
    values = {"all_z": found.z.transpose(0, 1), "z": found.z[0], "log_w": found.log_w.T}
    values["bound_equation"] = -share * found.log_w.mean() + (1 - share) * found.terms.loss
    assert_equal(values, {name: case[f"out/ciwae/{name}"] for name in values})


def test_miwae_is_the_mean_of_bounds_and_its_released_axes_are_exchanged():
    case = load("pythae_iw")
    (K, M), model = (case.meta["K"], case.meta["M"]), Pythae(case)
    method, exchanged = IWAE(samples=K, groups=M), IWAE(samples=M, groups=K)
    found = trained(method, model.vae, case["in/x"], case["in/eps_mk"].permute(1, 2, 0, 3).flatten(0, 1))
    z, log_w = (each.unflatten(0, (M, K)) for each in (found.z, found.log_w))
    equation = {
        "all_z": z.permute(2, 1, 0, 3),
        "log_w": log_w.permute(2, 1, 0),
        "z": found.z[0],
        "loss": reported(method, found.log_w),
    }
    assert_equal(equation | gradients(model), case.group("out/miwae_equation/"))
    released = {"all_z": z.permute(2, 0, 1, 3), "log_w": log_w.permute(2, 0, 1), "z": found.z[0]}
    bounds = {
        "bound_equation": found.terms.loss,
        "bound_as_released": -exchanged.bound(log_w.transpose(0, 1).flatten(0, 1)).mean(),
    }
    assert_equal(released | bounds, {name: case[f"out/miwae/{name}"] for name in released | bounds})
    whole = IWAE(samples=M * K)
    decoder = {"decoder_loss": reported(whole, found.log_w)}
    assert_equal(released | decoder, {name: case[f"out/piwae/{name}"] for name in released | decoder})


class Encoder(nn.Module):
    """Two layers of rectified units."""

    def __init__(self, pixels, hidden):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(pixels, hidden), nn.Linear(hidden, hidden)

    def forward(self, x):
        return self.fc2(self.fc1(x).relu()).relu()


class Head(nn.Module):
    """Mean and logarithm of the standard deviation."""

    def __init__(self, hidden, latent):
        super().__init__()
        self.fc31, self.fc32 = nn.Linear(hidden, latent), nn.Linear(hidden, latent)

    def forward(self, features):
        return DiagonalGaussian(self.fc31(features), 2 * self.fc32(features))


class Decoder(nn.Module):
    """Two layers of rectified units, and the logits of pixels."""

    def __init__(self, latent, hidden, pixels):
        super().__init__()
        self.fc4, self.fc5, self.fc6 = nn.Linear(latent, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, pixels)

    def logits(self, z):
        return self.fc6(self.fc5(self.fc4(z).relu()).relu())

    def forward(self, x, z, dropout):
        logits = self.logits(z)
        return -nn.functional.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum(-1)


PARTS = {"fc1": "encoder", "fc2": "encoder", "fc31": "posterior", "fc32": "posterior"}


def test_both_estimators_of_the_gradient():
    case = load("dreg")
    meta, x = case.meta, case["in/x"]
    pixels, hidden, latent = meta["P"], meta["H"], meta["D"]
    networks = Networks(Encoder(pixels, hidden), Head(hidden, latent), Decoder(latent, hidden, pixels))
    vae = VAE(networks, StandardNormal(latent)).double()
    names = {theirs: f"{PARTS.get(theirs.split('.')[0], 'decoder')}.{theirs}" for theirs in case.group("param/")}
    vae.load_state_dict({ours: case[f"param/{theirs}"] for theirs, ours in names.items()})
    for name, estimator in (("iwae", "plain"), ("dreg", "dreg")):
        method = IWAE(samples=meta["K"], gradient=estimator)
        found = trained(method, vae, x, case["in/eps"])
        values = {f"grad/{theirs}": gradient(vae.get_parameter(ours)) for theirs, ours in names.items()}
        values["objective"] = -(found.terms.loss if name == "iwae" else reported(method, found.log_w))
        assert_equal(values, case.group(f"out/{name}/"))
    posterior = vae.encode(x)
    seen = {"mean": posterior.mean, "std": (0.5 * posterior.logvar).exp(), "z": found.z}
    assert_equal(seen | {"logits": vae.decoder.logits(found.z)}, {key: case[f"out/{key}"] for key in (*seen, "logits")})


@pytest.mark.parametrize(
    ("name", "compared", "listed"),
    [
        ("pythae_iw", COMPARED, NOT_SHIPPED),
        ("dreg", ("out/iwae/", "out/dreg/", "out/mean", "out/std", "out/z", "out/logits"), {}),
    ],
)
def test_every_array_is_compared_or_listed(name, compared, listed):
    assert unread(name, compared, listed) == set()
