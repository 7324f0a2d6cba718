"""The hooks that change the objective, and the one behind a step: what they may do, and what neutral ones do.

The neutral ones are compared to the bit.
"""

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
from collapsebench.experiment.assembly import objective_at
from collapsebench.experiment.training import TrainingState
from collapsebench.model.progress import Progress
from collapsebench.model.seeding import SeededNoise
from collapsebench.record import Number, Point


class Penalty(Method):
    """Gives what it is told to."""

    name: ClassVar[str] = "penalty"
    _give: object = PrivateAttr(None)

    @hookimpl
    def kl_penalty(self, sample):
        return self._give(sample)


class Other(Penalty):
    name: ClassVar[str] = "other"


class Extra(Method):
    """Adds what it is told to."""

    name: ClassVar[str] = "extra"
    _give: object = PrivateAttr(None)

    @hookimpl
    def extra_loss(self, sample):
        return self._give(sample)


class Further(Extra):
    name: ClassVar[str] = "further"


class Half(Method):
    name: ClassVar[str] = "half"

    @hookimpl
    def kl_weight(self):
        return 0.5


def giving(method, function):
    made = method()
    made._give = function
    return made


def terms(*methods):
    """The terms of one batch, and the gradients of all parameters."""
    vae = tiny.vae("mlp")
    objective = objective_at(compose(methods), Progress(0.0, 0), SeededNoise(0))
    found = objective(vae, tiny.examples("mlp"), vae.encode(tiny.examples("mlp"))).backward()
    return found, tiny.gradients(vae)


def same(one, other):
    assert torch.equal(one[0].loss, other[0].loss)
    assert all(torch.equal(gradient, other[1][name]) for name, gradient in one[1].items())


def test_neutral_functions_leave_the_loss_and_its_gradients_as_they_are_to_the_bit():
    plain = terms()
    same(plain, terms(giving(Penalty, lambda sample: None)))
    same(plain, terms(giving(Penalty, lambda sample: sample.kl.sum(-1)), giving(Extra, lambda sample: None)))
    same(plain, terms(giving(Extra, lambda sample: 0 * sample.z.sum())))


def test_a_penalty_takes_the_place_of_the_kl_and_is_weighted():
    plain, _ = terms()
    per_example, _ = terms(Half(), giving(Penalty, lambda sample: 3 * sample.kl.sum(-1)))
    scalar, _ = terms(Half(), giving(Penalty, lambda sample: 3 * sample.kl.sum(-1).mean()))
    wanted = (plain.reconstruction + 1.5 * plain.kl.sum(-1)).mean()
    assert float(per_example.loss) == pytest.approx(float(wanted))
    assert float(scalar.loss) == pytest.approx(float(wanted))
    assert torch.equal(per_example.kl, plain.kl)


def test_extra_losses_are_summed_and_not_weighted():
    half, _ = terms(Half())
    both, _ = terms(
        Half(), giving(Extra, lambda sample: sample.z.sum()), giving(Further, lambda sample: -sample.z.sum())
    )
    assert float(both.loss) == pytest.approx(float(half.loss))
    one, _ = terms(Half(), giving(Extra, lambda sample: sample.z.new_tensor(2.0)))
    assert float(one.loss - half.loss) == pytest.approx(2)


def test_a_sample_is_that_of_the_objective():
    seen = []
    noise, x = SeededNoise(0), tiny.examples("mlp")
    found, _ = terms(Half(), giving(Extra, seen.append))
    (sample,) = seen
    epsilon = noise.child("z").normal((1, 3, 2), sample.posterior.mean)
    assert torch.equal(sample.z, sample.posterior.sample(epsilon)[0])
    assert torch.equal(-sample.vae.log_likelihood(x, sample.z[None], noise.child("dropout"))[0], found.reconstruction)
    assert torch.equal(sample.kl, found.kl)
    assert (sample.kl_weight, sample.noise, sample.progress) == (0.5, noise, Progress(0.0, 0))


@pytest.mark.parametrize(
    ("method", "give", "line"),
    [
        (
            Penalty,
            lambda s: s.kl,
            r"returned a tensor of shape \(3, 2\) .*, expected a tensor of shape \(B,\) = \(3,\)",
        ),
        (Penalty, lambda s: 1.0, r"^test_hooks_objective.py:\d+, kl_penalty of method .*: returned 1.0, expected"),
        (
            Extra,
            lambda s: s.z.sum(-1),
            r"returned a tensor of shape \(3,\) .*, expected a scalar tensor or None",
        ),
        (Extra, lambda s: 0, r"^test_hooks_objective.py:\d+, extra_loss of method .*: returned 0, expected"),
    ],
)
def test_what_is_no_term_is_one_line(method, give, line):
    with pytest.raises(PluginError, match=line):
        terms(giving(method, give))


def test_two_penalties_are_a_conflict():
    with pytest.raises(UsageError, match="methods 'penalty' and 'other' both give kl_penalty: they cannot be combined"):
        compose([Penalty(), Other()])


class Watch(Method):
    """Keeps what it sees behind every step."""

    name: ClassVar[str] = "watch"
    _seen: list = PrivateAttr(default_factory=list)

    @hookimpl
    def after_step(self, vae, x, terms, progress):
        moved = next(vae.decoder.parameters()).detach().clone()
        self._seen.append((x, terms.loss, progress, moved))


def test_after_step_comes_last_and_knows_what_the_step_began_with():
    watch = Watch()
    state, found = harness_steps("mlp", (watch,))
    assert [float(loss) for _, loss, _, _ in watch._seen] == [float(each.loss) for each in found]
    assert [progress.step for _, _, progress, _ in watch._seen] == [0, 1, 2]
    assert [progress.fraction for _, _, progress, _ in watch._seen] == pytest.approx([0, 1 / 3, 2 / 3])
    assert torch.equal(watch._seen[-1][-1], next(state.vae.decoder.parameters()))
    assert all(torch.equal(x, tiny.examples("mlp", 4, seed)) for seed, (x, *_) in enumerate(watch._seen))


def test_progress_has_the_newest_evaluation():
    state, _ = harness_steps("mlp", ())
    assert (dict(state.progress().validation), state.progress().evaluations) == ({}, 0)
    for bound in (3.0, 5.0):
        state.trajectory.add(Point(counters={}, values={"neg_elbo": Number.of(bound)}), state.vae)
    assert state.progress() == Progress(1.0, 3, {"neg_elbo": 5.0}, 2)
    assert isinstance(state, TrainingState)
