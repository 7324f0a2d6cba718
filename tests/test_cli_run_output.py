"""Output is not the run: pipes that close, terminals without Unicode, full disks and closed descriptors cost no run."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import toys
from test_runner import Listener

from collapsebench.errors import Interrupted
from collapsebench.experiment.events import Finished, Started
from collapsebench.experiment.executors import InProcess
from collapsebench.experiment.grids import prepare, run_grid
from collapsebench.record import Outcome
from collapsebench.store import Store

RUDE = Path(__file__).with_name("rude_plugin.py")
PROGRAM = "from collapsebench import cli; cli.main()"


def shell(store: Path, redirected: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A real command with its output led elsewhere by a shell. One method prints by itself."""
    plugins = ("--plugin", str(toys.PLUGIN), "--plugin", str(RUDE))
    grid = ("run", *plugins, "--dataset", "toy", "--method", "rude[how=print]", "-v", "--store", str(store), *options)
    line = f"{shlex.join([sys.executable, '-c', PROGRAM, *grid])} {redirected}"
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


def outcomes(store: Path) -> list[str]:
    with Store.open(store) as opened:
        return [summary.outcome.value for summary in opened.summaries()]


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("redirected", ["| head -1", "> /dev/full", "> /dev/full 2> /dev/full", ">&- 2>&- <&-"])
def test_whatever_becomes_of_the_output_every_run_is_stored(tmp_path, redirected, workers):
    done = shell(tmp_path / "store.sqlite", redirected, "--workers", workers)
    assert done.returncode == 0
    assert outcomes(tmp_path / "store.sqlite") == ["finished"] * 2
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert ("No space left on device; the runs go on" in done.stderr) == (redirected == "> /dev/full")


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_what_a_terminal_cannot_show_is_replaced(tmp_path, encoding):
    done = shell(tmp_path / "store.sqlite", "", PYTHONIOENCODING=encoding)
    assert done.returncode == 0
    assert r"\u2212ELBO" in done.stdout
    assert outcomes(tmp_path / "store.sqlite") == ["finished"] * 2


@pytest.mark.slow
@pytest.mark.torch
def test_the_exit_code_is_that_of_the_runs(tmp_path):
    assert shell(tmp_path / "store.sqlite", "> /dev/full", "--method", "crash").returncode == 1


@pytest.mark.parametrize("raised", [ValueError("mine"), OSError("mine"), SystemExit(0), GeneratorExit()])
def test_an_error_of_who_follows_the_runs_is_one_warning(tmp_path, raised):
    def observe(event):
        raise raised

    setup = toys.setup("skip", store=tmp_path / "store.sqlite")
    with pytest.warns(RuntimeWarning, match="the function that follows the runs failed: ") as told:
        records = run_grid(prepare(setup), InProcess(), observe)
    assert len(told) == 1
    assert [record.outcome for record in records] == [Outcome.FINISHED] * 2


def test_it_is_no_error_where_warnings_are(tmp_path):
    def observe(event):
        raise ValueError

    setup = toys.setup("skip", store=tmp_path / "store.sqlite", baseline=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (record,) = run_grid(prepare(setup), InProcess(), observe)
    assert record.outcome is Outcome.FINISHED


def test_who_follows_the_runs_may_end_the_grid(tmp_path):
    def observe(event):
        if isinstance(event, Started):
            raise KeyboardInterrupt

    setup = toys.setup("skip", store=tmp_path / "store.sqlite")
    with pytest.raises(Interrupted, match="interrupted by the user"):
        run_grid(prepare(setup), InProcess(), observe)
    assert outcomes(tmp_path / "store.sqlite") == ["interrupted"]


def test_a_grid_that_is_started_by_who_follows_another_computes_no_run_twice(tmp_path):
    setup, inner = toys.setup("skip", store=tmp_path / "store.sqlite", baseline=False), []

    def observe(event):
        if isinstance(event, Started):
            inner.extend(run_grid(prepare(setup), InProcess(), Listener()))

    outer = run_grid(prepare(setup), InProcess(), observe)
    assert [record.outcome for record in (*inner, *outer)] == [Outcome.STARTED, Outcome.FINISHED]
    assert Finished(outer[0]).run_id == inner[0].run_id


@pytest.mark.slow
@pytest.mark.parametrize("words", [["methods"], ["methods", "skip"], ["suite", "list"], ["--help"]])
def test_a_reader_that_has_gone_is_no_error(words):
    """As of `| head`, once it has what it wants."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-c", PROGRAM, *words]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")
