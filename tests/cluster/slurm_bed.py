"""A Slurm of its own on this machine: two nodes of one processor, two partitions, nothing of /etc.

    python tests/cluster/slurm_bed.py COMMAND …

runs a command beside it, which finds it by SLURM_CONF. The programs are those of Debian's packages `slurmctld`,
`slurmd`, `slurm-client` and `munge`. Everything listens on 127.0.0.1, has no database of accounts, and ends with the
command.
"""

from __future__ import annotations

import getpass
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from beds import free_ports, kill, processes, uninterrupted, wait_until

NODES = ("n1", "n2")
LARGEST_ARRAY = 5
"""The first index that an array may not have; small, so that a grid needs several arrays."""

CONFIGURATION = """
ClusterName=bed
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
MailProg=/bin/true
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=10
KillWait=2
MinJobAge=5
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/ended
MaxArraySize={largest_array}
NodeName=n1 NodeAddr=127.0.0.1 NodeHostname={host} Port={first} CPUs=1 RealMemory=16000
NodeName=n2 NodeAddr=127.0.0.1 NodeHostname={host} Port={second} CPUs=1 RealMemory=16000
PartitionName=low Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=high Nodes=n1,n2 MaxTime=INFINITE State=UP PriorityTier=2
"""
"""The time until a job that is queued again may start is that of `cred_expire`, two minutes if nothing is said."""


class Job(NamedTuple):
    """One line of `squeue`; the jobs of an array have one each."""

    number: int
    """The id that its processes know in SLURM_JOB_ID; jobs of an array that wait share that of the array."""
    name: str
    """As `12_3` for a job of an array."""
    partition: str
    state: str
    """As `R` for one that runs, or `PD` for one that waits."""
    node: str


