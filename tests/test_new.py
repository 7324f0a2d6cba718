"""`collapsebench new`: a package that works as it is, and the names that it refuses."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from collapsebench.components import discovery
from collapsebench.errors import UsageError
from collapsebench.templates import Template, new_package
from collapsebench.testing import checks_of

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """The module of a new package of each kind."""
    folder = tmp_path_factory.mktemp("packages")
    return {kind: new_package(kind, f"own-{kind}", folder / kind, ()) for kind in Template}


@pytest.mark.parametrize("kind", Template)
def test_a_new_package_passes_the_check_unchanged(kind, packages, command):
    answer = command("check", packages[kind])
    assert (answer.code, answer.err) == (0, ""), answer.out
    title, *lines = answer.out.splitlines()
    assert title == f"{kind} 'own-{kind}'"
    assert len(lines) > 3
    assert all(line.endswith("  ok") for line in lines)


def test_what_a_new_decoder_learns_can_be_looked_at(packages, command):
    plugin = ("--plugin", packages[Template.DECODER])
    setting = ("--set", "decoder=own-decoder", "--set", "evaluation.metrics=[kl]")
    ran = command("run", *plugin, "--dataset", "digits", *setting, "--budget", "2steps")
    run_id = next(line.split()[1] for line in ran.out.splitlines() if line.startswith("finished"))
    for how in ("expected", "random"):
        answer = command("samples", run_id, *plugin, "--prior", "2", "--draw", how)
        assert (answer.code, answer.err) == (0, "")
        assert f"({run_id}): 2 codes of the prior" in answer.out


def test_the_board_of_a_new_metric_is_the_one_that_its_readme_names(packages):
    module = packages[Template.METRIC]
    readme = (module.parent / "README.md").read_text()
    metric = discovery.load([module]).entry("metric", "own-metric").component
    assert f"--columns kl,{metric.columns[0].name}`" in readme


@pytest.mark.slow
def test_their_own_tests_pass_unchanged(packages):
    """Those of all packages in one process, as torch takes long to start."""
    folders = [module.parent for module in packages.values()]
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, folders)]
    there = ["-o", f"pythonpath={' '.join(map(str, folders))}"]
    done = subprocess.run([*tests, *there], cwd=folders[0].parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    loaded = discovery.load(packages.values())
    checks = [len(checks_of(loaded.entry(kind, f"own-{kind}").component)) for kind in packages]
    assert f"{sum(checks)} passed" in done.stdout


@pytest.mark.parametrize("kind", Template)
def test_nothing_of_the_template_is_left_and_the_entry_point_is_the_module(kind, packages):
    folder = packages[kind].parent
    texts = {path: path.read_text() for path in folder.rglob("*.*") if path.suffix in {".py", ".toml", ".md"}}
    assert len(texts) >= 4
    assert not [path for path, text in texts.items() if f"my-{kind}" in text or f"my_{kind}" in text or "My" in text]
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    assert project["project"]["entry-points"]["collapsebench"] == {f"own-{kind}": packages[kind].stem}
    assert all(
        (folder / file).is_file() for file in project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    )
    assert metadata.metadata("collapsebench")["Name"] in project["project"]["dependencies"]
    assert len((folder / "README.md").read_text().splitlines()) == 5


def test_the_command_says_what_comes_next(command):
    answer = command("new", "method", "free-lunch")
    assert answer.code == 0
    module = Path("collapsebench-free-lunch/collapsebench_free_lunch.py")
    assert answer.out.splitlines()[-1] == f"next: collapsebench check {module}"
    assert "class FreeLunch(Method)" in module.read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("methd", "mine"), "unknown kind of component with a template 'methd'. Did you mean 'method'?"),
        (("method", "skip"), "method 'skip' is there already: choose another name"),
        (("method", "vae"), "method 'vae' is there already: choose another name"),
        (
            ("method", "Free Lunch"),
            "'Free Lunch' is no name for a method: write small letters, digits and single dashes",
        ),
        (("method", "2-steps"), "'2-steps' is no name for a method"),
        (("method", "a--b"), "'a--b' is no name for a method"),
        (("method", "../up"), "'../up' is no name for a method"),
        (("method", "method"), "'method' would be the class Method, which the package needs for something else"),
        (("method", "none"), "'none' would be the class None, which the package needs for something else"),
    ],
)
def test_a_name_that_cannot_be_is_one_line_and_leaves_nothing(arguments, said, command):
    answer = command("new", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(f"error: {said}")
    assert not list(Path().iterdir())


def test_a_name_with_mistakes_gets_a_name_that_can_be():
    with pytest.raises(UsageError, match="as in 'free-lunch'"):
        new_package("method", "Free_Lunch", None, ())


def test_a_folder_that_exists_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="exists already: give another --output"):
        new_package("method", "mine", tmp_path, ())
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_package_that_cannot_be_written_is_not_there(tmp_path):
    with pytest.raises(OSError, match="name too long"):
        new_package("method", "a" * 245, tmp_path / "own", ())
    assert not (tmp_path / "own").exists()
