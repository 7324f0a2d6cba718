"""Protocols and contenders are stored once, and the points of a run as one compressed value.

A run that was damaged stays so, and is named as before: what cannot be read is carried over as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from alembic import op

from collapsebench.store.mapping import contender_row, protocol_row
from collapsebench.store.trajectories import compressed

revision = "0004"
down_revision = "0003"

CHUNK = 500
"""The number of runs in memory."""

RUNS = sa.table(
    "runs",
    *map(sa.column, ("run_id", "protocol_id", "dataset", "track", "budget", "contender", "spec")),
)
POINTS = sa.table("points", *map(sa.column, ("run_id", "number", "counters", "values", "selected")))
PROTOCOLS = sa.table("protocols", *map(sa.column, ("key", "protocol_id", "dataset", "track", "budget", "content")))
CONTENDERS = sa.table("contenders", *map(sa.column, ("key", "label", "content")))
TRAJECTORIES = sa.table("trajectories", sa.column("run_id"), sa.column("points", sa.LargeBinary))
SHARED = ("protocol_id", "dataset", "track", "budget", "contender", "spec")
"""The columns that become rows which runs share."""
SEED_LAST = re.compile(r'(.*)"seed": "\d+"\}', re.DOTALL)
"""A spec as it was stored: its last field is the seed."""


def upgrade() -> None:
    """Make the tables, fill them from the runs, and drop what they replace."""
    _tables()
    connection = op.get_bind()
    with _any_text(connection):
        _fill(connection)
    for index in ("protocol_id", "dataset"):
        op.drop_index(f"ix_runs_{index}", "runs")
    for column in SHARED:
        op.drop_column("runs", column)
    op.drop_table("points")
    op.create_index(None, "runs", ["protocol_key", "outcome"])


def _tables() -> None:
    op.create_table(
        "protocols",
        sa.Column("key", sa.String(16), nullable=False),
        sa.Column("protocol_id", sa.String(16), nullable=False),
        sa.Column("dataset", sa.String(100), nullable=False),
        sa.Column("track", sa.Text, nullable=False),
        sa.Column("budget", sa.Text, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index(None, "protocols", ["protocol_id"])
    op.create_index(None, "protocols", ["dataset"])
    op.create_table(
        "contenders",
        sa.Column("key", sa.String(16), nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "trajectories",
        sa.Column("run_id", sa.String(16), sa.ForeignKey("runs.run_id", ondelete="CASCADE"), nullable=False),
        sa.Column("points", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("run_id"),
    )
    for key in ("protocol_key", "contender_key"):
        op.add_column("runs", sa.Column(key, sa.String(16), nullable=False, server_default=""))
    op.add_column("runs", sa.Column("counters", sa.JSON))


@contextmanager
def _any_text(connection: sa.Connection) -> Iterator[None]:
    """Read text of SQLite that is not UTF-8, too, with a mark in place of what cannot be decoded."""
    if connection.dialect.name != "sqlite":
        yield
        return
    raw: Any = connection.connection.dbapi_connection
    raw.text_factory = lambda text: text.decode(errors="replace")
    try:
        yield
    finally:
        raw.text_factory = str


def _fill(connection: sa.Connection) -> None:
    shared = _SharedRows(connection)
    runs = [RUNS.c.run_id, *(RUNS.c[name] for name in SHARED[:-1]), sa.cast(RUNS.c.spec, sa.Text)]
    query = sa.select(*runs).order_by(RUNS.c.run_id).limit(CHUNK)
    last: Sequence[Any] = connection.execute(query).all()
    while last:
        _carry(connection, shared, last)
        last = connection.execute(query.where(RUNS.c.run_id > last[-1][0])).all()


def _carry(connection: sa.Connection, shared: _SharedRows, runs: Sequence[Sequence[Any]]) -> None:
    """Write what is new of some runs."""
    points = _points(connection, [run[0] for run in runs])
    changed = [
        {"run_id": run[0], "protocol": protocol, "contender": contender, "end": points.get(run[0], [(None,)])[-1][0]}
        for run in runs
        for protocol, contender in [shared.keys(run[1:])]
    ]
    end = "CAST(:end AS JSON)" if connection.dialect.name == "postgresql" else ":end"
    update = (
        "UPDATE runs SET protocol_key = :protocol, contender_key = :contender, counters = {} WHERE run_id = :run_id"
    )
    connection.execute(sa.text(update.format(end)), changed)
    packed = [{"run_id": run_id, "points": _packed(own)} for run_id, own in points.items()]
    if packed:
        connection.execute(sa.insert(TRAJECTORIES), packed)


def _points(connection: sa.Connection, run_ids: Sequence[Any]) -> Mapping[Any, list[tuple[str, str, Any]]]:
    """Return counters, values and selection of the points of each run, as JSON."""
    columns = (sa.cast(POINTS.c.counters, sa.Text), sa.cast(POINTS.c["values"], sa.Text), POINTS.c.selected)
    query = sa.select(POINTS.c.run_id, *columns).where(POINTS.c.run_id.in_(run_ids)).order_by(POINTS.c.number)
    found: dict[Any, list[tuple[str, str, Any]]] = {}
    for run_id, counters, values, selected in connection.execute(query):
        found.setdefault(run_id, []).append((_text(counters), _text(values), selected))
    return found


def _text(stored: Any) -> str:
    """Return JSON as it is stored, or what else is in its place as JSON that no point has."""
    return stored if isinstance(stored, str) else json.dumps(repr(stored))


def _packed(points: Sequence[tuple[str, str, Any]]) -> bytes:
    """Pack points without a look into their JSON. A point that is no JSON makes its own run unreadable."""
    texts = (
        f'{{"counters": {counters}, "values": {values}, "selected": {_flag(selected)}}}'
        for counters, values, selected in points
    )
    return compressed(f"[{', '.join(texts)}]")


def _flag(stored: Any) -> str:
    return json.dumps(bool(stored) if stored in (0, 1) else repr(stored))


class _SharedRows:
    """Writes protocols and contenders, each once."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._specs: dict[str, tuple[str, str]] = {}
        self._written: set[tuple[str, str]] = set()

    def keys(self, columns: Sequence[Any]) -> tuple[str, str]:
        """Return the keys of the protocol and the contender of a run, from its columns SHARED."""
        *_, label, spec = columns
        protocol, contender = self._parts(spec)
        named = ["" if each is None else each for each in columns[:4]]
        row = contender_row("" if label is None else label, contender)
        return self._key(PROTOCOLS, protocol_row(named, protocol)), self._key(CONTENDERS, row)

    def _parts(self, spec: Any) -> tuple[str, str]:
        """Return protocol and contender of a spec. Specs of one contender and protocol differ in their last field.

        One that does not end as a spec is damaged, and shares nothing with those that begin like it.
        """
        text = _text(spec)
        whole = SEED_LAST.fullmatch(text)
        if whole is None:
            return _split(text)
        if whole[1] not in self._specs:
            self._specs[whole[1]] = _split(text)
        return self._specs[whole[1]]

    def _key(self, table: sa.TableClause, row: dict[str, Any]) -> str:
        key: str = row["key"]
        if (table.name, key) not in self._written:
            self._connection.execute(sa.insert(table), row)
            self._written.add((table.name, key))
        return key


def _split(spec: str) -> tuple[str, str]:
    """Return protocol and contender as JSON. If it is no spec, the whole text stands for the protocol."""
    write: Callable[[Any], str] = json.dumps
    try:
        content = json.loads(spec)
        if content.keys() == {"contender", "protocol", "seed"}:
            return write(content["protocol"]), write(content["contender"])
    except (AttributeError, RecursionError, ValueError):
        pass
    return spec, "null"
