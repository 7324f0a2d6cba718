"""Training on a device that computes behind the process, without one: nothing waits where nobody has to.

Torch's meta device has no numbers: whoever reads one there gets an error. What is read later is tried on the CPU.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from collapsebench.errors import DivergedError
from collapsebench.experiment import training
from collapsebench.experiment.events import Stepped
from collapsebench.experiment.runner import RunWatcher
from collapsebench.experiment.training import TrainingState, Unread
from collapsebench.inference.amortized import Amortized
from collapsebench.model.seeding import SeededNoise
from collapsebench.model.vae import Terms
from collapsebench.spec import Budget

CONTENDERS = ["vae", "skip", "kl-annealing", "svi[steps=2]", "vae-svi[steps=2]", "sa-vae[steps=2]"]
CONTENDERS += ["sa-vae[steps=2,hvp=finite-difference]", "skip+sa-vae[steps=2,clip=off]"]


class Unfused(torch.optim.SGD):
    """An optimizer without fused kernels, which the meta device has not."""

    learning_rate = 0.1


@pytest.fixture(autouse=True)
def _checkout(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1])


def text(contender="vae", budget="1000steps"):
    from bench.work import Text
    from bench.workloads import text_setup

    setup = text_setup(contender, Text(vocabulary=20, embedding=3, hidden=4, latent=2, batch=3, tokens=4))
    return replace(setup, budget=Budget.parse(budget))


def images(contender="vae"):
    from bench.workloads import image_setup

    small = {"name": "mlp", "hidden": 5}
    return image_setup(contender, 2, small, small, batch=3)


def pixels(contender="vae"):
    from bench.workloads import image_setup

    return image_setup(contender, 2, {"name": "resnet"}, {"name": "pixelcnn", "layers": 2, "maps": 2}, batch=2)


class Arrivals(TorchDispatchMode):
    """Counts the tensors that are copied from the CPU to a device."""

    def __init__(self):
        super().__init__()
        self.number = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        inputs = [each for each in args if isinstance(each, torch.Tensor)]
        self.number += out_of_cpu(inputs) and isinstance(out, torch.Tensor) and out.device.type != "cpu"
        return out


def out_of_cpu(inputs):
    return any(each.device.type == "cpu" for each in inputs)


def batch_of(setup):
    return next(setup.splits.train.batches(setup.setting.batch_size))


@pytest.mark.parametrize("build", [text, images, pixels])
@pytest.mark.parametrize("contender", CONTENDERS)
def test_a_step_reads_no_number_of_a_device(build, contender, monkeypatch):
    from bench.workloads import moved

    meta = torch.device("meta")
    monkeypatch.setattr(SeededNoise, "_generator", lambda self, like: None)
    monkeypatch.setattr(training, "check_gradients", lambda vae, inference: None)  # reads at the first step alone
    monkeypatch.setattr(
        training, "make_optimizer", lambda chosen, vae: Unfused(vae.parameters(), lr=Unfused.learning_rate)
    )
    setup = moved(build(contender), meta)
    state = TrainingState.start(setup)
    training.step(setup, state, batch_of(setup))
    with Arrivals() as arrivals:
        training.step(setup, state, batch_of(setup))
    assert arrivals.number == 1  # the examples
    with pytest.raises((NotImplementedError, RuntimeError), match="meta"):
        state.settle()


@pytest.fixture
def lagging(monkeypatch):
    """The CPU, as if it computed behind the process."""
    start = TrainingState.start.__func__
    monkeypatch.setattr(
        TrainingState, "start", classmethod(lambda cls, setup: replace(start(cls, setup), unread=Unread()))
    )
    monkeypatch.setattr(training, "READ_EVERY", 4)


class Kept:
    """A watcher that asks for the state after some steps."""

    def __init__(self, *after):
        self.after, self.points, self.states = after, [], []

    def stepped(self, meter, terms):
        return meter.steps in self.after

    def evaluated(self, point):
        self.points.append(point.model_copy(update={"counters": point.counters | {"seconds": 0.0}}))

    def keep(self, state):
        self.states.append(state)


def trained(setup, *after):
    watcher = Kept(*after)
    training.train(setup, TrainingState.start(setup), watcher)
    return watcher


def test_losses_that_are_read_later_are_the_same(request):
    at_once = trained(text(budget="11steps"), 6)
    request.getfixturevalue("lagging")
    later = trained(text(budget="11steps"), 6)
    assert later.points == at_once.points
    assert [state["losses"] for state in later.states] == [state["losses"] for state in at_once.states]


class Breaking(Amortized):
    """Inference whose loss is not finite from a step on."""

    def __init__(self, step):
        super().__init__()
        self._left = step

    def gradients(self, vae, x, objective):
        terms = super().gradients(vae, x, objective)
        self._left -= 1
        return terms._replace(loss=terms.loss * math.nan) if self._left <= 0 else terms


@pytest.mark.parametrize("bad", [1, 2, 4, 5, 11])
@pytest.mark.usefixtures("lagging")
def test_divergence_that_is_seen_later_names_its_step(bad):
    setup = text(budget="11steps")
    setup = replace(setup, inference=Breaking(bad))
    watcher = Kept(3)
    with pytest.raises(DivergedError, match=rf"^step {bad}: loss nan, gradient norm [0-9.]+$"):
        training.train(setup, TrainingState.start(setup), watcher)
    kept = [state["meter"]["counts"]["steps"] for state in watcher.states]
    assert all(steps < bad for steps in kept)
    assert all(point.counters["steps"] < bad for point in watcher.points)


def test_a_loss_that_a_report_finds_not_finite_asks_for_a_look():
    """So that divergence ends the run at the pace of its reports."""
    heard = []

    class Never:
        def due(self):
            return False

    watcher, setup = RunWatcher("0" * 16, heard.append, Never(), pulse=0), text()
    meter = TrainingState.start(setup).meter
    for loss, looks in ((1.0, False), (math.nan, True), (math.inf, True)):
        terms = Terms(torch.zeros(1), torch.zeros(1, 1), 1.0, torch.tensor(loss))
        assert watcher.stepped(meter, terms) is looks
    assert [type(event) for event in heard] == [Stepped] * 3


def test_examples_are_copied_to_a_gpu_from_pinned_memory(monkeypatch):
    """So that the copy waits for nothing; such memory exists only where there is a GPU."""
    asked = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: asked.append("pinned") or self)
    monkeypatch.setattr(torch.Tensor, "to", lambda self, *where, **how: asked.append((where, how)) or self)
    gpu, x = torch.device("cuda", 0), batch_of(text()).x
    training.moved(x, gpu)
    assert asked == ["pinned", ((gpu,), {"non_blocking": True})]
