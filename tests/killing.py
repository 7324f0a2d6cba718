"""Real processes that are killed, and what must be true of their store afterwards."""

from __future__ import annotations

import os
import random
import re
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.metadata import entry_points
from itertools import count
from multiprocessing import forkserver, get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from threading import Timer
from typing import Any, NamedTuple
from unittest import mock

import toys

from collapsebench.record import Outcome, RunRecord
from collapsebench.store import Store

METHODS = ("--method", "skip", "--method", "sa-vae[steps=2]")
OFTEN = ("--set", "evaluation.every=2steps")
SIZES = ("encoder.hidden=6", "decoder.hidden=6", "decoder.layers=2", "latent_dim=2", "batch_size=200")
TINY = tuple(part for setting in (*SIZES, "evaluation.metrics.iw-nll.samples=2") for part in ("--set", setting))
TEXT = ("--plugin", str(toys.PLUGIN), "--dataset", "toy", *METHODS, "--budget", "8steps", *OFTEN)
IMAGES = ("--dataset", "digits", *METHODS, "--budget", "6steps", *OFTEN, *TINY)


class Grid(NamedTuple):
    """Three contenders."""

    arguments: tuple[str, ...]
    """Of `run`."""
    workers: int = 1


GRIDS = {
    "text": Grid(TEXT),
    "images": Grid(IMAGES),
    "text, 2 workers": Grid(TEXT, workers=2),
    "images, 2 workers": Grid(IMAGES, workers=2),
}

_FORKSERVER: Any = forkserver._forkserver  # its address is not public
_CONTEXT = get_context("forkserver")
PRELOADED = (
    "collapsebench.cli.run",
    "collapsebench.data.images",
    "collapsebench.experiment.engines",
    "collapsebench.experiment.guarding",
    "collapsebench.experiment.ledger",
    "collapsebench.experiment.progress",
    "collapsebench.experiment.runner",
    "collapsebench.experiment.training",
    "collapsebench.metrics.evaluation",
    "collapsebench.networks.lstm",
    "collapsebench.networks.mlp",
    "collapsebench.store",
    *(point.module for point in entry_points(group="collapsebench")),
    "rich.live",
    "rich.progress",
    "sklearn.linear_model",
    "sklearn.model_selection",
    "toys",
)
"""What a command imports, so that a killed one has cost no imports."""


@cache
def _serve_forks() -> None:
    """Start the process that commands are forks of, in place of one that other tests have started with less in it."""
    _FORKSERVER._stop()
    _CONTEXT.set_forkserver_preload(list(PRELOADED))
    forkserver.ensure_running()


DEATH = "killed by the test"
"""What the log says where a process is about to die."""


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        print(DEATH, file=sys.stderr)
        os.kill(pid, signal.SIGKILL)


def _dying(function: Callable[..., Any], number: int, *, after: bool) -> Callable[..., Any]:
    """The function, but its call of this number is the last thing that the process does."""
    calls = iter(range(number, -1, -1))

    def call(*arguments: Any, **given: Any) -> Any:
        last = next(calls) == 0
        if last and not after:
            _kill(os.getpid())
        result = function(*arguments, **given)
        if last:
            _kill(os.getpid())
        return result

    return call


def _replace(owner: object, name: str, function: Callable[..., Any]) -> None:
    """Let a module or class have another function, as long as this process lives."""
    mock.patch.object(owner, name, function).start()


def _arm(moment: str, number: int) -> None:
    from sqlalchemy import event
    from sqlalchemy.orm import Session

    from collapsebench.experiment import runner
    from collapsebench.experiment.checkpoint import Checkpoints

    if moment == "checkpoint":
        _replace(os, "fsync", _dying(os.fsync, number, after=bool(number % 2)))
    elif moment == "settling":
        _replace(Checkpoints, "settle", _dying(Checkpoints.settle, number, after=False))
    elif moment == "evaluation":
        _replace(runner, "metric_values", _dying(runner.metric_values, number, after=False))
    else:
        event.listen(
            Session, "before_commit" if number % 2 else "after_commit", _dying(lambda _: None, number, after=True)
        )


MOMENTS = {"checkpoint": 14, "settling": 4, "evaluation": 8, "commit": 6}
"""By moment: how many times a process that runs a whole grid passes it at most, before it dies there."""

