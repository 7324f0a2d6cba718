"""What the beds of Slurm and Ray share: ports, patience, and processes that end by their ids."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

PATIENCE = 60.0
"""The seconds that a bed may take for one step."""


def free_ports(number: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody listens on now."""
    with ExitStack() as taken:
        sockets = [taken.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


def wait_until(done: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Wait until something is so. Raises TimeoutError that names it."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise TimeoutError(f"after {seconds:g} seconds still not so: {what}")
        time.sleep(0.1)


def kill(pids: Iterable[int]) -> None:
    """Kill processes at once. Those that have ended already are passed over."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def processes() -> Iterator[tuple[int, list[str], dict[str, str]]]:
    """Yield the id, the words and the environment variables of every process of this machine that may be read."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words, environment = (_parts(folder / name) for name in ("cmdline", "environ"))
            yield int(folder.name), words, dict(part.split("=", 1) for part in environment if "=" in part)


def _parts(path: Path) -> list[str]:
    return path.read_bytes().decode(errors="replace").split("\0")


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Do not hear Ctrl-C: a bed that is put away half way leaves processes."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
