"""What boards and curves read of runs, straight from SQL.

Records are validated field by field, which takes milliseconds for each. Here a spec is validated once for all runs that
share it, and the numbers, which the database keeps exactly, are taken as they are.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Row, String, Text, cast, func, select, type_coerce
from sqlalchemy.orm import Session, aliased

from collapsebench.components import Direction, Estimate
from collapsebench.record import Evaluated, Observation, Reading, Shown
from collapsebench.spec import Protocol, identity
from collapsebench.store.mapping import read_spec
from collapsebench.store.models import PointRow, Run, ValueRow

CHUNK = 500
"""How many runs are asked for at once."""

RUN = (
    Run.run_id,
    Run.protocol_id,
    Run.track,
    Run.contender,
    Run.spec["contender"].as_string().label("methods"),
    Run.seed,
    Run.outcome,
    Run.message,
    Run.parameters,
    cast(Run.environment, Text).label("environment"),
)
VALUE = (
    ValueRow.run_id,
    ValueRow.board,
    ValueRow.metric,
    ValueRow.column,
    ValueRow.title,
    ValueRow.unit,
    type_coerce(ValueRow.direction, String),
    type_coerce(ValueRow.kind, String),
    ValueRow.value,
    type_coerce(ValueRow.standard_error_kind, String),
    ValueRow.standard_error,
)
"""Kinds and directions as text: a million of them are too many to look up."""


@dataclass(frozen=True)
class Values:
    """The numbers of one run: those of boards, and the others by column."""

    readings: list[Reading] = field(default_factory=list)
    entries: dict[str, Estimate] = field(default_factory=dict)


class Reader:
    """Observations of one session, with the named entries that boards do not show; what runs share is read once."""

    def __init__(self, session: Session, entries: Collection[str]) -> None:
        self._session = session
        self._wanted = ValueRow.board | ValueRow.column.in_(entries) if entries else ValueRow.board
        self._protocols: dict[tuple[str, str], Protocol] = {}
        self._contenders: dict[tuple[str, str], str] = {}
        self._environments: dict[str, str] = {}
        self._shown: dict[tuple[str, ...], Shown] = {}

    def read(self, conditions: Sequence[ColumnElement[bool]], *, trajectories: bool) -> Iterator[Observation]:
        """The runs that meet the conditions, some hundred in memory at a time. Raises StoreError."""
        found = self._session.execute(select(*RUN).where(*conditions).execution_options(yield_per=CHUNK))
        for runs in found.partitions():
            ids = [run.run_id for run in runs]
            points, values = self._points(ids, trajectories=trajectories), self._values(ids)
            for run in runs:
                yield self._observation(run, tuple(points[run.run_id]), values[run.run_id])

    def _observation(self, run: Row[Any], points: tuple[Evaluated, ...], values: Values) -> Observation:
        shared = run.protocol_id, run.track
        methods = run.contender, run.methods
        if shared not in self._protocols or methods not in self._contenders:
            spec = read_spec(self._session.get_one(Run, run.run_id))
            self._protocols.setdefault(shared, spec.protocol)
            self._contenders[methods] = identity(spec.contender)
        if run.environment not in self._environments:
            self._environments[run.environment] = json.dumps(json.loads(run.environment), sort_keys=True)
        return Observation(
            run_id=run.run_id,
            protocol_id=run.protocol_id,
            protocol=self._protocols[shared],
            track=run.track,
            contender=run.contender,
            contender_id=self._contenders[methods],
            seed=run.seed,
            outcome=run.outcome,
            message=run.message,
            parameters=run.parameters,
            environment=self._environments[run.environment],
            points=points,
            readings=tuple(values.readings),
            entries=values.entries,
        )

    def _points(self, ids: Sequence[str], *, trajectories: bool) -> dict[str, list[Evaluated]]:
        query = select(PointRow.run_id, PointRow.counters, PointRow.values).where(PointRow.run_id.in_(ids))
        if not trajectories:
            later = aliased(PointRow)
            last = select(func.max(later.number)).where(later.run_id == PointRow.run_id).scalar_subquery()
            query = query.where(PointRow.number == last)
        found = defaultdict(list)
        for run_id, counters, values in self._session.execute(query.order_by(PointRow.run_id, PointRow.number)):
            counts = {name: float(count) for name, count in counters.items()}
            numbers = {name: _number(number["kind"], number["value"]) for name, number in values.items()}
            found[run_id].append(Evaluated(counts, numbers))
        return found

    def _values(self, ids: Sequence[str]) -> dict[str, Values]:
        query = select(*VALUE).where(ValueRow.run_id.in_(ids), self._wanted)
        found: dict[str, Values] = defaultdict(Values)
        for run_id, board, *head, kind, value, error_kind, error in self._session.execute(
            query.order_by(ValueRow.run_id, ValueRow.position)
        ):
            estimate = Estimate(_number(kind, value), None if error_kind is None else _number(error_kind, error))
            if board:
                shown = self._shown.get(key := tuple(head)) or self._new(key)
                found[run_id].readings.append(Reading(shown, *estimate))
            else:
                found[run_id].entries[head[1]] = estimate
        return found

    def _new(self, key: tuple[str, ...]) -> Shown:
        metric, column, title, unit, direction = key
        self._shown[key] = Shown(metric, column, title, unit, Direction(direction))
        return self._shown[key]


def _number(kind: str, value: float | None) -> float:
    """The float of a stored number; kinds that have no value read as what they are."""
    return float(kind if value is None else value)
