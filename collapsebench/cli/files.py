"""Commands write to standard output, or to a file that appears only when it is complete."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from collapsebench.errors import CollapsebenchError
from collapsebench.files import replacing


@contextmanager
def destination(path: str | Path | None) -> Iterator[TextIO]:
    """Open a text stream to `path`; `-` and None are standard output.

    A file is replaced in one step at the end, and kept if writing fails. Devices and pipes are written to.
    Raises CollapsebenchError if `path` cannot be written.
    """
    if path is None or str(path) == "-":
        yield sys.stdout
        return
    target = Path(path).resolve()
    try:
        if target.exists() and not target.is_file():
            with target.open("w", encoding="utf-8") as stream:
                yield stream
        else:
            with replacing(target) as partial, partial.open("w", encoding="utf-8") as stream:
                yield stream
    except OSError as error:
        raise CollapsebenchError(f"cannot write '{path}': {error.strerror}") from error
