"""What can be said of the executor `slurm` where there is no Slurm: its script, its errors, and how it reads Slurm."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import toys

from collapsebench.errors import CollapsebenchError, UsageError
from collapsebench.experiment.jobs import Batch, JobKey
from collapsebench.experiment.schedulers import Job
from collapsebench_plugins import slurm
from collapsebench_plugins.slurm import Slurm

BATCH = Batch(Path("/work/jobs/0123456789abcdef"), 4, (("a", "b"), ("c",)))
GRID = ("run", "--plugin", toys.PLUGIN, "--dataset", "toy", "--method", "skip")


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    slurm._largest_array.cache_clear()
    yield
    slurm._largest_array.cache_clear()


@pytest.fixture
def slurms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make a program that does what a shell script says stand for a command of Slurm."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def make(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return make


def options(script: str) -> dict[str, str]:
    """The options of sbatch in a script."""
    return dict(re.findall(r"^#SBATCH --([\w-]+)=?(.*)$", script, re.MULTILINE))


def test_a_script_runs_each_task_of_a_batch_in_a_job_of_an_array():
    script = Slurm().script(BATCH)
    assert options(script)["array"] == "0-1%2"
    assert options(script)["job-name"] == "collapsebench-0123456789abcdef-4"
    assert options(script)["time"] == "60"
    assert "requeue" in options(script)
    assert "wckey" not in options(script)
    assert "mem" not in options(script)
    command = f"{sys.executable} -u -m collapsebench.experiment.job {BATCH.folder} 4 $SLURM_ARRAY_TASK_ID"
    assert command in script
    assert script.rstrip().endswith(
        "[ $code != 75 ] || scontrol requeue ${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID; exit $code"
    )


def test_every_parameter_reaches_the_script():
    made = Slurm(
        partition="gpu",
        account="vae",
        qos="long",
        constraint="a100",
        minutes=720,
        cpus=4,
        gpus=1,
        memory=1.5,
        array=1,
        setup="module load python",
        options="nice=100 --exclusive comment='two words'",
    )
    found = options(made.script(BATCH))
    wanted = {
        "partition": "gpu",
        "account": "vae",
        "qos": "long",
        "constraint": "a100",
        "time": "720",
        "cpus-per-task": "4",
        "gpus-per-node": "1",
        "mem": "1536MB",
        "array": "0-1%1",
        "nice": "100",
        "exclusive": "",
    }
    assert {key: found.get(key) for key in wanted} == wanted
    assert "two words" in found["comment"]
    assert "\nmodule load python\n" in made.script(BATCH)


def test_little_memory_is_not_that_of_the_whole_node():
    """That is what 0 means to Slurm."""
    assert options(Slurm(memory=0.0001).script(BATCH))["mem"] == "1MB"


def test_a_run_has_as_many_threads_as_its_job_has_processors_however_large_the_node_is():
    script = Slurm(cpus=4).script(BATCH)
    assert "\nexport OMP_NUM_THREADS=4\n" in script
    (step,) = re.findall(r"^srun .*", script, re.MULTILINE)
    assert " --ntasks=1 --cpus-per-task=4 " in step


def test_the_setup_of_a_job_has_the_last_word_on_threads():
    script = Slurm(setup="export OMP_NUM_THREADS=2").script(BATCH)
    assert re.findall("OMP_NUM_THREADS=(.)", script) == ["1", "2"]


def test_gpus_that_no_run_would_use_are_refused_in_one_line(command):
    done = command(*GRID, "--executor", "slurm[gpus=1]")
    assert (done.code, done.out) == (2, "")
    assert done.err == "error: slurm[gpus=1] takes GPUs that nobody uses: add --device cuda\n"


@pytest.mark.parametrize(
    "option", ["job-name=mine", "--job_name=mine", "array=3", "no-requeue", "clusters=all", "wait"]
)
def test_options_without_which_jobs_are_lost_are_refused_in_one_line(command, option):
    done = command(*GRID, "--executor", f'slurm[options="nice=1 {option}"]')
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "is not for options" in done.err


@pytest.mark.parametrize("name", ["50%a", "back\\slash"])
def test_a_folder_whose_name_slurm_would_change_is_refused_in_one_line(slurms, tmp_path, name):
    slurms("sbatch", "exit 1")
    setup = toys.setup("skip", store=tmp_path / name / "s.sqlite")
    with pytest.raises(UsageError, match="give another --work-dir"):
        Slurm().check(setup)


@pytest.mark.parametrize(("minutes", "seconds"), [(1, 20), (4, 80), (60, 90)])
def test_a_job_is_told_before_its_time_is_over(minutes, seconds):
    assert options(Slurm(minutes=minutes).script(BATCH))["signal"] == f"USR2@{seconds}"


def test_a_job_without_slurm_is_refused_in_one_line(command, slurms):
    done = command(*GRID, "--executor", "slurm")
    assert (done.code, done.out) == (2, "")
    assert done.err == "error: executor 'slurm' needs Slurm: there is no command sbatch on this machine\n"


def test_a_job_without_submitit_is_refused_in_one_line(command, monkeypatch):
    monkeypatch.setattr(slurm, "find_spec", lambda _: None)
    done = command(*GRID, "--executor", "slurm")
    assert (done.code, done.out) == (2, "")
    assert done.err == "error: executor 'slurm' needs the package submitit: pip install 'collapsebench[slurm]'\n"


def test_a_parameter_that_is_none_is_refused_in_one_line(command):
    done = command(*GRID, "--executor", "slurm[minutes=0]")
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "minutes" in done.err


def test_several_devices_are_refused_in_one_line(slurms, tmp_path):
    slurms("sbatch", "exit 1")
    setup = toys.setup("skip", store=tmp_path / "s.sqlite", device="cuda:0,cuda:1")
    with pytest.raises(UsageError, match="sees its own GPUs"):
        Slurm().check(setup)


def test_a_dry_run_prints_the_script_and_writes_nothing(command, slurms, tmp_path):
    done = command(*GRID, "--executor", "slurm[partition=gpu]", "--dry-run", "--store", "s.sqlite")
    assert done.code == 0
    assert "#SBATCH --partition=gpu" in done.out
    assert "#SBATCH --array=0-1%2" in done.out
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]


def test_jobs_are_read_from_squeue_whatever_else_is_in_the_queue(slurms):
    lines = [
        "collapsebench-abc-0|12|3|R|n1",
        "collapsebench-abc-0|12|4|PD|(Resources)",
        "collapsebench-abc-1|13|0|CG|n2",
        "collapsebench-abc-1|13|1|RH|(launch failed requeued held)",
        "collapsebench-abc-1|13|2|S|n|3",
        "collapsebench-mine|14|N/A|R|n1",
        "a|name|with|bars|15|N/A|R|n1",
        "short",
        "",
    ]
    slurms("squeue", "/bin/cat << 'END'\n" + "\n".join(lines) + "\nEND")
    assert Slurm().jobs() == {
        JobKey("abc-0", 3): Job("12_3", True, "n1"),
        JobKey("abc-0", 4): Job("12_4", False, "(Resources)"),
        JobKey("abc-1", 0): Job("13_0", True, "n2"),
        JobKey("abc-1", 1): Job("13_1", False, "(launch failed requeued held)"),
        JobKey("abc-1", 2): Job("13_2", True, "n|3"),
    }


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo first >&2; echo 'slurm_load_jobs error: no route' >&2; exit 1", "slurm_load_jobs error: no route"),
        ("exit 3", "Command '.*' returned non-zero exit status 3."),
    ],
)
def test_a_squeue_that_fails_is_one_line(slurms, script, said):
    slurms("squeue", script)
    with pytest.raises(CollapsebenchError, match=rf"^squeue failed: {said}$"):
        Slurm().jobs()


def test_an_sbatch_that_refuses_is_one_line(slurms, tmp_path):
    slurms("sbatch", "echo 'sbatch: error: Batch job submission failed: Invalid qos specification' >&2; exit 1")
    slurms("srun", "exit 0")
    batch = BATCH.__class__(tmp_path, 0, (("a",),))
    with pytest.raises(CollapsebenchError, match=r"^sbatch refused the jobs: .*Invalid qos specification"):
        Slurm(qos="none").launch(batch)


def test_variables_of_the_user_do_not_overrule_the_script(slurms, tmp_path):
    """Slurm takes its variables for more than what a script says, and a command's options for more than these."""
    slurms("sbatch", f'echo "$@" > {tmp_path}/words; echo Submitted batch job 4711')
    slurms("srun", "exit 0")
    made = Slurm(options="comment='two words'")
    batch = Batch(tmp_path, 0, (("a",),))
    made.launch(batch)
    words = (tmp_path / "words").read_text()
    assert all(f"--{key}" in words for key in options(made.script(batch)))
    assert f"--job-name=collapsebench-{batch.name} " in words


