"""Several processes on one grid, and several commands on one store."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from multiprocessing import Pipe, Process
from pathlib import Path

import killing
import pytest
import records
import toys

from collapsebench.errors import UsageError
from collapsebench.experiment.events import Started
from collapsebench.experiment.processes import _Worker
from collapsebench.record import Outcome
from collapsebench.store import Store

pytestmark = pytest.mark.slow

TOY = ("--plugin", str(toys.PLUGIN), "--dataset", "toy")
THREE = (*TOY, "--method", "skip", "--method", "sa-vae[steps=2]", "--threads", "1")
ENDLESS = (*TOY, "--method", "skip", "--budget", "600seconds", "--workers", "2", "-v")


def begin(store: Path, *arguments: str) -> subprocess.Popen[str]:
    """A command line of its own, as a user types it."""
    given = ["run", *arguments, "--store", str(store)]
    heard = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)"  # `nohup pytest` would ignore it
    program = f"{heard}; from collapsebench import cli; cli.main({given!r})"
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )


def outcomes(store: Path) -> list[str]:
    with Store.open(store) as opened:
        return sorted(summary.outcome.value for summary in opened.summaries())


def failed(store: Path) -> list[str]:
    with Store.open(store) as opened:
        return [summary.run_id for summary in opened.summaries() if summary.outcome is Outcome.FAILED]


def wait_for_training(process: subprocess.Popen[str]) -> None:
    """Until both workers are at their steps."""
    seen = set()
    for line in process.stdout:
        seen |= set(re.findall(r"^  (\w+) seed 1: step", line))
        if seen == {"vae", "skip"}:
            return


def worker_of(command: int) -> int:
    """One of the workers, which are children of a process that the command forks them from."""
    of = {child: parent for child, parent in map(child_and_parent, Path("/proc").glob("[0-9]*/stat")) if child}
    return next(child for child, parent in of.items() if of.get(parent) == command)


def child_and_parent(stat: Path) -> tuple[int, int]:
    """Two process ids, zeros if the process has gone meanwhile."""
    try:
        fields = stat.read_text().rpartition(")")[2].split()
    except OSError:
        return 0, 0
    return int(stat.parent.name), int(fields[1])


def wait_until_gone(group: int) -> None:
    """Until no process of the group is left; fails after a minute."""
    for _ in range(600):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError("an orphan process is left")


@pytest.mark.torch
def test_workers_give_the_same_bits_as_one_process_and_a_dying_one_fails_only_its_run(tmp_path):
    workers, serial = tmp_path / "workers.sqlite", tmp_path / "serial.sqlite"
    ended = killing.Command((*THREE, "--method", "die", "--workers", "2", "-v"), workers).run()
    assert ended.code == 1
    assert re.findall(r"^failed .*", ended.said, re.MULTILINE) == [
        f"failed  {run_id}  die seed 1: {killing.LOST}" for run_id in failed(workers)
    ]
    assert ended.said.count("finished  ") == 3
    assert "  skip seed 1: step 3, " in ended.said
    assert killing.Command(THREE, serial).run().code == 0
    assert outcomes(workers) == ["failed", *["finished"] * 3]
    assert killing.results(serial) == killing.results(workers)


def test_a_worker_hands_back_events_then_the_record_then_what_ended_it(tmp_path):
    record, heard = records.record("vae"), []
    ours, its = Pipe()
    worker = _Worker(Process(target=print), ours, heard.append, toys.setup("vae", store=tmp_path / "store.sqlite").runs)
    worker.process.start()
    for message in (Started(record), record, UsageError("the plugin is gone")):
        its.send(message)
    its.close()
    assert [worker.receive() for _ in range(2)] == [None, record]
    with pytest.raises(UsageError, match="gone"):
        worker.receive()
    assert heard == [Started(record)]


@pytest.mark.torch
def test_a_worker_that_is_told_to_stop_fails_only_its_run(tmp_path):
    """Of three runs on two workers the first is lost: the one that waits goes to a new worker."""
    grid = (*TOY, "--method", "skip", "--method", "sa-vae[steps=2]", "--budget", "4seconds", "--workers", "2", "-v")
    with begin(tmp_path / "store.sqlite", *grid) as process:
        wait_for_training(process)
        os.kill(worker_of(process.pid), signal.SIGTERM)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert re.findall(r"^failed  (\w+)  \w+ seed 1: its worker process ended", err, re.MULTILINE) == failed(
        tmp_path / "store.sqlite"
    )
    assert outcomes(tmp_path / "store.sqlite") == ["failed", "finished", "finished"]


@pytest.mark.torch
def test_ctrl_c_stops_all_workers_and_leaves_a_clean_store(tmp_path):
    with begin(tmp_path / "store.sqlite", *ENDLESS) as process:
        wait_for_training(process)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert err.strip() == "interrupted"
    assert out.count("interrupted by the user") == 2
    wait_until_gone(process.pid)
    assert outcomes(tmp_path / "store.sqlite") == ["interrupted"] * 2


@pytest.mark.parametrize(("number", "code", "workers"), [("TERM", 143, "1"), ("TERM", 143, "2"), ("HUP", 129, "1")])
@pytest.mark.torch
def test_the_end_of_a_time_limit_or_a_terminal_is_an_orderly_end(tmp_path, number, code, workers):
    grid = (*ENDLESS[:-2], workers, "-v", "--no-baseline")
    with begin(tmp_path / "store.sqlite", *grid) as process:
        next(line for line in process.stdout if ": step" in line)
        process.send_signal(signal.Signals[f"SIG{number}"])
        out, err = process.communicate(timeout=120)
    assert process.returncode == code, err
    assert err.strip() == "interrupted"
    assert f"interrupted by signal SIG{number}" in out
    wait_until_gone(process.pid)
    assert outcomes(tmp_path / "store.sqlite") == ["interrupted"]


def rude(how: str) -> tuple[str, ...]:
    plugin = str(Path(__file__).with_name("rude_plugin.py"))
    return (*TOY, "--plugin", plugin, "--no-baseline", "--method", f"rude[how={how}]", "--method", "skip")


@pytest.mark.parametrize(
    ("how", "limit", "reason"),
    [
        ("hang", ("--timeout", "3s"), "ran longer than its --timeout of 3 s"),
        ("orphan", (), "its worker process ended with signal SIGKILL"),
        ("os-exit", (), "its worker process ended with exit code 3"),
    ],
)
@pytest.mark.torch
def test_a_worker_that_hangs_or_is_gone_fails_only_its_run(tmp_path, how, limit, reason):
    """The orphan's child holds all pipes until it is killed, those of this test included."""
    with begin(tmp_path / "store.sqlite", *rude(how), *limit, "--workers", "2") as process:
        assert process.wait(timeout=300) == 1
        if how == "orphan":
            os.killpg(process.pid, signal.SIGKILL)  # raises if the child has ended, and the test has shown nothing
        _, err = process.communicate()
    assert reason in err
    assert outcomes(tmp_path / "store.sqlite") == ["failed", "finished"]


