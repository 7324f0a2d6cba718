"""What the README shows works, and the commands of docs/paper.md."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from collapsebench.cli import cli

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = README + (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^(?:    |\$ )(collapsebench .*)$", PAGES, re.MULTILINE)


@pytest.mark.parametrize("line", SHOWN)
def test_every_command_shown_takes_the_options_shown(line):
    name, *arguments = shlex.split(line)[1:]
    known = cli.get_command(None, name)
    if isinstance(known, click.Group):
        known = known.get_command(None, arguments[0])
    options = {option for parameter in known.params for option in parameter.opts}
    assert {argument for argument in arguments if argument.startswith("--")} <= options


def test_the_result_of_the_readme_is_what_its_commands_print(command, tmp_path):
    (tmp_path / "results").symlink_to(ROOT / "results")
    _, section = README.split("## A result\n")
    said = [shlex.split(line) for line in re.findall(r"^    collapsebench (.*)$", section, re.MULTILINE)]
    answers = [command(*words) for words in said]
    assert [answer.code for answer in answers] == [0] * len(said)
    (shown,) = re.findall(r"```text\n(.*?)```", section, re.DOTALL)
    assert shown in answers[-1].out


@pytest.mark.parametrize("path", re.findall(r"\]\(([^)#:]+)[^):]*\)", README))
def test_what_the_readme_links_to_is_there(path):
    assert (ROOT / path).exists()
