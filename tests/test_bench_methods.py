"""The benchmark of methods: every method is compared once, with the FLOPs that its card states."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from collapsebench.components import discovery

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _checkout(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)


def test_every_shipped_method_has_a_contender():
    from bench.methods import SUITES, contenders

    components = discovery.load()
    shipped = {name for name in components.names("method") if components.entry("method", name).code is None}
    compared = {name for kind in SUITES for name in contenders(kind)}
    assert compared == {"vae", *shipped}


@pytest.mark.slow
def test_flops_of_the_table_are_multiples_of_the_baseline(tmp_path):
    """Without a matrix product of its own a method has those of the plain VAE; each inner step of SVI adds some."""
    from bench import methods

    output = tmp_path / "costs.json"
    options = ["--data", "images", "--turns", "1", "--steps", "1", "--json", str(output)]
    only = [part for name in ("vae", "free-bits", "sa-vae") for part in ("--only", name)]
    done = CliRunner().invoke(methods.main, [*options, *only], catch_exceptions=False)
    assert done.exit_code == 0
    found = {cost["contender"]: cost for cost in json.loads(output.read_text())["costs"]}
    assert list(found) == ["vae", "free-bits", "sa-vae"]
    assert found["vae"]["flops"] == found["free-bits"]["flops"] == 1
    assert found["sa-vae"]["flops"] > 10
    assert all(cost["time"] > 0 for cost in found.values())
    assert done.output.count("\n| images | ") == len(found)
