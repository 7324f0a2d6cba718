"""Files that are whole or not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

DEFAULT_STORE = "results/collapsebench.sqlite"
"""Where runs are stored if nothing is said: a file below the working folder."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path to write to, beside `path`. It replaces `path` if the block ends well, and vanishes otherwise.

    The content is on the disk before the file has its name: after a power cut, the old file or the new one is there.
    Only a process that is killed in the block leaves its unfinished file, as `NAME.*.part`. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{uuid4().hex}.part")
    try:
        yield partial
        _sync(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    with suppress(OSError):  # not every file system can do it for folders, and the file is whole either way
        _sync(path.parent)


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
