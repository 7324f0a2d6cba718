"""The conditions that choose runs, as a user writes them and as the database reads them."""

from __future__ import annotations

from typing import TypedDict

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from collapsebench.record import Outcome
from collapsebench.store.models import ContenderRow, ProtocolRow, Run
from collapsebench.syntax import canonical

ID_LENGTH = 16


class Filters(TypedDict, total=False):
    """The conditions that choose runs. A condition that is left out or None matches all runs."""

    dataset: str | None
    track: str | None
    """`quick` means all settings of that track. `quick[decoder.layers=3]` means one setting."""
    protocol: str | None
    """A protocol id or its first digits."""
    contender: str | None
    outcome: Outcome | None


def without_id(session: Session) -> ColumnElement[bool]:
    """Return the condition that the id of a row is none. SQLite may have anything in its place."""
    if session.get_bind().dialect.name == "postgresql":
        return Run.run_id.op("!~")("^[0-9a-f]{16}$")
    other = func.typeof(Run.run_id) != "text"
    return or_(other, func.length(Run.run_id) != ID_LENGTH, Run.run_id.op("GLOB")("*[^0-9a-f]*"))


def conditions(filters: Filters) -> list[ColumnElement[bool]]:
    """Return the conditions that a run must meet."""
    dataset, track, protocol = filters.get("dataset"), filters.get("track"), filters.get("protocol")
    contender, outcome = filters.get("contender"), filters.get("outcome")
    found: list[ColumnElement[bool]] = []
    shared: list[ColumnElement[bool]] = []
    if dataset is not None:
        shared.append(ProtocolRow.dataset == dataset)
    if track is not None:
        shared.append(or_(ProtocolRow.track == track, ProtocolRow.track.startswith(f"{track}[", autoescape=True)))
    if protocol is not None:
        shared.append(starts(ProtocolRow.protocol_id, protocol))
    if shared:
        found.append(Run.protocol_key.in_(select(ProtocolRow.key).where(*shared)))
    if contender is not None:
        labelled = select(ContenderRow.key).where(ContenderRow.label == canonical(contender))
        found.append(Run.contender_key.in_(labelled))
    if outcome is not None:
        found.append(Run.outcome == outcome)
    return found


def starts(column: InstrumentedAttribute[str], prefix: str) -> ColumnElement[bool]:
    """Return the condition that a hexadecimal id starts with `prefix`.

    It is a range, because an index can answer it. "g" comes after every digit.
    """
    return column == prefix if len(prefix) == ID_LENGTH else column.between(prefix, f"{prefix}g")
