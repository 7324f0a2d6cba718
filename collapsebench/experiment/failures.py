"""The words for an error that ended a run: what it says, and where in a plugin it arose."""

from __future__ import annotations

import traceback
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from collapsebench.components.hookspecs import PROJECT
from collapsebench.components.interfaces import Component
from collapsebench.errors import error_line
from collapsebench.experiment.endings import RunEnding
from collapsebench.printable import printable, printable_lines

if TYPE_CHECKING:
    from collapsebench.components.catalog import Catalog

LONGEST = 50_000
"""The number of characters that are stored of a traceback at most."""


def failure(error: BaseException, catalog: Catalog) -> RunEnding:
    """Return the ending of a run that an error ended, whatever the error is."""
    where = place_in_plugin(error, catalog)
    message = f"{error_line(error)} ({where})" if where else error_line(error)
    return RunEnding.failed(message, _trace(error))


def _trace(error: BaseException) -> str:
    try:
        text = "".join(traceback.format_exception(error))
    except BaseException as another:  # noqa: BLE001 - plugins write what is formatted
        return f"the traceback cannot be made ({type(another).__name__})\n"
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]}\n…\n{text[-LONGEST // 2 :]}"
    return printable_lines(text)


def place_in_plugin(error: BaseException, catalog: Catalog) -> str:
    """Return the innermost line of a plugin, and the component that came to it. Empty if no plugin was running."""
    entries = [entry for entry in catalog.entries.values() if entry.plugin != PROJECT]
    modules = {entry.component.__module__ for entry in entries}
    folders = {Path(entry.origin).absolute().parent for entry in entries if entry.package is None}
    frames = [
        (frame, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_globals.get("__name__") in modules or Path(frame.f_code.co_filename).absolute().parent in folders
    ]
    if not frames:
        return ""
    frame, line = frames[-1]
    place = f"{Path(frame.f_code.co_filename).name}:{line}, in {frame.f_code.co_name}"
    owners = [owner for frame, _ in reversed(frames) if (owner := _owner(frame))]
    return printable(f"{place} of {owners[0]}" if owners else place)


def _owner(frame: FrameType) -> str:
    """Return the component whose method a frame is; empty if it is none."""
    owner = frame.f_locals.get("self")
    return f"{type(owner).kind} '{type(owner).name}'" if isinstance(owner, Component) else ""
