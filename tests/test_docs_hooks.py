"""Every hook has a whole plugin as its example in docs/hooks, which runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import toys

from collapsebench.components.hookspecs import DiscoveryHooks, MethodHooks

pytestmark = pytest.mark.torch

FOLDER = Path(__file__).parents[1] / "docs" / "hooks"
EXAMPLES = sorted(FOLDER.glob("*.py"))
TOGETHER = {"auxiliary_module": ["extra_loss"], "check_fit": ["kl_weight"]}
"""What an example needs beside its hook: a module that nobody uses shows nothing, and a check changes nothing."""


def test_every_hook_has_an_example_and_every_example_is_of_a_hook():
    hooks = {name for specification in (DiscoveryHooks, MethodHooks) for name in vars(specification)}
    assert {path.stem for path in EXAMPLES} == {name for name in hooks if not name.startswith("_")}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_gives_its_hook_and_trains(path, command):
    listed = json.loads(command("plugins", "--json", "--plugin", path).out)["components"]
    methods = [each for each in listed if each["plugin"] == path.stem and each["kind"] == "method"]
    assert methods
    wanted = sorted([path.stem, *TOGETHER.get(path.stem, [])])
    assert all(each["hooks"] == wanted for each in methods) or path.stem == "collapsebench_components"
    asked = [word for each in methods for word in ("--method", each["name"])]
    answer = command("run", "--plugin", path, "--plugin", toys.PLUGIN, "--dataset", "toy", "--no-baseline", *asked)
    assert answer.code == 0, answer.err
    assert answer.out.count("finished") == len(methods)


@pytest.mark.slow
def test_the_gate_fits_vector_sites_too(command):
    plugin, budget = ("--plugin", FOLDER / "connect_latent.py"), ("--budget", "2steps", "--no-baseline")
    answer = command("run", *plugin, "--dataset", "digits", *budget, "--method", "gate")
    assert "finished" in answer.out


def values(command, method):
    """The numbers of one run, by column."""
    plugins = ("--plugin", FOLDER / "prior.py", "--plugin", toys.PLUGIN)
    command("run", *plugins, "--dataset", "toy", "--no-baseline", "--method", method)
    (run,) = json.loads(command("runs", "list", "--json", "--contender", method).out)
    shown = json.loads(command("runs", "show", "--json", run["run_id"]).out)
    return {value["column"]: value["estimate"] for value in shown["values"]}


def test_a_prior_of_standard_deviation_1_is_that_of_the_plain_vae(command):
    assert values(command, "wide-prior[scale=1.0]") == values(command, "vae")
    assert values(command, "wide-prior") != values(command, "vae")
