"""`runs list`, `--watch` and `runs stop` beside runs that a scheduler has: real jobs of a scheduler of this machine."""

from __future__ import annotations

import json
import time
from pathlib import Path

import local_scheduler
import pytest
import toys
from local_scheduler import HOLD, wait_until

from collapsebench.cli import watching
from collapsebench.experiment.claims import Claims

pytestmark = [pytest.mark.slow, pytest.mark.torch]

PLUGINS = ("--plugin", toys.PLUGIN, "--plugin", local_scheduler.PLUGIN)
KNOWN = ("--plugin", local_scheduler.PLUGIN)


@pytest.fixture
def grid(command, scheduler, tmp_path):
    """Four runs, which wait at a step, two in each job."""

    def run(*more, steps=8):
        return command(
            *(
                "run",
                *PLUGINS,
                "--dataset",
                "toy",
                "--budget",
                f"{steps}steps",
                "--set",
                f"evaluation.every={steps}steps",
            ),
            *("--no-baseline", "--method", f"pause[folder={tmp_path},at=3]", "--seeds", "4"),
            *("--executor", f"local[folder={scheduler},threads=1,runs_per_job=2]", "--store", "runs.sqlite", *more),
        )

    return run


def listed(command, *options) -> dict[str, str]:
    """The states and outcomes of runs, by id."""
    answer = command("runs", "list", "--json", "--store", "runs.sqlite", *options)
    return {run["run_id"]: run.get("progress", {}).get("state") or run["outcome"] for run in json.loads(answer.out)}


def having(states: dict[str, str], state: str) -> list[str]:
    return [run_id for run_id, found in states.items() if found == state]


def stop(command, *words):
    return command("runs", "stop", *words, *KNOWN, "--store", "runs.sqlite")


def both_wait(folder: Path) -> None:
    wait_until(lambda: len(list(folder.glob("*.waits"))) == 2)


def test_the_list_says_what_runs_what_waits_and_what_is_over(command, grid, scheduler, tmp_path):
    (scheduler / HOLD).touch()
    assert grid("--detach").code == 0
    assert list(listed(command, *KNOWN).values()) == ["queued"] * 4
    assert list(listed(command).values()) == ["handed to local"] * 4
    (scheduler / HOLD).unlink()
    both_wait(tmp_path)
    states = listed(command, *KNOWN)
    assert sorted(states.values()) == ["queued", "queued", "running", "running"]
    running = having(listed(command), "running")
    assert running == having(states, "running"), "a pulse says so where the scheduler cannot be asked"
    answer = command("runs", "list", *KNOWN, "--store", "runs.sqlite").out.splitlines()
    assert [line.split()[0] for line in answer[1:3]] == [run_id[:8] for run_id in running]
    (tmp_path / "go").touch()
    wait_until(lambda: set(listed(command, *KNOWN).values()) == {"over, not taken in"})
    assert grid().code == 0
    assert set(listed(command, *KNOWN).values()) == {"finished"}
    assert "progress" not in command("runs", "list", "--json", "--store", "runs.sqlite").out


def test_a_run_that_is_stopped_is_interrupted_and_has_its_checkpoint(command, grid, tmp_path):
    (tmp_path / "go").touch()
    grid("--detach", steps=10**7)
    wait_until(lambda: len(having(listed(command, *KNOWN), "running")) == 2)
    states = listed(command, *KNOWN)
    (first, second), running = having(states, "queued"), having(states, "running")
    assert stop(command, first[:9]).err == "1 runs stopped\n"
    left = listed(command, *KNOWN)
    assert left == states | {first: "interrupted"}, "no job ends for a run that waits behind another one"
    beside = neighbour(tmp_path, second)
    assert beside in running
    again = "; 1 more runs of their jobs ended with them, and are queued again by their command"
    assert stop(command, beside).err == f"1 runs stopped{again}\n"
    assert listed(command, *KNOWN) == left | {beside: "interrupted", second: "no sign"}
    assert [path.stem for path in (tmp_path / "runs.sqlite.checkpoints").glob("*.pt")] == [beside]


