"""The meter counts what was computed, by whomever, and nothing else."""

import _thread
import contextlib
import gc
import threading
import time
import weakref

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from collapsebench.errors import UsageError
from collapsebench.experiment.counters import check_affordable
from collapsebench.experiment.flops import FlopCounter
from collapsebench.experiment.meter import Meter
from collapsebench.guards import audits
from collapsebench.inference.amortized import Amortized
from collapsebench.model.seeding import SeededNoise
from collapsebench.model.vae import Objective
from collapsebench.record import Guard
from collapsebench.spec import Budget, Unit
from collapsebench_plugins.sa_vae import HVP, SAVAE, SVI, VAESVI

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


def test_without_a_budget_in_seconds_the_clock_runs_for_a_stretch_of_steps(monkeypatch):
    """The device is waited for when a stretch begins and where its seconds are read, and not at each step."""
    clock, waits = Clock(), []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: waits.append(clock.now))
    meter = Meter(Budget.parse("50steps"), 10, torch.device("cuda", 0), clock)

    def steps(number):
        for _ in range(number):
            meter.step(tiny.idle(), (1,), lambda: setattr(clock, "now", clock.now + 2))

    steps(3)
    clock.now += 1
    assert waits == [0]
    assert (meter.seconds, waits) == (7, [0, 7])
    steps(1)
    assert waits == [0, 7]
    meter.rest()
    assert waits == [0, 7, 9]
    clock.now += 100
    meter.rest()
    steps(1)
    assert waits == [0, 7, 9, 109]
    assert meter.counters()["seconds"] == 11
    assert meter.state()["seconds"] == 11


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


class Work(Amortized):
    """Amortized inference that does something more in steps; `extra` gets the model, the batch and the step."""

    def __init__(self, extra, start=0):
        super().__init__()
        self._extra, self._start, self._step = extra, start, -1

    def gradients(self, vae, x, objective):
        self._step += 1
        if self._step >= self._start:
            self._extra(vae, x, self._step)
        return super().gradients(vae, x, objective)


def audits_at(*steps):
    """Audits at these steps alone, counted from zero."""
    return lambda step: next((each for each in steps if each > step), 10**9)


never, always = audits_at(), lambda step: step + 1


def run(extra, steps, *, start=0, following=never, truth=None):
    """A meter after so many steps; FLOPs are also counted into `truth`."""
    model, x, method = tiny.vae("mlp"), tiny.examples("mlp", B), Work(extra, start)
    meter = Meter(Budget.parse("99steps"), B, following=following)
    for seed in range(steps):

        def work(seed=seed):
            with truth if truth is not None else contextlib.nullcontext():
                return method.gradients(model, x, Objective(SeededNoise(seed)))

        meter.step(model, x.shape, work)
    return meter


def guards(meter):
    return [finding.guard for finding in meter.findings()]


def nothing(vae, x, step):
    pass


def own_network(vae, x, step):
    """An honest network of the method's own."""
    (torch.nn.Linear(9, 30).double()(x.flatten(1)).square().mean()).backward()


def hidden(vae, x, step):
    """Passes after which the model's count is set back."""
    seen = vae.passes.encoder
    for _ in range(3):
        vae.encode(x)
    vae.passes.encoder = seen


def another_count(vae, x, step):
    vae.passes = type(vae.passes)()


def unseen(vae, x, step):
    """Passes that neither the model nor autograd sees."""
    with torch.no_grad():
        vae.encoder(x)


def products(vae, x, step):
    """Work that no network and no node of autograd shows."""
    with torch.no_grad():
        x.flatten(1).T @ x.flatten(1)


@pytest.mark.parametrize("start", [0, 1, 5])
def test_an_honest_network_is_charged_from_its_first_step_on_and_marked_never(start):
    truth = FlopCounter()
    meter = run(own_network, 9, start=start, truth=truth)
    assert meter.counters()["flops"] == truth.flops
    assert meter.findings() == ()


