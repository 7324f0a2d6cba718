"""What the pages show works: files are saved, commands and Python are run, and outputs are those of the program.

`pages.py` says what the blocks of a page are.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import click
import pages
import pytest
from pages import KINDS, Block, blocks, missing, transcript, work_through

from collapsebench.cli import cli

pytestmark = pytest.mark.torch

ROOT = Path(__file__).parents[1]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md"]
BLOCKS = {page: list(blocks(page)) for page in PAGES}


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if BLOCKS[page]], ids=lambda page: page.name)
def test_the_examples_of_a_page_work(page, command, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(words):
        if words[0] == "python":
            return pages.answer(words)
        assert words[0] == "collapsebench"
        answer = command(*words[1:])
        return answer.code, answer.out + answer.err

    names = {"__name__": "__main__"}
    for block in BLOCKS[page]:
        work_through(block, tmp_path, names, run)


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
    assert [block.place for block in BLOCKS[page] if not block.caption and block.language not in KINDS] == []


def test_outputs_are_compared_but_for_their_numbers():
    printed = "run 0123456789abcdef\nvae   3   25.39 ± 0.05 *\nskip  3   22.1 ± 1.5\n"
    assert missing(["vae  2  1,025.4 ± 3e-05", "skip  2  −1 ± 2 *"], printed) is None
    assert missing(["run fedcba9876543210"], printed) is None
    assert missing(["skip  2  −1 ± 2", "vae  2  25 ± 3"], printed) == "vae  2  25 ± 3"
    assert missing(["vae  2  25"], printed) == "vae  2  25"


@pytest.mark.parametrize(
    ("shown", "wrong"),
    [
        ("$ collapsebench suite list\nno such suite\n", "no such suite"),
        ("$ collapsebench suite shw\n", "shw"),
        ("$ collapsebench suite list\nerror: nothing\n", "list"),
    ],
)
def test_a_page_that_says_what_is_not_so_is_found(shown, wrong, tmp_path):
    with pytest.raises(AssertionError, match=wrong):
        work_through(Block("console", None, shown, "page.md:1"), tmp_path, {}, pages.answer)


def test_what_one_machine_printed_is_run_and_not_compared(tmp_path):
    block = Block("shell-session", None, "$ collapsebench suite list\nwords\n", "page.md:1")
    work_through(block, tmp_path, {}, pages.answer)
    with pytest.raises(AssertionError, match="exit code 2"):
        work_through(block._replace(content="$ collapsebench suite x\n"), tmp_path, {}, pages.answer)


PAGE = """
```{code-block} toml
:caption: mine.toml

a = 1
```

```console
$ collapsebench data list \\
  --json
what it printed before
$ collapsebench suite show nothing
```

```console
$ collapsebench suite list
```
"""


def test_a_transcript_shows_what_the_commands_print_and_is_true_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    page.write_text(transcript(page, tmp_path), encoding="utf-8")
    assert (tmp_path / "mine.toml").read_text() == "a = 1\n"
    text = page.read_text(encoding="utf-8")
    assert "what it printed before" not in text
    assert '--json\n[\n  {\n    "name": "digits"' in text
    assert "error: unknown suite 'nothing'" in text
    assert "dieng-2019/table-3" in text
    for block in blocks(page):
        work_through(block, tmp_path, {}, pages.answer)
    assert transcript(page, tmp_path) == text
