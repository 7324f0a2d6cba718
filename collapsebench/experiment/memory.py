"""Settings of the memory of a command. No import changes them, so that users of the library keep their own."""

from __future__ import annotations

import atexit
import gc
import platform
from collections.abc import Iterator
from contextlib import contextmanager

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # malloc.h


def keep_mapped(growth: int = 64 * 2**20) -> bool:
    """Let glibc's malloc keep freed memory, and grow by this many bytes at a time. Return False without glibc.

    A training step frees large tensors, and then needs tensors of the same size. By default malloc maps new pages for
    each of them, and their first use takes several times as long as the arithmetic. The price of this function is that
    the process keeps the largest amount of memory until it ends. The environment variables MALLOC_MMAP_MAX_=0
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
    """Stop the search for cyclic garbage in the block. It is for work that makes many objects and few cycles.

    While the number of objects grows, the collector searches all of them again and again. This takes a third of the
    time of a board of 5,000 runs. At the end of the process it would search once more, although the system takes back
    all memory then. This takes a tenth of the time of the list of methods.
    """
    atexit.register(gc.freeze)
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
