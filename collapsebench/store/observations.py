"""Reads observations of runs directly from SQL.

The validation of a whole record takes milliseconds. Here a protocol is validated once for all runs that share it, and
of numbers only what boards compute with is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, false, or_, select
from sqlalchemy.orm import Session

from collapsebench.estimates import Estimate
from collapsebench.observation import MetricValue, Observation, TrajectoryPoint, Unreadable
from collapsebench.spec import Protocol
from collapsebench.store.models import Run, TrajectoryRow, ValueRow
from collapsebench.store.rows import (
    DAMAGE,
    RUN,
    TRAJECTORY,
    VALUE,
    ColumnHeads,
    by_run,
    chunks,
    flag,
    is_id,
    number,
    reason_of,
    shown,
    standard_error,
    tolerantly,
)
from collapsebench.store.runs import RunReader
from collapsebench.store.trajectories import unpack

CHUNK = 500
"""The number of runs that are read at once."""


class Reader:
    """Reads observations in one session. Parts that runs share are read once.

    `entries` are the numbers that are read although boards do not show them. `tell` is called with every run that
    cannot be read.
    """

    def __init__(self, session: Session, entries: Collection[str], tell: Callable[[Unreadable], None]) -> None:
        self._session, self._connection, self._tell = session, session.connection(), tell
        shown = ValueRow.board.is_distinct_from(false())
        self._wanted = or_(shown, ValueRow.column.in_(entries)) if entries else shown
        self._protocols: dict[tuple[str, str], Protocol] = {}
        self._runs = RunReader(self._rows)
        self._columns = ColumnHeads()

    def read(self, conditions: Sequence[ColumnElement[bool]], *, trajectories: bool) -> Iterator[Observation]:
        """Yield the runs that meet the conditions, with some hundreds in memory at a time."""
        query = select(Run.run_id).where(*conditions)
        ids = tolerantly(self._session, lambda: self._connection.scalars(query).all())
        for chunk in chunks(readable_ids(ids, self._tell), CHUNK):
            yield from self._chunk(chunk, trajectories=trajectories)

    def _chunk(self, ids: Sequence[str], *, trajectories: bool) -> Iterator[Observation]:
        runs = self._runs.rows(select(*RUN).where(Run.run_id.in_(ids)))
        points = self._trajectories(ids) if trajectories else None
        values = by_run(self._values(ids))
        for run in runs:
            run_id = run[0]
            try:
                observation = self._observation(run, points, values.get(run_id, ()))
            except DAMAGE as error:
                self._tell(Unreadable(run_id, reason_of(error)))
            else:
                yield observation

    def _rows(self, query: Any) -> Sequence[Sequence[Any]]:
        return tolerantly(self._session, lambda: self._connection.execute(query).all())

    def _observation(
        self, run: Sequence[Any], trajectories: Mapping[str, object] | None, values: Sequence[Sequence[Any]]
    ) -> Observation:
        facts, details = self._runs.read(run)
        shown, entries = self._numbers(values)
        return Observation(
            run_id=facts.run_id,
            protocol_id=facts.protocol_id,
            protocol=self._protocols.setdefault((facts.protocol_id, facts.track), details.spec.protocol),
            track=facts.track,
            contender=facts.contender,
            contender_id=details.contender_id,
            methods=details.spec.contender.methods,
            seed=facts.seed,
            outcome=facts.outcome,
            message=facts.message,
            started_at=facts.started_at,
            parameters=details.parameters,
            environment=details.environment_text,
            points=_points(details.counters, facts.run_id, trajectories),
            values=shown,
            code=details.code,
            findings=details.findings,
            declined=details.declined,
            entries=entries,
        )

    def _numbers(self, rows: Sequence[Sequence[Any]]) -> tuple[tuple[MetricValue, ...], Mapping[str, Estimate]]:
        """Return the numbers that boards show, and the entries."""
        values: list[MetricValue] = []
        entries: dict[str, Estimate] = {}
        for _, board, metric, column, title, unit, direction, kind, value, *error in rows:
            estimate, uncertainty = number(kind, value), standard_error(*error)
            if flag("the board of a value", board):
                values.append(MetricValue(self._columns[metric, column, title, unit, direction], estimate, uncertainty))
            else:
                entries[column] = Estimate(estimate, uncertainty)
        return tuple(values), entries

    def _trajectories(self, ids: Sequence[str]) -> Mapping[str, object]:
        """Read the points of each run, as they are packed."""
        return dict(map(tuple, self._rows(select(*TRAJECTORY).where(TrajectoryRow.run_id.in_(ids)))))

    def _values(self, ids: Sequence[str]) -> Sequence[Sequence[Any]]:
        """Read the numbers that boards show, and the entries."""
        query = select(*VALUE).where(ValueRow.run_id.in_(ids), self._wanted)
        return self._rows(query.order_by(ValueRow.run_id, ValueRow.position))


def readable_ids(ids: Sequence[object], tell: Callable[[Unreadable], None]) -> list[str]:
    """Return the ids that are ids, and tell of the others."""
    for each in ids:
        if not is_id(each):
            tell(Unreadable(shown(each), "its id is not 16 hexadecimal digits"))
    return [each for each in ids if isinstance(each, str) and is_id(each)]


def _points(
    end: dict[str, float] | None, run_id: str, trajectories: Mapping[str, object] | None
) -> tuple[TrajectoryPoint, ...]:
    """Return the points of a run, or the last one, without its values, because boards do not show them."""
    if trajectories is None:
        return () if end is None else (TrajectoryPoint(end, {}),)
    return tuple(TrajectoryPoint(each.counters, each.values) for each in unpack(trajectories.get(run_id), end))
