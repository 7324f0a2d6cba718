"""Runs whose plugins do what they should not: such a run fails and says why, and the others do not notice."""

from __future__ import annotations

import os
import random
import re
import signal
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import toys
from pydantic import Field
from test_runner import Listener, values

import collapsebench
from collapsebench import Method, hookimpl
from collapsebench.components import discovery
from collapsebench.errors import Interrupted, PluginError
from collapsebench.experiment.events import Finished, Started
from collapsebench.experiment.executors import InProcess
from collapsebench.experiment.grids import prepare, run_grid
from collapsebench.record import Guard, Outcome
from collapsebench.store import Store

RUDE = Path(__file__).with_name("rude_plugin.py")


@pytest.fixture
def grid(tmp_path):
    """A grid of the rude method and then the plain one."""

    def made(how, **given):
        setup = toys.setup(f"rude[how={how}]", "skip", store=tmp_path / "store.sqlite", baseline=False, **given)
        return prepare(toys.with_plugins(setup, toys.PLUGIN, RUDE))

    return made


@pytest.fixture
def run(grid):
    return lambda how: run_grid(grid(how), InProcess(), Listener())


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("exit", "SystemExit: 0"),
        ("keyboard", "KeyboardInterrupt"),
        ("generator", "GeneratorExit"),
        ("base", "Other: base"),
        ("unspeakable", "UnspeakableError, whose text cannot be made (SystemExit)"),
        ("odd", r"ValueError: lone \ud800, zero \x00, \x1b[2J escape line"),
    ],
)
def test_whatever_a_plugin_raises_fails_its_run_and_names_the_line(run, how, message):
    failed, fine = run(how)
    assert failed.outcome is Outcome.FAILED
    assert failed.message.startswith(f"{message} (rude_plugin.py:")
    assert failed.message.endswith(", in act of method 'rude')")
    assert "rude_plugin.py" in failed.traceback
    assert fine.outcome is Outcome.FINISHED


def test_a_huge_error_is_cut(run):
    failed, _ = run("huge")
    assert len(failed.message) < 2000
    assert len(failed.traceback) < 100_000


