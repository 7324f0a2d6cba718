"""Writes files as a whole: a reader never finds a part of a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from collapsebench.errors import UsageError

DEFAULT_STORE = "results/collapsebench.sqlite"
"""The default place of runs: a file below the working folder."""


def expanded(path: str | Path) -> Path:
    """Return the path with the home folder in place of a leading `~`, which a shell leaves in `--output=~/board`.

    Raises UsageError if that folder is not known: there is no such user, or no HOME.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UsageError(f"cannot tell which folder is the home of '{path}': write the folder itself") from None


@contextmanager
def replacing(path: Path, *, lasting: bool = True) -> Iterator[Path]:
    """Yield a path to write to, beside `path`. It replaces `path` if the block ends well; otherwise it is deleted.

    The content is on the disk before the file gets its name. After a power cut, the old or the new file is there; not
    so if it need not be `lasting`, which takes a tenth of the time. A process that is killed in the block leaves its
    unfinished file, as `NAME.*.part`. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{uuid4().hex}.part")
    try:
        yield partial
        if lasting:
            _sync(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    with suppress(OSError):  # some file systems cannot sync folders; the file is whole without it
        if lasting:
            _sync(path.parent)


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
