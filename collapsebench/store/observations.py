"""Reads observations of runs directly from SQL.

The validation of a whole record takes milliseconds. Here a spec is validated once for all runs that share it. Numbers
are not validated, because the database keeps them exactly.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, String, Text, cast, func, select, type_coerce
from sqlalchemy.orm import Session, aliased

from collapsebench.estimates import Direction, Estimate
from collapsebench.observation import ColumnHead, MetricValue, Observation, TrajectoryPoint
from collapsebench.record import Finding
from collapsebench.spec import Protocol, identity
from collapsebench.store.mapping import read_spec
from collapsebench.store.models import PointRow, Run, ValueRow

CHUNK = 500
"""The number of runs that are read at once."""

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
    Run.code,
    Run.findings,
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
"""The columns that are read of a value. Kinds and directions are read as text: it would take long to turn a million
of them into enums.
"""


class _Columns(dict[tuple[str, str, str, str, str], ColumnHead]):
    """The heads of columns. Equal heads are one object in all runs."""

    def __missing__(self, key: tuple[str, str, str, str, str]) -> ColumnHead:
        metric, column, title, unit, direction = key
        self[key] = head = ColumnHead(metric, column, title, unit, Direction(direction))
        return head


class Reader:
    """Reads observations in one session. Parts that runs share are read once.

    `entries` are the numbers that are read although boards do not show them.
    """

    def __init__(self, session: Session, entries: Collection[str]) -> None:
        self._session, self._connection = session, session.connection()
        self._wanted = ValueRow.board | ValueRow.column.in_(entries) if entries else ValueRow.board
        self._protocols: dict[tuple[str, str], Protocol] = {}
        self._contenders: dict[str, str] = {}
        self._environments: dict[str, str] = {}
        self._columns = _Columns()

    def read(self, conditions: Sequence[ColumnElement[bool]], *, trajectories: bool) -> Iterator[Observation]:
        """Yield the runs that meet the conditions, with some hundreds in memory at a time. Raises StoreError."""
        found = self._connection.execute(select(*RUN).where(*conditions).execution_options(yield_per=CHUNK))
        for runs in found.partitions():
            ids = [run.run_id for run in runs]
            points = self._trajectories(ids) if trajectories else self._ends(ids)
            values, entries = self._values(ids)
            for run in runs:
                run_id = run.run_id
                yield self._observation(run, tuple(points[run_id]), tuple(values[run_id]), entries[run_id])

    def _observation(
        self,
        run: Sequence[Any],
        points: tuple[TrajectoryPoint, ...],
        values: tuple[MetricValue, ...],
        entries: Mapping[str, Estimate],
    ) -> Observation:
        run_id, protocol_id, track, contender, methods, seed, outcome, message, parameters, *rest = run
        environment, code, findings = rest
        if (protocol_id, track) not in self._protocols:
            self._protocols[protocol_id, track] = read_spec(self._session.get_one(Run, run_id)).protocol
        if methods not in self._contenders:
            self._contenders[methods] = identity(read_spec(self._session.get_one(Run, run_id)).contender)
        if environment not in self._environments:
            self._environments[environment] = json.dumps(json.loads(environment), sort_keys=True)
        return Observation(
            run_id=run_id,
            protocol_id=protocol_id,
            protocol=self._protocols[protocol_id, track],
            track=track,
            contender=contender,
            contender_id=self._contenders[methods],
            seed=seed,
            outcome=outcome,
            message=message,
            parameters=parameters,
            environment=self._environments[environment],
            points=points,
            values=values,
            code=code,
            findings=tuple(map(Finding.model_validate, findings)),
            entries=entries,
        )

    def _trajectories(self, ids: Sequence[str]) -> Mapping[str, Sequence[TrajectoryPoint]]:
        query = select(PointRow.run_id, PointRow.counters, PointRow.values).where(PointRow.run_id.in_(ids))
        found = defaultdict(list)
        for run_id, counters, values in self._connection.execute(query.order_by(PointRow.run_id, PointRow.number)):
            numbers = {name: _number(number) for name, number in values.items()}
            found[run_id].append(TrajectoryPoint(_counts(counters), numbers))
        return found

    def _ends(self, ids: Sequence[str]) -> Mapping[str, Sequence[TrajectoryPoint]]:
        """Read the last point of each run, without its values, because boards do not show them."""
        later = aliased(PointRow)
        last = select(func.max(later.number)).where(later.run_id == PointRow.run_id).scalar_subquery()
        query = select(PointRow.run_id, PointRow.counters).where(PointRow.run_id.in_(ids), PointRow.number == last)
        rows = self._connection.execute(query).all()
        found = {run_id: [TrajectoryPoint(_counts(counters), {})] for run_id, counters in rows}
        return defaultdict(list, found)

    def _values(
        self, ids: Sequence[str]
    ) -> tuple[Mapping[str, Sequence[MetricValue]], Mapping[str, Mapping[str, Estimate]]]:
        """Read the numbers that boards show, and the entries."""
        query = (
            select(*VALUE).where(ValueRow.run_id.in_(ids), self._wanted).order_by(ValueRow.run_id, ValueRow.position)
        )
        values: dict[str, list[MetricValue]] = defaultdict(list)
        entries: dict[str, dict[str, Estimate]] = defaultdict(dict)
        rows = self._connection.execute(query).all()
        for run_id, board, metric, column, title, unit, direction, kind, value, error_kind, error in rows:
            number = float(kind) if value is None else value
            uncertainty = float(error_kind) if error is None and error_kind is not None else error
            if board:
                head = self._columns[metric, column, title, unit, direction]
                values[run_id].append(MetricValue(head, number, uncertainty))
            else:
                entries[run_id][column] = Estimate(number, uncertainty)
        return values, entries


def _counts(counters: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(count) for name, count in counters.items()}


def _number(stored: Mapping[str, Any]) -> float:
    """Read a number from JSON. NaN and infinities have a kind, but no value."""
    kind, value = stored["kind"], stored["value"]
    return float(kind if value is None else value)
