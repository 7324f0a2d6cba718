"""Runs as jobs of a scheduler: processes that are killed, told to stop, and left alone by their driver."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import killing
import local_scheduler
import pytest
import toys
from local_scheduler import FORGET, FRESH, HOLD, INTERRUPT, REFUSE, SILENT, wait_until

from collapsebench.errors import StoreError
from collapsebench.experiment.jobs import JobFiles
from collapsebench.record import Outcome, RunRecord
from collapsebench.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.torch]

PLUGINS = ("--plugin", toys.PLUGIN, "--plugin", local_scheduler.PLUGIN)
SHORT = ("--dataset", "toy", "--budget", "8steps", "--set", "evaluation.every=2steps")
GRID = (*PLUGINS, *SHORT, "--method", "skip", "--seeds", "2")
"""Four runs."""


def engine(scheduler: Path, **given: object) -> tuple[str, ...]:
    parameters = ",".join(f"{key}={value}" for key, value in {"folder": scheduler, "threads": 1, **given}.items())
    return ("--executor", f"local[{parameters}]")


def pausing(folder: Path, at: int = 3) -> tuple[str, ...]:
    """One run that waits at a step."""
    return (*PLUGINS, *SHORT, "--no-baseline", "--method", f"pause[folder={folder},at={at}]")


def perishing(folder: Path, times: int) -> tuple[str, ...]:
    """Two runs, the second of which kills its process."""
    return (*PLUGINS, *SHORT, "--no-baseline", "--method", f"perish[folder={folder},times={times}]", "--method", "skip")


def go(folder: Path) -> None:
    (folder / "go").touch()


def waits(folder: Path, number: int = 1) -> list[int]:
    """The processes that wait at their step, once there are so many."""
    wait_until(lambda: len(list(folder.glob("*.waits"))) >= number)
    return [int(path.stem) for path in folder.glob("*.waits")]


def codes(scheduler: Path) -> list[int]:
    """The exit codes of all jobs, once they have ended."""
    over(scheduler)
    path = scheduler / "codes"
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


def over(scheduler: Path) -> None:
    """Wait until no job is left."""
    wait_until(lambda: not local_scheduler.ask(scheduler, "jobs"))


def stored(store: str = "s.sqlite") -> list[RunRecord]:
    with Store.reading(store) as opened:
        return list(opened.find())


def outcomes(store: str = "s.sqlite") -> Counter[str]:
    return Counter(record.outcome.value for record in stored(store))


def files() -> JobFiles:
    return JobFiles(Path("s.sqlite.jobs"), Path("s.sqlite.records"))


def left() -> list[str]:
    """Tickets and records that nobody has taken in."""
    jobs = files()
    return sorted({ticket.run_id for ticket in jobs.tickets()} | jobs.arrived())


@contextmanager
def meanwhile(action: Callable[[], object]) -> Iterator[None]:
    """Let something happen while the block goes on."""
    thread = Thread(target=action)
    thread.start()
    yield
    thread.join()


def test_a_program_of_its_own_gives_the_same_bits_as_one_process(command, scheduler, tmp_path):
    (scheduler / FRESH).touch()
    arguments = ("run", *GRID, "--keep-codes", *engine(scheduler, runs_per_job=4))
    done = command(*arguments, "--store", "s.sqlite")
    assert (done.code, done.err) == (0, "")
    assert codes(scheduler) == [0]
    assert command("run", *GRID, "--threads", "1", "--store", "serial.sqlite").code == 0
    assert killing.results(tmp_path / "s.sqlite") == killing.results(tmp_path / "serial.sqlite")
    assert killing.weights(tmp_path / "s.sqlite") == killing.weights(tmp_path / "serial.sqlite")
    assert left() == []
    with Store.reading("s.sqlite") as store:
        for record in store.find():
            kept = {artifact.name for artifact in store.artifacts(record.run_id)}
            assert kept >= {"codes", "log"}


def test_detached_runs_are_taken_in_by_the_same_command_and_submitted_once(command, scheduler):
    arguments = ("run", *GRID, *engine(scheduler), "--store", "s.sqlite")
    first = command(*arguments, "--detach")
    assert first.code == 0
    assert "submitted 4 runs to local as array" in first.out
    assert "4 runs are queued or running" in first.out
    assert outcomes() == {"started": 4}
    over(scheduler)
    second = command(*arguments, "--detach")
    assert second.code == 0
    assert "submitted" not in second.out
    assert outcomes() == {"finished": 4}
    assert left() == []
    assert len(codes(scheduler)) == 4


def test_what_waits_is_not_submitted_again(command, scheduler):
    (scheduler / HOLD).touch()
    arguments = ("run", *GRID, *engine(scheduler), "--store", "s.sqlite")
    assert command(*arguments, "--detach").code == 0
    again = command(*arguments, "--detach")
    assert "submitted" not in again.out
    assert "4 runs are queued or running" in again.out
    (scheduler / HOLD).unlink()
    assert command(*arguments).code == 0
    assert codes(scheduler) == [0] * 4


def test_a_driver_that_is_killed_loses_nothing(command, scheduler, tmp_path):
    arguments = (*map(str, pausing(tmp_path)), "--method", "skip", *engine(scheduler))
    driver = killing.Command(arguments, tmp_path / "s.sqlite").start()
    waits(tmp_path)
    driver.kill()
    driver.join()
    assert len(local_scheduler.pids(scheduler)) >= 1
    go(tmp_path)
    done = command("run", *arguments, "--store", "s.sqlite")
    assert (done.code, done.err) == (0, "")
    assert outcomes() == {"finished": 2}
    assert codes(scheduler) == [0, 0]


def test_a_run_whose_process_dies_goes_on_from_its_checkpoint_and_the_others_are_left_alone(
    command, scheduler, tmp_path
):
    arguments = ("run", *perishing(tmp_path, times=1), "--store")
    done = command(*arguments, "s.sqlite", "-v", *engine(scheduler))
    assert done.code == 0
    assert done.err.count("ended without its result: it is queued again") == 1
    assert "goes on after step 4" in done.out
    assert sorted(codes(scheduler)) == [-signal.SIGKILL, 0, 0]
    assert command(*arguments, "serial.sqlite", "--threads", "1").code == 0
    assert killing.results(tmp_path / "s.sqlite") == killing.results(tmp_path / "serial.sqlite")


def test_a_run_whose_process_dies_twice_has_failed_and_what_waits_behind_it_is_not_blamed(command, scheduler, tmp_path):
    arguments = ("run", *perishing(tmp_path, times=2), *engine(scheduler, runs_per_job=2), "--store", "s.sqlite")
    done = command(*arguments)
    assert done.code == 1
    records = {record.contender.partition("[")[0]: record for record in stored()}
    assert records["skip"].outcome is Outcome.FINISHED
    failed = records["perish"]
    assert failed.outcome is Outcome.FAILED
    assert failed.message == "its job ended without its result, 2 times: the kernel needs the memory"
    assert "perish[" in failed.traceback
    warned = [line for line in done.err.splitlines() if line.startswith("warning:")]
    assert warned == [f"warning: the job of run {failed.run_id} ended without its result: it is queued again"]
    assert left() == []
    again = command(*arguments)
    assert again.code == 0
    assert outcomes() == {"finished": 2}


def test_ctrl_c_ends_all_jobs(command, scheduler, tmp_path):
    arguments = (*map(str, pausing(tmp_path)), "--seeds", "2", *engine(scheduler))
    typed = killing.Command(arguments, tmp_path / "s.sqlite")
    driver = typed.start()
    waits(tmp_path, 2)
    os.kill(driver.pid, signal.SIGINT)
    go(tmp_path)
    driver.join()
    assert driver.exitcode == 130
    assert local_scheduler.ask(scheduler, "jobs") == []
    assert codes(scheduler) == [143, 143]
    assert outcomes() == {"interrupted": 2}
    assert left() == []
    done = command("run", *arguments, "--store", "s.sqlite", "-v")
    assert done.code == 0
    assert done.out.count("goes on after step 4") == 2


def test_a_job_that_is_told_to_stop_writes_a_checkpoint_at_its_next_step(command, scheduler, tmp_path):
    arguments = ("run", *pausing(tmp_path), *engine(scheduler), "--store", "s.sqlite")
    assert command(*arguments, "--detach").code == 0
    (job,) = waits(tmp_path)
    os.kill(job, signal.SIGTERM)
    go(tmp_path)
    assert codes(scheduler) == [143]
    done = command(*arguments, "-v")
    assert (done.code, done.err) == (0, "")
    assert "goes on after step 4" in done.out


def test_a_job_whose_time_is_over_asks_for_more_and_goes_on_there(command, scheduler, tmp_path):
    arguments = ("run", *pausing(tmp_path), *engine(scheduler), "--store", "s.sqlite")
    assert command(*arguments, "--detach").code == 0
    (job,) = waits(tmp_path)
    os.kill(job, signal.SIGUSR2)
    go(tmp_path)
    assert codes(scheduler) == [75, 0]
    (told,) = files().folder.glob("*/0/*.jsonl")
    events = [json.loads(line) for line in told.read_text().splitlines()]
    assert [event["steps"] for event in events if event.get("event") == "Resumed"] == [4]
    assert [event["left"] for event in events if "left" in event] == ["interrupted by signal SIGUSR2"]
    assert command(*arguments).code == 0
    assert outcomes() == {"finished": 1}


def test_a_job_whose_time_is_over_before_it_moved_does_not_ask_for_more(command, scheduler, tmp_path):
    arguments = ("run", *pausing(tmp_path, at=0), *engine(scheduler), "--store", "s.sqlite")
    assert command(*arguments, "--detach").code == 0
    (job,) = waits(tmp_path)
    os.kill(job, signal.SIGUSR2)
    go(tmp_path)
    done = command(*arguments)
    assert done.code == 0
    assert "is queued again" in done.err
    assert codes(scheduler) == [128 + signal.SIGUSR2, 0]


METHOD = """
from collapsebench import Method, hookimpl
from beside_of_mine import WEIGHT