@pytest.mark.parametrize(
    ("how", "changed"),
    [
        ("folder", "the working folder from .* to /"),
        ("dtype", "torch's default dtype from float32 to float64"),
        ("grad", "the recording of gradients from True to False"),
        ("autocast", "torch's autocast from False to True"),
        ("function-mode", "torch's function modes from 0 to 1"),
        ("dispatch-mode", "torch's dispatch modes from 0 to 1"),
        ("saved", "torch's hooks of saved tensors from 0 to 1"),
        ("module-hook", "torch's hooks of all modules from 0 to [1-9]"),
    ],
)
def test_a_run_that_changes_what_all_runs_share_fails_alone(run, how, changed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    last, fine = run(f"{how},at=5")
    assert last.outcome is Outcome.FAILED
    assert fine.outcome is Outcome.FINISHED
    assert Path.cwd() == tmp_path
    assert torch.get_default_dtype() is torch.float32
    assert torch.is_grad_enabled()
    assert re.match(f"the run changed {changed}, with which later runs would compute", last.message)


@pytest.mark.parametrize(("how", "replaced"), [("layer", "Linear.forward"), ("optimizer", "Adam.step")])
def test_a_run_that_replaces_a_layer_or_an_optimizer_fails_alone(run, how, replaced):
    before = torch.nn.Linear.forward
    last, fine = run(f"{how},at=3")
    assert last.outcome is Outcome.FAILED
    assert f".{replaced}: what is measured must be measured by the harness" in last.message
    assert fine.outcome is Outcome.FINISHED
    assert torch.nn.Linear.forward is before


def test_threads_are_put_back_and_noted(run):
    before = torch.get_num_threads()
    noted, fine = run("threads")
    assert torch.get_num_threads() == before
    texts = [finding.text for finding in noted.findings if finding.guard is Guard.ENVIRONMENT]
    assert texts == [f"the run changed the number of torch's threads from {before} to {before + 1}"]
    assert {finding.guard for finding in noted.findings} <= {Guard.ENVIRONMENT, Guard.WORK}, (
        "the new thread may be busy"
    )
    assert fine.findings == ()


def state():
    generators = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
    handlers = [signal.getsignal(number) for number in signal.Signals if number != signal.SIGKILL]
    return generators, handlers, dict(os.environ), list(warnings.filters), sys.stdout, list(sys.path)


def test_everything_else_is_put_back_without_a_word(grid):
    states = []

    def observe(event):
        if isinstance(event, Started | Finished):
            states.append(state())

    record, _ = run_grid(grid("everything"), InProcess(), observe)
    assert states[0] == states[1]
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert record.outcome is Outcome.FINISHED
    assert record.findings == ()


def test_a_signal_that_a_plugin_swallows_ends_the_grid_all_the_same(grid, tmp_path):
    with pytest.raises(Interrupted):
        run_grid(grid("swallow"), InProcess(), Listener())
    with Store.open(tmp_path / "store.sqlite") as store:
        assert [summary.message[:21] for summary in store.summaries()] == ["ValueError: swallowed"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("import sys; sys.exit()", "SystemExit"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("import os; os.chdir('/')", "its import changed the working folder from .* to /"),
        ("import torch; torch.set_default_dtype(torch.float64)", "its import changed torch's default dtype"),
    ],
)
def test_an_import_that_goes_wrong_is_one_line(tmp_path, content, reason):
    plugin = tmp_path / "wrong_plugin.py"
    registers = "from collapsebench import hookimpl\n@hookimpl\ndef collapsebench_components(): return []\n"
    plugin.write_text(f"{registers}{content}\n")
    before = Path.cwd()
    with pytest.raises(PluginError, match=f"plugin file '.*' failed: {reason}"):
        discovery.load([plugin])
    assert Path.cwd() == before
    assert torch.get_default_dtype() is torch.float32


SHAPES = """
from collapsebench import DiagonalGaussian, Inference, Method, hookimpl

class Wrong(Method, Inference):
    name = "wrong"

    @hookimpl
    def inference(self):
        return self

    def posterior(self, vae, x, noise):
        return vae.encode(x)

    def gradients(self, vae, x, objective):
        q = vae.encode(x)
        {body}

@hookimpl
def collapsebench_components():
    return [Wrong]
"""


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "return objective(vae, x, DiagonalGaussian(q.mean[:, :1], q.logvar[:, :1])).backward()",
            "the posterior must be (8, 2), got (8, 1) (wrong_plugin.py:16, in gradients of method 'wrong')",
        ),
        (
            "return objective(vae, x, DiagonalGaussian(q.mean.double(), q.logvar.double())).backward()",
            "the posterior must be float32, got float64 (wrong_plugin.py:16, in gradients of method 'wrong')",
        ),
        (
            "objective(vae, x, q).backward()",
            (
                "inference 'wrong': gradients() must return the Terms of the objective, as terms.backward() does; "
                "got NoneType (wrong_plugin.py:14)"
            ),
        ),
    ],
)
def test_what_was_expected_is_said_with_the_line_of_the_plugin(tmp_path, body, message):
    plugin = tmp_path / "wrong_plugin.py"
    plugin.write_text(SHAPES.replace("{body}", body))
    setup = toys.setup("wrong", store=tmp_path / "store.sqlite", baseline=False)
    (record,) = run_grid(prepare(toys.with_plugins(setup, toys.PLUGIN, plugin)), InProcess(), Listener())
    assert record.message == message


def test_a_run_after_a_rude_one_is_what_it_would_be_without(run, tmp_path):
    setup = toys.setup("skip", store=tmp_path / "alone.sqlite", baseline=False)
    (alone,) = run_grid(prepare(setup), InProcess(), Listener())
    assert values(run("everything")[1]) == values(alone)


def test_training_while_a_model_is_built_is_marked(tmp_path):
    class Pretrained(Method):
        """Does the work of training where only a prior is asked for."""

        name = "pretrained"
        products: int = Field(100, description="products of two large matrices")

        @hookimpl
        def prior(self, latent_dim):
            for _ in range(self.products):
                torch.ones(200, 200) @ torch.ones(200, 200)

    grid = {"dataset": "linear-gaussian", "budget": "3steps", "store": tmp_path / "a.sqlite", "progress": False}
    runs = collapsebench.run([Pretrained(), Pretrained(products=0)], **grid, threads=1)
    found = {run.contender: [finding.text for finding in run.record.findings] for run in runs}
    assert found.pop("pretrained")[0].startswith("1.6e+09 FLOPs were done while the model was built, of ")
    assert list(found.values()) == [[], []]
