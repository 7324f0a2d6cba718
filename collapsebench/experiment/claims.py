"""Claims, by which one driver at a time has a run computed."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from collapsebench.errors import StoreError

FLOCK = "hhqqi4x"
"""C's `struct flock`: kind, from where, first byte, number of bytes, process."""


@dataclass(frozen=True)
class Claims:
    """The claims of those who share a folder.

    A run is one byte of the file `claims`, which is locked and never written: there are no lock files to clean up, and
    so no race in it. The operating system gives a claim back when its holder ends, whatever ends it.
    """

    folder: Path

    @contextmanager
    def claim(self, run_id: str) -> Iterator[bool]:
        """Hold the run in the block, or yield False if it is held already, be it by this process or by another one.

        Raises StoreError if the folder cannot be written to, or is on a file system without locks.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            number = os.open(self.folder / "claims", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            raise StoreError(f"cannot write checkpoints to '{self.folder}': {error.strerror}") from error
        with os.fdopen(number, "r+b") as file:
            # Two bits fewer than the id has, as offsets are signed and the byte needs an end.
            yield self._locked(file, int(run_id, 16) >> 2)

    def _locked(self, file: IO[bytes], byte: int) -> bool:
        try:
            _lock(file, byte)
        except OSError as error:
            if error.errno in {errno.EAGAIN, errno.EACCES}:
                return False
            advice = "give a --work-dir on a file system that has locks"
            raise StoreError(f"cannot lock a file in '{self.folder}': {error.strerror}; {advice}") from error
        return True


def _lock(file: IO[bytes], byte: int) -> None:
    """Lock one byte for this opened file, or, where a system has no such locks, for this process."""
    try:
        command = fcntl.F_OFD_SETLK
    except AttributeError:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
    else:
        fcntl.fcntl(file, command, struct.pack(FLOCK, fcntl.F_WRLCK, 0, byte, 1, 0))
