"""What runs look like on a terminal, and where standard output is a file."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import sys
import termios
from contextlib import closing, contextmanager
from threading import Thread

import pytest
import records
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from collapsebench.experiment import events
from collapsebench.experiment import live as live_module
from collapsebench.experiment.live import LiveLine, NotebookLines, TerminalLines
from collapsebench.experiment.outlook import Outlook
from collapsebench.experiment.progress import Rarely, Screen, progress
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


def frame(lines, columns: int) -> list[str]:
    """The live lines as a terminal of this width and 24 rows gets them."""
    console = Console(file=io.StringIO(), width=columns, height=24, color_system=None, force_terminal=True)
    with closing(TerminalLines(console, shared=False)) as live:
        live.draw(lines)
        return "".join(segment.text for segment in console.render(live)).splitlines()


def drawn(lines, columns: int = 100) -> list[str]:
    return [" ".join(re.sub("[━╸╺]+", " ", line).split()) for line in frame(lines, columns)]


class Kept:
    """Live lines that are kept."""

    def __init__(self) -> None:
        self.lines: list[LiveLine] = []

    def draw(self, lines) -> None:
        self.lines = list(lines)

    def close(self) -> None:
        self.lines = []


def test_live_lines_show_each_run_under_its_own_name():
    live = Kept()
    screen = Screen(live=live, quiet=False, verbose=False, names={})
    for label in ("vae", "sa-vae[steps=2]"):
        started = events.Started(records.started(label))
        screen.observe(started)
        screen.observe(events.Stepped(started.run_id, 5, 0.5, 30.0, 1.0))
    status = "step 5 · valid −ELBO … · KL 1.00 · loss 30.00"
    assert [line[:3] for line in live.lines] == [("vae seed 1", 0.5, status), ("sa-vae[steps=2] seed 1", 0.5, status)]
    assert [line.rpartition(" ")[0] for line in drawn([line._replace(left="4 s") for line in live.lines])] == [
        f"vae seed 1 {status} 4",
        f"sa-vae[steps=2] seed 1 {status} 4",
    ]


words = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z", "M")), max_size=120)
live_lines = st.lists(st.builds(LiveLine, words, st.floats(0, 1), words, st.sampled_from(["", "3 min"])), max_size=40)


@given(live_lines, st.integers(30, 200))
def test_no_live_line_is_wider_than_the_terminal(lines, columns):
    found = frame(lines, columns)
    assert all(cell_len(line) <= columns for line in found)
    assert len(found) == min(len(lines), 23)


def test_the_line_of_the_grid_is_seen_however_many_runs_there_are():
    lines = [*(LiveLine(f"run {number}", 0.5, "", "") for number in range(40)), LiveLine("grid", 0.5, "", "")]
    assert drawn(lines)[-3:] == ["run 20", "grid", "… and 19 more"]


@pytest.mark.parametrize("columns", [50, 60, 80, 120])
def test_a_long_label_keeps_its_seed(columns):
    label = "yahoo quick · skip+kl-annealing[schedule=cyclical,start=0.1,warmup=0.15] seed 12"
    assert " seed 12" in frame([LiveLine(label, 0.5, "step 1", "3 min")], columns)[0]


def grid_of(*labels: str, clock, workers: int = 1) -> Screen:
    """A screen with kept live lines for a grid of these runs."""
    screen = Screen(live=Kept(), quiet=False, verbose=False, names={})
    screen.outlook = Outlook([records.spec(label) for label in labels], workers=workers, clock=clock)
    return screen


def test_a_grid_has_a_line_with_what_is_done_what_ended_badly_and_the_time_left():
    now = [0.0]
    screen = grid_of("vae", "skip", "sa-vae", clock=lambda: now[0])
    for label, outcome in (("vae", Outcome.FINISHED), ("skip", Outcome.FAILED)):
        screen.observe(events.Started(records.started(label)))
        now[0] += 200
        screen.observe(events.Finished(records.record(label, outcome=outcome)))
    assert screen.live.lines == [LiveLine("grid", 2 / 3, "2 of 3 runs done · 1 failed", "3.3 min")]
    screen.observe(events.Started(records.started("sa-vae")))
    screen.observe(events.Stepped(records.started("sa-vae").run_id, 10, 0.5, 30.0, 1.0))
    assert [line.label for line in screen.live.lines] == ["sa-vae seed 1", "grid"]
    assert screen.live.lines[-1].share == 2.5 / 3


def test_one_run_is_no_grid():
    screen = grid_of("vae", clock=lambda: 0.0)
    screen.observe(events.Started(records.started("vae")))
    assert [line.label for line in screen.live.lines] == ["vae seed 1"]


def test_without_live_lines_a_line_says_now_and_then_how_far_the_grid_is(capsys, monkeypatch):
    now = [0.0]
    screen = grid_of("vae", "skip", clock=lambda: now[0])
    screen.live, screen._rarely = None, Rarely(lambda: now[0])
    screen.observe(events.Started(records.started("vae")))
    for second in range(241):
        now[0] = float(second)
        screen.observe(events.Stepped(VAE, second, second / 400, 30.0, 1.0))
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "  0 of 2 runs done, about 12 min left, vae seed 1 15%",
        "  0 of 2 runs done, about 11 min left, vae seed 1 30%",
        "  0 of 2 runs done, about 10 min left, vae seed 1 45%",
        "  0 of 2 runs done, about 9.3 min left, vae seed 1 60%",
    ]


def test_lines_become_rarer():
    now = [0.0]
    rarely = Rarely(lambda: now[0])
    said = []
    for hour in range(0, 100 * 3600, 10):
        now[0] = float(hour)
        said += [hour] * rarely.now()
    assert said[0] == 60
    assert said[-1] - said[-2] > 3600
    assert len(said) < 400


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


class Cell:
    """What `IPython.display` gives: a place below a cell, which keeps what it last showed."""

    HTML = str

    def __init__(self) -> None:
        self.shown = ""

    def display(self, html, *, display_id):
        assert display_id
        self.shown = html
        return self

    def update(self, html) -> None:
        self.shown = html


def test_a_notebook_shows_a_bar_for_each_run_and_one_for_the_grid(monkeypatch):
    cell = Cell()
    monkeypatch.setattr(live_module, "import_module", lambda name: cell)
    lines = NotebookLines()
    lines.draw([LiveLine("a<b> seed 1", 0.25, "step 5", "3 min"), LiveLine("grid", 0.5, "1 of 2 runs done", "")])
    assert cell.shown == (
        "<div>a&lt;b&gt; seed 1 <progress max=1 value=0.2500></progress> step 5 · 3 min left</div>"
        "<div>grid <progress max=1 value=0.5000></progress> 1 of 2 runs done</div>"
    )
    lines.close()
    assert cell.shown == ""
