"""Runs as JSON lines. Each line is one record with the version of the format, and has no bare NaN."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TextIO

from pydantic import ValidationError

from collapsebench.errors import CollapsebenchError, UsageError
from collapsebench.record import RunRecord
from collapsebench.spec import Contender
from collapsebench.store.labels import with_labels
from collapsebench.store.mapping import to_json
from collapsebench.store.store import Added, Store
from collapsebench.validation import describe

SCHEMA = 2
"""The version of the format. Raise it when the meaning of a line changes."""

PLAIN = 1
"""The version without `code` and `findings`. A record that has neither is written so, for older readers."""

IN_MEMORY = 2**24
"""A stream of at most this many bytes is copied into memory, a longer one into a temporary file."""


def export_runs(records: Iterable[RunRecord], stream: TextIO) -> int:
    """Write records to a stream, one a line, and return how many there are."""
    written = 0
    for record in records:
        stream.write(f"{write_line(record)}\n")
        written += 1
    return written


def import_runs(store: str | Path, source: Path | IO[bytes], name: str) -> Added:
    """Write the runs of an export into a store, all or none; the store is made if there is none.

    Every line is checked before the first is written. Runs that the store has are skipped. `name` is what messages call
    the file or stream. Raises UsageError for a line that is no run, StoreError for a run that the store has with
    another result, and CollapsebenchError for a file that cannot be read.
    """
    with _readable_twice(source, name) as lines:
        for _ in read_lines(lines, name):
            pass
        lines.seek(0)
        with Store.open(store) as opened:
            return opened.add(read_lines(lines, name))


@contextmanager
def _readable_twice(source: Path | IO[bytes], name: str) -> Iterator[IO[bytes]]:
    """Open a file, or make a copy of a stream, as standard input can be read only once."""
    try:
        if isinstance(source, Path):
            with source.open("rb") as stream:
                yield stream
        else:
            with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as copy:
                shutil.copyfileobj(source, copy)
                copy.seek(0)
                yield copy
    except OSError as error:
        raise CollapsebenchError(f"cannot read '{name}': {error.strerror}") from error


def write_line(record: RunRecord) -> str:
    """Return the record as one line of ASCII, without the line's end."""
    schema = SCHEMA if record.code or record.findings else PLAIN
    return json.dumps({"schema": schema} | to_json(record), allow_nan=False)


def read_lines(lines: Iterable[bytes], source: str) -> Iterator[RunRecord]:
    """Yield the records of an export. Empty lines are skipped.

    Raises UsageError, which names the first line that is not a record, or whose ids do not fit its content.
    """
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                record = _read(line)
            except UsageError as error:
                raise UsageError(f"cannot import '{source}', line {number}: {error}") from error
            yield record


def _read(line: bytes) -> RunRecord:
    try:
        content = json.loads(line.decode(), parse_constant=_refuse)
    except ValueError as error:
        raise UsageError(f"it is not JSON ({error})") from error
    if not isinstance(content, dict) or not isinstance(content.get("schema"), int):
        raise UsageError("it is not a run as `collapsebench runs export` writes it")
    if content["schema"] not in {PLAIN, SCHEMA}:
        help_ = "pip install --upgrade collapsebench"
        raise UsageError(f"it has schema {content['schema']}, this collapsebench reads {SCHEMA}: {help_}")
    try:
        record = RunRecord.model_validate({key: value for key, value in content.items() if key != "schema"})
    except ValidationError as error:
        raise UsageError(describe(error, RunRecord, "field")) from error
    with_spec = record.model_copy(update={"spec": with_labels(record.spec, record.contender, record.track)})
    _check(with_spec)
    return with_spec


def _refuse(constant: str) -> None:
    raise UsageError(f"{constant} is not JSON")


def _check(record: RunRecord) -> None:
    """Raise UsageError if the record contradicts itself."""
    spec = record.spec
    stated = {
        "run_id": (record.run_id, spec.run_id),
        "protocol_id": (record.protocol_id, spec.protocol.protocol_id),
        "contender": (record.contender, Contender.of(spec.contender.methods).label),
        "track": (record.track, spec.protocol.track_label),
    }
    for field, (got, expected) in stated.items():
        if got != expected:
            raise UsageError(f"its {field} is '{got}', but its spec gives '{expected}'")
    if len({(value.metric, value.column) for value in record.values}) < len(record.values):
        raise UsageError("it has two values of one metric and column")
    if any(time is not None and time.tzinfo is None for time in (record.started_at, record.finished_at)):
        raise UsageError("its times have no time zone")
