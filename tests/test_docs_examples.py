"""What the pages show works: files are saved, commands and Python are run, and outputs are those of the program.

The language and the caption of a fenced block say what it is. A block with a caption is a file, which is saved under
that name. `python` without a caption is run. In `console` every line that starts with `$` is run, and the lines below
are lines of its output, in their order; numbers may differ. Commands in `shell` need a network or hours: they are not
run, but their options exist. `text` and `toml` are only shown. The blocks of a page are worked through in one folder.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import click
import pytest
from markdown_it import MarkdownIt

from collapsebench.cli import cli

pytestmark = pytest.mark.torch

ROOT = Path(__file__).parents[1]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md"]
HEAD = re.compile(r"\{code-block\} (\w+)")
CAPTION = re.compile(r":caption: (.+)\n\n")
NUMBER = re.compile(r"\b[0-9a-f]{16}\b|[+−-]?\d[\d,]*(\.\d+)?(e[+-]?\d+)?")


class Block(NamedTuple):
    """One fenced block of a page."""

    language: str
    caption: str | None
    content: str
    place: str


def blocks(page):
    """The fenced blocks, directives that are no code left out."""
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        head = HEAD.fullmatch(token.info)
        if token.type != "fence" or (token.info.startswith("{") and head is None):
            continue
        language, content = head[1] if head else token.info, token.content
        caption = CAPTION.match(content)
        body = content[caption.end() :] if caption else content
        yield Block(language, caption and caption[1], body, f"{page.name}:{token.map[0] + 1}")


BLOCKS = {page: list(blocks(page)) for page in PAGES}


def commands(block):
    """The commands of a console, each with the lines of output that are shown below it."""
    found = []
    for line in block.content.replace("\\\n", " ").splitlines():
        if line.startswith("$ "):
            found.append((shlex.split(line[2:], comments=True), []))
        elif line.strip():
            found[-1][1].append(line)
    return found


def without_numbers(line):
    """The line as far as it is the same in every run: no numbers, ids and stars, and no widths that hang on them."""
    return " ".join(re.sub(r"─+", "─", NUMBER.sub("#", line.replace("*", ""))).split())


def missing(shown, printed):
    """The first line shown that is not printed after those before it, None if all are."""
    lines = iter([without_numbers(line) for line in printed.splitlines()])
    return next((line for line in shown if without_numbers(line) not in lines), None)


def run(arguments, command):
    """The exit code of a command and all that it printed."""
    if arguments[0] == "python":
        answer = subprocess.run([sys.executable, *arguments[1:]], check=False, capture_output=True, text=True)
        return answer.returncode, answer.stdout + answer.stderr
    assert arguments[0] == "collapsebench"
    answer = command(*arguments[1:])
    return answer.code, answer.out + answer.err


def work_through(block, folder, names, command):
    """Save, run or compare a block."""
    if block.caption:
        path = folder / block.caption
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.content, encoding="utf-8")
    elif block.language == "python":
        exec(compile(block.content, block.place, "exec"), names)  # noqa: S102 - our own pages
    elif block.language == "console":
        for arguments, shown in commands(block):
            code, printed = run(arguments, command)
            fails = any(line.startswith(("error: ", "failed ")) for line in shown)
            assert (code != 0) == fails, f"{block.place}: {shlex.join(arguments)}\n{printed}"
            assert missing(shown, printed) is None, f"{block.place}: {shlex.join(arguments)}\n{printed}"


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if BLOCKS[page]], ids=lambda page: page.name)
def test_the_examples_of_a_page_work(page, command, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    names = {"__name__": "__main__"}
    for block in BLOCKS[page]:
        work_through(block, tmp_path, names, command)


SHOWN = sorted({
    line.strip()
    for found in BLOCKS.values()
    for block in found
    if block.language == "shell"
    for line in block.content.replace("\\\n", " ").splitlines()
    if line.startswith("collapsebench ")
})  # fmt: skip


@pytest.mark.parametrize("line", SHOWN)
def test_a_command_that_is_not_run_has_the_options_shown(line):
    found, arguments = cli, shlex.split(line)[1:]
    while isinstance(found, click.Group):
        found, arguments = found.get_command(click.Context(found), arguments[0]), arguments[1:]
    found.make_parser(click.Context(found)).parse_args(arguments)  # raises for a value that is missing
    known = {option for parameter in found.params for option in parameter.opts}
    assert {word for word in arguments if word.startswith("-")} <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_says_what_it_is(page):
    kinds = {"python", "console", "shell", "text", "toml"}
    assert [block.place for block in BLOCKS[page] if not block.caption and block.language not in kinds] == []


def test_outputs_are_compared_but_for_their_numbers():
    printed = "run 0123456789abcdef\nvae   3   25.39 ± 0.05 *\nskip  3   22.1 ± 1.5\n"
    assert missing(["vae  2  1,025.4 ± 3e-05", "skip  2  −1 ± 2 *"], printed) is None
    assert missing(["run fedcba9876543210"], printed) is None
    assert missing(["skip  2  −1 ± 2", "vae  2  25 ± 3"], printed) == "vae  2  25 ± 3"
    assert missing(["vae  2  25"], printed) == "vae  2  25"
