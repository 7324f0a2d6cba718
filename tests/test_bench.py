"""The benchmark: analytic counts against the models that it times, the guard, and what it writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _checkout(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)


def test_counts_are_the_published_ones():
    """In GFLOP, as the table of goals has them."""
    from bench.workloads import workloads

    counts = {workload.name: workload.flop / 1e9 for workload in workloads()}
    assert counts == {
        "text-small vae": pytest.approx(26.0, abs=0.05),
        "text-small skip": pytest.approx(28.5, abs=0.05),
        "text-small sa-vae": pytest.approx(460, abs=0.5),
        "text-paper vae": pytest.approx(511, abs=0.5),
        "pixelcnn vae": pytest.approx(59.3, abs=0.05),
        "pixelcnn skip": pytest.approx(60.4, abs=0.1),
        "pixelcnn sa-vae": pytest.approx(936, abs=1),
        "mlp vae": pytest.approx(0.46, abs=0.005),
        "iw-nll": pytest.approx(47.8, abs=0.05),
        "mi bracket": pytest.approx(12.8, abs=0.05),
    }


def test_a_step_computes_what_is_counted():
    from bench.workloads import workloads

    (workload,) = (each for each in workloads() if each.name == "mlp vae")
    step = workload.build()
    step()
    with FlopCounterMode(display=False) as counter:
        step()
    assert counter.get_total_flops() == pytest.approx(workload.flop, rel=0.01)


def block_with(foreign):
    from bench.machine import Block

    return Block(seconds=0.5, rate=2e11, foreign=foreign)


def test_blocks_under_foreign_load_are_repeated_and_then_refused(monkeypatch):
    from bench.machine import Yardstick

    yardstick = Yardstick()
    loads = iter([0.0, 0.5, 0.01, 0.5, 0.02])
    monkeypatch.setattr(yardstick, "block", lambda call, calls: block_with(next(loads)))
    assert [block.foreign for block in yardstick.blocks(lambda: None, wanted=3, patience=5)] == [0.0, 0.01, 0.02]
    monkeypatch.setattr(yardstick, "block", lambda call, calls: block_with(0.5))
    assert yardstick.blocks(lambda: None, wanted=3, patience=5) == []


def test_a_row_is_the_median_of_its_blocks():
    from bench.__main__ import measured
    from bench.machine import Block
    from bench.workloads import Workload

    workload = Workload("w", flop=1e9, must=0.5, aim=0.6, build=lambda contexts: lambda: None, units=2)
    row = measured(workload, [Block(seconds, 1e10, 0.0) for seconds in (0.2, 0.4, 0.5)])
    assert (row.fraction, row.ms, row.gflop, row.target) == (0.5, 200.0, 1.0, 0.5)
    assert row.spread == pytest.approx((1.0 - 0.4) / 0.5)


SHORTER = """
import runpy
from bench import machine

machine.SIZE, machine.SECONDS = 512, 0.05
runpy.run_module("bench", run_name="__main__")
"""
"""`python -m bench` with a smaller yardstick and shorter blocks."""


@pytest.mark.slow
def test_command(tmp_path):
    """By processor time, as it must not depend on what else the machine does."""
    output = tmp_path / "rows.json"
    options = ["--quick", "--processor-time", "--only", "mlp", "--json", str(output)]
    command = [sys.executable, "-c", SHORTER, *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=environment)
    (row,) = json.loads(output.read_text())
    assert set(row) == {"workload", "fraction", "target", "ms", "gflop", "spread"}
    assert row["workload"] == "mlp vae"
    assert 0 < row["fraction"] < 1
    assert "| mlp vae" in ran.stdout


@pytest.mark.slow
def test_the_loop_and_its_bare_steps_compute_the_same():
    """Which the command checks itself, here for more than an epoch."""
    from bench import loop

    done = CliRunner().invoke(loop.main, ["--steps", "120"])
    assert done.exit_code == 0, done.exception
    assert done.output.startswith("linear-gaussian quick vae: bare ")


@pytest.mark.slow
@pytest.mark.parametrize(("trial", "options"), [("rows", ["--rows", "12"]), ("imports", ["--lines", "25"])])
def test_broken_rows_and_lines_are_never_a_failure(trial, options, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [trial, *options])
    with pytest.raises(SystemExit) as stopped:
        import_module(f"bench.{trial}").main()
    assert (stopped.value.code, '"failed": 0' in capsys.readouterr().out) == (False, True)