class Mine(Method):
    name = "mine"

    @hookimpl
    def kl_weight(self, progress):
        return WEIGHT

@hookimpl
def collapsebench_components():
    return [Mine]
"""


def test_edits_between_submission_and_start_do_not_reach_jobs(command, scheduler, tmp_path):
    (scheduler / HOLD).touch()
    plugin, beside = tmp_path / "mine.py", tmp_path / "beside_of_mine.py"
    plugin.write_text(METHOD)
    beside.write_text("WEIGHT = 0.5\n")
    mine = (*PLUGINS, *SHORT, "--plugin", plugin, "--no-baseline", "--method", "mine", "--threads", "1")
    assert command("run", *mine, "--store", "serial.sqlite").code == 0
    arguments = ("run", *mine[:-2], *engine(scheduler), "--store", "s.sqlite")
    assert command(*arguments, "--detach").code == 0
    plugin.write_text("nothing of it")
    beside.write_text("WEIGHT = 0.7\n")
    (scheduler / HOLD).unlink()
    over(scheduler)
    plugin.write_text(METHOD)
    assert command(*arguments).code == 0
    assert killing.results(tmp_path / "s.sqlite") == killing.results(tmp_path / "serial.sqlite")


def test_a_scheduler_that_takes_nothing_is_one_line(command, scheduler):
    (scheduler / REFUSE).write_text("0")
    done = command("run", *GRID, *engine(scheduler), "--store", "s.sqlite")
    assert (done.code, done.err) == (1, "error: the queue is full\n")
    assert outcomes() == {"interrupted": 4}
    assert {record.message for record in stored()} == {"its grid ended: the queue is full"}
    assert left() == []


def test_what_a_scheduler_takes_goes_on_and_the_rest_is_handed_out_later(command, scheduler):
    (scheduler / REFUSE).write_text("1")
    arguments = ("run", *GRID, *engine(scheduler, most=2), "--store", "s.sqlite")
    detached = command(*arguments, "--detach")
    assert detached.code == 0
    assert "submitted 2 runs" in detached.out
    assert "2 runs are queued or running" in detached.out
    assert "local takes no more jobs for now: the queue is full" in detached.err
    assert outcomes() == {"started": 2, "interrupted": 2}
    (scheduler / REFUSE).unlink()
    assert command(*arguments).code == 0
    assert outcomes() == {"finished": 4}
    assert codes(scheduler) == [0] * 4


def test_a_scheduler_that_refuses_for_a_while_is_asked_again_but_not_at_every_look(command, scheduler, tmp_path):
    (scheduler / REFUSE).write_text("1")
    arguments = ("run", *pausing(tmp_path), "--method", "skip", *engine(scheduler, most=1), "--store", "s.sqlite")

    def relent():
        waits(tmp_path)
        time.sleep(1.2)
        (scheduler / REFUSE).unlink()
        wait_until(lambda: codes_so_far(scheduler))
        go(tmp_path)

    begun = time.monotonic()
    with meanwhile(relent):
        done = command(*arguments)
    most = (time.monotonic() - begun) / local_scheduler.Local.again
    assert done.code == 0
    assert outcomes() == {"finished": 2}
    assert done.err.count("takes no more jobs") == 1
    tried = [path for path in files().folder.glob("*/*.json") if path.stem.isdecimal()]
    assert 3 <= len(tried) <= most + 3  # two batches, and the last of them again and again


def codes_so_far(scheduler: Path) -> int:
    path = scheduler / "codes"
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_a_scheduler_that_gives_no_answer_for_a_while_costs_nothing(command, scheduler, tmp_path):
    def fall_silent():
        waits(tmp_path)
        (scheduler / SILENT).write_text("1")
        wait_until(lambda: not (scheduler / SILENT).exists())
        go(tmp_path)

    with meanwhile(fall_silent):
        done = command("run", *pausing(tmp_path), *engine(scheduler), "--store", "s.sqlite")
    assert (done.code, done.err) == (0, "")


def test_a_scheduler_that_gives_no_answer_for_long_ends_the_command(command, scheduler, tmp_path):
    def fall_silent():
        waits(tmp_path)
        (scheduler / SILENT).write_text("1000")

    with meanwhile(fall_silent):
        done = command("run", *pausing(tmp_path), *engine(scheduler), "--store", "s.sqlite")
    assert (done.code, done.err) == (1, "error: the scheduler gives no answer\n")
    (scheduler / SILENT).unlink()
    go(tmp_path)
    assert command("run", *pausing(tmp_path), *engine(scheduler), "--store", "s.sqlite").code == 0


def test_detached_runs_wait_for_an_answer_of_the_scheduler(command, scheduler):
    (scheduler / SILENT).write_text("1")
    done = command("run", *GRID, *engine(scheduler), "--store", "s.sqlite", "--detach")
    assert done.code == 0
    assert "submitted 4 runs" in done.out


@pytest.mark.parametrize("damage", ["damaged", "of another run"])
def test_a_record_that_is_not_that_of_the_run_is_set_aside(command, scheduler, damage):
    arguments = ("run", *GRID, *engine(scheduler), "--store", "s.sqlite")
    assert command(*arguments, "--detach").code == 0
    over(scheduler)
    first, second, *_ = (files().record(run_id) for run_id in sorted(files().arrived()))
    first.write_bytes(first.read_bytes()[:-10] if damage == "damaged" else second.read_bytes())
    done = command(*arguments)
    assert done.code == 0
    assert outcomes() == {"finished": 4}
    assert first.with_suffix(".set-aside").exists()
    assert codes(scheduler) == [0] * 5


def test_two_drivers_of_one_grid_compute_each_run_once(command, scheduler, tmp_path):
    arguments = (*map(str, pausing(tmp_path)), "--method", "skip", *engine(scheduler))
    driver = killing.Command(arguments, tmp_path / "s.sqlite").start()
    waits(tmp_path)
    second = command("run", *arguments, "--store", "s.sqlite")
    assert second.code == 0
    assert "another process computes it" in second.out
    go(tmp_path)
    driver.join()
    assert driver.exitcode == 0
    assert outcomes() == {"finished": 2}
    assert codes(scheduler) == [0, 0]


def test_a_command_without_the_scheduler_leaves_its_runs_alone_and_says_so(command, scheduler, tmp_path):
    arguments = ("run", *pausing(tmp_path), "--store", "s.sqlite")
    assert command(*arguments, *engine(scheduler), "--detach").code == 0
    waits(tmp_path)
    local = command(*arguments, "--method", "skip")
    assert local.code == 0
    assert f"local[folder={scheduler},threads=1] has it; `collapsebench runs stop " in local.out
    assert outcomes() == {"started": 1, "finished": 1}
    go(tmp_path)
    assert command(*arguments, *engine(scheduler)).code == 0
    assert outcomes() == {"finished": 2}
    assert codes(scheduler) == [0]


def test_a_failed_record_is_taken_in_and_handed_out_by_the_next_command_only(command, scheduler):
    crash = (*PLUGINS, *SHORT, "--no-baseline", "--method", "crash")
    arguments = ("run", *crash, *engine(scheduler), "--store", "s.sqlite")
    assert command(*arguments, "--detach").code == 0
    assert len(codes(scheduler)) == 1
    taken = command(*arguments)
    assert taken.code == 1
    assert len(codes(scheduler)) == 1
    assert outcomes() == {"failed": 1}
    assert "division by zero" in stored()[0].message
    assert command(*arguments).code == 1
    assert len(codes(scheduler)) == 2


def test_a_run_that_is_deleted_does_not_come_back(command, scheduler, tmp_path):
    arguments = ("run", *pausing(tmp_path), *engine(scheduler), "--store", "s.sqlite")

    def delete():
        waits(tmp_path)
        with Store.open("s.sqlite") as store:
            store.delete([record.run_id for record in store.find()])
        go(tmp_path)

    with meanwhile(delete):
        done = command(*arguments)
    assert done.code == 0
    assert "deleted while it was computed" in done.out
    assert stored() == []
    assert left() == []


def test_deletion_takes_what_jobs_have_left(command, scheduler):
    arguments = ("run", *GRID, *engine(scheduler), "--store", "s.sqlite")
    assert command(*arguments, "--detach").code == 0
    over(scheduler)
    assert len(left()) == 4
    run_ids = [record.run_id for record in stored()]
    assert command("runs", "delete", *run_ids, "--yes", "--store", "s.sqlite").code == 0
    assert left() == []
    assert not any(files().log(run_id).exists() for run_id in run_ids)


def test_a_job_of_a_run_that_was_deleted_does_not_compute_it(command, scheduler):
    (scheduler / HOLD).touch()
    assert command("run", *GRID, *engine(scheduler), "--store", "s.sqlite", "--detach").code == 0
    run_ids = [record.run_id for record in stored()]
    assert command("runs", "delete", *run_ids, "--yes", "--store", "s.sqlite").code == 0
    (scheduler / HOLD).unlink()
    assert codes(scheduler) == [0] * 4
    assert left() == []


def test_a_run_that_takes_too_long_is_stored_as_failed(command, scheduler):
    endless = (*PLUGINS, "--dataset", "toy", "--budget", "600seconds", "--no-baseline", "--method", "skip")
    done = command("run", *endless, *engine(scheduler), "--timeout", "1", "--store", "s.sqlite")
    assert done.code == 1
    assert outcomes() == {"failed": 1}
    assert stored()[0].message.startswith("ran longer than its --timeout of 1 s")


def test_runs_are_computed_again_by_jobs_if_their_codes_are_missing(command, scheduler):
    arguments = ("run", *GRID, *engine(scheduler), "--store", "s.sqlite")
    assert command(*arguments).code == 0
    assert command(*arguments, "--keep-codes", "--rerun").code == 0
    assert len(list(Path("s.sqlite.codes").iterdir())) == 4
    assert len(codes(scheduler)) == 8


def test_many_runs_share_few_jobs(command, scheduler):
    many = (*PLUGINS, "--dataset", "toy", "--budget", "2steps", "--no-weights", "--method", "skip", "--seeds", "13")
    done = command("run", *many, *engine(scheduler, runs_per_job=10), "--store", "s.sqlite", "-q")
    assert (done.code, done.err) == (0, "")
    assert outcomes() == {"finished": 26}
    assert codes(scheduler) == [0] * 3
    assert left() == []


def test_a_signal_that_comes_while_jobs_are_submitted_ends_them(command, scheduler, tmp_path):
    (scheduler / INTERRUPT).touch()
    done = command("run", *pausing(tmp_path), "--method", "skip", *engine(scheduler, most=1), "--store", "s.sqlite")
    assert done.code == 130
    assert local_scheduler.ask(scheduler, "jobs") == []
    assert outcomes() == {"interrupted": 2}
    assert left() == []


def test_a_job_that_the_scheduler_does_not_know_for_a_moment_is_not_submitted_again(command, scheduler, tmp_path):
    def forget():
        waits(tmp_path)
        (scheduler / FORGET).touch()
        wait_until(lambda: not (scheduler / FORGET).exists())
        go(tmp_path)

    with meanwhile(forget):
        done = command("run", *pausing(tmp_path), *engine(scheduler), "--store", "s.sqlite")
    assert (done.code, done.err) == (0, "")
    assert codes(scheduler) == [0]


def elsewhere(path: Path) -> None:
    """Let a checkpoint be that of another machine."""
    head, _, body = path.read_bytes().partition(b"\n")
    path.write_bytes(json.dumps(json.loads(head) | {"torch": "2.0.0"}).encode() + b"\n" + body)


def test_a_job_goes_on_from_a_checkpoint_of_another_environment_if_that_is_wanted(command, scheduler, tmp_path):
    arguments = ("run", *pausing(tmp_path), *engine(scheduler), "--store", "s.sqlite")
    assert command(*arguments, "--detach").code == 0
    (job,) = waits(tmp_path)
    os.kill(job, signal.SIGTERM)
    go(tmp_path)
    assert codes(scheduler) == [143]
    elsewhere(next(Path("s.sqlite.checkpoints").glob("*.pt")))
    done = command(*arguments, "--resume-anywhere", "-v")
    assert (done.code, done.err) == (0, "")
    assert "goes on after step 4" in done.out
    assert any("torch 2.0.0, now" in finding.text for finding in stored()[0].findings)


def test_a_store_that_is_deleted_while_nobody_looks_is_filled_anew(command, scheduler):
    arguments = ("run", *GRID, *engine(scheduler), "--store", "s.sqlite")
    assert command(*arguments, "--detach").code == 0
    over(scheduler)
    for path in Path().glob("s.sqlite*"):
        if path.is_file():
            path.unlink()
    assert command(*arguments).code == 0
    assert outcomes() == {"finished": 4}
    assert codes(scheduler) == [0] * 4


def test_where_files_cannot_be_locked_jobs_compute_all_the_same(command, scheduler):
    files().folder.mkdir()
    (files().folder / "claims").symlink_to("nowhere")
    assert command("run", *GRID, *engine(scheduler), "--store", "s.sqlite").code == 0
    assert codes(scheduler) == [0] * 4


LOUD = """
from collapsebench import Method, hookimpl

