"""Methods that change the objective, against the numbers of released programs."""

from __future__ import annotations

import math

import pytest
import torch
from golden.vectors import assert_equal, mismatch

from collapsebench.components.interfaces import Method
from collapsebench.model.distributions import DiagonalGaussian
from collapsebench.model.progress import Progress
from collapsebench.model.vae import Terms
from collapsebench_plugins import capacity
from collapsebench_plugins.beta_vae import BetaVAE
from collapsebench_plugins.capacity import Capacity
from collapsebench_plugins.control_vae import AntiWindup, ControlVAE
from collapsebench_plugins.dg_vae import DGVAE
from collapsebench_plugins.free_bits import FreeBits, Per
from collapsebench_plugins.geco import GECO
from collapsebench_plugins.info_vae import InfoVAE
from collapsebench_plugins.mae import MAE, pairwise
from collapsebench_plugins.mdr import MDR
from golden_zoo.zoo import Leaf, Pythae, Squares, load

PAIRS = 1e-7
"""Tolerance of MAE (README): its program adds 1e-12 to variances."""


def stacked(found):
    """Dictionaries of arrays as one of stacked arrays."""
    return {name: torch.stack([each[name] for each in found]) for name in found[0]}


def test_free_bits_of_kingma():
    case = load("free_bits")
    leaf, found = Leaf(case), []
    for floor in case["in/lambda"].tolist():
        loss = leaf.terms(FreeBits(nats=floor)).loss
        found.append(leaf.gradients() | {"kl_obj": loss.expand(len(leaf.mean))})
    assert_equal(stacked(found), case.group("out/kingma/"))


RELEASED = {"fb1": Per.EXAMPLE, "fb2": Per.EXAMPLE_UNIT, "fb3": Per.BATCH}


@pytest.mark.parametrize("name", RELEASED)
def test_free_bits_of_li_have_our_gradients_and_our_values_less_the_floors(name):
    case = load("free_bits")
    leaf, per = Leaf(case, case["in/rec"]), RELEASED[name]
    units = leaf.mean.shape[1]
    for i, weight in enumerate(case["in/kl_weight"].tolist()):
        for j, target in enumerate(case["in/target_kl"].tolist()):
            floor = target / units if per is Per.EXAMPLE_UNIT else target
            terms = leaf.terms(BetaVAE(beta=weight), FreeBits(nats=floor, per=per))
            wanted = {f"grad_{part}": case[f"out/{name}/grad_{part}"][i, j] for part in ("mean", "logvar")}
            assert_equal(leaf.gradients(), wanted)
            kl = {Per.EXAMPLE: terms.kl.sum(1), Per.EXAMPLE_UNIT: terms.kl, Per.BATCH: terms.kl.sum(1).mean()}[per]
            floors = (
                floor * (kl <= floor).double().reshape(len(kl), -1).sum(1).mean() if kl.ndim else floor * (kl <= floor)
            )
            assert float(terms.loss - weight * floors) == pytest.approx(float(case[f"out/{name}/loss"][i, j]), rel=1e-9)


def test_without_free_bits_it_is_the_weighted_kl():
    case = load("free_bits")
    leaf = Leaf(case, case["in/rec"])
    for i, weight in enumerate(case["in/kl_weight"].tolist()):
        terms = leaf.terms(BetaVAE(beta=weight))
        found = {"loss": terms.loss} | leaf.gradients()
        assert_equal(found, {name: array[i, 0] for name, array in case.group("out/fb0/").items()})
        assert_equal(
            {"kl_dim": terms.kl, "kl": terms.kl.sum(1)}, {name: case[f"out/{name}"] for name in ("kl_dim", "kl")}
        )


def test_the_plain_vae_and_beta_vae_of_pythae():
    case = load("pythae_beta_capacity")
    model = Pythae(case)
    assert_equal(model.values([]), model.expected("vae_bce"))
    assert_equal(model.values([BetaVAE(beta=case.meta["beta"])]), model.expected("beta_bce"))
    squares = Pythae(case, decoder=Squares)
    assert_equal(squares.values([]), squares.expected("vae_mse"))