DRIVERS = {"settling", "commit"}
"""The moments of the process that stores the runs, be they computed there or by workers."""

LOST = "its worker process ended with signal SIGKILL"
"""What is stored with the run of a worker that was killed."""

LINE_OF_LOST = re.compile(rf"^failed .*{LOST}", re.MULTILINE)
"""The line of such a run on the screen. The end of a grid sums them up once more."""


class Fault(NamedTuple):
    """Where a process dies."""

    moment: str
    """One of MOMENTS, or `any`."""
    at: float
    """How many times the process passes the moment before, or the seconds that it lives."""
    worker: int | None = None
    """Which worker dies, counted as they are started; None for the process of the command."""


def _serve(arguments: list[str], log: Path, fault: Fault | None, server: str) -> None:
    import torch

    from collapsebench import cli

    torch.set_num_threads(1)
    sys.stdout = sys.stderr = log.open("a", buffering=1)
    _share(server)
    _arm_workers(fault, log)
    if fault is not None and fault.worker is None:
        _arm(fault.moment, int(fault.at))
    cli.main(arguments)


def _share(server: str) -> None:
    """Let workers be forked from the process that this one is a fork of: another one would import torch for seconds."""
    _FORKSERVER._forkserver_address = server
    _FORKSERVER.ensure_running = lambda: None


def _arm_workers(fault: Fault | None, log: Path) -> None:
    """Let each worker write down its process id and its errors, and one of them die of the fault."""
    from collapsebench.experiment import processes

    start, numbers = processes._start_worker, count()

    def start_armed(*arguments: Any) -> Any:
        own = fault if fault is not None and fault.worker == next(numbers) else None
        _replace(processes, "_serve", partial(_work, own, log))
        worker = start(*arguments)
        if own is not None and own.moment == "any":
            timer = Timer(own.at, _kill, [worker.process.pid])
            timer.daemon = True
            timer.start()
        return worker

    _replace(processes, "_start_worker", start_armed)


def _work(fault: Fault | None, log: Path, *arguments: Any) -> None:
    """The life of a worker."""
    from collapsebench.experiment import processes

    sys.stdout = sys.stderr = log.open("a", buffering=1)
    with log.with_suffix(".workers").open("a") as file:
        file.write(f"{os.getpid()}\n")
    if fault is not None and fault.moment != "any":
        _arm(fault.moment, int(fault.at))
    processes._serve(*arguments)


class Ended(NamedTuple):
    """What became of one command."""

    code: int
    said: str
    seconds: float


@dataclass
class Command:
    """`collapsebench run` in a process of its own."""

    arguments: tuple[str, ...]
    store: Path
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.store.with_suffix(f".{os.urandom(4).hex()}.log")

    def start(self, fault: Fault | None = None) -> ForkServerProcess:
        arguments = ["run", *self.arguments, "--store", str(self.store)]
        _serve_forks()
        server = _FORKSERVER._forkserver_address
        process = _CONTEXT.Process(target=_serve, args=(arguments, self.log, fault, server))
        process.start()
        return process

    def run(self, fault: Fault | None = None) -> Ended:
        """Let it run to its end, whatever that is; its workers must end with it."""
        delay: float | None = None
        begun = time.perf_counter()
        if fault is not None and fault.moment == "any" and fault.worker is None:
            delay, fault = fault.at, None
        process = self.start(fault)
        process.join(delay)
        if delay is not None:
            process.kill()
        process.join()
        seconds = time.perf_counter() - begun
        self._see_workers_off()
        assert process.exitcode is not None
        return Ended(process.exitcode, self.log.read_text() if self.log.exists() else "", seconds)

    def _see_workers_off(self) -> None:
        """Wait until no worker is left. Fails after a minute."""
        pids, patience = self.log.with_suffix(".workers"), time.monotonic() + 60
        left = [int(line) for line in pids.read_text().splitlines()] if pids.exists() else []
        while left := [pid for pid in left if _alive(pid)]:
            assert time.monotonic() < patience, "a worker outlived its command"
            time.sleep(0.01)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def comparable(record: RunRecord) -> dict[str, Any]:
    """The record as JSON, without times."""
    content = record.model_dump(mode="json", exclude={"started_at", "finished_at"})
    for point in content["points"]:
        del point["counters"]["seconds"]
    return content