@dataclass(frozen=True)
class Slurm:
    """A Slurm that runs."""

    folder: Path

    @property
    def env(self) -> dict[str, str]:
        """The environment variables by which commands find it; the programs are on everybody's path."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def within(self, *words: str) -> list[str]:
        """Return the words of a command: it runs as any other."""
        return list(words)

    def call(self, *words: str) -> str:
        """Run a program of Slurm, and return what it printed. Raises CalledProcessError."""
        done = subprocess.run(words, env=os.environ | self.env, check=True, stdout=subprocess.PIPE, text=True)
        return done.stdout

    def squeue(self) -> list[Job]:
        """Return the jobs that wait, run or are ending."""
        lines = self.call("squeue", "--array", "--noheader", "--format=%A|%i|%P|%t|%N").splitlines()
        return [Job(int(number), *rest) for number, *rest in (line.split("|") for line in lines)]

    def ended(self) -> Counter[str]:
        """Return how many jobs of `low` have ended since the start, by state; PENDING are those that wait again."""
        path = self.folder / "ended"
        text = path.read_text() if path.exists() else ""
        return Counter(re.findall(r"^JobId=.* JobState=(\w+) Partition=low", text, re.MULTILINE))

    def running(self, partition: str = "low") -> list[Job]:
        """Return the jobs of a partition that run."""
        return [job for job in self.squeue() if job.state == "R" and job.partition == partition]

    def restarts(self, job: Job) -> int:
        """Return how often a job was queued again."""
        (number,) = re.findall(r"Restarts=(\d+)", self.call("scontrol", "show", "job", job.name))
        return int(number)

    def preempt(self, seconds: int) -> None:
        """Take every node from the partition `low` for some seconds."""
        for _ in NODES:
            self.call("sbatch", "--partition=high", "--output=/dev/null", f"--wrap=sleep {seconds}")

    def give_back(self) -> None:
        """Give the nodes back to the partition `low`."""
        self.call("scancel", "--partition=high")

    def pythons(self, job: Job) -> list[int]:
        """Return the ids of the Python processes of a job that runs."""
        return [
            pid
            for pid, words, variables in processes()
            if variables.get("SLURM_JOB_ID") == str(job.number) and Path(words[0]).name.startswith("python")
        ]

    def kill_job_process(self, job: Job) -> None:
        """Kill the Python processes of a job, as a machine without memory does. Waits until there is one."""
        wait_until(lambda: bool(self.pythons(job)), f"job {job.name} runs Python")
        kill(self.pythons(job))

    def empty(self) -> bool:
        """Say whether no job waits or runs."""
        return not self.squeue()

    def clear(self) -> None:
        """Cancel every job, and wait until none is left."""
        self.call("scancel", f"--user={getpass.getuser()}")
        wait_until(self.empty, "no job is in the queue")


@contextmanager
def slurm() -> Iterator[Slurm]:
    """Run a Slurm, and yield it when both of its nodes wait for jobs. Its folder goes with it."""
    missing = [name for name in ("munged", "slurmctld", "slurmd", "squeue") if _program(name) is None]
    if missing:
        raise FileNotFoundError(
            f"there is no {missing[0]}: on Debian, install slurmctld, slurmd, slurm-client and munge"
        )
    with ExitStack() as stack:
        bed = Slurm(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slurm-"))))
        _configure(bed.folder)
        try:
            _start(bed, stack)
        except TimeoutError as error:
            error.add_note(_last_words(bed.folder))
            raise
        try:
            yield bed
        finally:
            with uninterrupted():
                bed.clear()
                stack.close()


def _configure(folder: Path) -> None:
    ports = dict(zip(("controller", "first", "second"), free_ports(3), strict=True))
    host = socket.gethostname().partition(".")[0]
    text = CONFIGURATION.format(folder=folder, host=host, user=getpass.getuser(), largest_array=LARGEST_ARRAY, **ports)
    (folder / "slurm.conf").write_text(text)
    for name in ("state", *(f"spool-{node}" for node in NODES)):
        (folder / name).mkdir()
    folder.chmod(0o711)  # munged wants every user to reach its socket
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)


def _start(bed: Slurm, stack: ExitStack) -> None:
    stack.enter_context(_daemon(bed, "munged", *_munge_options(bed.folder)))
    wait_until((bed.folder / "munge.socket").exists, "munged has a socket")
    stack.enter_context(_daemon(bed, "slurmctld", "-D"))
    for node in NODES:
        stack.enter_context(_daemon(bed, "slurmd", "-D", "-N", node))
    wait_until(lambda: _idle(bed) == len(NODES), "both nodes are idle")


def _last_words(folder: Path) -> str:
    """Return the ends of what the daemons printed."""
    outputs = [(path.stem, path.read_text().splitlines()[-5:]) for path in sorted(folder.glob("*.out"))]
    return "\n".join(f"{name}: {line}" for name, lines in outputs for line in lines)


def _munge_options(folder: Path) -> Iterable[str]:
    files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    return ["--foreground", *(f"--{option}={folder}/munge.{name}" for option, name in files.items())]


def _program(name: str) -> str | None:
    """Return the path of a program; those of the system's administrators are not on everybody's path."""
    return shutil.which(name, path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")


@contextmanager
def _daemon(bed: Slurm, name: str, *options: str) -> Iterator[None]:
    """Run a daemon in a session of its own, which does not hear Ctrl-C. It ends when this process is killed, too."""
    program = _program(name)
    assert program is not None
    with (bed.folder / f"{name}.out").open("ab") as output:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", program, *options],
            env=os.environ | bed.env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield
    finally:
        process.terminate()
        _see_off(process)


def _see_off(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _idle(bed: Slurm) -> int:
    """Return how many nodes wait for jobs; none while nobody answers."""
    asked = subprocess.run(
        ["sinfo", "--noheader", "--Node", "--partition=low", "--states=idle", "--format=%n"],
        env=os.environ | bed.env,
        check=False,
        capture_output=True,
        text=True,
    )
    return len(asked.stdout.split())


if __name__ == "__main__":
    with slurm() as running:
        code = subprocess.run(sys.argv[1:], env=os.environ | running.env, check=False).returncode
    sys.exit(code)
