"""Runs as JSON lines. Each line is one record with the version of the format, and has no bare NaN."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TextIO

from pydantic import ValidationError

from collapsebench.errors import UsageError
from collapsebench.record import RunRecord
from collapsebench.store.labels import with_labels
from collapsebench.store.mapping import to_json
from collapsebench.store.record_checks import check_record, read_json
from collapsebench.store.store import Added, Store
from collapsebench.store.streams import lines, readable_twice
from collapsebench.validation import describe

SCHEMA = 4
"""The version of the format. Raise it when the meaning of a line changes."""

WITHOUT_RATE = 3
"""The version without rates of contenders and rules of selection. Records without them are written so, for older
readers."""

WITHOUT_REASONS = 2
"""The version without `declined`, too, for records that have none."""

PLAIN = 1
"""The version that is without `code` and `findings`, too, for records that have neither."""


def export_runs(records: Iterable[RunRecord], stream: TextIO) -> int:
    """Write records to a stream, one a line, and return how many there are."""
    written = 0
    for record in records:
        stream.write(f"{write_line(record)}\n")
        written += 1
    return written


def import_runs(store: str | Path, sources: Mapping[str, Path | IO[bytes]]) -> Added:
    """Write the runs of exports into a store, all or none; the store is made if there is none.

    The exports are files or streams, plain or gzipped, by the names that messages call them. Every line is checked
    before the first is written. Runs that the store has are skipped. Raises UsageError for a line that is no run, or no
    run that boards can show, StoreError for a run that the store has with another result, and CollapsebenchError for a
    file that cannot be read.
    """
    with ExitStack() as opened:
        streams = {name: opened.enter_context(readable_twice(source, name)) for name, source in sources.items()}
        for _ in _records(streams):
            pass
        with Store.open(store) as made:
            return made.add(_records(streams))


@contextmanager
def read_exports(sources: Mapping[str, Path | IO[bytes]]) -> Iterator[Store]:
    """Open the runs of exports as a store that is gone at the end. Raises what `import_runs` raises."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "exports.sqlite"
        import_runs(file, sources)
        with Store.reading(file) as store:
            yield store


def _records(streams: Mapping[str, IO[bytes]]) -> Iterator[RunRecord]:
    for name, stream in streams.items():
        yield from read_lines(lines(stream, name), name)


def write_line(record: RunRecord) -> str:
    """Return the record as one line of ASCII, without the line's end."""
    return json.dumps({"schema": _schema(record)} | to_json(record), allow_nan=False)


def _schema(record: RunRecord) -> int:
    if record.spec.contender.rate != 1 or record.spec.protocol.setting.evaluation.selection:
        return SCHEMA
    if record.declined:
        return WITHOUT_RATE
    return WITHOUT_REASONS if record.code or record.findings else PLAIN


def read_lines(lines: Iterable[bytes], source: str) -> Iterator[RunRecord]:
    """Yield the records of an export. Empty lines are skipped.

    Raises UsageError, which names the first line that is not a record, whose ids do not fit its content, or that boards
    could not show.
    """
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                record = read_line(line)
            except UsageError as error:
                raise UsageError(f"cannot import '{source}', line {number}: {error}") from error
            yield record


def read_line(line: bytes) -> RunRecord:
    """Return the record of one line.

    Raises UsageError for a line that is no record, whose ids do not fit its content, or that boards could not show.
    """
    content = read_json(line)
    schema = content.pop("schema", None)
    if type(schema) is not int:
        raise UsageError("it is not a run as `collapsebench runs export` writes it")
    if schema not in {PLAIN, WITHOUT_REASONS, WITHOUT_RATE, SCHEMA}:
        help_ = "pip install --upgrade collapsebench"
        raise UsageError(f"it has schema {schema}, this collapsebench reads {SCHEMA}: {help_}")
    try:
        record = RunRecord.model_validate(content)
    except ValidationError as error:
        raise UsageError(describe(error, RunRecord, "field")) from error
    with_spec = record.model_copy(update={"spec": with_labels(record.spec, record.contender, record.track)})
    check_record(with_spec)
    return with_spec
