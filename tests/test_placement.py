"""Devices and workers. None of the devices has to be there."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
import toys

from collapsebench.errors import UsageError
from collapsebench.experiment.placement import VISIBLE, alone_with, check_there, devices_of
from collapsebench.experiment.processes import _Crew
from collapsebench.experiment.work import RunSetup


@pytest.mark.parametrize(
    ("text", "devices"),
    [("cpu", ("cpu",)), ("cuda", ("cuda",)), ("cuda:1, cuda:0", ("cuda:1", "cuda:0")), ("mps", ("mps",))],
)
def test_names_of_devices(text, devices):
    assert devices_of(text) == devices


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gpu", "unknown device 'gpu'"),
        ("cuda:0,gpu", "unknown device 'gpu'"),
        ("cuda:-1", "unknown device 'cuda:-1'"),
        ("cuda:", "unknown device 'cuda:'"),
        ("cuda:\N{SUPERSCRIPT TWO}", "unknown device 'cuda:"),
        ("cuda:0,cuda:00", "unknown device 'cuda:00'"),
        ("", "unknown device ''"),
        ("cpu,cuda:0", "several devices must be GPUs with numbers"),
        ("cuda,cuda:1", "several devices must be GPUs with numbers"),
        ("cuda:0,cuda:0", "named twice"),
    ],
)
def test_no_names_of_devices(text, message):
    with pytest.raises(UsageError, match=message):
        devices_of(text)


def grid(tmp_path, device, per_device=1, budget="2steps"):
    return toys.setup("vae", store=tmp_path / "s.sqlite", device=device, per_device=per_device, budget=budget)


@pytest.mark.parametrize(
    ("device", "per_device", "workers"),
    [("cpu", 1, 8), ("mps", 1, 2), ("cuda", 1, 1), ("cuda:0,cuda:1", 1, 2), ("cuda:0,cuda:1", 2, 3), ("cuda", 4, 4)],
)
def test_workers_that_fit_their_devices(device, per_device, workers, tmp_path):
    grid(tmp_path, device, per_device).check_workers(workers)


@pytest.mark.parametrize(
    ("device", "per_device", "workers", "message"),
    [
        ("cuda:0,cuda:1", 1, 1, "2 devices need --workers 2"),
        ("cuda", 1, 2, "2 workers share cuda: give --per-device 2"),
        ("cuda:0,cuda:1", 2, 5, "5 workers share cuda:0, cuda:1: give --per-device 3"),
    ],
)
def test_workers_that_do_not(device, per_device, workers, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        grid(tmp_path, device, per_device).check_workers(workers)


def test_a_budget_in_seconds_is_for_a_gpu_that_nobody_shares(tmp_path):
    with pytest.raises(UsageError, match="a budget in seconds is for a GPU that no other run shares"):
        grid(tmp_path, "cuda", 2, budget="5seconds").check_workers(2)
    grid(tmp_path, "cuda:0,cuda:1", 2, budget="5seconds").check_workers(2)
    grid(tmp_path, "cpu", budget="5seconds").check_workers(2)


def test_each_worker_has_the_device_that_the_fewest_use():
    """Also one that is started for a worker that is dead."""
    started = []

    def start(device):
        started.append(device)
        return SimpleNamespace(setup=SimpleNamespace(device=device), give=lambda spec: None)

    crew = _Crew(start, ["cuda:0", "cuda:1"])
    crew.employ(range(4))
    assert started == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    del crew.busy[1]
    crew.employ(range(1))
    assert started[4:] == ["cuda:1"]


@pytest.mark.parametrize(
    ("visible", "device", "sees", "name"),
    [
        (None, "cuda:1", "1", "cuda:0"),
        ("4,7", "cuda:1", "7", "cuda:0"),
        ("GPU-0a, GPU-0b", "cuda:0", "GPU-0a", "cuda:0"),
        ("4,7", "cuda:2", "4,7", "cuda:2"),
        ("4,7", "cuda", "4,7", "cuda"),
        (None, "cpu", None, "cpu"),
        (None, "mps:0", None, "mps:0"),
    ],
)
def test_a_worker_sees_its_own_gpu_alone(visible, device, sees, name, monkeypatch):
    monkeypatch.delenv(VISIBLE, raising=False)
    if visible is not None:
        monkeypatch.setenv(VISIBLE, visible)
    assert alone_with(device) == name
    assert os.environ.get(VISIBLE) == sees
    monkeypatch.delenv(VISIBLE, raising=False)


def test_the_options_reach_the_workers(command, tmp_path):
    answer = command("run", "--dataset", "linear-gaussian", "--device", "cuda:0,cuda:1", "--budget", "2steps")
    assert (answer.code, "2 devices need --workers 2" in answer.err) == (2, True)
    setup = grid(tmp_path, "cuda:0,cuda:1")
    assert isinstance(setup.runs, RunSetup)
    assert setup.runs.devices == ("cuda:0", "cuda:1")


@pytest.mark.torch
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_device_that_is_not_there_is_told_before_anything_runs(command, tmp_path, workers):
    """No run fails for it, and none is stored."""
    arguments = ("--device", "cuda:99", "--workers", workers, "--per-device", workers, "--budget", "2steps")
    answer = command("run", "--dataset", "linear-gaussian", *arguments)
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert "torch finds no device 'cuda:99' on this machine. Known: cpu" in answer.err
    assert not list(tmp_path.rglob("*.sqlite"))


def test_the_cpu_is_always_there():
    check_there(("cpu",))
