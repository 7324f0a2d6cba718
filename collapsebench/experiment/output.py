"""Output is not the run: whatever becomes of a terminal, a pipe or a log, runs go on."""

from __future__ import annotations

import io
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

    from typing_extensions import Buffer


def write_line(line: str, stream: TextIO | None) -> None:
    """Write a line to a stream, if there is one. What it cannot encode is replaced; one that refuses is left alone."""
    if stream is None:
        return
    encoding = stream.encoding or "utf-8"
    with suppress(OSError, ValueError):  # a file that is closed is a ValueError
        stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        stream.flush()


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal. It may be missing or closed."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


class _Patient(io.FileIO):
    """A file that takes everything, and drops what it cannot write."""

    def __init__(self, descriptor: int, name: str) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._title, self._told = name, False

    def write(self, data: Buffer, /) -> int:
        """Write, and say once, on standard error, why not. A reader that has gone is no news."""
        try:
            return super().write(data)
        except BrokenPipeError:
            pass
        except OSError as error:
            if not self._told and self.fileno() != sys.__stderr__.fileno():  # type: ignore[union-attr]
                write_line(f"warning: cannot write to {self._title}: {error.strerror}; the runs go on", sys.stderr)
            self._told = True
        return memoryview(data).nbytes


def keep_writing() -> None:
    """Let nothing fail that is printed in this process, by the harness or by a plugin.

    Streams that a user or a test has replaced stay as they are.
    """
    if sys.stdout is sys.__stdout__ and sys.stdout is not None:
        sys.stdout = _patient(sys.stdout, "standard output")
    if sys.stderr is sys.__stderr__ and sys.stderr is not None:
        sys.stderr = _patient(sys.stderr, "standard error")


def _patient(stream: TextIO, name: str) -> TextIO:
    with suppress(OSError):
        stream.flush()
    file = io.BufferedWriter(_Patient(stream.fileno(), name))
    return io.TextIOWrapper(file, stream.encoding, "backslashreplace", line_buffering=True)
