"""Runs on Slurm: what is preempted, killed or left alone ends with the values of one process, and runs once."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from beds import wait_until
from conftest import SERVER, new_database
from trials import ALONE, LONG, SHORTER, TINY, Grid, ended, gone_on, interrupt, other_data_and_another_version_fail

from collapsebench.record import Outcome

PLUGIN = str(Path(__file__).with_name("other_machine.py"))
EXECUTOR = "slurm[partition=low,minutes=10]"


@pytest.fixture
def grid(slurm, tmp_path):
    """Make grids of a folder, each with a store of its own."""
    first = Grid(slurm, tmp_path, (), EXECUTOR)
    yield lambda *arguments, **given: replace(first, arguments=arguments, **given)
    first.end()


@pytest.mark.slow
@pytest.mark.short
def test_other_data_and_another_version_on_a_node_fail_their_runs_by_name(grid):
    other_data_and_another_version_fail(grid, PLUGIN)


@pytest.mark.short
def test_a_dry_run_prints_the_script_and_submits_nothing(grid, slurm):
    plan = grid(*TINY, "--method", "skip", "--seeds", "2", executor="slurm[partition=low,array=2,minutes=7,cpus=1]")
    before = slurm.ended()
    answer = plan.run("--dry-run")
    assert answer.code == 0, answer.out
    script = answer.out[answer.out.index("#!/") :]
    assert script.startswith(("#!/bin/sh", "#!/bin/bash"))
    options = set(re.findall(r"^#SBATCH +(\S+)", script, re.MULTILINE))
    assert {"--partition=low", "--array=0-3%2"} <= options
    assert slurm.empty()
    assert slurm.ended() == before
    assert plan.records() == []
    assert not plan.work.exists()


@pytest.mark.slow
def test_a_preempted_run_goes_on_and_has_the_values_of_one_process(grid, slurm):
    long = grid(*LONG, "--method", "skip")
    driver = long.start()
    long.wait_for_checkpoints(2)
    wait_until(lambda: len(slurm.running()) == 2, "both runs are computed")
    slurm.preempt(seconds=3)
    wait_until(lambda: slurm.running("high") and not slurm.running(), "both jobs had to go")
    answer = ended(driver)
    assert answer.code == 0, answer.out
    assert sorted(set(gone_on(answer.out))) == ["skip seed 1", "vae seed 1"]
    assert long.values() == long.alone()


@pytest.mark.slow
def test_a_job_out_of_time_queues_itself_again_and_leaves_the_others_alone(grid, slurm):
    long = grid(*LONG, "--method", "skip")
    driver = long.start()
    long.wait_for_checkpoints(2)
    first, last = slurm.running()
    assert last.name.startswith(f"{last.number}_")  # the last one has the id of the array
    slurm.call("scancel", "--signal=USR2", last.name)
    wait_until(lambda: slurm.restarts(last) == 1, "the job was queued again")
    assert slurm.restarts(first) == 0
    answer = ended(driver)
    assert answer.code == 0, answer.out
    assert len(gone_on(answer.out)) == 1
    assert long.values() == long.alone()


@pytest.mark.slow
@pytest.mark.short
def test_a_killed_job_is_queued_again_and_the_grid_succeeds_without_an_accounting_database(grid, slurm):
    killed = grid(*SHORTER, *ALONE)
    driver = killed.start()
    killed.wait_for_checkpoints(1)
    (job,) = slurm.running()
    slurm.kill_job_process(job)
    answer = ended(driver)
    assert answer.code == 0, answer.out
    assert gone_on(answer.out) == ["skip seed 1"]
    assert killed.outcomes() == [Outcome.FINISHED]
    assert killed.values() == killed.alone()


@pytest.mark.slow
@pytest.mark.short
def test_ctrl_c_cancels_the_jobs_and_stores_what_was_interrupted(grid, slurm):
    stopped = grid(*LONG, "--method", "skip")
    driver = stopped.start()
    stopped.wait_for_checkpoints(1)
    answer = interrupt(driver)
    assert answer.code == 130, answer.out
    wait_until(slurm.empty, "the queue is empty", seconds=10)
    assert set(stopped.outcomes()) == {Outcome.INTERRUPTED}


@pytest.mark.slow
def test_a_killed_driver_loses_nothing_and_the_next_one_queues_nothing_twice(grid, slurm):
    before = slurm.ended()
    twice = grid(*TINY, "--seeds", "3", "--method", "skip", executor="slurm[partition=low,minutes=10]")
    driver = twice.start()
    twice.wait_for_records(1)
    driver.kill()
    driver.communicate()
    wait_until(lambda: len(list((twice.work / "records").glob("*.json"))) >= 2, "runs end without a driver")
    answer = twice.run()
    assert answer.code == 0, answer.out
    assert twice.outcomes() == [Outcome.FINISHED] * 6
    assert slurm.ended() - before == Counter(COMPLETED=6)
    assert twice.values() == twice.alone()


@pytest.mark.slow
def test_a_detached_grid_needs_no_driver(grid, slurm):
    before = slurm.ended()
    detached = grid(*TINY, "--method", "skip", "--seeds", "2")
    answer = detached.run("--detach")
    assert answer.code == 0, answer.out
    assert {job.name.partition("_")[0] for job in slurm.squeue()} <= set(re.findall(r"\d+", answer.out))
    again = detached.run("--detach")
    assert again.code == 0, again.out
    wait_until(slurm.empty, "all jobs have ended", seconds=120)
    answer = detached.run("--detach")
    assert answer.code == 0, answer.out
    assert detached.outcomes() == [Outcome.FINISHED] * 4
    assert slurm.ended() - before == Counter(COMPLETED=4)
    assert detached.values() == detached.alone()


@pytest.mark.slow
def test_a_plugin_that_is_edited_after_the_submission_is_computed_as_it_was(grid, slurm, tmp_path):
    plugin = tmp_path / "mine.py"
    plugin.write_text(Path(PLUGIN).read_text().replace("2 if ON_NODE else 1", "1"))
    (tmp_path / "other_machine.toml").write_bytes(Path(PLUGIN).with_suffix(".toml").read_bytes())
    slurm.preempt(seconds=600)
    frozen = grid("--plugin", str(plugin), "--dataset", "moved", "--method", "renewed")
    answer = frozen.run("--detach")
    assert answer.code == 0, answer.out
    source = plugin.read_text()
    plugin.write_text("raise SystemExit('not the plugin of the plan')")
    slurm.give_back()
    wait_until(slurm.empty, "all jobs have ended", seconds=120)
    plugin.write_text(source)
    answer = frozen.run()
    assert answer.code == 0, answer.out
    assert frozen.outcomes() == [Outcome.FINISHED] * 2
    assert frozen.values() == frozen.alone()


@pytest.mark.slow
def test_runs_are_listed_and_stopped_from_another_terminal(grid, slurm):
    watched = grid(*LONG, "--method", "skip")
    driver = watched.start()
    watched.wait_for_checkpoints(2)
    where = ("--store", watched.place, "--work-dir", str(watched.work))
    listed = ended(watched.call("runs", "list", *where))
    assert listed.code == 0, listed.out
    assert len(re.findall(r" seed 1 +running +n[12] ", listed.out)) == 2, listed.out
    stopped = ended(watched.call("runs", "stop", "--all", *where))
    assert stopped.code == 0, stopped.out
    wait_until(slurm.empty, "the queue is empty", seconds=30)
    ended(driver)
    assert watched.outcomes() == [Outcome.INTERRUPTED] * 2
    answer = watched.run()
    assert answer.code == 0, answer.out
    assert sorted(gone_on(answer.out)) == ["skip seed 1", "vae seed 1"]


@pytest.mark.slow
def test_1200_runs_in_jobs_of_100(grid, slurm):
    before = slurm.ended()
    many = grid(*TINY, *ALONE, "--seeds", "1200", executor="slurm[partition=low,minutes=60,runs_per_job=100]")
    answer = ended(many.start(), patience=1800)
    assert answer.code == 0, answer.out
    assert many.outcomes() == [Outcome.FINISHED] * 1200
    assert slurm.ended() - before == Counter(COMPLETED=12)
    few = grid(*TINY, *ALONE, "--seeds", "60").alone()
    values = many.values()
    assert {run_id: values[run_id] for run_id in few} == few


@pytest.mark.slow
@pytest.mark.skipif(SERVER is None, reason="there is no PostgreSQL: see .ci/postgres.py")
def test_two_drivers_of_one_grid_compute_each_run_once(grid, slurm):
    before = slurm.ended()
    with new_database() as url:
        shared = grid(*TINY, "--method", "skip", "--seeds", "3", store=url)
        answers = [ended(driver) for driver in [shared.start(), shared.start()]]
        assert [answer.code for answer in answers] == [0, 0], answers
        assert shared.outcomes() == [Outcome.FINISHED] * 6
        assert slurm.ended() - before == Counter(COMPLETED=6)
        assert shared.values() == shared.alone()
