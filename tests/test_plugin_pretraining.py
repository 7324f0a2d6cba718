"""Autoencoder pretraining, and the hook that lets modules begin anew."""

from __future__ import annotations

from typing import ClassVar

import pytest
import tiny
import torch
from pydantic import PrivateAttr
from test_plain_step import CLIP, RATE, SEED, STEPS, PlainObjective, batches, harness_steps
from test_plugins_objective import alike
from torch import nn

from collapsebench import Method, hookimpl
from collapsebench.errors import PluginError
from collapsebench.inference.amortized import Amortized
from collapsebench.model.kernels.optimizers import SGD, Adam
from collapsebench.model.progress import Progress
from collapsebench.model.seeding import Purpose, run_noise, seed_torch
from collapsebench_plugins.pretraining import Pretraining
from collapsebench_plugins.sa_vae import SAVAE


class Reset(Method):
    """Resets what it is told to."""

    name: ClassVar[str] = "reset"
    _give: object = PrivateAttr(None)

    @hookimpl
    def modules_to_reset(self, vae, progress):
        return self._give(vae, progress)


def reset(give):
    made = Reset()
    made._give = give
    return made


@pytest.mark.slow
@pytest.mark.parametrize("family", tiny.FAMILIES)
@pytest.mark.parametrize("others", [(), (SAVAE(steps=2),)], ids=["alone", "sa-vae"])
def test_without_a_first_phase_it_is_the_plain_vae_to_the_bit(family, others):
    alike(family, (Pretraining(share=0), *others), others)


def restarted(family):
    """Three steps that are written out: two of an autoencoder, and one with a fresh decoder and fresh moments."""
    vae, fresh = tiny.vae(family), tiny.vae(family)
    inference = [*vae.encoder.parameters(), *vae.posterior.parameters()]
    kept, decoders = Adam(inference, RATE), Adam(vae.decoder.parameters(), RATE)
    for number, x in enumerate(batches(family)):
        vae.train()
        if number == STEPS - 1:
            vae.decoder.load_state_dict(fresh.decoder.state_dict())
            decoders = Adam(vae.decoder.parameters(), RATE)
        seed_torch(SEED, Purpose.TRAINING, number)
        vae.zero_grad()
        weight = float(number == STEPS - 1)
        Amortized().gradients(vae, x, PlainObjective(run_noise(SEED, Purpose.TRAINING, number), weight))
        nn.utils.clip_grad_norm_(vae.parameters(), CLIP)
        kept.step()
        decoders.step()
    return vae


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_the_decoder_begins_anew_and_the_encoder_goes_on_to_the_bit(family):
    wanted = restarted(family)
    state, found = harness_steps(family, (Pretraining(share=0.5),))
    assert [each.kl_weight for each in found] == [0, 0, 1]
    for name, parameter in wanted.named_parameters():
        assert torch.equal(parameter, state.vae.get_parameter(name)), name


def test_it_happens_once():
    method, vae = Pretraining(share=0.5), tiny.vae("mlp")
    asked = []
    for fraction in (0.0, 0.4, 0.5, 0.6, 1.0):
        progress = Progress(fraction, 0)
        asked.append(bool(method.modules_to_reset(vae, progress)))
        method.after_step(progress)
    assert asked == [False, False, True, False, False]


def test_modules_that_begin_anew_in_every_step_are_one_step_from_their_start():
    state, _ = harness_steps("mlp", (reset(lambda vae, progress: [vae]),))
    start = tiny.vae("mlp")
    assert {int(kept.steps) for kept in state.optimizer._moments.values()} == {1}
    for name, parameter in start.named_parameters():
        assert (parameter - state.vae.get_parameter(name)).abs().max() <= RATE * (1 + 1e-6)


def test_foreign_modules_are_one_line():
    with pytest.raises(PluginError, match=r"modules_to_reset of method .*: returned Linear, expected modules"):
        harness_steps("mlp", (reset(lambda vae, progress: [nn.Linear(1, 1)]),))


def test_an_optimizer_forgets_the_moments_of_these_parameters_alone():
    first, second = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    for kind in (SGD, Adam):
        optimizer = kind([first, second], 0.1)
        first.grad = second.grad = torch.ones(1)
        optimizer.step()
        optimizer.forget([second])
        optimizer.step()
        if kind is Adam:
            assert [int(optimizer._moments[number].steps) for number in (0, 1)] == [2, 1]
