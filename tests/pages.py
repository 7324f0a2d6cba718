"""The examples of a page: what its fenced blocks are, and how they are worked through, one after the other.

The language and the caption of a block say what it is. A block with a caption is a file, which is saved under that
name. `python` without a caption is run. In `console` every line that starts with `$` is run, and the lines below are
lines of its output, in their order; numbers may differ. In `shell-session` commands are run, too, but the output is
that of one machine, as the words that a model draws. Commands in `shell` need a network or hours: they are not run, but
their options exist. `text` and `toml` are only shown. The blocks of a page are worked through in one folder.

`python tests/pages.py docs/first-hour.md` runs the commands of a page, and writes what they print below each of them.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from markdown_it import MarkdownIt

CONSOLES = {"console", "shell-session"}
KINDS = {"python", "shell", "text", "toml"} | CONSOLES
HEAD = re.compile(r"\{code-block\} ([\w-]+)")
CAPTION = re.compile(r":caption: (.+)\n\n")
STEP = re.compile(r"^\$ ((?:.*\\\n)*.*)$", re.MULTILINE)
NUMBER = re.compile(r"\b[0-9a-f]{16}\b|[+−-]?\d[\d,]*(\.\d+)?(e[+−-]?\d+)?")
OF_ONE_MACHINE = re.compile(r"^(% )?Machine \(.*\n", re.MULTILINE)
"""A line that is another one on every machine. No transcript has it."""

Runner: TypeAlias = Callable[[list[str]], tuple[int | str, str]]
"""Runs a command, and returns the exit code and all that it printed: standard output, then standard error."""


class Block(NamedTuple):
    """One fenced block of a page."""

    language: str
    caption: str | None
    content: str
    place: str


class Step(NamedTuple):
    """A command of a console, as it is written, and the lines of output that are shown below it."""

    written: str
    shown: list[str]

    @property
    def words(self) -> list[str]:
        """The words of the command."""
        return shlex.split(self.written.replace("\\\n", " "), comments=True)


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks, directives that are no code left out."""
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        head = HEAD.fullmatch(token.info)
        if token.type != "fence" or token.map is None or (token.info.startswith("{") and head is None):
            continue
        language, content = head[1] if head else token.info, token.content
        caption = CAPTION.match(content)
        body = content[caption.end() :] if caption else content
        yield Block(language, caption and caption[1], body, f"{page.name}:{token.map[0] + 1}")


def steps(block: Block) -> list[Step]:
    """The commands of a console."""
    _, *parts = STEP.split(block.content)
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return [Step(written, [line for line in shown.splitlines() if line.strip()]) for written, shown in pairs]


def without_numbers(line: str) -> str:
    """The line as far as it is the same in every run: no numbers, ids and stars, and no widths that hang on them."""
    return " ".join(re.sub(r"─+", "─", NUMBER.sub("#", line.replace("*", ""))).split())


def missing(shown: list[str], printed: str) -> str | None:
    """The first line shown that is not printed after those before it, None if all are."""
    lines = iter([without_numbers(line) for line in printed.splitlines()])
    return next((line for line in shown if without_numbers(line) not in lines), None)


def work_through(block: Block, folder: Path, names: dict[str, Any], run: Runner) -> None:
    """Save, run or compare a block."""
    if block.caption:
        path = folder / block.caption
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.content, encoding="utf-8")
    elif block.language == "python":
        exec(compile(block.content, block.place, "exec"), names)  # noqa: S102 - our own pages
    elif block.language in CONSOLES:
        for step in steps(block):
            code, printed = run(step.words)
            fails = any(line.startswith(("error: ", "failed ")) for line in step.shown)
            assert (code != 0) == fails, f"{block.place}: {step.written}: exit code {code}\n{printed}"
            line = missing(step.shown, printed) if block.language == "console" else None
            assert line is None, f"{block.place}: {step.written}: no line '{line}'\n{printed}"


def answer(words: list[str]) -> tuple[int | str, str]:
    """Run a command: Python in a process of its own, `collapsebench` in this one."""
    if words[0] == "python":
        done = subprocess.run([sys.executable, *words[1:]], check=False, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr
    assert words[0] == "collapsebench", words
    from collapsebench.cli import main

    out, err = (TextIOWrapper(BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    code: int | str = 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main(words[1:])
        except SystemExit as stopped:
            code = stopped.code or 0
    return code, "".join(stream.buffer.getvalue().decode() for stream in (out, err))


def transcript(page: Path, folder: Path) -> str:
    """The text of a page, worked through in a folder, with all that its commands print now."""
    text = page.read_text(encoding="utf-8")
    for block in blocks(page):
        if block.language not in CONSOLES:
            work_through(block, folder, {"__name__": "__main__"}, answer)
            continue
        printed = [f"$ {step.written}\n{_shown(answer(step.words)[1])}" for step in steps(block)]
        text = text.replace(block.content, "".join(printed), 1)
    return text


def _shown(printed: str) -> str:
    """The output as a page shows it: without what is of one machine, and without blank lines at its end."""
    text = OF_ONE_MACHINE.sub("", printed).rstrip()
    return f"{text}\n" if text else ""


def main() -> None:
    """Write the outputs of a page anew."""
    parser = argparse.ArgumentParser(description="Run the commands of a page, and write what they print below them.")
    parser.add_argument("page", type=Path)
    page = parser.parse_args().page.absolute()
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        os.environ["XDG_CACHE_HOME"] = str(Path(folder, "cache"))
        text = transcript(page, Path(folder))
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