def neighbour(folder: Path, run_id: str) -> str:
    """The other run of the same job."""
    (batch,) = folder.glob("runs.sqlite.jobs/*/0.json")
    tasks = json.loads(batch.read_text())
    return next(other for task in tasks if run_id in task for other in task if other != run_id)


def test_all_runs_are_stopped_at_once_and_go_on_from_their_checkpoints(command, grid, scheduler, tmp_path):
    (scheduler / HOLD).touch()
    grid("--detach")
    answer = stop(command, "--all")
    assert (answer.code, answer.out, answer.err) == (0, "", "4 runs stopped\n")
    assert local_scheduler.ask(scheduler, "jobs") == []
    assert list(listed(command, *KNOWN).values()) == ["interrupted"] * 4
    assert stop(command, "--all").err == "0 runs stopped\n"
    (scheduler / HOLD).unlink()
    (tmp_path / "go").touch()
    assert grid().code == 0
    assert set(listed(command, *KNOWN).values()) == {"finished"}


def test_the_driver_of_a_run_that_is_stopped_stores_it(command, grid, scheduler, tmp_path):
    (scheduler / HOLD).touch()
    grid("--detach")
    run_id = next(iter(listed(command)))
    with Claims(tmp_path / "runs.sqlite.checkpoints").claim(run_id):
        assert stop(command, "--all").err == "4 runs stopped\n"
        assert having(listed(command, *KNOWN), "queued") == [run_id]
    (scheduler / HOLD).unlink()
    (tmp_path / "go").touch()
    assert f"interrupted  {run_id}" in grid().out
    assert grid().code == 0


def test_runs_that_no_scheduler_has_are_a_line_each(command, grid, scheduler, tmp_path):
    (tmp_path / "go").touch()
    grid("--detach")
    assert grid().code == 0
    finished = next(iter(listed(command)))
    assert stop(command, finished)[1:] == (
        "",
        f"error: run {finished} is finished: there is nothing to stop\n0 runs stopped\n",
    )
    assert stop(command, "zzz").code == 2
    assert (stop(command).code, stop(command, finished, "--all").code) == (2, 2)


def test_a_scheduler_that_cannot_be_asked_is_a_line_and_its_runs_stay(command, grid, scheduler):
    (scheduler / HOLD).touch()
    grid("--detach")
    answer = command("runs", "stop", "--all", "--store", "runs.sqlite")
    assert (answer.code, answer.err.count("\n")) == (1, 2)
    assert answer.err.startswith("error: 4 runs were handed to local[")
    assert list(listed(command, *KNOWN).values()) == ["queued"] * 4


def test_a_run_of_a_live_command_is_not_stopped(command, grid, scheduler, tmp_path):
    (scheduler / HOLD).touch()
    grid("--detach")
    run_id = next(iter(listed(command)))
    (tmp_path / "runs.sqlite.jobs" / "runs" / f"{run_id}.json").unlink()
    with Claims(tmp_path / "runs.sqlite.checkpoints").claim(run_id):
        answer = stop(command, run_id)
        assert (answer.code, answer.err) == (
            1,
            f"error: run {run_id} is computed by a command: end that\n0 runs stopped\n",
        )
    assert f"run {run_id} is computed by nobody" in stop(command, run_id).err


def test_who_looks_on_sees_changes_until_nothing_runs(command, grid, scheduler, tmp_path, monkeypatch):
    (scheduler / HOLD).touch()
    grid("--detach")
    moments = [(scheduler / HOLD).unlink, lambda: both_wait(tmp_path), (tmp_path / "go").touch]
    real = time.sleep

    def sleep(seconds: float) -> None:
        (moments.pop(0) if moments else lambda: real(0.2))()

    with monkeypatch.context() as patched:
        patched.setattr(watching.time, "sleep", lambda seconds: sleep(seconds) if seconds == 5 else real(seconds))
        answer = command("runs", "list", "--watch", *KNOWN, "--store", "runs.sqlite")
    assert answer.code == 0
    lines = answer.out.splitlines()
    assert lines[4] == "4 queued"
    assert "2 running, 2 queued" in lines
    assert lines[-1] == "4 over, not taken in"
