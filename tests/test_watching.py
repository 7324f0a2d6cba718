"""Boards that are drawn again while runs go on, and how far these runs are."""

from __future__ import annotations

import json
import time

import pytest
import records
import toys

from collapsebench.cli import watching
from collapsebench.experiment import events
from collapsebench.experiment.executors import InProcess
from collapsebench.experiment.grids import prepare, run_grid
from collapsebench.record import Outcome
from collapsebench.reporting.queries import ProtocolQuery
from collapsebench.reporting.running import RunningRun, running, running_line
from collapsebench.store import Store

RUN = "0123456789abcdef"
EVERY = ProtocolQuery(None, None, None)


@pytest.mark.torch
def test_a_grid_says_meanwhile_how_far_its_run_is(tmp_path):
    path = tmp_path / "runs.sqlite"
    setup, seen = toys.setup(store=path), []

    def look(event):
        if isinstance(event, events.Testing):
            with Store.reading(path) as store:
                seen.extend(running(store, str(path), EVERY))

    (record,) = run_grid(prepare(setup), InProcess(), look)
    assert [(run.run_id, run.contender, run.seed, run.share) for run in seen] == [(record.run_id, "vae", 1, 1.0)]
    assert not list(setup.checkpoints.folder.glob("*.pulse*"))


@pytest.mark.parametrize(
    ("share", "silent", "line"),
    [
        (0.43, 1.0, "running: skip seed 2, 43%"),
        (None, None, "running: skip seed 2"),
        (0.43, 600.0, "running: skip seed 2, 43% (10 min ago)"),
    ],
)
def test_a_run_that_goes_on_is_named_with_what_is_known_of_it(share, silent, line):
    assert running_line([RunningRun(RUN, RUN, "skip", 2, share, silent)]) == line


class Looks:
    """Counts looks at the store, lets something happen after each, and ends as Ctrl-C does."""

    def __init__(self, *meanwhile) -> None:
        self._meanwhile = list(meanwhile)

    def __call__(self, seconds: float) -> None:
        if not self._meanwhile:
            raise KeyboardInterrupt
        self._meanwhile.pop(0)()


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "runs.sqlite"
    with Store.open(path) as opened:
        opened.add([records.record("vae")])
    return path


def add(path, *made):
    def meanwhile():
        with Store.open(path) as opened:
            opened.add(made)

    return meanwhile


def watch(command, monkeypatch, store, *meanwhile, options=()):
    monkeypatch.setattr(watching.time, "sleep", Looks(*meanwhile))
    return command("leaderboard", "--dataset", "digits", "--columns", "kl", "--watch", *options, "--store", store)


def test_a_board_is_drawn_again_when_a_run_is_stored_and_ctrl_c_ends_it(command, monkeypatch, store):
    begun = add(store, records.started("skip"))
    answer = watch(command, monkeypatch, store, lambda: None, begun, lambda: None, add(store, records.record("b")))
    assert (answer.code, answer.err.strip()) == (130, "interrupted")
    boards = answer.out.split("digits · quick")[1:]
    assert len(boards) == 3
    assert ["nothing is running" in board for board in boards] == [True, False, False]
    assert ["running: skip seed 1" in board for board in boards] == [False, True, True]


def test_a_share_alone_is_a_line_and_no_board(command, monkeypatch, store):
    begun = records.started("skip")
    add(store, begun)()
    folder = store.with_name("runs.sqlite.checkpoints")
    folder.mkdir()

    def beat():
        (folder / f"{begun.run_id}.pulse").write_text(json.dumps({"share": 0.5, "at": time.time()}))

    answer = watch(command, monkeypatch, store, beat)
    assert answer.out.count("digits · quick") == 1
    assert answer.out.endswith("running: skip seed 1\nrunning: skip seed 1, 50%\n")


def test_before_the_first_result_the_command_waits(command, monkeypatch, tmp_path):
    path = tmp_path / "new.sqlite"
    with Store.open(path) as opened:
        opened.add([records.started("vae")])
    answer = watch(command, monkeypatch, path, add(path, records.record("skip")))
    assert answer.code == 130
    assert answer.out.startswith("not yet: unknown column 'kl'")
    assert answer.out.count("digits · quick") == 1


def test_a_file_is_written_anew(command, monkeypatch, store, tmp_path):
    rows = []

    def look():
        rows.append({line.split(",")[4] for line in (tmp_path / "board.csv").read_text().splitlines()[1:]})

    options = ("--format", "csv", "--output", "board.csv")
    answer = watch(command, monkeypatch, store, look, add(store, records.record("skip")), look, options=options)
    assert (answer.code, set(answer.out.splitlines())) == (130, {"nothing is running"})
    assert rows == [{"vae"}, {"vae", "skip"}]


def test_what_is_wrong_is_said_at_once(command, monkeypatch, store):
    monkeypatch.setattr(watching.time, "sleep", Looks())
    answer = command("leaderboard", "--columns", "lk", "--watch", "--store", store)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("error: unknown column 'lk'")


@pytest.mark.parametrize("seconds", ["0", "-1", "x", "nan", "1e300"])
def test_seconds_are_a_time(command, store, seconds):
    assert command("leaderboard", "--watch", seconds, "--store", store).code == 2


def test_a_run_that_ended_is_not_going_on(tmp_path):
    path = tmp_path / "runs.sqlite"
    with Store.open(path) as opened:
        opened.add(records.record(seed=seed, outcome=outcome) for seed, outcome in enumerate(Outcome))
    with Store.reading(path) as opened:
        assert [run.seed for run in running(opened, str(path), EVERY)] == [list(Outcome).index(Outcome.STARTED)]
