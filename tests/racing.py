"""Functions that several processes run at the same time, started together. Nothing here takes long to import."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from collapsebench.record import RunRecord
from collapsebench.store import Store


def begin_first(address: str, begun: RunRecord, ended: Sequence[RunRecord], number: int) -> None:
    """Open a store, which is new, begin the same run as all others, and store one of its own."""
    with Store.open(address) as store:
        store.begin(begun)
        store.finish(ended[number])


def import_all(address: str, records: Sequence[RunRecord], number: int) -> None:
    """Add the same runs as all others, each process in another order."""
    with Store.open(address) as store:
        store.add([*records[number:], *records[:number]])


def race(function: Callable[..., None], arguments: Sequence[Any], processes: int = 8) -> list[str]:
    """Run a function in several processes at once, with its number as last argument; return what they raised."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["collapsebench.store.store"])
    start, errors = context.Barrier(processes), context.SimpleQueue()
    workers = [
        context.Process(target=_run, args=(function, (*arguments, number), start, errors))
        for number in range(processes)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    raised = []
    while not errors.empty():
        raised.append(errors.get())
    return raised + [f"exit code {worker.exitcode}" for worker in workers if worker.exitcode]


def _run(function: Callable[..., None], arguments: Sequence[Any], start: Any, errors: Any) -> None:
    start.wait()
    try:
        function(*arguments)
    except BaseException:  # noqa: BLE001 - whatever it is, the test shows it
        errors.put(traceback.format_exc())


def new_file(folder: Path, trial: int) -> str:
    """Return the place of the store of one trial; every second one is an empty file already."""
    path = folder / f"{trial}.sqlite"
    if trial % 2:
        path.touch()
    return str(path)