@pytest.mark.torch
def test_what_the_system_refuses_a_worker_is_said(tmp_path):
    setup = toys.setup("skip", store=tmp_path / "store.sqlite", baseline=False)
    ours, its = Pipe()
    worker = _Worker(Process(target=print), ours, [].append, setup.runs)
    worker.process.start()
    worker.give(setup.plan.specs[0])
    its.send("OSError: [Errno 24] Too many open files")
    its.close()
    assert worker.receive() is None
    record = worker.receive()
    assert record.outcome is Outcome.FAILED
    assert record.message == "its worker process ended by OSError: [Errno 24] Too many open files"


@pytest.mark.torch
def test_workers_do_not_outlive_a_killed_command(tmp_path):
    with begin(tmp_path / "store.sqlite", *ENDLESS) as process:
        wait_for_training(process)
        process.kill()
    wait_until_gone(process.pid)
    assert outcomes(tmp_path / "store.sqlite") == ["started"] * 2


@pytest.mark.parametrize("start", [0.0, 0.3])
@pytest.mark.torch
def test_two_commands_on_one_store_compute_every_run_once(tmp_path, start):
    store = tmp_path / "store.sqlite"
    commands = [killing.Command(killing.TEXT, store) for _ in range(2)]
    first = commands[0].start()
    time.sleep(start)
    second = commands[1].start()
    first.join()
    second.join()
    said = [command.log.read_text() for command in commands]
    assert (first.exitcode, second.exitcode) == (0, 0), said
    finished = re.findall(r"^finished  (\w+)", "".join(said), re.MULTILINE)
    assert len(finished) == len(set(finished)) == 3
    assert set(killing.results(store)) == set(finished)


@pytest.mark.torch
def test_a_run_whose_process_died_is_picked_up_by_the_other_command(tmp_path):
    store = tmp_path / "store.sqlite"
    dead = killing.Command(killing.TEXT, store).run(killing.Fault("checkpoint", 3))
    assert dead.code == -signal.SIGKILL
    assert outcomes(store) == ["started"]
    other = killing.Command(killing.TEXT, store).run()
    assert "vae seed 1: goes on after step " in other.said
    assert outcomes(store) == ["finished"] * 3
