"""How a command line process handles its memory. Never called at import: users of the library keep their settings."""

from __future__ import annotations

import atexit
import gc
import platform
from collections.abc import Iterator
from contextlib import contextmanager

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # malloc.h


def keep_mapped(growth: int = 64 * 2**20) -> bool:
    """Let glibc's malloc keep freed memory, and grow by so many bytes at a time; False where it is not glibc.

    A training step frees and asks again for the same large tensors. By default each of them is mapped anew, and to
    touch fresh pages costs several times what the arithmetic on them does. The process keeps the memory of its largest
    moment until it ends. The same as MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=-1 MALLOC_TOP_PAD_=67108864.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    import ctypes

    mallopt = ctypes.CDLL(None).mallopt
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1), (M_TOP_PAD, growth))
    return all(mallopt(name, value) == 1 for name, value in settings)


@contextmanager
def uncollected() -> Iterator[None]:
    """Look for cyclic garbage afterwards, not in between: for what makes very many objects and hardly any cycle.

    The collector looks through all objects again and again while their number grows, which takes a third of the time
    that a board of 5,000 runs needs. The end of the process would look once more, for memory that is given back with
    the process anyway: a tenth of the time that the list of methods needs.
    """
    atexit.register(gc.freeze)
    looked = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if looked:
            gc.enable()
