"""What every test shares."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import settings

from collapsebench import cli as command_line

# Deadlines are wall time: they say more about the machine than about the code.
settings.register_profile("collapsebench", deadline=None, max_examples=60)
settings.load_profile("collapsebench")

# In the background of a shell SIGINT is ignored; processes that tests start would inherit that, and never hear Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)


class Answer(NamedTuple):
    """What a command left."""

    code: int | str
    out: str
    err: str


@pytest.fixture
def command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Answer]:
    """Run the command line in an empty folder; no environment variable of the user reaches it."""
    for name in ("COLLAPSEBENCH_DATA", "COLLAPSEBENCH_STORE", "COLLAPSEBENCH_PLUGINS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Answer:
        with pytest.raises(SystemExit) as stopped:
            command_line.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Answer(stopped.value.code or 0, captured.out, captured.err)

    return run
