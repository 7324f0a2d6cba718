"""SVI and SA-VAE steps of the released optimizer: trajectories, losses, gradients, clipping, and evaluation."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from collapsebench.model.distributions import DiagonalGaussian
from collapsebench.model.vae import Objective
from collapsebench_plugins.sa_vae import HVP, SAVAE, SVI, VAESVI, Clip, EncoderLoss
from golden.vectors import CASES, assert_equal, build, load, prefixed

DIFFERENCES = 1e-6
"""Tolerance of finite differences against the same finite difference (README)."""
STEPS = [name for name in CASES["svi"] if name != "text_eval"]
SEMI_AMORTIZED = [name for name in STEPS if name.startswith("savae")]


@dataclass(frozen=True)
class GivenNoise:
    """The noise of a file instead of drawn noise: arrays by the path of labels that lead to them."""

    arrays: dict[tuple, Tensor]
    path: tuple = ()

    def child(self, *labels):
        return GivenNoise(self.arrays, (*self.path, *labels))

    def normal(self, shape, like):
        return self.arrays[self.path].reshape(shape).to(like)

    def uniform(self, shape, like):
        raise AssertionError(f"nothing draws masks in these cases: {shape}, {like}")


@dataclass
class Steps:
    """A case, our model, its data and noise, and the authors' hyperparameters in our words."""

    name: str
    prefix: str = "in/"
    steps: int = field(init=False)

    def __post_init__(self):
        self.case = load(self.name)
        self.model = build(self.case)
        self.vae = self.model.vae
        self.x = self.case[self.prefix + ("img" if "in/img" in self.case else "sents")]
        self.hyper = self.case.meta["hyper"]
        self.steps = self.hyper["svi_steps"]
        arrays = {("svi", k, "z"): epsilon for k, epsilon in enumerate(self.case[f"{self.prefix}all_z"])}
        arrays[("final", "z")] = self.case[f"{self.prefix}eps_final"]
        if f"{self.prefix}eps_init" in self.case:
            arrays[("initial", "z")] = self.case[f"{self.prefix}eps_init"]
        self.noise = GivenNoise(arrays)
        self.objective = Objective(self.noise, self.hyper["beta"])

    @property
    def settings(self):
        mean, logvar = self.hyper["lr"]
        clip = self.hyper["svi_max_grad_norm"]
        clipping = {"clip": Clip.AS_RELEASED, "clip_norm": clip} if clip else {"clip": Clip.OFF}
        rates = {"learning_rate": mean, "learning_rate_logvar": logvar}
        return {"steps": self.steps, "momentum": self.hyper["momentum"], **rates, **clipping}

    @property
    def covered(self):
        """Our parameters that the released backward pass treats: its list lacks `z_linear` (README)."""
        missing = {
            ours for theirs, names in self.model.names.items() if theirs.startswith("z_linear.") for ours in names
        }
        named = self.vae.decoder.named_parameters()
        return tuple(parameter for name, parameter in named if f"decoder.{name}" not in missing)

    @property
    def before_norm(self):
        """Gradients that are zero but for round-off: biases before a batch norm."""
        return {name for name in self.case.arrays if re.search(r"enc_cnn\.\d+\.conv\d\.bias$", name)}

    def compare(self, got, expected_prefix, tolerance):
        expected = self.case.group(expected_prefix)
        absolute = {name for name in expected if expected_prefix + name in self.before_norm}
        assert_equal(got, {name: expected[name] for name in got}, tolerance, absolute)
        return set(got)


def leaf(posterior):
    return DiagonalGaussian(posterior.mean.detach().requires_grad_(), posterior.logvar.detach().requires_grad_())


def named(name, parameters):
    return {f"{name}_mean": parameters[0], f"{name}_logvar": parameters[1]}