@pytest.mark.parametrize("extra", [hidden, another_count])
@pytest.mark.parametrize("start", [0, 1, 5])
def test_who_changes_the_counts_of_passes_is_marked_and_charged_for_every_further_step(extra, start):
    truth = FlopCounter()
    meter = run(extra, 9, start=start, truth=truth)
    assert guards(meter) == [Guard.WORK]
    assert meter.findings()[0].text == f"the model's count of passes was set back at step {start + 1}"
    assert meter.counters()["flops"] >= truth.flops


@pytest.mark.parametrize(("extra", "marked"), [(unseen, [Guard.WORK]), (products, [])])
def test_an_audit_charges_all_steps_since_the_last_one_that_agreed(extra, marked):
    """Steps 1 to 9, an audit at 4 that agrees and one at 8, extra work from 6 on: 5 to 7 are charged as 8 is."""
    plain, more = (run(work, 1).counters()["flops"] for work in (nothing, extra))
    truth = FlopCounter()
    meter = run(extra, 9, start=5, following=audits_at(3, 7), truth=truth)
    assert meter.counters()["flops"] == 4 * plain + 5 * more == truth.flops + (more - plain)
    assert guards(meter) == marked


def test_what_agrees_is_charged_as_before_by_whichever_steps_are_audited():
    counters = [
        run(nothing, 9, following=following).counters() | {"seconds": 0}
        for following in (never, always, audits.following)
    ]
    assert counters[0] == counters[1] == counters[2]


def test_a_run_that_goes_on_charges_the_steps_before_it_stopped():
    model, x, meters = tiny.vae("mlp"), tiny.examples("mlp", B), []
    for stops in (False, True):
        meter, method = Meter(Budget.parse("99steps"), B, following=audits_at(4)), Work(products, start=1)
        for step in range(6):
            if stops and step == 3:
                state, meter = meter.state(), Meter(Budget.parse("99steps"), B, following=audits_at(1))
                meter.load(state)
            meter.step(model, x.shape, lambda method=method: method.gradients(model, x, Objective(SeededNoise(0))))
        meters.append(meter.counters() | {"seconds": 0})
    assert meters[0] == meters[1]


def test_audits_follow_in_no_order_that_a_seed_decides():
    """As many as their probabilities say: 1/(1 + t) and 1/512 of every step t."""
    audited = []
    for _ in range(300):
        step = 0
        while (step := audits.following(step)) <= 1000:
            audited.append(step)
    expected = sum(1 - (1 - 1 / (1 + step)) * (1 - 1 / 512) for step in range(1, 1001))
    assert len(audited) / 300 == pytest.approx(expected, abs=6 * (expected / 300) ** 0.5)
    assert audits.following(7, bytes) > 7
    assert audits.following(7, lambda number: b"\xff" * number) == 8


def in_thread(vae, x, step):
    thread = threading.Thread(target=lambda: torch.ones(50, 50) @ torch.ones(50, 50))
    thread.start()
    thread.join()


def test_work_in_a_thread_is_counted():
    plain = run(nothing, 3).counters()["flops"]
    meter = run(in_thread, 3)
    assert meter.counters()["flops"] == plain + 3 * 2 * 50**3
    assert meter.findings() == ()
    assert threading.getprofile() is None


def past_threading(vae, x, step):
    """A thread that Python's module of threads does not know."""
    done = _thread.allocate_lock()
    done.acquire()

    def work():
        end = time.thread_time() + 0.1
        while time.thread_time() < end:
            torch.ones(300, 300) @ torch.ones(300, 300)
        done.release()

    _thread.start_new_thread(work, ())
    done.acquire()


@pytest.fixture
def every_step_is_timed(monkeypatch):
    """Chance times a quarter of the steps, which may be none of a few."""
    monkeypatch.setattr(audits, "timed_steps", lambda: (True,))


