"""The meter counts what was computed, by whomever, and nothing else."""

import contextlib
import gc
import weakref

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st

from collapsebench.errors import UsageError
from collapsebench.experiment.counters import check_affordable
from collapsebench.experiment.meter import Meter
from collapsebench.inference.amortized import Amortized
from collapsebench.model.seeding import SeededNoise
from collapsebench.model.vae import Objective
from collapsebench.spec import Budget, Unit
from collapsebench_sa_vae import HVP, SAVAE, SVI, VAESVI

B, K = 3, 4


def counted(method, family="lstm"):
    """The counters of one training step."""
    model, x = tiny.vae(family, [] if isinstance(method, Amortized) else [method]), tiny.examples(family, B)
    meter = Meter(Budget.parse("1epochs"), 2 * B)
    meter.step(model, x.shape, lambda: method.gradients(model, x, Objective(SeededNoise(0))))
    return meter.counters()


@pytest.mark.parametrize(
    ("method", "encoder", "decoder", "gradients"),
    [
        (Amortized(), 1, 1, 1),
        (SVI(steps=K), 0, K + 1, K + 1),
        (VAESVI(steps=K), 1, K + 2, K + 2),
        (SAVAE(steps=K), 1, K + 1, 2 * K + 1),
        (SAVAE(steps=K, hvp=HVP.FINITE_DIFFERENCE), 1, 2 * K + 1, 2 * K + 1),
    ],
)
def test_inner_loops_pay(method, encoder, decoder, gradients):
    """field.md's cost model: K gradients and K Hessian-vector products for SA-VAE, one gradient for the plain VAE."""
    counters = counted(method)
    assert counters["encoder_evaluations"] == encoder * B
    assert counters["decoder_evaluations"] == decoder * B
    assert counters["decoder_gradients"] == gradients * B
    assert counters["examples"] == B
    assert counters["epochs"] == 0.5


@pytest.mark.parametrize("method", [Amortized(), SAVAE(steps=2), SAVAE(steps=2, hvp=HVP.FINITE_DIFFERENCE)])
def test_counting_keeps_no_step_alive(method):
    """The graphs of a step are freed with its last reference, without the help of the garbage collector."""
    model, x = tiny.vae("lstm", [] if isinstance(method, Amortized) else [method]), tiny.examples("lstm", B)
    meter, outputs = Meter(Budget.parse("1epochs"), B), []
    model.decoder.register_forward_hook(lambda module, inputs, output: outputs.append(weakref.ref(output)))
    gc.disable()
    try:
        for _ in range(2):
            meter.step(model, x.shape, lambda: method.gradients(model, x, Objective(SeededNoise(0))))
        model.zero_grad(set_to_none=True)
        alive = [output for output in outputs if output() is not None]
    finally:
        gc.enable()
    assert outputs
    assert not alive


@pytest.mark.parametrize("method", [Amortized(), SAVAE(steps=2), VAESVI(steps=2)])
def test_a_step_whose_costs_are_known_counts_as_the_first_did(method):
    model, x = tiny.vae("lstm", [] if isinstance(method, Amortized) else [method]), tiny.examples("lstm", B)
    meter, counters = Meter(Budget.parse("1epochs"), 2 * B), []
    for seed in range(3):
        meter.step(model, x.shape, lambda seed=seed: method.gradients(model, x, Objective(SeededNoise(seed))))
        counters.append(meter.counters() | {"seconds": 0.0})
    assert all(counters[2][name] == 3 * amount for name, amount in counters[0].items())
    assert all(counters[1][name] == 2 * amount for name, amount in counters[0].items())


def test_nothing_is_counted_between_steps():
    model, x = tiny.vae("mlp"), tiny.examples("mlp")
    meter = Meter(Budget.parse("9steps"), 10)
    for _ in range(3):
        model.encode(x)
        tiny.step(meter, 1)
        model.encode(x)
    counters = meter.counters()
    assert counters["encoder_evaluations"] == counters["flops"] == 0
    assert counters["steps"] == counters["examples"] == 3


class Clock:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self):
        return self.now


def test_seconds_pass_only_in_steps():
    clock = Clock()
    meter = Meter(Budget.parse("5seconds"), 10, clock=clock)

    def work(seconds):
        clock.now += seconds
        return meter.seconds

    def break_down():
        clock.now += 3
        raise ZeroDivisionError

    clock.now = 100
    assert meter.step(tiny.idle(), (1,), lambda: work(2)) == 2
    clock.now += 50
    assert meter.seconds == 2
    assert meter.progress().fraction == pytest.approx(0.4)
    assert meter.affords((1,))
    with contextlib.suppress(ZeroDivisionError):
        meter.step(tiny.idle(), (1,), break_down)
    assert meter.seconds == 5
    assert meter.steps == 1
    assert not meter.affords((1,))


def test_the_clock_waits_for_a_device_that_lags_behind(monkeypatch):
    """Waiting is before the clock starts and before it stops; no such device is needed to see it."""
    clock, waits = Clock(), []

    def wait(device):
        waits.append((device, clock.now))
        clock.now += 10

    monkeypatch.setattr(torch.cuda, "synchronize", wait)
    gpu = torch.device("cuda", 0)
    meter = Meter(Budget.parse("50seconds"), 10, gpu, clock)
    tiny.step(meter, 1)
    assert waits == [(gpu, 0), (gpu, 10)]
    assert meter.seconds == 10


@given(
    st.integers(1, 40),
    st.integers(1, 12),
    st.sampled_from([Unit.STEPS, Unit.EPOCHS, Unit.EXAMPLES]),
    st.integers(1, 60),
)
def test_a_counted_budget_is_never_overdrawn(size, batch, unit, amount):
    budget = Budget(amount=amount, unit=unit)
    meter = Meter(budget, size)
    batches = [batch] * (size // batch) + ([size % batch] if size % batch else [])
    while meter.affords((batches[meter.steps % len(batches)],)):
        assert meter.progress().fraction <= 1
        tiny.step(meter, batches[meter.steps % len(batches)])
    assert meter.spent(unit) <= amount * (1 + 1e-9)
    if unit is not Unit.EXAMPLES:
        assert meter.spent(unit) == pytest.approx(amount)


@pytest.mark.parametrize("text", ["0.5steps", "31examples", "0.1epochs"])
def test_a_budget_smaller_than_one_step_is_refused(text):
    with pytest.raises(UsageError, match="is smaller than one step"):
        check_affordable(Budget.parse(text), batch_size=32, train_examples=200)


@pytest.mark.parametrize("text", ["1steps", "32examples", "0.2epochs", "0.001seconds", "1flops"])
def test_a_budget_of_one_step_or_of_unknown_cost_is_enough(text):
    check_affordable(Budget.parse(text), batch_size=32, train_examples=200)
