"""What the README shows works, and the commands of docs/paper.md."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
import toys

from collapsebench.cli import COMMANDS, cli

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = README + (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^(?:    |\$ )(collapsebench .*)$", PAGES, re.MULTILINE)


@pytest.mark.torch
def test_the_plugin_of_the_readme_runs_alone_and_composed(command, tmp_path):
    (source,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "fixed_weight.py").write_text(source)
    toy = ("--plugin", toys.PLUGIN, "--dataset", "toy")
    answer = command(
        "run",
        "--plugin",
        "fixed_weight.py",
        *toy,
        "--method",
        "fixed-weight[beta=0.5]",
        "--method",
        "skip+fixed-weight",
    )
    assert answer.code == 0
    assert "fixed-weight[beta=0.5] seed 1" in answer.out
    assert "skip+fixed-weight seed 1" in answer.out


@pytest.mark.parametrize("line", SHOWN)
def test_every_command_shown_takes_the_options_shown(line):
    name, *arguments = shlex.split(line)[1:]
    known = cli.get_command(None, name)
    if isinstance(known, click.Group):
        known = known.get_command(None, arguments[0])
    options = {option for parameter in known.params for option in parameter.opts}
    assert {argument for argument in arguments if argument.startswith("--")} <= options


def test_every_command_is_in_the_table():
    assert set(re.findall(r"^\| `collapsebench (\w+)", README, re.MULTILINE)) == set(COMMANDS)
