"""Reads whole records, each with its points and values, and checks every row of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from collapsebench.observation import Unreadable
from collapsebench.record import RunRecord
from collapsebench.store.mapping import to_record
from collapsebench.store.models import Run, TrajectoryRow, ValueRow
from collapsebench.store.rows import (
    DAMAGE,
    RUN,
    TRAJECTORY,
    VALUE,
    by_run,
    chunks,
    is_id,
    reason_of,
    shown,
    tolerantly,
)
from collapsebench.store.runs import RunReader

CHUNK = 100
"""The number of records in memory."""


class RecordReader:
    """Reads records in one session. A run that cannot be read is handed out as what is wrong with it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._runs = RunReader(self._rows)

    def one(self, run_id: str) -> RunRecord | Unreadable:
        """Return one run that is stored."""
        return next(self._chunk([run_id]), Unreadable(run_id, "it was deleted meanwhile"))

    def read(self, conditions: Sequence[ColumnElement[bool]]) -> Iterator[RunRecord | Unreadable]:
        """Yield the runs that meet the conditions, in the order of their start."""
        query = select(Run.run_id).where(*conditions).order_by(Run.started_at, Run.run_id)
        for chunk in chunks([row[0] for row in self._rows(query)], CHUNK):
            yield from self._chunk(chunk)

    def _chunk(self, ids: Sequence[Any]) -> Iterator[RunRecord | Unreadable]:
        known = [each for each in ids if is_id(each)]
        runs = by_run(self._runs.rows(select(*RUN, Run.traceback).where(Run.run_id.in_(known))))
        points = dict(map(tuple, self._rows(select(*TRAJECTORY).where(TrajectoryRow.run_id.in_(known)))))
        values = by_run(self._rows(select(*VALUE).where(ValueRow.run_id.in_(known)).order_by(ValueRow.position)))
        for each in ids:
            if not is_id(each):
                yield Unreadable(shown(each), "its id is not 16 hexadecimal digits")
            elif each in runs:  # it may have been deleted meanwhile
                yield self._record(runs[each][0], points.get(each), values.get(each, ()))

    def _record(self, run: Sequence[Any], points: object, values: Sequence[Sequence[Any]]) -> RunRecord | Unreadable:
        try:
            facts, details = self._runs.read(run)
            return to_record(facts, details, run[-1], points, values)
        except DAMAGE as error:
            return Unreadable(run[0], reason_of(error))

    def _rows(self, query: Any) -> Sequence[Sequence[Any]]:
        return tolerantly(self._session, lambda: self._session.execute(query).all())
