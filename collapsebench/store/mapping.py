"""Turns records into rows and back. Floats, NaN, infinities, labels and times stay exactly the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from pydantic import BaseModel

from collapsebench.record import Number, Point, RunRecord, Value
from collapsebench.store.rows import RunSummary, flag, number, standard_error
from collapsebench.store.runs import RunDetails
from collapsebench.store.trajectories import StoredPoint, pack, unpack

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
    """The rows of one record, by table. Protocol and contender are shared with other runs."""

    protocol: dict[str, Any]
    contender: dict[str, Any]
    run: dict[str, Any]
    trajectory: list[dict[str, Any]]
    """One row; none if the run has no points."""
    values: list[dict[str, Any]]


def shared_row(row: dict[str, Any]) -> dict[str, Any]:
    """Add the key of a row that runs share: the hash of its columns."""
    text = json.dumps(list(row.values()), default=repr)
    return {"key": sha256(text.encode()).hexdigest()[:16]} | row


def protocol_row(named: Sequence[Any], content: str) -> dict[str, Any]:
    """Return the row of a protocol: its id, dataset, track and budget, and its JSON."""
    return shared_row(
        dict(zip(("protocol_id", "dataset", "track", "budget"), named, strict=True)) | {"content": content}
    )


def contender_row(label: Any, content: str) -> dict[str, Any]:
    """Return the row of a contender."""
    return shared_row({"label": label, "content": content})


def to_rows(record: RunRecord) -> Rows:
    """Return the rows of a record."""
    of = record.spec.protocol
    protocol = protocol_row((record.protocol_id, of.dataset.name, record.track, str(of.budget)), _text(of))
    contender = contender_row(record.contender, _text(record.spec.contender))
    run = {
        "run_id": record.run_id,
        "protocol_key": protocol["key"],
        "contender_key": contender["key"],
        "seed": record.spec.seed,
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
        "counters": record.points[-1].counters if record.points else None,
    }
    key = {"run_id": record.run_id}
    trajectory = [key | {"points": pack(record.points)}] if record.points else []
    values = [key | {"position": position} | _value_row(value) for position, value in enumerate(record.values)]
    return Rows(protocol, contender, run, trajectory, values)


def _text(value: BaseModel) -> str:
    return json.dumps(to_json(value), allow_nan=False)


def to_record(
    facts: RunSummary, details: RunDetails, traceback: object, packed: object, values: Iterable[Sequence[Any]]
) -> RunRecord:
    """Return the record of a checked run, with its points as they are packed, and of raw rows of values.

    Raises one of `rows.DAMAGE` if they are damaged.
    """
    return RunRecord(
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
        points=tuple(map(_point, unpack(packed, details.counters))),
        values=tuple(map(_value, values)),
    )


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


def _point(stored: StoredPoint) -> Point:
    values = {name: Number.of(value) for name, value in stored.values.items()}
    return Point(counters=stored.counters, values=values, selected=stored.selected)
