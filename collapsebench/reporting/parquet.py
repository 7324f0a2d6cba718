"""Runs as a Parquet file for data frames, one run a row. It is written by pyarrow, which is an optional extra."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, TypeAlias, Unpack

import pyarrow as pa
from pyarrow.parquet import ParquetWriter

from collapsebench.experiment.counters import COUNTERS
from collapsebench.metrics import METRICS
from collapsebench.store.mapping import to_json

if TYPE_CHECKING:
    from collapsebench.record import Point, RunRecord, Value
    from collapsebench.store import Filters, Store

ColumnKey: TypeAlias = tuple[str, str]
"""The metric and the name of a column that boards show."""

ROW_GROUP = 2000
"""The runs of a row group. A reader may skip a whole group, and the writer holds one in memory, without objects."""

BATCH = 100
"""The runs whose objects are in memory."""

ERROR = "_standard_error"
"""The end of the name of a column with standard errors."""

TIME = pa.timestamp("us", tz="UTC")
NUMBERS = pa.map_(pa.string(), pa.float64())

HEAD = (
    *((name, pa.string()) for name in ("run_id", "dataset", "track", "budget", "protocol_id", "contender")),
    ("seed", pa.int64()),
    *((name, pa.string()) for name in ("outcome", "message", "traceback")),
    *((name, TIME) for name in ("started_at", "finished_at")),
    ("parameters", pa.int64()),
    *((name, pa.string()) for name in ("collapsebench", "torch", "device")),
    *((name, pa.float64()) for name in COUNTERS),
)
"""The columns before those of metrics."""

VALUE = pa.struct(
    [
        ("metric", pa.string()),
        ("column", pa.string()),
        ("value", pa.float64()),
        ("standard_error", pa.float64()),
        ("unit", pa.string()),
        ("title", pa.string()),
        ("direction", pa.string()),
        ("board", pa.bool_()),
    ]
)
POINT = pa.struct([("counters", NUMBERS), ("values", NUMBERS), ("selected", pa.bool_())])
TAIL = (
    ("values", pa.list_(VALUE)),
    ("points", pa.list_(POINT)),
    ("declined", pa.list_(pa.struct([(name, pa.string()) for name in ("metric", "column", "reason")]))),
    ("findings", pa.list_(pa.struct([(name, pa.string()) for name in ("guard", "text")]))),
    ("code", pa.map_(pa.string(), pa.string())),
    ("environment", pa.string()),
    ("spec", pa.string()),
)
"""The columns after those of metrics: the rest of a record."""


def export_parquet(store: Store, stream: IO[bytes], **filters: Unpack[Filters]) -> int:
    """Write the runs that are meant to a stream, in the order of their start, and return how many there are.

    The stream gets whole row groups, and the end of the file only after the last run. Raises StoreError.
    """
    names = column_names(store.board_columns(**filters))
    written = 0
    for rows, content in _encoded(_row_groups(store.find(**filters), names), _schema(names)):
        stream.write(content)
        written += rows
    return written


def column_names(found: Iterable[ColumnKey]) -> dict[ColumnKey, str]:
    """Name the columns of a file that hold what boards show: those of the shipped metrics first, then those found.

    A name that would mean two things in one file is given to no column but that of a shipped metric.
    """
    shipped = [(metric.name, column.name) for metric in METRICS for column in metric.columns]
    others = sorted(set(found) - set(shipped))
    taken = Counter(name for name, _ in (*HEAD, *TAIL))
    taken.update(name for _, column in shipped for name in (column, f"{column}{ERROR}"))
    wanted = Counter(name for _, column in others for name in (column, f"{column}{ERROR}"))
    free = (key for key in others if all((taken + wanted)[name] == 1 for name in (key[1], f"{key[1]}{ERROR}")))
    return {key: key[1] for key in (*shipped, *free)}


def _schema(names: Mapping[ColumnKey, str]) -> pa.Schema:
    measured = [(f"{name}{end}", pa.float64()) for name in names.values() for end in ("", ERROR)]
    return pa.schema([*HEAD, *measured, *TAIL])


def _encoded(tables: Iterable[pa.Table], schema: pa.Schema) -> Iterator[tuple[int, bytes]]:
    """Yield the rows of each table and their part of the file, and at last its end.

    pyarrow writes the end also where reading has failed: to memory, and so to nobody.
    """
    memory = BytesIO()
    with ParquetWriter(memory, schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table)
            yield table.num_rows, _taken(memory)
    yield 0, _taken(memory)


def _taken(memory: BytesIO) -> bytes:
    content = memory.getvalue()
    memory.seek(0)
    memory.truncate()
    return content


def _row_groups(records: Iterator[RunRecord], names: Mapping[ColumnKey, str]) -> Iterator[pa.Table]:
    schema = _schema(names)
    while batches := list(islice(_batches(records, names, schema), ROW_GROUP // BATCH)):
        yield pa.Table.from_batches(batches, schema)


def _batches(
    records: Iterator[RunRecord], names: Mapping[ColumnKey, str], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    while rows := [_row(record, names) for record in islice(records, BATCH)]:
        try:
            yield pa.RecordBatch.from_pylist(rows, schema)
        except UnicodeEncodeError:  # JSON of an edited store has half a character
            yield pa.RecordBatch.from_pylist(_encodable(rows), schema)


def _encodable(value: Any) -> Any:
    """Replace halves of characters in all texts."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, dict):
        return {key: _encodable(inner) for key, inner in value.items()}
    return type(value)(map(_encodable, value)) if isinstance(value, list | tuple) else value


