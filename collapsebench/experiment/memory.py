"""How a process of the command line handles its memory. No import changes it: users of the library keep theirs."""

from __future__ import annotations

import atexit
import gc
import platform
from collections.abc import Iterator
from contextlib import contextmanager

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # malloc.h


def keep_mapped(growth: int = 64 * 2**20) -> bool:
    """Let glibc's malloc keep freed memory, and grow by this many bytes at a time. Return False without glibc.

    A training step frees large tensors, and asks for equal ones again. By default malloc maps each of them anew, and
    to touch fresh pages costs several times as much as the arithmetic on them. The price is that the process keeps the
    memory of its largest moment until it ends. The environment variables MALLOC_MMAP_MAX_=0
    MALLOC_TRIM_THRESHOLD_=-1 MALLOC_TOP_PAD_=67108864 do the same.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    import ctypes

    mallopt = ctypes.CDLL(None).mallopt
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1), (M_TOP_PAD, growth))
    return all(mallopt(name, value) == 1 for name, value in settings)


@contextmanager
def uncollected() -> Iterator[None]:
    """Stop the search for cyclic garbage in the block. It is for work that makes many objects and hardly any cycle.

    While the number of objects grows, the collector looks through all of them again and again: a third of the time of
    a board of 5,000 runs. It would look once more when the process ends, for memory that is given back anyway: a tenth
    of the time of the list of methods.
    """
    atexit.register(gc.freeze)
    looked = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if looked:
            gc.enable()