def forward_outputs(case):
    """Everything before the backward pass."""
    svi = SVI(**case.settings)
    vae, x, objective = case.vae, case.x, case.objective
    start = (
        vae.encode(x).detach()
        if case.vae.encoder is not None
        else DiagonalGaussian(*2 * [case.noise.arrays[("final", "z")] * 0])
    )
    states = [SVI(**case.settings | {"steps": k}).refine(vae, x, start, objective) for k in range(case.steps + 1)]
    gradients = [objective.gradient(vae, x, state, case.noise.child("svi", k)) for k, state in enumerate(states[:-1])]
    final = objective(vae, x, states[-1], case.noise.child("final"))
    outputs = named("svi", torch.stack([state.parameters for state in states], 1))
    outputs["svi_loss"] = torch.stack([gradient.loss for gradient in gradients])
    outputs |= {"final_loss": final.loss, "final_nll": final.reconstruction.mean(), "final_kl": final.kl.sum(-1).mean()}
    if ("initial", "z") in case.noise.arrays:
        clipped = torch.stack([svi._clipped(gradient.posterior) for gradient in gradients], 1)
        outputs |= named("svi_grad", clipped)
        first = objective(vae, x, start, case.noise.child("initial"))
        outputs |= {"mean0": start.mean, "logvar0": start.logvar}
        outputs |= {"nll0": first.reconstruction.mean(), "kl0": first.kl.sum(-1).mean()}
        end = objective.gradient(vae, x, states[-1], case.noise.child("final")).posterior
        outputs |= {"dfinal_dmean": end[0], "dfinal_dlogvar": end[1]}
    return outputs


@pytest.mark.slow
@pytest.mark.parametrize("name", STEPS)
def test_steps_before_the_backward_pass(name):
    case = Steps(name)
    clipped = case.hyper["svi_max_grad_norm"] > 0
    compared = case.compare(forward_outputs(case), "out/", DIFFERENCES if clipped else 1e-9)
    assert compared >= {"svi_mean", "svi_logvar", "svi_loss", "final_loss", "final_nll", "final_kl"}


def recording(log):
    """SA-VAE that notes the norms it clips by, and the factors."""

    class Recording(SAVAE):
        name = "recording"

        def _factor(self, norm):
            factor = super()._factor(norm)
            log.append((norm, factor))
            return factor

    return Recording


@pytest.mark.slow
@pytest.mark.parametrize("name", SEMI_AMORTIZED)
def test_finite_differences_as_released(name):
    case = Steps(name)
    log = []
    method = recording(log)(**case.settings, hvp=HVP.FINITE_DIFFERENCE, epsilon=case.hyper["eps"])
    start = case.vae.encode(case.x)
    _, adjoint = method.finite_difference(case.vae, case.x, start.detach(), case.objective, case.covered)
    start.parameters.backward(adjoint)
    outputs = named("meta_grad", adjoint)
    K = case.steps
    if case.hyper["svi_max_grad_norm"]:
        backward = [
            torch.stack([value for entry in log[K + 3 * k : K + 3 * k + 3] for value in entry]) for k in range(K)
        ]
        norms_and_factors = torch.stack(backward[::-1])
        outputs |= {"clip_fwd_norm": torch.stack([norm for norm, _ in log[:K]])}
        outputs |= {"clip_fwd_coef": torch.stack([factor for _, factor in log[:K]])}
        outputs |= {"clip_bwd_norm": norms_and_factors[:, ::2], "clip_bwd_coef": norms_and_factors[:, 1::2]}
    outputs |= prefixed("grad/", case.model.gradients())
    checked = case.compare(outputs, "out/", DIFFERENCES)
    everything = {key for key in case.case.group("out/") if not key.startswith("exact/")}
    assert everything == checked | set(forward_outputs(case))


@pytest.mark.parametrize("name", [name for name in SEMI_AMORTIZED if name.endswith("clip0")])
def test_exact_derivative(name):
    case = Steps(name)
    method = SAVAE(**case.settings, hvp=HVP.EXACT)
    start = leaf(case.vae.encode(case.x))
    method.exact(case.vae, case.x, start, case.objective)
    outputs = named("meta_grad", (start.mean.grad, start.logvar.grad))
    case.vae.zero_grad()
    method.gradients(case.vae, case.x, case.objective)
    outputs |= prefixed("grad/", case.model.gradients())
    assert case.compare(outputs, "out/exact/", 1e-9) == set(case.case.group("out/exact/"))


