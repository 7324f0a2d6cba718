"""The beds do what clusters do, without collapsebench: jobs wait, are preempted, and die."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from beds import kill, wait_until
from ray_bed import ADDRESS, HEAD, SECOND
from slurm_bed import LARGEST_ARRAY

TASKS = f"""
import os, sys, time, ray
ray.init(address={ADDRESS!r}, log_to_driver=False, logging_level="ERROR")
@ray.remote(max_retries=3)
def node(folder):
    open(os.path.join(folder, str(os.getpid())), "w").close()
    while not os.path.exists(os.path.join(folder, "end")):
        time.sleep(0.05)
    return ray.util.get_node_ip_address()
answers = ray.get([node.remote(sys.argv[1]) for _ in range(2)])
open(os.path.join(sys.argv[1], "answers"), "w").write(" ".join(answers))
"""


def sbatch(slurm, folder, *options):
    return slurm.call("sbatch", "--parsable", "--partition=low", f"--output={folder}/%j.out", "--requeue", *options)


@pytest.mark.slow
def test_two_jobs_run_at_a_time_and_a_higher_partition_takes_their_place(slurm, tmp_path):
    script = "echo began; while [ ! -e end ]; do sleep 0.1; done; echo ended"
    sbatch(slurm, tmp_path, f"--chdir={tmp_path}", "--array=0-2", f"--wrap={script}")
    wait_until(lambda: len(slurm.running()) == 2, "two jobs run")
    assert [job.state for job in slurm.squeue()].count("PD") == 1
    slurm.preempt(seconds=2)
    wait_until(lambda: len(slurm.running("high")) == 2, "the higher jobs run")
    assert slurm.running() == []
    wait_until(lambda: len(slurm.running()) == 2, "two jobs run again")
    (tmp_path / "end").touch()
    wait_until(slurm.empty, "all jobs have ended")
    assert sum(path.read_text().count("ended") for path in tmp_path.glob("*.out")) == 3


@pytest.mark.slow
def test_a_killed_process_ends_its_job_and_no_other(slurm, tmp_path):
    for _ in range(2):
        sbatch(slurm, tmp_path, f"--wrap=srun {sys.executable} -c 'import time; time.sleep(600)'")
    wait_until(lambda: len(slurm.running()) == 2, "two jobs run")
    first, second = slurm.running()
    slurm.kill_job_process(first)
    wait_until(lambda: [job.number for job in slurm.squeue()] == [second.number], "the other job is left")
    assert slurm.pythons(second)


def test_an_array_has_a_limit(slurm, tmp_path):
    with pytest.raises(subprocess.CalledProcessError):
        sbatch(slurm, tmp_path, f"--array=0-{LARGEST_ARRAY}", "--wrap=true")


@pytest.mark.slow
def test_tasks_of_a_node_that_dies_run_on_the_other(ray, tmp_path):
    words = ray.within(sys.executable, "-c", TASKS, str(tmp_path))
    driver = subprocess.Popen(words, env=os.environ | ray.env, stdout=subprocess.DEVNULL)
    wait_until(lambda: len(list(tmp_path.iterdir())) == 2, "both tasks run")
    assert sorted(ray.workers()) == sorted(int(path.name) for path in tmp_path.iterdir())
    kill([ray.raylet(SECOND)])
    wait_until(lambda: len(ray.workers()) == 1, "the worker of the dead node has ended")
    (tmp_path / "end").touch()
    try:
        assert driver.wait() == 0
        assert (tmp_path / "answers").read_text().split() == [HEAD, HEAD]
    finally:
        ray.start_second()
