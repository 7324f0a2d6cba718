"""The journal of an SQLite file. A write-ahead log needs shared memory, which file systems of a network do not have."""

from __future__ import annotations

import re
import sqlite3
from contextlib import suppress
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
"""Where Linux lists the file systems of this process. Elsewhere all file systems count as local."""

REMOTE = re.compile(
    r"nfs\d?|cifs|smb\w*|ncpfs|9p|ceph|lustre|gpfs|beegfs\w*|afs|coda|ocfs2|gfs2?|glusterfs|pvfs2|orangefs|panfs|"
    r"virtiofs|vboxsf|prl_fs|vmhgfs|davfs|acfs|fuse|fuse\..*"
)
"""The types of file systems that lie on another machine, or may do so. On these, readers wait for writers."""


def file_system(path: Path, mounts: Path = MOUNTS) -> str:
    """Return the type of the file system that a path is on, as in `ext4`; an empty text if it cannot be found out."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    found = {_unescaped(place): type_ for place, type_ in map(_mounted, lines)}  # of several at one place, the last
    here = path.resolve()
    return next((found[str(folder)] for folder in (here, *here.parents) if str(folder) in found), "")


def _mounted(line: str) -> tuple[str, str]:
    """Return the place and the type of a line of `mountinfo`. The type stands behind a hyphen."""
    before, _, after = line.partition(" - ")
    return before.split(" ")[4], after.split(" ")[0]


def _unescaped(place: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), place)


def choose_journal(connection: sqlite3.Connection, path: Path, mounts: Path = MOUNTS) -> None:
    """Take the write-ahead log, with which readers do not wait for writers, or a plain journal on a network.

    The file must be unlocked for a change. If it is not, it keeps its journal until it is opened next.
    """
    wanted = "delete" if REMOTE.fullmatch(file_system(path, mounts)) else "wal"
    if connection.execute("PRAGMA journal_mode").fetchone()[0] == wanted:
        return
    (patience,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute("PRAGMA busy_timeout = 0")
    with suppress(sqlite3.OperationalError):
        connection.execute(f"PRAGMA journal_mode = {wanted}")
    connection.execute(f"PRAGMA busy_timeout = {patience}")
