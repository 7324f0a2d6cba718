"""Families of posteriors and priors, against the numbers of released programs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from golden.vectors import assert_equal, mismatch

from collapsebench_plugins import powers, spheres, tilt, von_mises
from collapsebench_plugins.tilted import Tilted
from golden_zoo.zoo import gradient, load


@pytest.mark.parametrize("name", ["kl/released_davidson", "kl/dgvaes", "const/log_C_kappa", "const/mean_resultant"])
def test_constants_of_vmf(name):
    """`_vmf_kld`, which is in use in the first program, is the KL of two more dimensions."""
    ours = {"log_C_kappa": von_mises.log_constant, "mean_resultant": von_mises.mean_resultant}
    case = load("vmf")
    found = _table(case, ours.get(name.split("/")[1], von_mises.divergence))
    assert mismatch(found, case[f"out/{name}"]) == ""


def test_the_kl_of_the_first_program_is_that_of_two_more_dimensions():
    case = load("vmf")
    found = _table(case, lambda number, kappa: von_mises.divergence(number + 2, kappa))
    assert mismatch(found, case["out/kl/released_guu"]) == ""


def test_the_area_of_the_sphere():
    case = load("vmf")
    found = _table(case, lambda number, _: -spheres.log_area(number))
    assert mismatch(found, case["out/const/log_C_0"]) == ""


def _table(case, function):
    kappas, numbers = case["in/kappas"].tolist(), case["in/dims"].tolist()
    return torch.tensor([[function(number, kappa) for number in numbers] for kappa in kappas], dtype=torch.float64)


def test_the_sampler_of_vmf():
    """Theirs reads its draws one by one, and goes to the next example after an acceptance."""
    case = load("vmf")
    kappa, number = case.meta["kappa"], case.meta["D"]
    weight, bias = (case[f"param/func_mu.{name}"].requires_grad_() for name in ("weight", "bias"))
    code = case["in/code"].requires_grad_()
    mu = spheres.unit(code @ weight.T + bias)
    distance, accepted = von_mises.wood(number, kappa, case["in/beta_draws"], case["in/uniform_draws"])
    places = accepted.nonzero()[: len(mu), 0]
    z = von_mises.around(mu, distance[places], case["in/eps"])
    (case["in/cot"] * z).sum().backward()
    tries = torch.diff(places, prepend=torch.tensor([-1]))
    assert torch.equal(tries, case["out/sampler/tries"])
    found = {"mu": mu, "w": 1 - distance[places], "z": z, "grad_code": gradient(code)}
    found |= {"grad/func_mu.weight": gradient(weight), "grad/func_mu.bias": gradient(bias)}
    assert_equal({name: found[name] for name in found}, {name: case[f"out/sampler/{name}"] for name in found})


def test_the_density_of_vmf():
    """At the codes of the other program. Its table of cosines is not shipped."""
    case = load("vmf")
    posterior = von_mises.VonMisesFisher(case["out/sampler/mu"], case.meta["kappa"])
    found = posterior.log_prob(case["out/table/z"].transpose(0, 1))
    assert mismatch(found.T, case["out/table/log_pdf"]) == ""


def test_kl_constant_and_best_length_of_the_tilted_prior():
    """Theirs is without the constant, and finds its least value by finite differences."""
    case = load("tilted_prior")
    lengths, numbers, kl, constants, best = case["in/mu_norm"], case["in/dims"].tolist(), [], [], []
    for tau in case["in/taus"].tolist():
        for number in numbers:
            prior = tilt.TiltedNormal(number, tau)
            mean = torch.zeros(len(lengths), number).double()
            mean[:, 0] = lengths
            constants.append(tilt.log_partition(number, tau))
            kl.append(prior.kl(tilt.UnitGaussian(mean))[:, 0] - constants[-1])
            best.append(tilt.best_length(number, tau))
    shape = (len(case["in/taus"]), len(numbers))
    assert mismatch(torch.stack(kl).reshape(*shape, -1), case["out/kld_without_logZ"]) == ""
    assert mismatch(torch.tensor(constants, dtype=torch.float64).reshape(shape), case["out/equation/log_Z"]) == ""
    assert torch.allclose(torch.tensor(best, dtype=torch.float64).reshape(shape), case["out/gamma"], rtol=0, atol=1e-6)


def test_the_penalty_of_the_tilted_prior(monkeypatch):
    """Its reconstruction, the norm of a difference, is no likelihood and is not shipped."""
    case = load("tilted_prior")
    mean, tau, used = case["in/mean"].requires_grad_(), case.meta["tau"], float(case["out/gamma_used"])
    assert tilt.best_length(mean.shape[1], tau) == pytest.approx(used, abs=1e-6)
    monkeypatch.setattr(tilt, "best_length", lambda *_: used)
    loss = Tilted(tau=tau).kl_penalty(SimpleNamespace(posterior=tilt.UnitGaussian(mean))).mean()
    loss.backward()
    assert_equal({"kl": loss, "grad_mean": gradient(mean)}, {name: case[f"out/{name}"] for name in ("kl", "grad_mean")})


def _power_spherical(case):
    location, kappa = case["in/loc_raw"].requires_grad_(), case["in/scale"].requires_grad_()
    spread = (kappa - 1).expm1().log()  # the inverse of 1 + softplus
    return location, kappa, powers.PowerSpherical(location, spread)


def test_constants_and_density_of_the_power_spherical_distribution():
    case = load("power_spherical")
    location, kappa, posterior = _power_spherical(case)
    half, area = (case.meta["D"] - 1) / 2, spheres.log_area(case.meta["D"])
    x = spheres.unit(case["in/x_raw"])
    log_prob = posterior.log_prob(x[None])[0]
    kl = posterior.kl_to_uniform()[:, 0]
    found = {
        "loc": posterior.mu,
        "x": x,
        "log_normalizer": powers.log_constant(posterior.kappa, half),
        "log_prob": log_prob,
    }
    found |= {"alpha": posterior.kappa + half, "beta": torch.full_like(kl, half)}
    found |= {"kl_uniform": kl, "entropy": area - kl, "entropy_uniform": torch.tensor(area, dtype=torch.float64)}
    for name, value, leaf in [
        ("log_prob_loc_raw", log_prob, location),
        ("log_prob_scale", log_prob, kappa),
        ("kl_scale", kl, kappa),
        ("entropy_scale", -kl, kappa),
    ]:
        (found[f"grad_{name}"],) = torch.autograd.grad(value.sum(), leaf, retain_graph=True)
    assert_equal(found, {name: case[f"out/{name}"] for name in found})


def test_the_sampler_of_the_power_spherical_distribution():
    """With the constants of the released program set to zero. Theirs is without a gradient of the Beta draw, too."""
    case = load("power_spherical")
    location, _, posterior = _power_spherical(case)
    z = powers.reflected(posterior.mu, 2 - 2 * case["in/beta_draw"], case["in/normal_draw"])
    (case["in/cot"] * z).sum().backward()
    found = {"z": z, "grad_z_loc_raw": gradient(location), "log_prob_z": posterior.log_prob(z[None])[0]}
    assert_equal(found, case.group("out/equation/"))
    assert torch.allclose(z, case["out/z"], rtol=0, atol=1e-6)
