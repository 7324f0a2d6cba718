"""Turns records into rows and back. Floats, NaN, infinities, labels and times stay exactly the same."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from collapsebench.errors import StoreError, UsageError
from collapsebench.record import Finding, Number, Point, RunRecord, Value
from collapsebench.spec import RunSpec
from collapsebench.store.models import PointRow, Run, ValueRow
from collapsebench.syntax import BASELINE, Call, parse_composition
from collapsebench.validation import describe


def to_json(value: BaseModel) -> dict[str, Any]:
    """Return the value as JSON. NaN and infinite floats become text."""
    content: dict[str, Any] = json.loads(value.model_dump_json())
    return content


class Rows(NamedTuple):
    """The rows of one record, by table."""

    run: dict[str, Any]
    points: list[dict[str, Any]]
    values: list[dict[str, Any]]


def to_rows(record: RunRecord) -> Rows:
    """Return the rows of a record."""
    protocol = record.spec.protocol
    run = {
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
    }
    key = {"run_id": record.run_id}
    points = [key | {"number": number} | to_json(point) for number, point in enumerate(record.points)]
    values = [key | {"position": position} | _value_row(value) for position, value in enumerate(record.values)]
    return Rows(run, points, values)


def to_record(row: Run) -> RunRecord:
    """Return the record of a row. Raises StoreError if this version cannot read its spec."""
    return RunRecord(
        run_id=row.run_id,
        protocol_id=row.protocol_id,
        spec=read_spec(row),
        contender=row.contender,
        track=row.track,
        outcome=row.outcome,
        message=row.message,
        traceback=row.traceback,
        started_at=row.started_at,
        finished_at=row.finished_at,
        environment=row.environment,
        parameters=row.parameters,
        code=row.code,
        findings=tuple(map(Finding.model_validate, row.findings)),
        points=tuple(_point(point) for point in row.points),
        values=tuple(_value(value) for value in row.values),
    )


def read_spec(row: Run) -> RunSpec:
    """Return the spec of a row, with its labels.

    Raises StoreError if another version of collapsebench wrote it in a form that this version does not know.
    """
    try:
        spec = RunSpec.model_validate(row.spec)
    except ValidationError as error:
        writer = row.environment.get("collapsebench", "of an unknown version")
        raise StoreError(
            f"run {row.run_id} was stored by collapsebench {writer} with a spec that this version cannot read "
            f"({describe(error, RunSpec, 'field')}); `collapsebench runs delete {row.run_id}` removes it"
        ) from None
    return with_labels(spec, row.contender, row.track)


def with_labels(spec: RunSpec, contender: str, track: str) -> RunSpec:
    """Add to a spec from JSON the parts that its identity leaves out.

    These are the labels, the parameters that the user passed, and the overrides of the track. The labels are printed
    in canonical form, so that they hold all of these.
    """
    methods = spec.contender.methods
    calls = [] if contender == BASELINE else _calls(contender)
    if [call.name for call in calls] == [method.name for method in methods]:
        passed = zip(methods, calls, strict=True)
        methods = tuple(method.model_copy(update={"passed": call.params}) for method, call in passed)
    overrides = next((call.params for call in _calls(track) if call.name == spec.protocol.track), {})
    return spec.model_copy(
        update={
            "contender": spec.contender.model_copy(update={"methods": methods, "label": contender}),
            "protocol": spec.protocol.model_copy(update={"overrides": overrides}),
        }
    )


def _calls(label: str) -> list[Call]:
    try:
        return parse_composition(label)
    except UsageError:
        return []


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


def _value(row: ValueRow) -> Value:
    kind = row.standard_error_kind
    return Value(
        metric=row.metric,
        column=row.column,
        estimate=Number(kind=row.kind, value=row.value),
        standard_error=None if kind is None else Number(kind=kind, value=row.standard_error),
        unit=row.unit,
        title=row.title,
        direction=row.direction,
        board=row.board,
    )


def _point(row: PointRow) -> Point:
    return Point.model_validate({"counters": row.counters, "values": row.values, "selected": row.selected})
