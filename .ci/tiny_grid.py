"""A tiny grid and its board from the wheel, the sdist and an editable install, each in a fresh environment.

    python .ci/tiny_grid.py FOLDER_OF_WHEEL_AND_SDIST CHECKOUT

Every command runs in an empty folder, so that nothing of the checkout is found but what was installed.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tomllib
import venv
from pathlib import Path
from tempfile import TemporaryDirectory


def main() -> None:
    built, checkout = (Path(argument).resolve() for argument in sys.argv[1:])
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    registry = checkout / "registry" / "suites"
    suites = {file.relative_to(registry).with_suffix("").as_posix() for file in registry.rglob("*.toml")}
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    plugins = set(project["entry-points"]["collapsebench"])
    installs: list[list[str | Path]] = [[wheel], [sdist], ["--editable", checkout]]
    for what in installs:
        with TemporaryDirectory() as folder:
            assert_a_grid_runs(Path(folder), what, suites, plugins)
        print("A tiny grid ran from", *what, flush=True)


def assert_a_grid_runs(folder: Path, what: list[str | Path], suites: set[str], plugins: set[str]) -> None:
    """Install `what` below `folder`; the commands then know the datasets, the methods and the suites.

    A package of `collapsebench new` can be installed beside it, and passes the check.
    """
    venv.create(folder / "environment", with_pip=True)
    (empty := folder / "empty").mkdir()

    def output_of(program: str, *arguments: str | Path) -> str:
        command = [folder / "environment" / "bin" / program, *arguments]
        return subprocess.run(command, cwd=empty, check=True, stdout=subprocess.PIPE, text=True).stdout

    output_of("pip", "install", "--quiet", *what)
    output_of("collapsebench", "run", "--method", "skip", "--dataset", "linear-gaussian", "--budget", "2steps")
    board = output_of("collapsebench", "leaderboard", "--dataset", "linear-gaussian", "--format", "csv")
    assert {"vae", "skip"} <= {row["contender"] for row in csv.DictReader(board.splitlines())}
    assert output_of("collapsebench", "report", "--output", "-").startswith("<!doctype html>")
    found = json.loads(output_of("collapsebench", "plugins", "--json"))
    assert not found["failed"], found["failed"]
    assert plugins <= {component["plugin"] for component in found["components"]}
    output_of("collapsebench", "new", "method", "free-lunch")
    output_of("pip", "install", "--quiet", "--no-deps", "./collapsebench-free-lunch")
    output_of("collapsebench", "check", "free-lunch")
    listed = output_of("collapsebench", "suite", "list")
    assert suites == {line.split()[0] for line in listed.splitlines()[1:]}


main()
