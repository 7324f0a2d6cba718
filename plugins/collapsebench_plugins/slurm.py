"""Runs as jobs of Slurm, which queues, preempts and requeues them by the rules of the site.

Submitit writes and submits scripts. What is alive is what `squeue` lists, so no accounting is needed. A job that is
preempted writes a checkpoint, and Slurm requeues it. A job whose time runs out asks for that itself.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from collapsebench import Component, hookimpl
from collapsebench.errors import CollapsebenchError, UsageError
from collapsebench.experiment.jobs import AGAIN, Batch, JobKey, tail
from collapsebench.experiment.schedulers import Job, Scheduler, answer, job_command, last_line

if TYPE_CHECKING:
    from collapsebench.experiment.work import GridSetup

TASK: Final = "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
"""How a job calls itself. The SLURM_JOB_ID of the last one is that of all, and would requeue those that run, too."""
PREFIX: Final = "collapsebench-"  # the beginning of the names of jobs
WAITING: Final = frozenset({"PD", "RD", "RF", "RH", "RQ", "SE"})  # to run, to be requeued or for an administrator
VIEWS: Final = ("SQUEUE_", "SCANCEL_")
"""The beginnings of variables like SQUEUE_STATES, which are a user's view of the queue, and would hide jobs."""
RESERVED: Final = (
    *("job-name", "array", "output", "error", "signal"),
    *("clusters", "no-requeue", "parsable", "test-only", "wait", "wrap"),
)
"""The options of sbatch without which jobs would not be found, followed or queued again."""


class Submitter(Protocol):
    """What is needed of submitit: the script that runs a command, and the id of the job that it is submitted as."""

    def text(self, command: str) -> str: ...
    def launch(self, command: str) -> str: ...


