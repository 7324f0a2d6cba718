"""How a GPU computes a run. The settings are torch's own, and can be read without one."""

from __future__ import annotations

import os
from contextlib import suppress

import pytest
import torch
import toys
from torch.utils import deterministic

from collapsebench.experiment import environment as environments
from collapsebench.experiment.arithmetic import WORKSPACE, arithmetic, reproducible
from collapsebench.experiment.environment import decisive, environment
from collapsebench.experiment.events import Started
from collapsebench.experiment.executors import InProcess
from collapsebench.experiment.grids import prepare, run_grid

EXACT = ("highest", False, True, True, False, ":4096:8")


def settings():
    return (
        torch.get_float32_matmul_precision(),
        torch.backends.cudnn.allow_tf32,
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        deterministic.fill_uninitialized_memory,
        os.environ.get(WORKSPACE),
    )


@pytest.fixture(autouse=True)
def before(monkeypatch):
    """What a user has set, which is there afterwards, too."""
    monkeypatch.delenv(WORKSPACE, raising=False)
    torch.set_float32_matmul_precision("high")
    found = settings()
    yield found
    assert settings() == found
    torch.set_float32_matmul_precision("highest")


def test_a_gpu_computes_exactly_and_reproducibly_within_the_block(before):
    with reproducible("cuda:1"):
        assert settings() == EXACT
        assert arithmetic() == {"float32": "ieee", "deterministic": True}
    with suppress(ZeroDivisionError), reproducible("cuda:1"):
        raise ZeroDivisionError
    assert settings() == before
    assert arithmetic() == {"float32": "tf32", "deterministic": False}


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_another_device_computes_as_before(device, before):
    with reproducible(device):
        assert settings() == before


def test_a_workspace_of_the_user_stays(monkeypatch):
    monkeypatch.setenv(WORKSPACE, ":16:8")
    with reproducible("cuda"):
        assert os.environ[WORKSPACE] == ":16:8"
    monkeypatch.delenv(WORKSPACE)


def test_the_environment_of_a_gpu_says_how_it_computes(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU of {device}")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91300)
    with reproducible("cuda:0"):
        exact = environment("cuda:0")
    assert (exact["gpu"], exact["float32"], exact["deterministic"]) == ("GPU of cuda:0", "ieee", True)
    assert decisive(exact) != decisive(environment("cuda:0"))
    assert environments.environment("cpu").keys().isdisjoint({"gpu", "float32", "deterministic"})


def test_a_run_on_a_gpu_is_computed_so(tmp_path):
    """Also one that fails because there is no GPU."""
    seen = []
    setup = toys.setup("vae", store=tmp_path / "store.sqlite", baseline=False, device="cuda")
    run_grid(prepare(setup), InProcess(), lambda event: seen.append(settings()) if isinstance(event, Started) else None)
    assert seen == [EXACT]
