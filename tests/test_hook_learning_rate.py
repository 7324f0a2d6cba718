"""The hook that scales the learning rate of a track."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest
import tiny
import torch
from pydantic import Field
from test_plain_step import harness_steps
from tiny import RATE

from collapsebench import Method, hookimpl
from collapsebench.components.composition import compose
from collapsebench.errors import PluginError
from collapsebench.experiment.assembly import learning_rate_at
from collapsebench.model.progress import Progress


class Scaled(Method):
    """A factor of the learning rate."""

    name: ClassVar[str] = "scaled"
    factor: float | str | None = Field(1.0, description="the factor")

    @hookimpl
    def learning_rate(self) -> float | str | None:
        return self.factor


class Again(Scaled):
    """The same once more."""

    name: ClassVar[str] = "again"


def parameters(*methods, rate=RATE, monkeypatch=None):
    """The parameters after three steps at this rate of the track, which stays what it is."""
    if monkeypatch is not None:
        monkeypatch.setattr("collapsebench.testing.tiny.RATE", rate)
    state, _ = harness_steps("mlp", methods)
    assert state.optimizer.learning_rate == rate
    return dict(state.vae.named_parameters())


def same(one, other):
    return all(torch.equal(parameter, other[name]) for name, parameter in one.items())


@pytest.mark.parametrize("methods", [(Scaled(),), (Scaled(), Again()), (Scaled(factor=4.0), Again(factor=0.25))])
def test_a_factor_of_1_changes_no_bit(methods):
    assert same(parameters(*methods), parameters())


def test_factors_are_multiplied_with_each_other_and_with_the_rate_of_the_track(monkeypatch):
    both = parameters(Scaled(factor=0.5), Again(factor=0.25))
    assert same(both, parameters(Scaled(factor=0.125)))
    assert same(both, parameters(rate=RATE / 8, monkeypatch=monkeypatch))


def test_a_rate_of_zero_moves_nothing():
    assert same(parameters(Scaled(factor=0.0)), dict(tiny.vae("mlp").named_parameters()))


@pytest.mark.parametrize("factor", [-0.5, float("nan"), float("inf"), "fast", None])
def test_a_factor_that_is_no_number_from_zero_on_is_one_line(factor):
    with pytest.raises(PluginError, match=r"learning_rate of method .*, expected a finite number from 0 on$") as caught:
        learning_rate_at(compose([Scaled.model_construct(factor=factor)]), Progress(0.5, 1))
    assert Path(__file__).name in str(caught.value)