def test_variables_of_the_user_hide_no_jobs(slurms, monkeypatch):
    monkeypatch.setenv("SQUEUE_STATES", "R")
    slurms("squeue", 'echo "collapsebench-${SQUEUE_STATES:-abc}-0|12|3|PD|(Resources)"; echo "$@" >&2')
    assert set(Slurm().jobs()) == {JobKey("abc-0", 3)}


def test_a_batch_is_an_array_of_one_id(slurms, tmp_path):
    slurms("sbatch", "echo Submitted batch job 4711")
    slurms("srun", "exit 0")
    assert Slurm().launch(Batch(tmp_path, 0, (("a",),))) == "4711"


def test_jobs_are_cancelled_by_their_ids_some_at_a_time(slurms, tmp_path):
    slurms("scancel", f'echo "$#" >> {tmp_path}/counts')
    Slurm().cancel([Job(f"7_{task}", True, "") for task in range(1200)])
    assert [int(line) for line in (tmp_path / "counts").read_text().split()] == [501, 501, 201]


@pytest.mark.parametrize(
    ("told", "most"), [("echo 'MaxArraySize            = 101'", 100), ("exit 1", 1000), ("echo nothing", 1000)]
)
def test_an_array_is_as_large_as_slurm_allows(slurms, told, most):
    slurms("scontrol", told)
    assert Slurm().most_tasks() == most


def test_what_a_task_printed_outside_of_runs_is_found(tmp_path):
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, text in {"8_1_0_log.out": "out", "8_1_0_log.err": "no such module", "8_11_0_log.err": "another"}.items():
        (folder / name).write_text(text)
    said = Slurm().output(JobKey("abc-0", 1), Batch(tmp_path, 0, ((), ("a",))))
    assert sorted(said.splitlines()) == ["no such module", "out"]
