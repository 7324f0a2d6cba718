"""Events and records as JSON: a job writes what its runs tell, and a driver reads on from where it was.

A job is trusted, as a worker is. So a record is checked for damage alone, and not for what boards can show.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from pydantic import BaseModel, ValidationError

from collapsebench.experiment.events import Event

if TYPE_CHECKING:
    from collapsebench.record import RunRecord

KINDS: Final = {kind.__name__: kind for kind in get_args(Event)}
LEFT: Final = "left"
"""The key of a line that says why a process left its run, which is to go on elsewhere."""


class EventFile:
    """The events of one run, one line each. Several processes may write it, one after the other."""

    def __init__(self, path: Path) -> None:
        self._path, self._read = path, 0

    def append(self, event: Event) -> None:
        """Add an event. A disk that refuses costs no run."""
        content = {field.name: _plain(getattr(event, field.name)) for field in fields(event)}
        self._write({"event": type(event).__name__} | content)

    def leave(self, reason: str) -> None:
        """Say that this process leaves the run because it was told to."""
        self._write({LEFT: reason})

    def _write(self, content: dict[str, Any]) -> None:
        with suppress(OSError), self._path.open("ab") as file:
            file.write(_line(content))

    def news(self) -> Iterator[Event]:
        """Yield the events that came since the last call. What is no event, or half written, is passed over."""
        for content in self._lines():
            kind = KINDS.get(content.pop("event", ""))
            with suppress(ValidationError, TypeError, ValueError):
                if kind is not None:
                    yield kind(**{name: _value(name, value) for name, value in content.items()})

    def abandoned(self) -> bool:
        """Return True if the last process that began the run ended without saying so. It reads the lines anew."""
        self._read, began = 0, False
        for content in self._lines():
            began = content.get("event") == "Started" or (began and LEFT not in content)
        return began

    def _lines(self) -> Iterator[dict[str, Any]]:
        with suppress(OSError), self._path.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._read += len(line)
                with suppress(ValueError, TypeError):
                    yield dict(json.loads(line))


def packed(record: RunRecord) -> bytes:
    """Return a record as one line of JSON."""
    return _line(_plain(record))


def unpacked(line: bytes) -> RunRecord:
    """Return the record of a line. Raises ValueError for anything else."""
    from collapsebench.record import RunRecord

    return _labelled(RunRecord.model_validate(json.loads(line)))


def _line(content: object) -> bytes:
    """Write JSON. Halves of characters, which no file has, become question marks."""
    return json.dumps(content, ensure_ascii=False).encode(errors="replace") + b"\n"


def _plain(value: object) -> object:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def _value(name: str, value: Any) -> Any:
    """Return the value of a field of an event."""
    from collapsebench.record import Point, RunRecord  # plugins of executors are imported by commands without records

    if name == "record":
        return _labelled(RunRecord.model_validate(value))
    return Point.model_validate(value) if name == "point" else value


def _labelled(record: RunRecord) -> RunRecord:
    """Give a record the labels of its spec, which JSON has beside the spec alone."""
    from collapsebench.store.labels import with_labels

    return record.model_copy(update={"spec": with_labels(record.spec, record.contender, record.track)})
