"""Lagging inference networks, and the hook that says what a step updates."""

from __future__ import annotations

from typing import ClassVar

import pytest
import tiny
import torch
from pydantic import PrivateAttr
from test_plain_step import harness_steps

from collapsebench import Method, hookimpl
from collapsebench.components.composition import compose
from collapsebench.errors import PluginError, UsageError
from collapsebench.model.progress import Progress
from collapsebench.model.vae import Terms
from collapsebench_plugins.bn_vae import BNVAE
from collapsebench_plugins.lagging import Lagging, Stop
from collapsebench_plugins.sa_vae import SAVAE
from collapsebench_plugins.skip import Skip


class Only(Method):
    """Updates what it is told to."""

    name: ClassVar[str] = "only"
    _give: object = PrivateAttr(None)

    @hookimpl
    def modules_to_update(self, vae, progress):
        return self._give(vae, progress)


class Also(Only):
    name: ClassVar[str] = "also"


def only(give):
    made = Only()
    made._give = give
    return made


def changed(family, *methods):
    """The modules of the model whose parameters three steps have changed."""
    before = dict(tiny.vae(family, methods).named_parameters())
    state, _ = harness_steps(family, methods)
    return {name.partition(".")[0] for name, p in state.vae.named_parameters() if not torch.equal(p, before[name])}


@pytest.mark.slow
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_none_and_all_modules_are_the_plain_step_to_the_bit(family):
    plain, _ = harness_steps(family, ())
    for give in (lambda vae, progress: None, lambda vae, progress: [vae]):
        state, _ = harness_steps(family, (only(give),))
        for name, parameter in plain.vae.named_parameters():
            assert torch.equal(parameter, state.vae.get_parameter(name)), name


def test_what_is_not_named_keeps_its_parameters_and_its_moments():
    assert changed("mlp", only(lambda vae, progress: [vae.decoder])) == {"decoder"}
    assert changed("mlp", only(lambda vae, progress: [vae.encoder, vae.posterior])) == {"encoder", "posterior"}
    assert changed("mlp", only(lambda vae, progress: [])) == set()

    def late(vae, progress):
        return [vae.decoder] if progress.step < 2 else [vae.encoder]

    state, _ = harness_steps("mlp", (only(late),))
    names = [name.partition(".")[0] for name, _ in state.vae.named_parameters()]
    steps = {names[number]: int(kept.steps) for number, kept in state.optimizer._moments.items()}
    assert steps == {"decoder": 2, "encoder": 1}


def test_foreign_modules_and_two_choices_are_one_line():
    with pytest.raises(PluginError, match=r"modules_to_update of method .*: returned Linear, expected modules"):
        harness_steps("mlp", (only(lambda vae, progress: [torch.nn.Linear(1, 1)]),))
    with pytest.raises(UsageError, match="methods 'only' and 'lagging' both give modules_to_update"):
        compose([Only(), Lagging()])


def test_encoder_steps_come_before_one_of_the_decoder():
    method, vae = Lagging(window=100, limit=2), tiny.vae("mlp", [BNVAE()])
    kinds = []
    for number in range(6):
        progress = Progress(0.0, number)
        updated = method.modules_to_update(vae, progress)
        kinds.append("decoder" if vae.decoder in updated else "encoder")
        assert (vae.heads in updated) == (kinds[-1] == "encoder")
        loss = torch.ones(2)
        method.after_step(torch.zeros(2, 1, 3, 3), Terms(loss, loss[:, None], 1.0, loss[0]), progress)
    assert kinds == ["encoder", "encoder", "decoder"] * 2


@pytest.mark.parametrize("stop", Stop)
def test_after_the_phase_all_are_updated_for_ever(stop):
    method, vae = Lagging(stop=stop, patience=1), tiny.vae("mlp")
    loss = torch.ones(2)
    for number, information in enumerate([1.0, 2.0, 1.5, 3.0]):
        progress = Progress(0.0, number, {"mi_lower": information}, number + 1)
        assert (method.modules_to_update(vae, progress) is None) == (number >= 2)
        method.after_step(torch.zeros(2, 1, 3, 3), Terms(loss, loss[:, None], 1.0, loss[0]), progress)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_it_composes(family):
    inference = {"encoder", "posterior", "heads"} & changed(family, BNVAE(), Skip(), SAVAE(steps=1))
    assert changed(family, BNVAE(), Skip(), SAVAE(steps=1), Lagging()) == inference