@pytest.mark.usefixtures("every_step_is_timed")
def test_processor_time_tells_of_other_threads(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    meter = run(past_threading, 8)
    assert guards(meter) == [Guard.WORK]
    assert "uncounted threads used" in meter.findings()[0].text
    assert guards(run(nothing, 8)) == []


def only_unaudited(vae, x, step):
    """Works where no dispatch mode looks on."""
    if not _get_current_dispatch_mode_stack():
        with torch.no_grad():
            for _ in range(10):
                torch.ones(400, 400) @ torch.ones(400, 400)


@pytest.mark.usefixtures("every_step_is_timed")
def test_processor_time_tells_who_works_less_in_audits():
    meter = run(only_unaudited, 60, following=audits_at(*range(1, 60, 2)))
    assert guards(meter) == [Guard.WORK]
    assert "when they were not audited" in meter.findings()[0].text
    assert run(nothing, 60, following=audits_at(*range(1, 60, 2))).findings() == ()


def test_operations_without_a_formula_are_named():
    def quantized(vae, x, step):
        torch.ops.aten._weight_int8pack_mm(torch.ones(2, 32), torch.ones(4, 32, dtype=torch.int8), torch.ones(4))

    meter = run(quantized, 2)
    assert [finding.text for finding in meter.findings()] == ["uncounted operations: weight_int8pack_mm"]
    again = Meter(Budget.parse("99steps"), B)
    again.load(meter.state())
    assert again.findings() == meter.findings()


def spend(budget, *amounts):
    """A meter whose steps took so many seconds."""
    clock = Clock()
    meter = Meter(Budget.parse(budget), 10, clock=clock)
    for seconds in amounts:

        def work(seconds=seconds):
            clock.now += seconds

        meter.step(tiny.idle(), (1,), work)
    return meter


def test_a_step_that_spends_far_more_than_is_left_is_marked():
    assert [finding.text for finding in spend("1seconds", *[0.05] * 5, 8.0).findings()] == ["spent 8.25 s of 1 s"]
    assert guards(spend("1seconds", 0.05, 8.0)) == [Guard.OVERSHOOT]


@pytest.mark.parametrize("steps", [[0.3] * 4, [0.9, 0.4], [1.5], [0.05] * 19 + [0.9], [2.9]])
def test_a_usual_last_step_a_slow_first_one_and_a_second_of_waiting_are_no_findings(steps):
    assert spend("1seconds", *steps).findings() == ()


@pytest.mark.parametrize(("budget", "seconds"), [("1seconds", 8.0), ("0.5seconds", 3.0)])
def test_a_budget_of_seconds_smaller_than_one_step_is_refused_after_it(budget, seconds):
    with pytest.raises(UsageError, match=rf"budget '{budget}' is smaller than one step \({seconds:g} s\)"):
        spend(budget, seconds)


def test_a_budget_of_flops_smaller_than_one_step_is_refused_after_it():
    model, x = tiny.vae("mlp"), tiny.examples("mlp", B)
    meter = Meter(Budget.parse("1flops"), B)
    with pytest.raises(UsageError, match=r"budget '1flops' is smaller than one step \(.* FLOPs\)"):
        meter.step(model, x.shape, lambda: Amortized().gradients(model, x, Objective(SeededNoise(0))))


def test_a_budget_of_flops_is_refused_if_a_step_has_none():
    meter = Meter(Budget.parse("1flops"), B)
    with pytest.raises(UsageError, match="budget '1flops' would never be spent: a step has no FLOPs that are counted"):
        meter.step(tiny.vae("mlp"), (B,), lambda: None)


@pytest.mark.parametrize("text", ["0.5steps", "31examples", "0.1epochs"])
def test_a_budget_smaller_than_one_step_is_refused(text):
    with pytest.raises(UsageError, match="is smaller than one step"):
        check_affordable(Budget.parse(text), batch_size=32, train_examples=200)


@pytest.mark.parametrize("text", ["1steps", "32examples", "0.2epochs", "0.001seconds", "1flops"])
def test_a_budget_of_one_step_or_of_unknown_cost_is_enough(text):
    check_affordable(Budget.parse(text), batch_size=32, train_examples=200)
