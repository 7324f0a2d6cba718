"""Grids of the command line on a bed, and what must be true of them: each run once, with the values of one process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from beds import wait_until
from killing import comparable

from collapsebench.record import Outcome, RunRecord
from collapsebench.store import Store

PATIENCE = 300.0
"""The seconds that a command may take in which a job is killed: far less than the time limit of a lost job."""
ALONE = ("--no-baseline", "--method", "skip")
TINY = ("--dataset", "linear-gaussian", "--budget", "2steps")
"""Runs of which the imports take longer than the training."""
LONG = ("--dataset", "linear-gaussian", "--budget", "20000steps", "--set", "evaluation.every=1000steps")
"""Runs of half a minute, which write a checkpoint every second or two."""
SHORTER = ("--dataset", "linear-gaussian", "--budget", "3000steps", "--set", "evaluation.every=100steps")
"""Runs of five seconds, which write a checkpoint several times a second."""
GOES_ON = re.compile(r"(\S+ seed \d+): goes on after step (\d+)")


class Bed(Protocol):
    """A cluster on which commands run."""

    @property
    def env(self) -> dict[str, str]:
        """The environment variables of the commands."""

    def within(self, *words: str) -> list[str]:
        """Return the words of a command there."""


class Ended(NamedTuple):
    """What a command left."""

    code: int
    out: str
    """What it printed, errors among it."""


@dataclass(frozen=True)
class Grid:
    """A grid of runs in a folder of its own: its commands have the same store and the same folder of work."""

    bed: Bed
    folder: Path
    arguments: tuple[str, ...]
    """Of `run`."""
    executor: str
    store: str = "runs.sqlite"
    """A file in the folder, or a URL."""
    started: list[subprocess.Popen[str]] = field(default_factory=list)
    """Its commands, and those of grids that were made of it."""

    @property
    def place(self) -> str:
        """The file or URL of the store, whatever the working folder."""
        return self.store if "://" in self.store else str(self.folder / self.store)

    @property
    def work(self) -> Path:
        """The folder of work."""
        return self.folder / "work"

    def start(self, *options: str) -> subprocess.Popen[str]:
        """Start `run` with its executor."""
        executor = ("--executor", self.executor, "--work-dir", str(self.work), "--store", self.place)
        return self.call("run", *self.arguments, *executor, *options)

    def run(self, *options: str) -> Ended:
        """Let `run` with its executor come to its end."""
        return ended(self.start(*options))

    def call(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command in the folder of the grid."""
        program = str(Path(sys.executable).with_name("collapsebench"))
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("COLLAPSEBENCH_")}
        command = subprocess.Popen(
            self.bed.within(program, *arguments),
            env=inherited | self.bed.env,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(command)
        return command

    def end(self) -> None:
        """Kill the commands that are not over, as those of a test that has failed."""
        for command in self.started:
            if command.poll() is None:
                command.kill()
                command.communicate()

    def records(self) -> list[RunRecord]:
        """Return what is stored; nothing before there is a store."""
        if "://" not in self.store and not Path(self.place).exists():
            return []
        with Store.reading(self.place) as store:
            return list(store.find())

    def outcomes(self) -> list[Outcome]:
        """Return the outcomes of what is stored."""
        return [record.outcome for record in self.records()]

    def wait_for_records(self, number: int) -> None:
        """Wait until so many runs are stored as finished."""
        wait_until(lambda: self.outcomes().count(Outcome.FINISHED) >= number, f"{number} runs are finished", PATIENCE)

    def wait_for_checkpoints(self, number: int) -> None:
        """Wait until so many runs have a checkpoint."""
        folder = self.work / "checkpoints"
        wait_until(lambda: len(list(folder.glob("*.pt"))) >= number, f"{number} runs have a checkpoint", PATIENCE)

    def values(self) -> dict[str, dict[str, Any]]:
        """Return everything that is stored of each run but times, as JSON."""
        return {record.run_id: comparable(record) for record in self.records()}

    def alone(self) -> dict[str, dict[str, Any]]:
        """Run the same grid in one process, without a cluster, into another store. Return its values."""
        other = replace(self, store="alone.sqlite")
        answer = ended(self.call("run", *self.arguments, "--workers", "1", "--store", other.place))
        assert answer.code == 0, answer.out
        return other.values()


def ended(process: subprocess.Popen[str], patience: float = PATIENCE) -> Ended:
    """Wait for the end of a command. One that takes longer is killed, and raises TimeoutExpired."""
    try:
        out, _ = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return Ended(process.returncode, out)


def interrupt(process: subprocess.Popen[str]) -> Ended:
    """Press Ctrl-C, and wait for the end of a command."""
    process.send_signal(signal.SIGINT)
    return ended(process)


def gone_on(said: str) -> Sequence[str]:
    """Return the runs that went on from a checkpoint, as `skip seed 1`, in the order in which they did so."""
    return [name for name, _ in GOES_ON.findall(said)]


def other_data_and_another_version_fail(grid: Callable[..., Grid], plugin: str) -> None:
    """Assert that runs fail by name on a node that has other data, or another version of a method."""
    moved = grid("--plugin", plugin, "--dataset", "moved")
    answer = moved.run()
    assert answer.code == 1, answer.out
    (record,) = moved.records()
    assert record.outcome is Outcome.FAILED
    assert re.search(r"the split 'train' of dataset 'moved' has the hash \w+…", record.message)
    renewed = grid("--plugin", plugin, *TINY, "--no-baseline", "--method", "renewed", store="renewed.sqlite")
    answer = renewed.run()
    assert answer.code == 1, answer.out
    (record,) = renewed.records()
    assert record.outcome is Outcome.FAILED
    assert "method 'renewed' has version 2 here, but the run was planned for 1" in record.message
