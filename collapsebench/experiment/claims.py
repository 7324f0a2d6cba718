"""Claims, by which one driver at a time has a run computed."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from collapsebench.errors import StoreError

FLOCK = "hhqqi4x"
"""C's `struct flock`: kind, from where, first byte, number of bytes, process."""


class Claims:
    """The claims of those who share a folder.

    A run is one byte of the file `claims`, which is locked and never written: there are no lock files to clean up, and
    so no race in it. The operating system gives a claim back when its holder ends, whatever ends it. All claims of one
    object are locks of one opened file, as a process may open only so many files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: int | None = None
        self._held: set[str] = set()

    @contextmanager
    def claim(self, run_id: str) -> Iterator[bool]:
        """Hold the run in the block, or yield False if it is held already, be it by this process or by another one.

        Raises StoreError if the folder cannot be written to, or is on a file system without locks.
        """
        if run_id in self._held or not self._locked(run_id):
            yield False
            return
        self._held.add(run_id)
        try:
            yield True
        finally:
            self._release(run_id)

    def taken(self, run_ids: Iterable[str]) -> set[str]:
        """Return those of the runs that somebody else holds. Nothing is written; none if the folder cannot be read."""
        try:
            file = os.open(self._folder / "claims", os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            return set()
        try:
            return {run_id for run_id in run_ids if _is_locked(file, run_id)}
        finally:
            os.close(file)

    def _locked(self, run_id: str) -> bool:
        try:
            _lock(self._opened(), run_id, fcntl.F_WRLCK)
        except OSError as error:
            self._close_unused()
            if error.errno in {errno.EAGAIN, errno.EACCES}:
                return False
            advice = "give a --work-dir on a file system that has locks"
            raise StoreError(f"cannot lock a file in '{self._folder}': {error.strerror}; {advice}") from error
        return True

    def _release(self, run_id: str) -> None:
        self._held.discard(run_id)
        _lock(self._opened(), run_id, fcntl.F_UNLCK)
        self._close_unused()

    def _opened(self) -> int:
        """Return the opened file. Raises StoreError if it cannot be written."""
        if self._file is None:
            try:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._file = os.open(self._folder / "claims", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            except OSError as error:
                raise StoreError(f"cannot write checkpoints to '{self._folder}': {error.strerror}") from error
        return self._file

    def _close_unused(self) -> None:
        if not self._held and self._file is not None:
            os.close(self._file)
            self._file = None


def _lock(file: int, run_id: str, kind: int) -> None:
    """Lock or unlock the byte of a run for this opened file, or, where a system has no such locks, for this process."""
    try:
        command = fcntl.F_OFD_SETLK
    except AttributeError:
        how = fcntl.LOCK_UN if kind == fcntl.F_UNLCK else fcntl.LOCK_EX | fcntl.LOCK_NB
        fcntl.lockf(file, how, 1, _byte(run_id))
    else:
        fcntl.fcntl(file, command, struct.pack(FLOCK, kind, 0, _byte(run_id), 1, 0))


def _is_locked(file: int, run_id: str) -> bool:
    """Return True if another opened file has the byte of a run locked; False where that cannot be asked."""
    try:
        answer = fcntl.fcntl(file, fcntl.F_OFD_GETLK, struct.pack(FLOCK, fcntl.F_WRLCK, 0, _byte(run_id), 1, 0))
    except (AttributeError, OSError):
        return False
    return bool(struct.unpack(FLOCK, answer)[0] != fcntl.F_UNLCK)


def _byte(run_id: str) -> int:
    """Return the place of the byte of a run. Places are signed and a byte has an end: an id has two bits more."""
    return int(run_id, 16) >> 2