@pytest.mark.parametrize("name", [name for name in SEMI_AMORTIZED if name.endswith("clip0")])
def test_our_finite_difference_agrees_with_the_exact_derivative(name):
    """Unlike the released one it covers every decoder parameter, `z_linear` included."""
    case = Steps(name)
    method = SAVAE(**case.settings, hvp=HVP.FINITE_DIFFERENCE, epsilon=case.hyper["eps"])
    method.gradients(case.vae, case.x, case.objective)
    compared = case.compare(prefixed("grad/", case.model.gradients()), "out/exact/", 1e-3)
    assert compared == {name for name in case.case.group("out/exact/") if name.startswith("grad/")}


@pytest.mark.parametrize("name", [name for name in STEPS if name.startswith("svi")])
def test_svi_without_differentiating_through_it(name):
    case = Steps(name)
    if case.hyper.get("mode") == "svi":
        method = SVI(**case.settings)
    else:
        loss = EncoderLoss.KL if case.hyper["train_kl"] else EncoderLoss.ELBO
        method = VAESVI(**case.settings, encoder_loss=loss)
    outputs = {}
    if "out/kl_init_final" in case.case:
        start = case.vae.encode(case.x)
        refined = method.refine(case.vae, case.x, start.detach(), case.objective)
        outputs["kl_init_final"] = start.kl(refined).sum(-1).mean()
    if "out/init_grad_mean" in case.case:
        start = case.vae.encode(case.x)
        initial = case.objective.gradient(case.vae, case.x, start, case.noise.child("initial"))
        outputs |= named("init_grad", initial.posterior)
    method.gradients(case.vae, case.x, case.objective)
    outputs |= prefixed("grad/", case.model.gradients())
    checked = case.compare(outputs, "out/", 1e-9)
    assert checked | set(forward_outputs(case)) == set(case.case.group("out/"))


@pytest.mark.parametrize("name", [name for name in CASES["svi"] if name == "text_eval"])
def test_evaluation_sums(name):
    case = load(name)
    count = sum(key.endswith("/sents") for key in case.arrays)
    totals = dict.fromkeys(("total_nll_vae", "total_kl_vae", "total_nll_svi", "total_kl_svi"), 0.0)
    kl_dim, num_words, num_sents = 0.0, 0, 0
    for index in range(count):
        batch = Steps(name, f"in/batch{index}/")
        batch.vae.eval()
        svi = VAESVI(**batch.settings)
        amortized = batch.vae.encode(batch.x)
        evaluate = Objective(batch.noise, training=False)
        first = evaluate(batch.vae, batch.x, amortized, batch.noise.child("initial"))
        refined = svi.posterior(batch.vae, batch.x, batch.noise)
        final = evaluate(batch.vae, batch.x, refined, batch.noise.child("final"))
        for label, terms in (("vae", first), ("svi", final)):
            totals[f"total_nll_{label}"] += terms.reconstruction.sum()
            totals[f"total_kl_{label}"] += terms.kl.sum()
        kl_dim = kl_dim + first.kl.sum(0)
        num_words += batch.x[:, 1:].numel()
        num_sents += len(batch.x)
    outputs = totals | {"kl_dim": kl_dim / num_sents}
    for label in ("vae", "svi"):
        nll, kl = totals[f"total_nll_{label}"], totals[f"total_kl_{label}"]
        outputs |= {f"ppl_{label}": (nll / num_words).exp(), f"kl_{label}": kl / num_sents}
        outputs[f"ppl_bound_{label}"] = ((nll + kl) / num_words).exp()
    outputs["returned"] = outputs["ppl_bound_svi"]
    outputs |= {"num_words": torch.tensor(num_words), "num_sents": torch.tensor(num_sents)}
    assert_equal(outputs, case.group("out/"))
