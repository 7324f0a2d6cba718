"""Commands write to standard output, or to a file that appears only when it is complete."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from collapsebench.errors import CollapsebenchError
from collapsebench.files import expanded, replacing


@contextmanager
def destination(path: str | Path | None) -> Iterator[TextIO]:
    """Open a text stream to `path`; `-` and None are standard output. A leading `~` is the home folder.

    A file is replaced in one step at the end, and kept if writing fails. Devices and pipes are written to.
    Raises CollapsebenchError if `path` cannot be written, and BrokenPipeError if nobody reads standard output any more.
    """
    if path is None or str(path) == "-":
        with _standard_output() as stream:
            yield stream
        return
    target = _resolved(expanded(path))
    try:
        if target.exists() and not target.is_file():
            with target.open("w", encoding="utf-8") as stream:
                yield stream
        else:
            with replacing(target) as partial, partial.open("w", encoding="utf-8") as stream:
                yield stream
    except OSError as error:
        raise _unwritable(f"'{path}'", error) from error


def _resolved(path: Path) -> Path:
    """Follow symbolic links, so that the file is replaced and not the link to it."""
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:  # RuntimeError: links that go round in a circle, before Python 3.13
        raise _unwritable(f"'{path}'", error) from error


@contextmanager
def _standard_output() -> Iterator[TextIO]:
    """Yield standard output, and write what it holds back, so that a full disk is told here and not at the exit.

    What is piped is UTF-8, as files are. A terminal has its own letters.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        yield sys.stdout
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _forget_output()
        raise _unwritable("standard output", error) from error


def _forget_output() -> None:
    """Let what could not be written go nowhere. Otherwise Python tries again when it ends, and fails again."""
    with suppress(OSError), Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _unwritable(where: str, error: Exception) -> CollapsebenchError:
    reason = error.strerror if isinstance(error, OSError) else None
    return CollapsebenchError(f"cannot write {where}: {reason or error}")
