"""What the trials of damaged rows and of mutated lines share: commands in this process, and how they may end."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

from collapsebench.cli import main
from collapsebench.cli.leaderboard import FORMATS

EXPORT = Path(__file__).parents[1] / "results" / "leaderboards" / "mnist-quick.jsonl"
LINES = EXPORT.read_text(encoding="utf-8").splitlines(keepends=True)[::3]
"""Real runs of one protocol, as they were exported: of each contender, one seed."""


class Answer(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def all(self) -> str:
        """Everything that was printed."""
        return self.out + self.err


def call(store: Path, *arguments: str) -> Answer:
    """Run a command in this process."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main([*arguments, "--store", str(store)])
    except SystemExit as stopped:
        code = stopped.code if isinstance(stopped.code, int) else int(stopped.code is not None)
    except Exception as error:  # noqa: BLE001 - that a command raises anything is what is looked for
        return Answer(-1, "", f"{type(error).__name__}: {error} (a bug that main let pass)")
    out.flush()
    out.seek(0)
    return Answer(code, out.read(), err.getvalue())


def boards(store: Path) -> Iterator[tuple[str, Answer]]:
    """Draw the boards of a store in every format, and list its runs."""
    for format_ in FORMATS:
        yield f"leaderboard --format {format_}", call(store, "leaderboard", "--format", format_)
    yield "leaderboard --at", call(store, "leaderboard", "--at", "steps=500")
    yield "leaderboard --dialect", call(store, "leaderboard", "--dialect", "li2019")
    yield "runs list", call(store, "runs", "list")
    yield "runs list --json", call(store, "runs", "list", "--json")