def at_epoch(case, number):
    """The share of the warm-up that has passed at an epoch of the file."""
    return Progress(min(1.0, int(case["in/epochs"][number]) / (case.meta["warmup_epoch"] + 1)), 0)


def test_capacity_in_both_readings():
    case = load("pythae_beta_capacity")
    model, settings = Pythae(case), {"nats": case.meta["C"], "gamma": case.meta["beta"], "warmup": 1.0}
    for number in range(len(case["in/epochs"])):
        progress = at_epoch(case, number)
        found = model.values([Capacity(per=capacity.Per.EXAMPLE, **settings)], progress)
        assert_equal(found, model.expected(f"capacity_{number}"))
        mean_form = model.values([Capacity(**settings)], progress)["loss"]
        assert mismatch(mean_form, case[f"out/equation/capacity_{number}_mean_form"]) == ""


def info_vae(settings):
    """The method with the settings of a case of the file."""
    names = {"kernel": "kernel", "kernel_bandwidth": "bandwidth", "scales": "scales", "alpha": "alpha", "lbd": "weight"}
    return InfoVAE(**{ours: settings[theirs] for theirs, ours in names.items() if theirs in settings})


def test_discrepancies_and_kernels_of_pythae():
    case = load("pythae_mmd")
    for settings in case.meta["cases"]:
        method, tag = info_vae(settings), settings["tag"]
        z, drawn = case[f"out/{tag}/z"], case["in/z_prior"]
        assert mismatch(method.discrepancy(z, drawn), case[f"out/{tag}/mmd_loss"]) == ""
        for kernel, (one, other) in {"k_z": (z, z), "k_cross": (z, drawn), "k_prior": (drawn, drawn)}.items():
            if f"out/{tag}/{kernel}" in case:
                assert mismatch(method.similarity(one, other), case[f"out/{tag}/{kernel}"]) == ""


def test_info_vae_of_pythae(monkeypatch):
    """The cases `wae_*` encode to a point. Their discrepancies are compared above."""
    case = load("pythae_mmd")
    model = Pythae(case)
    monkeypatch.setattr(type(model.vae.prior), "sample", lambda prior, number, noise: case["in/z_prior"])
    for settings in case.meta["cases"]:
        if "alpha" in settings:
            assert_equal(model.values([info_vae(settings)]), model.expected(settings["tag"]))


@pytest.mark.parametrize("name", ["dg_batch", "dg_half"])
def test_the_density_gap_is_that_of_the_equation(name):
    case = load("dg_vae")
    samples = case["in/eps"].transpose(0, 1)
    leaf = Leaf(case, **{"dg-vae": samples})
    group = int(case["in/agg_size"]) if name == "dg_half" else None
    terms = leaf.terms(DGVAE(samples=case.meta["n_samples"], group=group))
    found = {name: terms.loss} | leaf.gradients(f"{name}_grad")
    assert_equal(found, {key: value for key, value in case.group("out/equation/").items() if key.startswith(name)})


def test_mae_and_its_pairs():
    case = load("mae_mpd")
    leaf, found = Leaf(case, case["in/rec"]), []
    for settings in case.meta["cases"]:
        floor = FreeBits(nats=settings["free_bits"], per=Per.BATCH)
        eta, gamma = settings["eta"], settings["gamma"]
        plain, mean, std = (leaf.terms(MAE(eta=e, gamma=g), floor).loss for e, g in ((0, 0), (eta, 0), (0, gamma)))
        parts = {"loss_mean": mean - plain, "loss_std": std - plain}
        terms = leaf.terms(MAE(eta=eta, gamma=gamma), floor)
        found.append({"loss": terms.loss} | leaf.gradients() | parts)
    every = stacked(found)
    divergence = pairwise(DiagonalGaussian(case["in/mean"], case["in/logvar"]))
    pairs = {"postKL_mean": divergence.mean(0).sum(), "postKL_std": divergence.sum(-1).std()}
    assert_equal(every | {name: each.expand(len(found)) for name, each in pairs.items()}, case.group("out/mae/"), PAIRS)
    assert mismatch(divergence.mean(0), case["out/postKL_mean_dim"], PAIRS) == ""
    assert mismatch(terms.kl.sum(1), case["out/kl"]) == ""


