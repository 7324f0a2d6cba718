"""Downloads one address into one file: with progress, on with what has arrived before, and with an end to bad answers.

A download that breaks off leaves what has arrived in a file `NAME.*.partial`, and the next one asks the server for the
rest. No reader of data looks at these files.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from threading import Lock, Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self
from uuid import uuid4

if TYPE_CHECKING:
    from rich.console import Console

CHUNK = 1 << 14
"""The number of bytes that are read at a time."""


@dataclass(frozen=True)
class Limits:
    """What a server may ask of a user."""

    silence: float = 30.0
    """Seconds without a byte, and for a connection to be made."""
    patience: float = 60.0
    """Seconds for each 16 KiB: a server that is slower is given up."""
    bytes: int = 1 << 30
    """The largest answer, if the size of the file is not known."""


class Bar:
    """A live line on a terminal that shows how many bytes have arrived. It is silent elsewhere."""

    def __init__(self, name: str, console: Console) -> None:
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._progress.add_task(name, total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()

    def show(self, arrived: int, total: int | None) -> None:
        """Show the number of bytes that have arrived, and that of the file; None if the server does not say."""
        self._progress.update(self._task, completed=arrived, total=total)


class Arriving:
    """The file that pooch writes an answer to. It begins anew if the server does, and refuses more than `most` bytes.

    It is written by one thread and given up by another: after `close` nothing is written any more.
    """

    def __init__(self, file: BinaryIO, most: int, bar: Bar) -> None:
        self._file, self._most, self._bar = file, most, bar
        self._over, self._lock = False, Lock()
        self.arrived = file.seek(0, os.SEEK_END)
        self.total: int | None = None
        self.framed = False
        """True if the server says where its answer ends."""

    @property
    def headers(self) -> dict[str, str]:
        """The headers that ask for what has not arrived yet, as it is and not packed for the way."""
        rest = {"Range": f"bytes={self.arrived}-"} if self.arrived else {}
        return {"Accept-Encoding": "identity", **rest}

    def answered(self, response: Any, **_: Any) -> None:
        """Look at the head of an answer, before its content is read."""
        if response.status_code == 416:
            raise UselessError("the server has no more than what has arrived")
        if response.is_redirect or not response.ok:
            return
        length, encoded = response.headers.get("Content-Length", ""), "Content-Encoding" in response.headers
        asked = response.headers.get("Content-Range", "").startswith(f"bytes {self.arrived}-")
        if response.status_code != 206 or encoded or not asked:
            self._restart(partly=response.status_code == 206)
        self.framed = length.isdigit() or response.headers.get("Transfer-Encoding", "") == "chunked"
        self.total = self.arrived + int(length) if length.isdigit() and not encoded else None
        self._check_size(self.total or 0)
        self._bar.show(self.arrived, self.total)

    def _check_size(self, size: int) -> None:
        if size > self._most:
            raise UselessError(f"the server sends more than {self._most:,} bytes")

    def _restart(self, *, partly: bool) -> None:
        if partly:
            raise UselessError("the server sends another part than it was asked for")
        with self._lock:
            self._file.truncate(0)
            self._file.seek(0)
            self.arrived = 0

    def write(self, chunk: bytes) -> None:
        """Take what has arrived."""
        with self._lock:
            if self._over:
                raise OSError("the download was given up")
            self._check_size(self.arrived + len(chunk))
            self._file.write(chunk)
            self.arrived += len(chunk)
        self._bar.show(self.arrived, self.total)

    def flush(self) -> None:
        """Do nothing: `close` does it once."""

    def close(self) -> None:
        """Write no more."""
        with self._lock:
            self._over = True
            self._file.flush()


class UselessError(OSError):
    """What has arrived is not a part of the file: it is of no use for another try."""


class SlowError(OSError):
    """A server sends next to nothing."""


def download(url: str, file: BinaryIO, most: int, bar: Bar, limits: Limits) -> bool:
    """Download an address into an open file, on with what the file has.

    Return True if the server says where its answer ends, so that a broken one is known to be broken. Raises OSError.
    """
    from pooch import HTTPDownloader

    arriving = Arriving(file, most, bar)

    def work() -> None:
        with ExitStack() as connections:

            def answered(response: Any, **_: Any) -> None:
                connections.callback(response.close)  # after an error, pooch leaves the connection open
                arriving.answered(response)

            fetch = HTTPDownloader(
                chunk_size=CHUNK, headers=arriving.headers, hooks={"response": answered}, timeout=limits.silence
            )
            fetch(url, arriving, None)

    try:
        _in_time(work, lambda: arriving.arrived, limits.patience)
    finally:
        arriving.close()
    return arriving.framed


def _in_time(work: Callable[[], None], progress: Callable[[], int], patience: float) -> None:
    """Do the work, and raise SlowError as soon as there is no progress for `patience` seconds.

    A thread of its own does it, and is left alone then: no timeout of a socket ends an answer of one byte at a time.
    """
    outcome: Future[None] = Future()

    def run() -> None:
        try:
            work()
            outcome.set_result(None)
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
            outcome.set_exception(error)

    Thread(target=run, daemon=True).start()
    while True:
        before = progress()
        if wait([outcome], timeout=patience).done:
            return outcome.result()
        if progress() == before:
            raise SlowError(f"the server sends less than {CHUNK:,} bytes in {patience:g} s")


@contextmanager
def partial_file(target: Path, key: str, *, resume: bool) -> Iterator[tuple[Path, BinaryIO]]:
    """Yield the path of a file beside `target` for what arrives, and the open file, which no other process writes to.

    With `resume`, it is the one that an earlier block with the same key left. The block renames it if all is well.
    It is left for the next block if this one breaks off, and removed if its content is of no use. Raises OSError.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    path = _beside(target, hashlib.sha256(key.encode()).hexdigest()[:8] if resume else uuid4().hex)
    file = _opened(path)
    if not _is_alone(file, path):
        file.close()
        path = _beside(target, uuid4().hex)
        file = _opened(path)
    with file:
        try:
            yield path, file
        except BaseException as error:
            broken = isinstance(error, OSError | KeyboardInterrupt) and not isinstance(error, UselessError)
            if not (resume and broken and path.stat().st_size):
                path.unlink(missing_ok=True)
            raise


def remove_parts(target: Path) -> None:
    """Remove what broken downloads left of a file that is there now, but for what another process is at."""
    for path in target.parent.glob(f"{escape(target.name)}.*.partial"):
        with suppress(OSError), _opened(path) as file:
            if _is_alone(file, path):
                path.unlink()


def _beside(target: Path, key: str) -> Path:
    return target.with_name(f"{target.name}.{key}.partial")


def _opened(path: Path) -> BinaryIO:
    """Open a file for reading and writing, which is made if there is none; never what a link leads to."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666), "r+b")


def _is_alone(file: BinaryIO, path: Path) -> bool:
    """Return True if no other process writes to the file, and the path is still that of this file."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fstat(file.fileno()).st_ino == path.stat().st_ino
    except OSError:
        return False