def results(store: Path) -> dict[str, dict[str, Any]]:
    """What is settled, by run; everything else in the store must be a bare row. Checks the file's integrity."""
    if not store.exists():
        return {}
    with closing(sqlite3.connect(store)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    if not connection_has_tables(store):
        return {}
    with Store.open(store) as opened:
        records = list(opened.find())
    for record in records:
        assert record.outcome.settled or not (record.points or record.values)
        expected = {Outcome.FINISHED, Outcome.STARTED, Outcome.INTERRUPTED}
        assert record.outcome in expected or record.message == LOST, record.message
    return {record.run_id: comparable(record) for record in records if record.outcome.settled}


def weights(store: Path) -> dict[str, bytes]:
    """The files of weights beside a store, by their names."""
    return {path.name: path.read_bytes() for path in store.with_name(f"{store.name}.weights").iterdir()}


def connection_has_tables(store: Path) -> bool:
    """Whether the process lived long enough to make the schema."""
    with closing(sqlite3.connect(store)) as connection:
        return bool(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])


@dataclass
class Killer:
    """Kills the command of one grid, or one of its workers, again and again, at moments drawn from a seed."""

    grid: Grid
    folder: Path
    seed: int
    killed: Counter[str] = field(default_factory=Counter)
    """How many processes died, by moment; `command` for a command with workers, at any moment."""
    grids: int = 0
    """How many grids were finished in spite of it."""

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)  # noqa: S311 - no secret
        serial, store = Command(self.grid.arguments, self.folder / "serial.sqlite"), self.folder / "whole.sqlite"
        first = serial.run()  # first, as the first of all commands waits for the server's imports
        self._whole = Command(self._arguments, store).run()
        assert first.code == self._whole.code == 0, first.said + self._whole.said
        self.wanted = results(serial.store)
        assert results(store) == self.wanted
        assert weights(store) == weights(serial.store)
        assert len(weights(store)) == len(self.wanted)

    @property
    def _arguments(self) -> tuple[str, ...]:
        return (*self.grid.arguments, "--workers", str(self.grid.workers), "--threads", "1")

    def kill(self, number: int) -> None:
        """Until so many processes are dead, one at least at every moment, and each grid is finished."""
        moments = {*MOMENTS, "any"} | ({"command"} if self.grid.workers > 1 else set())
        while self.killed.total() < number or not moments <= (+self.killed).keys():
            store = self.folder / f"{self.grids}.sqlite"
            self._finish(store)
            self.grids += 1
            finished = Command(self._arguments, store).run()
            assert " 0 to run" in finished.said
            assert [path.name for path in store.with_name(f"{store.name}.checkpoints").iterdir()] == ["claims"]
            assert weights(store) == weights(self.folder / "whole.sqlite")

    def _finish(self, store: Path) -> None:
        found: dict[str, Any] = {}
        while found != self.wanted:
            fault = self._fault(len(self.wanted) - len(found))
            ended = Command(self._arguments, store).run(fault)
            lost = len(LINE_OF_LOST.findall(ended.said))
            workers = 0 if fault.worker is None else ended.said.count(DEATH)
            assert ended.code in {0, -signal.SIGKILL} if fault.worker is None else ended.code == lost <= workers
            assert not re.search("warning|Traceback", ended.said), ended.said
            died = workers or ended.code < 0
            command = fault == Fault("any", fault.at) and self.grid.workers > 1
            self.killed["command" if command else fault.moment] += bool(died)
            before, found = found, results(store)
            assert before.items() <= found.items() <= self.wanted.items(), "what is stored is right, and stays"
            assert len(found) == len(self.wanted) - lost or ended.code < 0, "a worker loses its run, and no other"

    def _fault(self, left: int) -> Fault:
        moment = self._chance.choice([*MOMENTS, *["any"] * 2 * self.grid.workers])
        workers = 1 if moment in DRIVERS else self.grid.workers
        worker = self._chance.randrange(min(workers, left)) if workers > 1 else None
        if moment != "any":
            return Fault(moment, self._chance.randrange(MOMENTS[moment] // workers), worker)
        seconds = self._whole.seconds * left / len(self.wanted)
        return Fault("any", self._chance.uniform(0.05, seconds), self._chance.choice([worker, None]))
