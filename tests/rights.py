"""Tests of files that may not be written: they must fail for the superuser, too, whom permissions do not bind."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

VERSION = 0x20080522
"""Of the two structures by which Linux takes capabilities: 64 bits of each kind, in two halves."""
IGNORE_PERMISSIONS = 1 << 1
"""CAP_DAC_OVERRIDE, see capabilities(7)."""


@contextmanager
def bound_by_permissions() -> Iterator[None]:
    """Let the permissions of files bind this thread: what its user may not write, it cannot write.

    Reading stays as it was, and so does the user: Python's own files may lie where no other user gets to.
    """
    if os.geteuid() != 0:
        yield
        return
    header = (ctypes.c_uint32 * 2)(VERSION, 0)
    before = (ctypes.c_uint32 * 6)()
    system = ctypes.CDLL(None, use_errno=True)

    def call(function: str, capabilities: ctypes.Array[ctypes.c_uint32]) -> None:
        if getattr(system, function)(header, capabilities):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    call("capget", before)
    effective, *others = before
    call("capset", (ctypes.c_uint32 * 6)(effective & ~IGNORE_PERMISSIONS, *others))
    try:
        yield
    finally:
        call("capset", before)
