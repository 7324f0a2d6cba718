"""Turns records into rows and back. Floats, NaN, infinities, labels and times stay exactly the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel

from collapsebench.record import Number, Point, RunRecord, Value
from collapsebench.store.rows import RunDetails, RunSummary, counters, flag, number, point_values, standard_error

UNSTORABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that a database refuses (NUL, halves of pairs), and those that a terminal obeys instead of printing."""


def to_json(value: BaseModel) -> dict[str, Any]:
    """Return the value as JSON. NaN and infinite floats become text."""
    content: dict[str, Any] = json.loads(value.model_dump_json())
    return content


def storable(record: RunRecord) -> RunRecord:
    """Return the record with marks in place of characters that no text of a store has.

    The texts come from plugins: messages, findings, titles. A run is stored whatever they are.
    """
    return record.model_copy(
        update={
            "message": _clean(record.message),
            "traceback": _clean(record.traceback),
            "environment": _clean(record.environment),
            "findings": tuple(each.model_copy(update={"text": _clean(each.text)}) for each in record.findings),
            "values": tuple(map(_clean_value, record.values)),
        }
    )


def _clean_value(value: Value) -> Value:
    shown = {"title": _clean(value.title), "unit": _clean(value.unit)}
    return value if shown == {"title": value.title, "unit": value.unit} else value.model_copy(update=shown)


def _clean(value: Any) -> Any:
    """Replace characters in a text, and in the texts of JSON."""
    if isinstance(value, str):
        return value if value.isascii() and value.isprintable() else UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_clean(key): _clean(inner) for key, inner in value.items()}
    return [_clean(inner) for inner in value] if isinstance(value, list | tuple) else value


class Rows(NamedTuple):
    """The rows of one record, by table."""

    run: dict[str, Any]
    points: list[dict[str, Any]]
    values: list[dict[str, Any]]


def to_rows(record: RunRecord) -> Rows:
    """Return the rows of a record."""
    key = {"run_id": record.run_id}
    points = [key | {"number": number} | to_json(point) for number, point in enumerate(record.points)]
    values = [key | {"position": position} | _value_row(value) for position, value in enumerate(record.values)]
    return Rows(run_row(record), points, values)


def run_row(record: RunRecord) -> dict[str, Any]:
    """Return the row of a record without its points and values."""
    protocol = record.spec.protocol
    return {
        "run_id": record.run_id,
        "protocol_id": record.protocol_id,
        "dataset": protocol.dataset.name,
        "track": record.track,
        "contender": record.contender,
        "seed": record.spec.seed,
        "budget": str(protocol.budget),
        "spec": to_json(record.spec),
        "outcome": record.outcome,
        "message": record.message,
        "traceback": record.traceback,
        "started_at": record.started_at,
        "finished_at": record.finished_at,
        "environment": record.environment,
        "parameters": record.parameters,
        "code": record.code,
        "findings": [to_json(finding) for finding in record.findings],
        "declined": [to_json(each) for each in record.declined],
    }


def to_record(
    facts: RunSummary,
    details: RunDetails,
    traceback: object,
    points: Iterable[Sequence[Any]],
    values: Iterable[Sequence[Any]],
) -> RunRecord:
    """Return the record of checked and of raw rows. Raises one of `rows.DAMAGE` if a row is damaged."""
    record = RunRecord(
        run_id=facts.run_id,
        protocol_id=facts.protocol_id,
        spec=details.spec.model_copy(update={"seed": facts.seed}),
        contender=facts.contender,
        track=facts.track,
        outcome=facts.outcome,
        message=facts.message,
        traceback=traceback,  # pydantic checks it
        started_at=facts.started_at,
        finished_at=facts.finished_at,
        environment=details.environment,
        parameters=details.parameters,
        code=details.code,
        findings=details.findings,
        declined=details.declined,
        points=tuple(map(_point, points)),
        values=tuple(map(_value, values)),
    )
    if record.spec.run_id != record.run_id:
        raise ValueError(f"its id is '{record.run_id}', but its spec gives '{record.spec.run_id}'")
    return record


def _value_row(value: Value) -> dict[str, Any]:
    error = value.standard_error
    return {
        "metric": value.metric,
        "column": value.column,
        "kind": value.estimate.kind,
        "value": value.estimate.value,
        "standard_error_kind": None if error is None else error.kind,
        "standard_error": None if error is None else error.value,
        "unit": value.unit,
        "title": value.title,
        "direction": value.direction,
        "board": value.board,
    }


def _value(row: Sequence[Any]) -> Value:
    _, board, metric, column, title, unit, direction, kind, value, *error = row
    uncertainty = standard_error(*error)
    return Value(
        metric=metric,
        column=column,
        estimate=Number.of(number(kind, value)),
        standard_error=None if uncertainty is None else Number.of(uncertainty),
        unit=unit,
        title=title,
        direction=direction,
        board=flag("the board of a value", board),
    )


def _point(row: Sequence[Any]) -> Point:
    _, counts, values, selected = row
    return Point(
        counters=counters(counts),
        values={name: Number.of(value) for name, value in point_values(values).items()},
        selected=flag("the selection of a point", selected),
    )
