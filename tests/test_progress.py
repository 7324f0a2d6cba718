"""What runs look like on a terminal, and where standard output is a file."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import sys
import termios
from contextlib import contextmanager
from threading import Thread

import pytest
import records

from collapsebench.experiment import events
from collapsebench.experiment.progress import progress
from collapsebench.record import Number, Outcome, Point


class Terminal:
    """What a terminal of this width shows, of as much of its language as live lines use."""

    TOKENS = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")

    def __init__(self, columns: int) -> None:
        self.columns, self.lines, self.row, self.column = columns, [""], 0, 0

    def feed(self, text: str) -> None:
        assert not self.TOKENS.sub("", text)
        for numbers, command, end, shown in self.TOKENS.findall(text):
            if command == "A":
                self.row -= int(numbers or 1)
            elif command == "K":
                self.lines[self.row] = ""
            elif command:
                assert command in "mhl", "colours, and the cursor shown or hidden"
            elif end == "\r":
                self.column = 0
            elif end == "\n":
                self._down()
            else:
                for character in shown:
                    self._put(character)

    def _down(self) -> None:
        self.row += 1
        if self.row == len(self.lines):
            self.lines.append("")

    def _put(self, character: str) -> None:
        if self.column == self.columns:
            self.column = 0
            self._down()
        line = self.lines[self.row].ljust(self.column)
        self.lines[self.row] = line[: self.column] + character + line[self.column + 1 :]
        self.column += 1

    @property
    def shown(self) -> list[str]:
        return [line.rstrip() for line in self.lines if line.strip()]


@contextmanager
def terminal(monkeypatch, *streams: str, columns: int = 100):
    """A terminal for these streams of this process; what is on it is there when the block is left."""
    monkeypatch.setenv("TERM", "xterm")
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    heard: list[bytes] = []

    def listen() -> None:
        try:
            while piece := os.read(ours, 65536):
                heard.append(piece)
        except OSError:  # the other end is closed
            return

    listener, screen = Thread(target=listen), Terminal(columns)
    listener.start()
    with os.fdopen(its, "w", encoding="utf-8") as stream, monkeypatch.context() as patched:
        for name in streams:
            patched.setattr(sys, name, stream)
        yield screen
    listener.join()
    os.close(ours)
    screen.feed(b"".join(heard).decode())


LABELS = ("vae", "skip", "sa-vae[steps=2]")
POINT = Point(counters={"steps": 2, "seconds": 0.04}, values={"neg_elbo": Number.of(31.5), "kl": Number.of(1.0)})


def two_runs() -> None:
    """Two workers: one run is done and another takes its place, which fails; then the other is done."""
    vae, skip, sa_vae = map(records.started, LABELS)
    with progress(quiet=False, verbose=True, names={}) as screen:
        screen.say("3 runs, 0 already stored, 3 to run")
        screen.observe(events.Started(vae))
        screen.observe(events.Started(sa_vae))
        for step in range(3):
            for run in (vae, sa_vae):
                screen.observe(events.Stepped(run.run_id, step, step / 3, 30.0, 1.0))
                if screen.live is not None:
                    screen.live.refresh()
        screen.observe(events.Evaluated(sa_vae.run_id, POINT))
        screen.observe(events.Finished(records.record("vae")))
        screen.observe(events.Started(skip))
        screen.observe(events.Stepped(skip.run_id, 1, 0.3, 30.0, 1.0))
        screen.observe(events.Warned(skip.run_id, "the disk is full"))
        screen.observe(events.Finished(records.record("skip", outcome=Outcome.FAILED, message="its worker\nis gone")))
        screen.observe(events.Testing(sa_vae.run_id))
        if screen.live is not None:
            screen.live.refresh()
        screen.observe(events.Finished(records.record("sa-vae[steps=2]")))


VAE, SKIP, SA_VAE = (records.started(label).run_id for label in LABELS)
OUT = [
    "3 runs, 0 already stored, 3 to run",
    "  sa-vae[steps=2] seed 1: step 2, 0.0 s, valid −ELBO 31.500, KL 1.000",
    f"finished  {VAE}  vae seed 1: −ELBO 30.000, KL 1.000, 7.0 s",
    f"finished  {SA_VAE}  sa-vae[steps=2] seed 1: −ELBO 30.000, KL 1.000, 7.0 s",
]
ERRORS = ["warning: the disk is full", f"failed  {SKIP}  skip seed 1: its worker is gone"]


@pytest.mark.parametrize("columns", [100, 200])
def test_every_line_stays_on_a_terminal_and_no_live_one_does(columns, monkeypatch):
    with terminal(monkeypatch, "stdout", "stderr", columns=columns) as screen:
        two_runs()
    assert screen.shown == [*OUT[:3], *ERRORS, OUT[3]]


def test_standard_output_goes_where_it_was_sent_while_live_lines_are_on_the_terminal(monkeypatch, capsys):
    with terminal(monkeypatch, "stderr") as screen:
        two_runs()
    assert capsys.readouterr().out.splitlines() == OUT
    assert screen.shown == ERRORS


def test_live_lines_show_each_run_under_its_own_name(monkeypatch):
    with terminal(monkeypatch, "stdout", "stderr") as screen, progress(quiet=False, verbose=False, names={}) as runs:
        for label in ("vae", "sa-vae[steps=2]"):
            started = events.Started(records.started(label))
            runs.observe(started)
            runs.observe(events.Stepped(started.run_id, 5, 0.5, 30.0, 1.0))
        frame = "".join(segment.text for segment in runs.live.console.render(runs.live.get_renderable()))
    assert re.findall(r"^(\S+ seed 1) .*step 5 · loss 30\.00 · KL 1\.00 · valid −ELBO …", frame, re.MULTILINE) == [
        "vae seed 1",
        "sa-vae[steps=2] seed 1",
    ]
    assert screen.shown == []


def test_without_a_terminal_there_are_plain_lines_only(capsys):
    two_runs()
    said = capsys.readouterr()
    assert (said.out.splitlines(), said.err.splitlines()) == (OUT, ERRORS)


def test_quiet_says_what_failed(capsys):
    with progress(quiet=True, verbose=False, names={}) as screen:
        screen.observe(events.Warned(SKIP, "the disk is full"))
        screen.observe(events.Finished(records.record("vae")))
        screen.observe(events.Finished(records.record("skip", outcome=Outcome.FAILED, message="its worker\nis gone")))
    said = capsys.readouterr()
    assert (said.out, said.err.splitlines()) == ("", ERRORS[1:])
