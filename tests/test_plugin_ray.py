"""What can be said of the executor `ray` without a Ray: its errors, its parameters, and what it hands to one."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata

import pytest
import toys
from hypothesis import given
from hypothesis import strategies as st

from collapsebench import Method, hookimpl
from collapsebench.errors import UsageError
from collapsebench.experiment.processors import cores
from collapsebench_plugins import ray as plugin
from collapsebench_plugins.ray import Ray

GRID = ("run", "--plugin", toys.PLUGIN, "--dataset", "toy", "--method", "skip", "--store", "s.sqlite")


@pytest.fixture
def _no_ray(monkeypatch):
    """No Ray is installed."""
    known = metadata.version

    def version(name):
        if name == "ray":
            raise metadata.PackageNotFoundError(name)
        return known(name)

    monkeypatch.setattr(metadata, "version", version)


@pytest.fixture
def _ray(monkeypatch):
    """A Ray is installed, as far as one can see without a look into it."""
    monkeypatch.setattr(metadata, "version", lambda name: "2.60.0")


@pytest.mark.usefixtures("_no_ray")
@pytest.mark.parametrize("executor", ["ray", "ray[address=auto]", "ray[address=10.0.0.1:6379,cpus=4]"])
def test_without_the_package_one_line_says_what_to_install_and_nothing_is_begun(executor, command, tmp_path):
    done = command(*GRID, "--executor", executor)
    assert (done.code, done.out) == (2, "")
    assert done.err == "error: executor 'ray' needs the package ray: pip install 'collapsebench[ray]'\n"
    assert not list(tmp_path.glob("s.sqlite*"))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("ray[address=ray://head:10001]", "address"),
        ("ray[address=head]", "address"),
        ("ray[cpus=0]", "cpus"),
        ("ray[gpus=2]", "gpus"),
        ("ray[gpus=-1]", "gpus"),
        ("ray[threads=0]", "threads"),
        ("ray[retries=-1]", "retries"),
        ("ray[worker=2]", "worker"),
    ],
)
def test_a_wrong_parameter_is_refused_in_one_line_that_names_it(text, named, command):
    done = command(*GRID, "--executor", text)
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert f"executor 'ray': {named}" in done.err or f"'{named}'" in done.err


@pytest.mark.parametrize("address", ["", "auto", "10.0.0.1:6379", "head-node.cluster_2:6379"])
def test_an_address_is_empty_or_auto_or_a_host_with_a_port(address):
    assert Ray(address=address).address == address


@pytest.mark.usefixtures("_ray")
@pytest.mark.parametrize(
    ("device", "gpus", "error"),
    [
        ("cuda:0,cuda:1", 1, "give --device cuda, not cuda:0,cuda:1"),
        ("cuda:1", 1, "give --device cuda, not cuda:1"),
        ("mps", 0, "give --device cuda, not mps"),
        ("cuda", 0, r"--device cuda does not go with ray\[gpus=0\]"),
        ("cpu", 0.5, r"--device cpu does not go with ray\[gpus=0.5\]"),
    ],
)
def test_a_device_that_tasks_do_not_have_is_refused(device, gpus, error, tmp_path):
    setup = toys.setup("skip", store=tmp_path / "s.sqlite", device=device)
    with pytest.raises(UsageError, match=error):
        Ray(gpus=gpus).check(setup)


@pytest.mark.usefixtures("_ray")
@pytest.mark.parametrize(("device", "gpus"), [("cpu", 0), ("cuda", 1), ("cuda:0", 1), ("cuda", 0.25)])
def test_a_device_that_tasks_have_is_not_looked_for_on_this_machine(device, gpus, tmp_path):
    Ray(gpus=gpus, address="head:6379").check(toys.setup("skip", store=tmp_path / "s.sqlite", device=device))


@pytest.mark.usefixtures("_ray")
def test_a_gpu_whose_time_is_the_budget_is_not_shared(tmp_path):
    setup = toys.setup("skip", store=tmp_path / "s.sqlite", device="cuda", budget="5seconds")
    with pytest.raises(UsageError, match=r"give ray\[gpus=1\]"):
        Ray(gpus=0.5).check(setup)
    Ray(gpus=1).check(setup)


@pytest.mark.usefixtures("_ray")
def test_a_run_that_does_not_fit_this_machine_is_refused_but_may_fit_a_cluster(tmp_path):
    setup = toys.setup("skip", store=tmp_path / "s.sqlite")
    with pytest.raises(UsageError, match=rf"ray\[cpus={cores() + 1}\] does not fit this machine"):
        Ray(cpus=cores() + 1).check(setup)
    Ray(cpus=cores() + 1, address="auto").check(setup)


@pytest.mark.usefixtures("_ray")
def test_a_class_that_no_worker_can_import_is_refused(tmp_path):
    class Local(Method):
        """A method of a notebook."""

        name = "local"

        @hookimpl
        def kl_weight(self):
            return 1.0

    setup = toys.setup(store=tmp_path / "s.sqlite", components=(Local,))
    with pytest.raises(UsageError, match="method 'local' is defined in this notebook or script"):
        Ray().check(setup)


def test_so_many_runs_go_on_at_once_as_this_machine_has_room_for():
    assert Ray().at_once == cores()
    assert Ray(cpus=cores() + 1).at_once == 1


@given(st.integers(0, 512), st.integers(0, 16), st.integers(1, 64), st.sampled_from([0, 0.1, 0.25, 0.3, 0.5, 1]))
def test_a_machine_gets_no_more_runs_than_fit_and_never_one_less(processors, cards, cpus, gpus):
    found = places(Ray(cpus=cpus, gpus=gpus), {"CPU": float(processors), "GPU": float(cards), "memory": 1e9})
    assert found * cpus <= processors
    assert found * gpus <= cards + 1e-9 or gpus == 0
    assert (found + 1) * cpus > processors or (found + 1) * gpus > cards - 1e-9


def test_a_machine_without_gpus_gets_no_run_that_needs_one():
    assert places(Ray(gpus=0.1), {"CPU": 8.0}) == 0
    assert places(Ray(), {"GPU": 8.0}) == 0


def test_each_machine_has_room_for_itself_and_one_that_is_gone_has_none():
    assert places(Ray(cpus=2), {"CPU": 3.0}, {"CPU": 3.0}) == 2
    gone = {"Alive": False, "Resources": {"CPU": 8.0}}
    assert Ray().places([gone, {"Alive": True, "Resources": {"CPU": 1.0}}]) == 1


def places(executor, *machines):
    """Return how many runs these machines have room for."""
    return executor.places([{"Alive": True, "Resources": machine} for machine in machines])


def test_a_command_that_does_not_ask_for_ray_does_not_import_it():
    code = "import sys; from collapsebench.components import discovery; discovery.load(); print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_its_page_has_every_parameter(command):
    page = command("components", "executor", "ray").out
    assert all(f"\n  {name}  (" in page for name in Ray.model_fields)
    assert plugin.collapsebench_components() == [Ray]