OF_RECORD = (
    "run_id",
    "protocol_id",
    "track",
    "contender",
    "outcome",
    "message",
    "traceback",
    "started_at",
    "finished_at",
    "parameters",
)
"""The columns that are fields of a record as they are."""


def _row(record: RunRecord, names: Mapping[ColumnKey, str]) -> dict[str, object]:
    protocol = record.spec.protocol
    return {
        **{name: getattr(record, name) for name in OF_RECORD},
        "dataset": protocol.dataset.name,
        "budget": str(protocol.budget),
        "seed": record.spec.seed,
        "findings": list(map(to_json, record.findings)),
        "declined": list(map(to_json, record.declined)),
        **{name: _text(record.environment.get(name)) for name in ("collapsebench", "torch", "device")},
        **{name: record.counters.get(name) for name in COUNTERS},
        **_measured(record.values, names),
        "values": list(map(_value, record.values)),
        "points": list(map(_point, record.points)),
        "code": list(record.code.items()),
        "environment": json.dumps(record.environment),
        "spec": json.dumps(to_json(record.spec)),
    }


def _text(value: object) -> str | None:
    """Return what an environment holds as text; None if it has no such thing."""
    return value if isinstance(value, str) else None


def _measured(values: Iterable[Value], names: Mapping[ColumnKey, str]) -> dict[str, float | None]:
    """Return the numbers that boards show, by the columns of the file."""
    found: dict[str, float | None] = {}
    for value in values:
        name = names.get((value.metric, value.column)) if value.board else None
        if name is not None:
            found |= {name: float(value.estimate), f"{name}{ERROR}": _error(value)}
    return found


def _error(value: Value) -> float | None:
    return None if value.standard_error is None else float(value.standard_error)


def _value(value: Value) -> dict[str, object]:
    return {
        "metric": value.metric,
        "column": value.column,
        "value": float(value.estimate),
        "standard_error": _error(value),
        "unit": value.unit,
        "title": value.title,
        "direction": value.direction.value,
        "board": value.board,
    }


def _point(point: Point) -> dict[str, object]:
    return {
        "counters": list(point.counters.items()),
        "values": [(name, float(number)) for name, number in point.values.items()],
        "selected": point.selected,
    }