class Slurm(Scheduler):
    """Each job is a task of an array. Its log and its record lie in the folder of work, which all nodes must see."""

    name: ClassVar[str] = "slurm"
    citation: ClassVar[str] = "Yoo, Jette, Grondona 2003, SLURM: Simple Linux Utility for Resource Management"

    partition: str = Field("", description="partition; default: that of the cluster")
    account: str = Field("", description="account that the time is charged to")
    qos: str = Field("", description="quality of service")
    constraint: str = Field("", description="features that a node must have, as in a100")
    minutes: PositiveInt = Field(60, description="time limit of a job; one that needs more goes on in the next")
    cpus: PositiveInt = Field(1, description="processors of a job")
    gpus: NonNegativeInt = Field(0, description="GPUs of a job; its runs see them with --device cuda")
    memory: PositiveFloat | None = Field(None, description="memory of a job in GB; default: that of the partition")
    array: PositiveInt = Field(64, description="jobs that run at a time")
    setup: str = Field("", description='shell command of a job before its runs, as in "module load python"')
    options: str = Field("", description='further options of sbatch, as in "reservation=mine nice=100"')

    @field_validator("options")
    @classmethod
    def _keeps_what_is_reserved(cls, options: str) -> str:
        for key, _ in _pairs(options):
            if key.replace("_", "-") in RESERVED:
                raise ValueError(f"'{key}' is not for options: the executor sets it itself, or cannot follow such jobs")
        return options

    @property
    def at_once(self) -> int:
        """The number of jobs that run at a time."""
        return self.array

    def warm_up(self) -> None:
        """See Executor. Submitit and Slurm must be here."""
        if find_spec("submitit") is None:
            raise UsageError("executor 'slurm' needs the package submitit: pip install 'collapsebench[slurm]'")

    def check(self, setup: GridSetup) -> None:
        """See Executor. A job has its GPUs for itself."""
        if self.gpus and setup.device == "cpu":
            raise UsageError(f"slurm[gpus={self.gpus}] takes GPUs that nobody uses: add --device cuda")
        if shutil.which("sbatch") is None:
            raise UsageError("executor 'slurm' needs Slurm: there is no command sbatch on this machine")
        if len(setup.runs.devices) > 1:
            raise UsageError("a job of Slurm sees its own GPUs: give --device cuda, and gpus=1 to the executor")
        if re.search(r"[%\\]", str(setup.jobs.folder.absolute())):
            raise UsageError(f"Slurm reads % and \\ in '{setup.jobs.folder}' as its own: give another --work-dir")
        super().check(setup)
        self.jobs()

    def script(self, batch: Batch) -> str:
        """See Scheduler."""
        return self._submitter(batch).text(job_command(batch, "$SLURM_ARRAY_TASK_ID"))

    def launch(self, batch: Batch) -> str:
        """See Scheduler."""
        (batch.folder / "slurm").mkdir(exist_ok=True)
        try:
            return self._submitter(batch).launch(job_command(batch, "$SLURM_ARRAY_TASK_ID"))
        except Exception as error:
            raise CollapsebenchError(f"sbatch refused the jobs: {last_line(str(error))}") from error

    def jobs(self) -> Mapping[JobKey, Job]:
        """See Scheduler. Those of other users count, who may work on the same grid, and those in hidden partitions."""
        told = answer("squeue", "--all", "--noheader", "--array", "--format=%j|%F|%K|%t|%R", without=VIEWS)
        rows = (line.removeprefix(PREFIX).split("|", 4) for line in told if line.startswith(PREFIX))
        return {
            JobKey(batch, int(task)): Job(f"{array}_{task}", state not in WAITING, node)
            for batch, array, task, state, node in rows
            if task.isdecimal()
        }

    def cancel(self, jobs: Collection[Job]) -> None:
        """See Scheduler."""
        ids = [job.job_id for job in jobs]
        for start in range(0, len(ids), 500):
            answer("scancel", "--quiet", *ids[start : start + 500], without=VIEWS)

    def output(self, key: JobKey, batch: Batch) -> str:
        """See Scheduler."""
        written = sorted((batch.folder / "slurm").glob(f"*_{key.task}_*log.*"), key=lambda path: path.stat().st_mtime)
        return "\n".join(filter(None, map(tail, written[-2:])))

    def most_tasks(self) -> int:
        """See Scheduler."""
        return _largest_array()

    def _submitter(self, batch: Batch) -> Submitter:
        """Return what writes and submits the script of a batch."""
        from submitit import SlurmExecutor

        class ForCommands(SlurmExecutor):  # it submits a command where submitit would submit a pickled function
            @classmethod
            def affinity(cls) -> int:
                return 1  # so that a script can be shown where there is no Slurm

            def text(self, command: str) -> str:
                return self._make_submission_file_text(command, "")

            def _make_submission_command(self, submission_file_path: Path) -> list[str]:
                """Repeat the options of the script, or variables like SBATCH_TIMELIMIT would overrule them."""
                lines = submission_file_path.read_text(encoding="utf-8").splitlines()
                options = [word for line in lines if line.startswith("#SBATCH ") for word in shlex.split(line)[1:]]
                return ["sbatch", *options, str(submission_file_path)]

            def launch(self, command: str) -> str:
                return self._submit_command(command).job_id

        submitter = ForCommands(batch.folder / "slurm")
        submitter.update_parameters(**self._parameters(batch))
        submitter.parameters["map_count"] = len(batch.tasks)
        return submitter

    def _parameters(self, batch: Batch) -> dict[str, Any]:
        return {
            "job_name": f"{PREFIX}{batch.name}",
            "wckey": None,
            "time": self.minutes,
            "cpus_per_task": self.cpus,
            "mem": None if self.memory is None else f"{max(1, round(1024 * self.memory))}MB",
            "array_parallelism": self.array,
            "signal_delay_s": min(90, 20 * self.minutes),  # so long before its time limit a job is told
            "srun_args": ["--ntasks=1", f"--cpus-per-task={self.cpus}"],  # since 22.05 not taken from the job
            "setup": list(filter(None, (f"export OMP_NUM_THREADS={self.cpus}", self.setup))),
            "teardown": [f"code=$?; [ $code != {AGAIN} ] || scontrol requeue {TASK}; exit $code"],
            "additional_parameters": {"requeue": True} | dict(_pairs(self.options)),
            **self.model_dump(include={"partition", "account", "qos", "constraint"}, exclude_defaults=True),
            **({"gpus_per_node": self.gpus} if self.gpus else {}),
        }


def _pairs(options: str) -> list[tuple[str, str | bool]]:
    """Read options as sbatch takes them; one without a value is a switch."""
    pairs = (text.lstrip("-").partition("=") for text in shlex.split(options))
    return [(key, value if equals else True) for key, equals, value in pairs]


@cache
def _largest_array() -> int:
    """Ask Slurm for its MaxArraySize, which is 1001 where it does not say. Numbers of tasks are below it."""
    with suppress(CollapsebenchError):
        config = "\n".join(answer("scontrol", "show", "config"))
        if found := re.search(r"^MaxArraySize\s*=\s*(\d+)", config, re.MULTILINE):
            return max(1, int(found[1]) - 1)
    return 1000


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Return the executor."""
    return [Slurm]