def fed(method: Method, kl=None, reconstruction=None) -> None:
    """Let a method see a step with this KL, or this error."""
    kl, error = (
        torch.tensor(0.0 if each is None else float(each), dtype=torch.float64) for each in (kl, reconstruction)
    )
    method.after_step(Terms(error[None], kl.reshape(1, 1), 1.0, error))


PROGRAMS = {"image": AntiWindup.OFF, "text_ptb": AntiWindup.OFF, "dialog": AntiWindup.PAPER}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("gains", ["default", "paper", "strong"])
@pytest.mark.parametrize(("group", "given"), [("pid", "in/kl"), ("pid_low_first", "in/kl_low_first")])
def test_the_controller_of_control_vae(program, gains, group, given):
    case = load("schedules")
    found = controlled(case, case.meta["pid_gains"][gains], PROGRAMS[program], case.meta["exp_kl"], case[given])
    assert mismatch(found, case[f"out/{group}/{program}_{gains}"].double()) == ""


def controlled(case, gains, rule, target, kls):
    """The weights behind each KL. Settings that lock are built without the check that refuses them."""
    settings = {"nats": target, "proportional": gains["Kp"], "integral": -gains["Ki"], "anti_windup": rule}
    method, weights = ControlVAE.model_construct(**settings), []
    for kl in kls:
        fed(method, kl)
        weights.append(method.kl_weight())
    return torch.tensor(weights, dtype=torch.float64)


def test_a_controller_that_locks_and_one_that_does_not():
    case = load("schedules")
    gains = {"Kp": 0.01, "Ki": -0.001}
    for program in ("dialog", "image"):
        found = controlled(case, gains, PROGRAMS[program], 50.0, case["in/kl_lock"])
        assert mismatch(found, case[f"out/pid_lock/{program}"].double()) == ""
    outward = controlled(case, gains, AntiWindup.OUTWARD, 50.0, case["in/kl_lock"])
    assert outward[-1] > 0


@pytest.mark.parametrize("name", ["speedup", "plain"])
def test_the_weights_of_geco(name):
    case = load("schedules")
    given = case.meta["geco"]
    method = GECO(
        goal=given["goal"],
        step_size=given["step_size"],
        smoothing=given["alpha"],
        start=given["beta_init"],
        speedup=given["speedup"] if name == "speedup" else 1.0,
    )
    losses, weights, errors = [], [], []
    for error, kl in zip(case["in/geco/err"].tolist(), case["in/geco/kld"].tolist(), strict=True):
        losses.append(error + method.kl_weight() * kl)
        fed(method, reconstruction=error)
        weights.append(method.kl_weight())
        errors.append(method._error)
    found = {"loss": losses, "beta": weights, "err_ema": errors}
    assert_equal(tensors(found), case.group(f"out/geco/{name}/"))


def tensors(lists):
    """The same in float64."""
    return {name: torch.tensor(each, dtype=torch.float64) for name, each in lists.items()}


def test_the_multiplier_of_mdr():
    case = load("schedules")
    given = case.meta["mdr"]
    method = MDR(nats=given["min_rate"], start=given["lambda_start"], learning_rate=given["lr"])
    constraints, multipliers, gradients = [], [], []
    for kl in case["in/mdr/kl"].tolist():
        constraints.append(abs(method.multiplier) * (given["min_rate"] - kl))
        gradients.append(math.copysign(given["min_rate"] - kl, method.multiplier * (given["min_rate"] - kl)))
        fed(method, kl)
        multipliers.append(method.multiplier)
    found = {"constraint": constraints, "lambda": multipliers, "grad_lambda": gradients}
    assert_equal(tensors(found), case.group("out/mdr/equation/"))
