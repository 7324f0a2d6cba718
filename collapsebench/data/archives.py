"""Reads files out of zip and tar archives, in memory and by name. Nothing is ever unpacked to the path that it names.

An archive is refused as a whole if it holds a path outside of itself, a link or a device, or if it unpacks to much more
than its size.
"""

from __future__ import annotations

import gzip
import io
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import IO, TypeAlias

from collapsebench.data.files import bomb, largest
from collapsebench.errors import DataError

UNREADABLE = (RuntimeError, NotImplementedError, ValueError, OverflowError, LookupError, struct.error, OSError)
"""What zipfile and tarfile raise for archives that are encrypted, packed in a rare way, or damaged in a rare place."""

Wanted: TypeAlias = Callable[[PurePosixPath], bool]


class Budget:
    """The number of bytes that an archive may still unpack to."""

    def __init__(self, name: str, packed: int) -> None:
        self._name, self._packed = name, packed
        self._left = largest(packed)

    def read(self, file: IO[bytes], size: int = -1) -> bytes:
        """Read at most `size` bytes of a file, or all of it. Raises DataError if that is more than what is left."""
        content = file.read(self._left + 1 if size < 0 else min(size, self._left + 1))
        self._left -= len(content)
        if self._left < 0:
            raise DataError(bomb(f"archive '{self._name}'", self._packed))
        return content


class _Metered(io.RawIOBase):
    """A stream that is read on a budget."""

    def __init__(self, file: IO[bytes], budget: Budget) -> None:
        super().__init__()
        self._file, self._budget = file, budget

    def read(self, size: int = -1) -> bytes:
        """See RawIOBase."""
        return self._budget.read(self._file, size)


def read_members(name: str, packed: bytes, wanted: Wanted) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yield the path and the content of every wanted file of a zip, tar or tar.gz archive, in its order.

    `name` is that of the archive, and `packed` is its content. Raises DataError if it is damaged or hostile.
    """
    members = _zip_members if zipfile.is_zipfile(io.BytesIO(packed)) else _tar_members
    try:
        yield from members(name, packed, wanted)
    except (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"archive '{name}' is neither a whole zip nor a whole tar file: {error}") from None
    except UNREADABLE as error:
        raise DataError(f"archive '{name}' cannot be read: {error}") from None


def _zip_members(name: str, packed: bytes, wanted: Wanted) -> Iterator[tuple[PurePosixPath, bytes]]:
    budget = Budget(name, len(packed))
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        files = [info for info in archive.infolist() if not info.is_dir()]
        for info in files:
            kind = stat.S_IFMT(info.external_attr >> 16)
            _check_member(name, info.filename, regular=kind in {0, stat.S_IFREG})
        for info in files:
            path = PurePosixPath(info.filename)
            if wanted(path):
                with archive.open(info) as file:
                    yield path, budget.read(file)


def _tar_members(name: str, packed: bytes, wanted: Wanted) -> Iterator[tuple[PurePosixPath, bytes]]:
    file: IO[bytes] = io.BytesIO(packed)
    if packed.startswith(b"\x1f\x8b"):
        file = gzip.GzipFile(fileobj=file)  # type: ignore[assignment]  # it reads like a file
    contents = Budget(name, len(packed))  # a sparse file has more content than the stream
    stream = _Metered(file, Budget(name, len(packed)))
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            if member.isdir():
                continue
            _check_member(name, member.name, regular=member.isreg())
            content = archive.extractfile(member) if wanted(PurePosixPath(member.name)) else None
            if content is not None:
                yield PurePosixPath(member.name), contents.read(content)


def _check_member(archive: str, name: str, *, regular: bool) -> None:
    """Raise DataError for a member that no honest archive of data has."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        raise DataError(f"archive '{archive}' is hostile: it holds '{name}', a path outside of it")
    if not regular:
        raise DataError(f"archive '{archive}' is hostile: it holds '{name}', a link or a device")


def read_files(name: str, packed: bytes, names: frozenset[str]) -> dict[str, bytes]:
    """Return the contents of the files of an archive that have one of `names`, in whatever folder of it they stand.

    Raises DataError if one of them is missing, or is there twice.
    """
    found: dict[str, bytes] = {}
    for path, content in read_members(name, packed, lambda path: path.name in names):
        if path.name in found:
            raise DataError(f"archive '{name}' holds '{path.name}' twice")
        found[path.name] = content
    missing = names - found.keys()
    if missing:
        raise DataError(f"archive '{name}' does not hold '{min(missing)}'")
    return found
