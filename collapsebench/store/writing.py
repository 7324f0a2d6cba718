"""Writes the rows of one record, in one statement a table. The database decides which of two writers came first."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, delete, func, insert, select, update
from sqlalchemy.orm import Session

from collapsebench.record import Outcome, RunRecord
from collapsebench.store.mapping import to_rows
from collapsebench.store.models import Base, ContenderRow, ProtocolRow, Run, TrajectoryRow, ValueRow
from collapsebench.store.transactions import take_turns

UNSETTLED: ColumnElement[bool] = Run.outcome.not_in([outcome for outcome in Outcome if outcome.settled])
"""The condition that a stored run has no result. A result is never replaced."""


def put(session: Session, record: RunRecord, *, new: bool = True, replace: bool = True) -> bool:
    """Write the record, and return True; or write nothing and return False.

    `new` allows a row where there is none. `replace` allows the record to take the place of a row without a result.
    """
    rows = to_rows(record)
    _share(session, ProtocolRow, rows.protocol)
    _share(session, ContenderRow, rows.contender)
    if session.scalar(_statement(session, rows.run, replace=replace) if new else _update(rows.run)) is None:
        return False
    for table, content in ((TrajectoryRow, rows.trajectory), (ValueRow, rows.values)):
        session.execute(delete(table).where(table.run_id == record.run_id))
        if content:
            session.execute(insert(table), content)
    return True


def _share(session: Session, table: type[ProtocolRow | ContenderRow], row: dict[str, Any]) -> None:
    """Write a row that runs share, unless it is there. One that is damaged is written anew.

    Processes take turns. Else two of them could wait for rows of each other. A session looks once, as it is one
    transaction.
    """
    written: set[str] = session.info.setdefault("shared", set())
    if row["key"] in written:
        return
    columns = [getattr(table, name) == value for name, value in row.items()]
    if session.scalar(select(func.count()).select_from(table).where(*columns)) == 0:
        take_turns(session.connection())
        session.execute(_upsert(session, table).values(row).on_conflict_do_update(index_elements=["key"], set_=row))
    written.add(row["key"])


def _update(run: dict[str, Any]) -> Any:
    return update(Run).where(Run.run_id == run["run_id"], UNSETTLED).values(run).returning(Run.run_id)


def _statement(session: Session, run: dict[str, Any], *, replace: bool) -> Any:
    """Insert the row or, if there is one, replace it or leave it."""
    made = _upsert(session, Run).values(run)
    if not replace:
        return made.on_conflict_do_nothing(index_elements=[Run.run_id]).returning(Run.run_id)
    kept = {"run_id"}
    changed = {name: value for name, value in run.items() if name not in kept}
    return made.on_conflict_do_update(index_elements=[Run.run_id], set_=changed, where=UNSETTLED).returning(Run.run_id)


def _upsert(session: Session, table: type[Base]) -> Any:
    """Return an insertion that may say what is done if the row is there."""
    if session.get_bind().dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as upsert
    else:
        from sqlalchemy.dialects.sqlite import insert as upsert  # type: ignore[assignment]
    return upsert(table)
