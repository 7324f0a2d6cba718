"""What the shipped contenders compute is pinned to the bit: three steps of the loop are those of a step written here.

The step below is the whole of what the harness trains without a hook that changes the objective. So it says which order
of operations the last bits depend on.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch
from tiny import CLIP, RATE, SEED, STEPS, batches
from torch import nn

from collapsebench.components.composition import compose, inference_of
from collapsebench.examples import Batch
from collapsebench.experiment.training import TrainingState, step
from collapsebench.inference.amortized import Amortized
from collapsebench.model.distributions import DiagonalGaussian
from collapsebench.model.kernels.optimizers import Adam
from collapsebench.model.kernels.recurrent import twice_differentiable
from collapsebench.model.seeding import Noise, Purpose, run_noise, seed_torch
from collapsebench.model.vae import Gradient, Terms
from collapsebench_plugins.kl_annealing import KLAnnealing
from collapsebench_plugins.no_latent import NoLatent
from collapsebench_plugins.sa_vae import HVP, SAVAE, SVI, VAESVI
from collapsebench_plugins.skip import Skip

CONTENDERS = {
    "vae": (),
    "skip": (Skip(),),
    "kl-annealing": (KLAnnealing(start=0.25),),
    "no-latent": (NoLatent(),),
    "svi": (SVI(steps=2),),
    "vae-svi": (VAESVI(steps=2),),
    "sa-vae": (SAVAE(steps=2),),
    "skip+kl-annealing+sa-vae": (Skip(), KLAnnealing(), SAVAE(steps=2, hvp=HVP.FINITE_DIFFERENCE)),
}


@dataclass(frozen=True)
class PlainObjective:
    """Reconstruction plus weight times KL, in this order."""

    noise: Noise
    kl_weight: float

    def __call__(self, vae, x, posterior, noise=None) -> Terms:
        noise = self.noise if noise is None else noise
        epsilon = noise.child("z").normal((1, *posterior.mean.shape), posterior.mean)
        z = posterior.mean + (0.5 * posterior.logvar).exp() * epsilon
        reconstruction = -vae.log_likelihood(x, z, noise.child("dropout"))[0]
        kl = 0.5 * (posterior.mean.square() + posterior.logvar.exp() - posterior.logvar - 1)
        loss = (reconstruction + self.kl_weight * kl.sum(-1)).mean()
        return Terms(reconstruction, kl, self.kl_weight, loss)

    def gradient(self, vae, x, posterior, noise, *, parameters=(), create_graph=False) -> Gradient:
        point = posterior.parameters if create_graph else posterior.parameters.detach().requires_grad_()
        with torch.enable_grad(), twice_differentiable(vae) if create_graph else nullcontext():
            loss = self(vae, x, DiagonalGaussian.of(point), noise).loss
            found = torch.autograd.grad(
                loss, (point, *parameters), create_graph=create_graph, allow_unused=True, materialize_grads=True
            )
        return Gradient(loss.detach(), found[0], found[1:])


def plain_steps(family: str, methods: tuple) -> tuple[nn.Module, list[Terms]]:
    """The model after three steps that are written out."""
    vae, found = tiny.vae(family, methods), []
    inference = inference_of(compose(methods), Amortized())
    optimizer = Adam(vae.parameters(), RATE)
    weights = [method for method in methods if isinstance(method, KLAnnealing)]
    for number, x in enumerate(batches(family)):
        vae.train()
        progress = SimpleNamespace(fraction=number / STEPS, step=number)
        seed_torch(SEED, Purpose.TRAINING, number)
        optimizer.zero_grad()
        weight = weights[0].kl_weight(progress) if weights else 1.0
        objective = PlainObjective(run_noise(SEED, Purpose.TRAINING, number), weight)
        found.append(inference.gradients(vae, x, objective))
        nn.utils.clip_grad_norm_(vae.parameters(), CLIP)
        optimizer.step()
    return vae, found


def harness_steps(family: str, methods: tuple) -> tuple[TrainingState, list[Terms]]:
    """The state after three steps of the harness."""
    setup = tiny.setup(family, methods)
    state = TrainingState.start(setup)
    return state, [step(setup, state, Batch(x.numpy(), np.arange(4))) for x in batches(family)]


@pytest.mark.slow
@pytest.mark.parametrize("contender", CONTENDERS)
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_three_steps_of_a_shipped_contender_are_the_plain_ones_to_the_bit(family, contender):
    methods = CONTENDERS[contender]
    model, wanted = plain_steps(family, methods)
    state, found = harness_steps(family, methods)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, state.vae.get_parameter(name)), name
    for theirs, ours in zip(wanted, found, strict=True):
        assert torch.equal(theirs.reconstruction, ours.reconstruction)
        assert torch.equal(theirs.kl, ours.kl)
        assert torch.equal(theirs.loss, ours.loss)
        assert theirs.kl_weight == ours.kl_weight
    passes = model.passes
    assert (passes.encoder, passes.decoder) == (state.vae.passes.encoder, state.vae.passes.decoder)
    counters = state.meter.counters()
    assert counters["decoder_evaluations"] == passes.decoder
    assert counters["encoder_evaluations"] == passes.encoder
