"""Claims, by which one driver at a time has a run computed."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
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
    byte = int(run_id, 16) >> 2  # two bits fewer than the id has, as offsets are signed and the byte needs an end
    try:
        command = fcntl.F_OFD_SETLK
    except AttributeError:
        how = fcntl.LOCK_UN if kind == fcntl.F_UNLCK else fcntl.LOCK_EX | fcntl.LOCK_NB
        fcntl.lockf(file, how, 1, byte)
    else:
        fcntl.fcntl(file, command, struct.pack(FLOCK, kind, 0, byte, 1, 0))
