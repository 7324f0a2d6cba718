"""The lines of files of runs: plain or gzipped, in UTF-8 or as Windows writes text, from a file or from a pipe."""

from __future__ import annotations

import gzip
import shutil
import tempfile
import zlib
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, getincrementaldecoder
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import IO, Any

from collapsebench.errors import CollapsebenchError, UsageError

IN_MEMORY = 2**24
"""A stream of at most this many bytes is copied into memory, a longer one into a temporary file."""

PIECE = 2**16
"""The bytes of UTF-16 that are decoded at a time."""

LONGEST = 2**26
"""A line of more bytes is no run."""

EMPTY = 2**20
"""A file with more bytes of empty lines is no export: it could keep the reader busy for long, and be small as gzip."""

GZIP = b"\x1f\x8b"


@contextmanager
def readable_twice(source: Path | IO[bytes], name: str) -> Iterator[IO[bytes]]:
    """Open a file, or make a copy of a stream, as standard input can be read only once.

    `name` is what messages call it. Raises CollapsebenchError for what cannot be read, also in the block.
    """
    try:
        if isinstance(source, Path):
            with source.open("rb") as stream:
                yield stream
        else:
            with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as copy:
                shutil.copyfileobj(source, copy)
                yield copy
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise CollapsebenchError(f"cannot read '{name}': it is damaged, or not a whole gzip file") from None
    except (OSError, ValueError) as error:  # a name with a NUL
        reason = getattr(error, "strerror", None) or error
        raise CollapsebenchError(f"cannot read '{name}': {reason}") from error


def lines(stream: IO[bytes], name: str) -> Iterator[bytes]:
    """Yield the lines of a stream from its beginning, in UTF-8.

    Raises UsageError for one that is too long, and if too many are empty.
    """
    empty = 0
    for number, line in enumerate(iter(partial(_text(stream).readline, LONGEST + 1), b""), start=1):
        if len(line) > LONGEST:
            raise UsageError(f"cannot import '{name}', line {number}: it is longer than {LONGEST:,} bytes")
        empty += 0 if line.strip() else len(line)
        if empty > EMPTY:
            raise UsageError(f"cannot import '{name}', line {number}: more than {EMPTY:,} bytes of empty lines")
        yield line


def _text(stream: IO[bytes]) -> IO[bytes]:
    """Return the stream without compression and without a byte order mark."""
    stream.seek(0)
    if stream.read(2) == GZIP:
        stream.seek(0)
        stream = gzip.GzipFile(fileobj=stream, mode="rb")  # type: ignore[assignment]
    stream.seek(0)
    mark = stream.read(3)
    if mark[:2] in {BOM_UTF16_LE, BOM_UTF16_BE}:
        stream.seek(0)
        return BufferedReader(_FromUtf16(stream))
    if mark != BOM_UTF8:
        stream.seek(0)
    return stream


class _FromUtf16(RawIOBase):
    """A stream of UTF-16 as one of UTF-8. It holds one piece in memory, however long the stream is."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._decoder = stream, getincrementaldecoder("utf-16")("replace")
        self._rest, self._ended = b"", False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as there is something; 0 at the end."""
        while not self._rest and not self._ended:
            piece = self._stream.read(PIECE)
            self._ended = not piece
            self._rest = self._decoder.decode(piece, final=self._ended).encode()
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count
