"""Real processes that are killed, and what must be true of their store afterwards."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import toys

from collapsebench.record import Outcome, RunRecord
from collapsebench.store import Store

TEXT = ("--plugin", str(toys.PLUGIN), "--dataset", "toy", "--method", "skip", "--method", "sa-vae[steps=2]")
TEXT = (*TEXT, "--budget", "8steps", "--set", "evaluation.every=2steps")
TINY = ("encoder.hidden=6", "decoder.hidden=6", "decoder.layers=2", "latent_dim=2", "batch_size=200")
TINY = (*TINY, "evaluation.every=2steps", "evaluation.metrics.iw-nll.samples=2")
IMAGES = ("--dataset", "digits", "--method", "skip", "--method", "sa-vae[steps=2]", "--budget", "6steps")
IMAGES = (*IMAGES, *(part for setting in TINY for part in ("--set", setting)))
GRIDS = {"text": TEXT, "images": IMAGES}
"""Three contenders each: the arguments of `run`."""

_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "torch._dynamo",  # torch imports its compiler with the first optimizer, which takes seconds
        "collapsebench.cli.run",
        "collapsebench.executors",
        "collapsebench.metrics.evaluation",
        "collapsebench.networks.lstm",
        "collapsebench.networks.mlp",
        "collapsebench.store",
        "collapsebench.training",
        "collapsebench_sa_vae",
        "collapsebench_skip",
        "sklearn.datasets",
        "toys",
    ]
)


def _die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _dying(function: Callable[..., Any], number: int, *, after: bool) -> Callable[..., Any]:
    """The function, but its call of this number is the last thing that the process does."""
    calls = iter(range(number, -1, -1))

    def call(*arguments: Any, **given: Any) -> Any:
        last = next(calls) == 0
        if last and not after:
            _die()
        result = function(*arguments, **given)
        if last:
            _die()
        return result

    return call


def _arm(moment: str, number: int) -> None:
    from sqlalchemy import event
    from sqlalchemy.orm import Session

    from collapsebench import checkpoint, runner

    if moment == "checkpoint":
        checkpoint.os.fsync = _dying(os.fsync, number, after=bool(number % 2))
    elif moment == "settling":
        checkpoint.Checkpoints.settle = _dying(checkpoint.Checkpoints.settle, number, after=False)
    elif moment == "evaluation":
        runner._measured = _dying(runner._measured, number, after=False)
    else:
        event.listen(
            Session, "before_commit" if number % 2 else "after_commit", _dying(lambda _: None, number, after=True)
        )


MOMENTS = {"checkpoint": 14, "settling": 4, "evaluation": 8, "commit": 6}
"""By moment: how many times a process passes it at most, before it dies there."""


def _serve(arguments: list[str], log: Path, fault: tuple[str, int] | None) -> None:
    import torch

    from collapsebench import cli

    torch.set_num_threads(1)
    sys.stdout = sys.stderr = log.open("a", buffering=1)
    if fault is not None:
        _arm(*fault)
    cli.main(arguments)


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

    def start(self, fault: tuple[str, int] | None = None) -> Any:
        arguments = ["run", *self.arguments, "--store", str(self.store)]
        process = _CONTEXT.Process(target=_serve, args=(arguments, self.log, fault))
        process.start()
        return process

    def run(self, *, fault: tuple[str, int] | None = None, delay: float | None = None) -> Ended:
        """Let it run to its end, or kill it after a delay."""
        begun = time.perf_counter()
        process = self.start(fault)
        process.join(delay)
        if delay is not None:
            process.kill()
        process.join()
        said = self.log.read_text() if self.log.exists() else ""
        return Ended(process.exitcode, said, time.perf_counter() - begun)


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
        assert record.outcome in {Outcome.FINISHED, Outcome.STARTED, Outcome.INTERRUPTED}, record.message
    return {record.run_id: comparable(record) for record in records if record.outcome.settled}


def connection_has_tables(store: Path) -> bool:
    """Whether the process lived long enough to make the schema."""
    with closing(sqlite3.connect(store)) as connection:
        return bool(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])


@dataclass
class Killer:
    """Kills the command of one grid, again and again, at moments drawn from a seed."""

    arguments: tuple[str, ...]
    folder: Path
    seed: int
    killed: Counter[str] = field(default_factory=Counter)
    """How many processes died, by moment."""
    grids: int = 0
    """How many grids were finished in spite of it."""

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)  # noqa: S311 - no secret
        self._whole = Command(self.arguments, self.folder / "whole.sqlite").run()
        assert self._whole.code == 0, self._whole.said
        self.wanted = results(self.folder / "whole.sqlite")

    def kill(self, number: int) -> None:
        """Until so many processes are dead, each grid until it is finished."""
        while self.killed.total() < number:
            store = self.folder / f"{self.grids}.sqlite"
            self._grid(store)
            self.grids += 1
            finished = Command(self.arguments, store).run()
            assert " 0 to run" in finished.said
            assert [path.name for path in store.with_name(f"{store.name}.checkpoints").iterdir()] == ["claims"]

    def _grid(self, store: Path) -> None:
        found: dict[str, Any] = {}
        command = Command(self.arguments, store)
        while found != self.wanted:
            moment = self._chance.choice([*MOMENTS, "any", "any"])
            ended = self._once(command, moment)
            assert ended.code in {0, -signal.SIGKILL}, ended.said
            assert "warning" not in ended.said
            self.killed[moment] += ended.code != 0
            before, found = found, results(store)
            assert before.items() <= found.items() <= self.wanted.items(), "what is stored is right, and stays"

    def _once(self, command: Command, moment: str) -> Ended:
        if moment == "any":
            return command.run(delay=self._chance.uniform(0.05, self._whole.seconds))
        return command.run(fault=(moment, self._chance.randrange(MOMENTS[moment])))
