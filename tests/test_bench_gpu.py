"""The checks for a GPU, on the CPU: they say what they find, and nothing that was found is lost."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from collapsebench.components import discovery


@pytest.fixture(autouse=True)
def _checkout(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1])


@pytest.fixture
def gpu():
    from bench import gpu

    return gpu


@pytest.fixture
def checks(gpu, tmp_path):
    """Run some checks, and return the exit code and what they found."""

    def run(*options):
        output = tmp_path / "found.json"
        done = CliRunner().invoke(gpu.main, ["--device", "cpu", "--quick", "--json", str(output), *options])
        return done.exit_code, {found["check"]: found for found in json.loads(output.read_text())}

    return run


def test_without_a_gpu_it_says_so_in_one_line(gpu, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    done = CliRunner().invoke(gpu.main, [])
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith("there is no GPU")
    assert done.stderr.count("\n") == 1


def test_what_is_found_is_written_check_by_check(gpu, checks, monkeypatch, tmp_path):
    """Also if one check fails, one raises, and the last one is cut off by a time limit."""

    def cut_off(place):
        raise KeyboardInterrupt

    outcomes = {
        "fine": lambda place: {"passed": True, "device": place.device.type},
        "wrong": lambda place: {"passed": False},
        "broken": lambda place: 1 / 0,
    }
    monkeypatch.setattr(gpu, "CHECKS", outcomes)
    code, found = checks()
    assert code == 1
    assert {name: check["passed"] for name, check in found.items()} == {"fine": True, "wrong": False, "broken": False}
    assert found["fine"]["device"] == "cpu"
    assert "ZeroDivisionError" in found["broken"]["error"]
    monkeypatch.setattr(gpu, "CHECKS", {"fine": outcomes["fine"], "long": cut_off})
    code, found = checks()
    assert (code, list(found)) == (1, ["fine"])


def test_without_a_file_each_check_is_a_line(gpu, monkeypatch):
    monkeypatch.setattr(gpu, "CHECKS", dict.fromkeys(("first", "second"), lambda place: {"passed": True}))
    done = CliRunner().invoke(gpu.main, ["--device", "cpu", "--quick"])
    assert done.exit_code == 0
    assert [json.loads(line)["check"] for line in done.stdout.splitlines()] == ["first", "second"]


@pytest.mark.slow
def test_a_step_is_counted_timed_profiled_and_resumed(checks):
    code, found = checks("--only", "flops", "--only", "launches", "--only", "rates", "--only", "resume")
    assert code == 0, found
    steps = found["launches"]["steps"]
    assert len(steps) == 9
    assert all(
        steps[f"sa-vae[steps=2], {family}"]["operations"] > 1.5 * steps[f"vae, {family}"]["operations"] > 0
        for family in ("lstm", "mlp", "pixelcnn")
    )
    for precision in ("float32", "tf32"):
        assert all(0 <= work["fraction"] < 1 for work in found["rates"][precision]["workloads"].values())


@pytest.mark.slow
def test_whole_runs_finish_and_are_the_same_twice(checks):
    code, found = checks("--only", "environment", "--only", "contenders", "--only", "same-bits", "--only", "workers")
    assert code == 0, found
    assert found["environment"]["environment"]["device"] == "cpu"
    assert found["contenders"]["finished"] == 6


def test_everything_is_tried_on_a_gpu(gpu):
    """Every shipped method, and the settings that only a GPU has."""
    sizes = gpu.full()
    assert {"skip", "kl-annealing", "sa-vae", "svi", "vae-svi", "no-latent", "skip+sa-vae"} <= set(sizes.contenders)
    installed = discovery.load().names("method")
    assert {name.partition("[")[0] for name in sizes.contenders} == {*installed, "skip+sa-vae"}
    assert "capacity[nats=3]" in sizes.contenders, "what has no default is given"
    place = gpu.Place(torch.device("cpu"), replace(sizes, text=gpu.little().text))
    assert {"bow", "word-dropout"} <= set(gpu.fitting(place, "lstm")) - set(gpu.fitting(place, "mlp"))
    assert {"skip", "capacity[nats=3]"} <= set(gpu.fitting(place, "lstm")) & set(gpu.fitting(place, "mlp"))
    assert tuple(gpu.rated(place)) == sizes.rated
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    with gpu.tf32():
        assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == ("high", True)
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == (before[0], False)
    torch.backends.cudnn.allow_tf32 = before[1]
