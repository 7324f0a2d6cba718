"""Linux and macOS only: elsewhere the command says so in one line, before anything is imported that is not there."""

from __future__ import annotations

import os
import subprocess
import sys

from collapsebench import cli


def test_windows_is_refused_in_one_line(command, monkeypatch):
    monkeypatch.setattr(cli.os, "name", "nt")
    answer = command("run", "--dataset", "linear-gaussian")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "error: collapsebench runs on Linux and macOS; on Windows it runs in WSL alone\n"


def test_the_command_line_starts_without_the_modules_of_posix():
    script = (
        "import sys; sys.modules['fcntl'] = None\n"
        "from importlib import import_module\n"
        "from collapsebench.cli import COMMANDS\n"
        "print(len([import_module(module) for module, _ in COMMANDS.values()]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env=os.environ)
    assert (done.returncode, done.stdout) == (0, f"{len(cli.COMMANDS)}\n")


def test_an_error_line_can_be_seen(command):
    answer = command("leaderboard", "--store", "none\x1b[2J\u202e.sqlite")
    assert answer.err == "error: there is no store 'none\\x1b[2J\\u202e.sqlite' yet: `collapsebench run` makes one\n"
