"""The lines of files of runs: plain or gzipped, in UTF-8 or as Windows writes text, from a file or from a pipe."""

from __future__ import annotations

import gzip
import shutil
import tempfile
import zlib
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import IO

from collapsebench.errors import CollapsebenchError, UsageError

IN_MEMORY = 2**24
"""A stream of at most this many bytes is copied into memory, a longer one into a temporary file."""

LONGEST = 2**26
"""A line of more bytes is no run."""

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
    """Yield the lines of a stream from its beginning, in UTF-8. Raises UsageError for one that is too long."""
    for number, line in enumerate(iter(partial(_text(stream).readline, LONGEST + 1), b""), start=1):
        if len(line) > LONGEST:
            raise UsageError(f"cannot import '{name}', line {number}: it is longer than {LONGEST:,} bytes")
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
        return BytesIO(stream.read().decode("utf-16", errors="replace").encode())
    if mark != BOM_UTF8:
        stream.seek(0)
    return stream