class Loud(Method):
    name = "loud"

    @hookimpl
    def kl_weight(self, progress):
        raise RuntimeError("half a character \\ud800, a bell \\x07 and a zero \\x00")

@hookimpl
def collapsebench_components():
    return [Loud]
"""


def test_whatever_a_plugin_says_its_record_is_taken_in(command, scheduler, tmp_path):
    plugin = tmp_path / "loud.py"
    plugin.write_text(LOUD)
    loud = (*PLUGINS, *SHORT, "--plugin", plugin, "--no-baseline", "--method", "loud")
    done = command("run", *loud, *engine(scheduler), "--store", "s.sqlite")
    assert done.code == 1
    assert codes(scheduler) == [0]
    assert "half a character" in stored()[0].message
    assert "half a character" in stored()[0].traceback


def test_a_plan_that_is_damaged_is_written_again(command, scheduler, tmp_path):
    def spoil():
        wait_until(lambda: list(files().folder.glob("*/plan.pickle")))
        for path in files().folder.glob("*/plan.pickle"):
            path.write_bytes(b"nothing")
        (scheduler / HOLD).unlink()

    (scheduler / HOLD).touch()
    go(tmp_path)
    with meanwhile(spoil):
        done = command("run", *pausing(tmp_path), *engine(scheduler), "--store", "s.sqlite")
    assert done.code == 0
    assert codes(scheduler) == [1, 0]


def test_a_job_that_cannot_even_begin_fails_with_what_it_said(command, scheduler, tmp_path):
    plugin = tmp_path / "choosy.py"
    plugin.write_text(
        f"import sys\nif 'pytest' not in sys.modules:\n    raise ImportError('not on this machine')\n{LOUD}"
    )
    choosy = (*PLUGINS, *SHORT, "--plugin", plugin, "--no-baseline", "--method", "loud", "--method", "skip")
    done = command("run", *choosy, *engine(scheduler, runs_per_job=2), "--store", "s.sqlite")
    assert done.code == 1
    assert outcomes() == {"failed": 2}
    assert all("2 times: error: " in record.message for record in stored())
    assert all("not on this machine" in record.message for record in stored())
    assert codes(scheduler) == [1, 1]


def test_a_driver_that_is_killed_between_store_and_files_leaves_nothing_behind(command, scheduler, tmp_path):
    arguments = (*map(str, GRID), *engine(scheduler))
    killed = killing.Command(arguments, tmp_path / "s.sqlite").run(killing.Fault("settling", 0))
    assert killed.code == -signal.SIGKILL
    assert outcomes()["finished"] == 1
    assert command("run", *arguments, "--store", "s.sqlite").code == 0
    assert outcomes() == {"finished": 4}
    assert left() == []
    assert codes(scheduler) == [0] * 4


def test_tickets_without_their_batch_are_handed_out_again(command, scheduler):
    (scheduler / HOLD).touch()
    arguments = ("run", *GRID, *engine(scheduler), "--store", "s.sqlite")
    assert command(*arguments, "--detach").code == 0
    for plan in files().folder.glob("*/plan.pickle"):
        shutil.rmtree(plan.parent)
    (scheduler / HOLD).unlink()
    assert codes(scheduler) == [1] * 4
    assert command(*arguments).code == 0
    assert outcomes() == {"finished": 4}
    assert codes(scheduler) == [1] * 4 + [0] * 4


def test_files_of_jobs_that_cannot_be_written_are_one_line(command, scheduler):
    Path("s.sqlite.jobs").touch()
    done = command("run", *GRID, *engine(scheduler), "--store", "s.sqlite")
    assert done.code == 1
    assert done.err.startswith("error: cannot write jobs to '")
    assert done.err.count("\n") == 1


def test_an_error_of_the_store_leaves_the_jobs_to_the_next_command(command, scheduler, tmp_path, monkeypatch):
    """The first result cannot be stored while another run goes on."""
    arguments = ("run", *pausing(tmp_path), "--method", "skip", *engine(scheduler), "--store", "s.sqlite")

    def refuse(*_: object) -> None:
        waits(tmp_path)
        raise StoreError("the server went away")

    with monkeypatch.context() as broken:
        broken.setattr(Store, "finish", refuse)
        done = command(*arguments)
    assert (done.code, done.err) == (1, "error: the server went away\n")
    assert waits(tmp_path)[0] in local_scheduler.pids(scheduler)
    go(tmp_path)
    assert command(*arguments).code == 0
    assert outcomes() == {"finished": 2}
    assert codes(scheduler) == [0, 0]


def test_a_store_that_is_deleted_under_a_driver_costs_no_result(command, scheduler, tmp_path):
    def delete():
        waits(tmp_path)
        for path in Path().glob("s.sqlite*"):
            if path.is_file():
                path.unlink()
        go(tmp_path)

    arguments = ("run", *pausing(tmp_path), *engine(scheduler), "--store", "s.sqlite")
    with meanwhile(delete):
        done = command(*arguments)
    assert done.code == 1
    assert done.err == "error: the store 's.sqlite' was deleted while runs went on: the same command makes it anew\n"
    assert command(*arguments).code == 0
    assert outcomes() == {"finished": 1}
    assert codes(scheduler) == [0]
