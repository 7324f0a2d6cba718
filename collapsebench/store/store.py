"""The store writes and reads the records of runs, with one transaction a run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import Enum
from hashlib import file_digest
from pathlib import Path
from typing import NamedTuple, Self, TypedDict, Unpack

from sqlalchemy import ColumnElement, Engine, Select, delete, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session, selectinload

from collapsebench.errors import StoreError, UsageError, no_store
from collapsebench.observation import Observation
from collapsebench.record import Outcome, RunRecord
from collapsebench.store import connection, schema
from collapsebench.store.mapping import to_json, to_record
from collapsebench.store.models import ArtifactRow, Run
from collapsebench.store.observations import Reader
from collapsebench.store.writing import put
from collapsebench.syntax import canonical

ID_LENGTH = 16
CHUNK = 500
"""The number of rows that are read, or of names that are sent, at once."""


class Filters(TypedDict, total=False):
    """The conditions that choose runs. A condition that is left out or None matches all runs."""

    dataset: str | None
    track: str | None
    """`quick` means all settings of that track. `quick[decoder.layers=3]` means one setting."""
    protocol: str | None
    """A protocol id or its first digits."""
    contender: str | None
    outcome: Outcome | None


class RunSummary(NamedTuple):
    """One line of `runs list`."""

    run_id: str
    protocol_id: str
    dataset: str
    track: str
    budget: str
    contender: str
    seed: int
    outcome: Outcome
    message: str
    started_at: datetime
    finished_at: datetime | None


class ProtocolSummary(NamedTuple):
    """One protocol with stored runs, and so with a leaderboard."""

    protocol_id: str
    dataset: str
    track: str
    runs: int


class Artifact(NamedTuple):
    """A file that a run has written. `size` is in bytes."""

    name: str
    location: str
    sha256: str
    size: int


class Written(Enum):
    """The result of `Store.begin` and `Store.finish`. The first settled record of a run wins."""

    STORED = "stored"
    """The record is in the store."""
    SETTLED = "settled"
    """Another process has stored a result of the run. Nothing was written; `Store.get` returns that result."""
    DELETED = "deleted"
    """The run was deleted since this store began it. Nothing was written."""


class Added(NamedTuple):
    """The result of `Store.add`: the number of runs written, and of runs that the store already had."""

    written: int
    skipped: int


class Store:
    """Runs in a database. Every method raises StoreError, in one line, if the database reports an error."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._begun: set[str] = set()
        self._writing = engine.execution_options(**{connection.IMMEDIATE: True})

    @classmethod
    @contextmanager
    def open(cls, store: str | Path, *, timeout: float = 10.0, create: bool = True) -> Iterator[Self]:
        """Open a file or SQLAlchemy URL, and create or upgrade its schema.

        `timeout` is the number of seconds to wait for a locked SQLite file. Raises StoreError if the store is not a
        database, read-only, locked, of a newer schema, or missing while `create` is False.
        """
        url = connection.store_url(str(store))
        if not create and not connection.exists(url):
            raise StoreError(no_store(connection.store_name(url)))
        connection.create_folder(url)
        engine = connection.connect(url, timeout)
        opened = cls(engine)
        try:
            with connection.in_one_line(url):
                schema.prepare(engine, opened._writing, connection.store_name(url))
            yield opened
        finally:
            engine.dispose()

    def begin(self, record: RunRecord) -> Written:
        """Write a run as `started`, in place of an earlier attempt without a result.

        Returns SETTLED, and writes nothing, if the store has a result of the run.
        """
        with self._write() as session:
            written = Written.STORED if put(session, record) else Written.SETTLED
        self._begun.add(record.run_id)
        return written

    def finish(self, record: RunRecord) -> Written:
        """Write a run that has ended, in place of a row without a result.

        Returns SETTLED, and writes nothing, if another process has stored a result meanwhile. Returns DELETED, and
        writes nothing, if this store has begun the run and its row is gone: a deleted run does not come back.
        """
        with self._write() as session:
            if put(session, record, new=record.run_id not in self._begun):
                return Written.STORED
            stored = stored_record(session, record.run_id)
            if stored is None:
                return Written.DELETED
            return Written.STORED if to_json(stored) == to_json(record) else Written.SETTLED

    def add(self, records: Iterable[RunRecord]) -> Added:
        """Write records of another store, all or none.

        A settled record replaces an unsettled one. Records that the store already has are skipped. Raises StoreError if
        the store has another settled record of the same run.
        """
        written = skipped = 0
        with self._write() as session:
            for record in records:
                if put(session, record, replace=record.outcome.settled):
                    written += 1
                elif record.outcome.settled and _differs(stored_record(session, record.run_id), record):
                    raise _settled(record)
                else:
                    skipped += 1
        return Added(written, skipped)

    def delete(self, run_ids: Iterable[str]) -> int:
        """Delete runs with all their rows. Return the number of deleted runs."""
        with self._write() as session:
            chunks = _chunks(list(run_ids))
            deletions = (delete(Run).where(Run.run_id.in_(chunk)).returning(Run.run_id) for chunk in chunks)
            return sum(len(session.scalars(deletion).all()) for deletion in deletions)

    def outcomes(self, run_ids: Iterable[str]) -> dict[str, Outcome]:
        """Return the outcomes of the runs, by run id. Runs that are not stored are left out."""
        with self._read() as session:
            rows = (
                session.execute(select(Run.run_id, Run.outcome).where(Run.run_id.in_(chunk)))
                for chunk in _chunks(list(run_ids))
            )
            return {run_id: outcome for chunk in rows for run_id, outcome in chunk}

    def resolve(self, prefix: str) -> str:
        """Return the only run id that starts with `prefix`. Raises UsageError if there is no such id, or several."""
        with self._read() as session:
            found = session.scalars(select(Run.run_id).where(_starts(Run.run_id, prefix)).limit(5)).all()
        if not found:
            raise UsageError(f"no run '{prefix}' in the store; `collapsebench runs list` shows what there is")
        if len(found) > 1:
            raise UsageError(f"run '{prefix}' is ambiguous: {', '.join(found)}")
        return found[0]

    def get(self, run_id: str) -> RunRecord:
        """Return one record, by its id or the first digits. Raises UsageError if there is no such run, or several."""
        full = self.resolve(run_id)
        with self._read() as session:
            return to_record(session.scalars(_loaded().where(Run.run_id == full)).one())

    def find(self, **filters: Unpack[Filters]) -> Iterator[RunRecord]:
        """Yield records in the order of their start, with a few in memory at a time."""
        query = _loaded().where(*_conditions(filters)).order_by(Run.started_at, Run.run_id)
        with self._read() as session:
            for rows in session.scalars(query.execution_options(yield_per=CHUNK // 5)).partitions():
                yield from map(to_record, rows)

    def observations(
        self, *, trajectories: bool = False, entries: Collection[str] = (), **filters: Unpack[Filters]
    ) -> Iterator[Observation]:
        """Yield what boards and curves read of the runs, in any order.

        An observation has the last counters, or all points if `trajectories` is True. `entries` are the columns that
        are read although boards do not show them. Raises StoreError if this version cannot read the spec of a contender
        or protocol.
        """
        with self._read() as session:
            yield from Reader(session, entries).read(_conditions(filters), trajectories=trajectories)

    def summaries(self, *, limit: int | None = None, offset: int = 0, **filters: Unpack[Filters]) -> list[RunSummary]:
        """Return one summary for each run, the newest first."""
        columns = [getattr(Run, field) for field in RunSummary._fields]
        query = select(*columns).where(*_conditions(filters)).order_by(Run.started_at.desc(), Run.run_id.desc())
        with self._read() as session:
            return [RunSummary(*row) for row in session.execute(query.limit(limit).offset(offset))]

    def count(self, **filters: Unpack[Filters]) -> int:
        """Return the number of matching runs."""
        with self._read() as session:
            return session.scalar(select(func.count()).select_from(Run).where(*_conditions(filters))) or 0

    def protocols(self, **filters: Unpack[Filters]) -> list[ProtocolSummary]:
        """Return the protocols of the matching runs, in the order of dataset and track."""
        dataset, track = func.min(Run.dataset), func.min(Run.track)
        query = select(Run.protocol_id, dataset, track, func.count()).where(*_conditions(filters))
        with self._read() as session:
            rows = session.execute(query.group_by(Run.protocol_id).order_by(dataset, track, Run.protocol_id))
            return [ProtocolSummary(*row) for row in rows]

    def attach(self, run_id: str, name: str, path: Path) -> Artifact:
        """Store the path and the SHA-256 of a file of a stored run. They replace those of a file of the same name."""
        with path.open("rb") as file:
            artifact = Artifact(name, str(path), file_digest(file, "sha256").hexdigest(), path.stat().st_size)
        with self._write() as session:
            session.merge(ArtifactRow(run_id=run_id, **artifact._asdict()))
        return artifact

    def artifacts(self, run_id: str) -> list[Artifact]:
        """Return the files of a run, in the order of their names."""
        columns = [getattr(ArtifactRow, field) for field in Artifact._fields]
        with self._read() as session:
            rows = session.execute(select(*columns).where(ArtifactRow.run_id == run_id).order_by(ArtifactRow.name))
            return [Artifact(*row) for row in rows]

    @contextmanager
    def _read(self) -> Iterator[Session]:
        with connection.in_one_line(self._engine.url), Session(self._engine) as session:
            yield session

    @contextmanager
    def _write(self) -> Iterator[Session]:
        with connection.in_one_line(self._engine.url), Session(self._writing) as session, session.begin():
            yield session


def stored_record(session: Session, run_id: str) -> RunRecord | None:
    """Return the record as it is stored now; None if there is none."""
    query = _loaded().where(Run.run_id == run_id).execution_options(populate_existing=True)
    row = session.scalar(query)
    return None if row is None else to_record(row)


def _differs(stored: RunRecord | None, record: RunRecord) -> bool:
    return stored is None or to_json(stored) != to_json(record)


def _settled(record: RunRecord) -> StoreError:
    return StoreError(
        f"run {record.run_id} is already stored with other content; "
        f"to replace it: collapsebench runs delete {record.run_id}"
    )


def _loaded() -> Select[Run]:
    return select(Run).options(selectinload(Run.points), selectinload(Run.values))


def _conditions(filters: Filters) -> list[ColumnElement[bool]]:
    dataset, track, protocol = filters.get("dataset"), filters.get("track"), filters.get("protocol")
    contender, outcome = filters.get("contender"), filters.get("outcome")
    conditions = []
    if dataset is not None:
        conditions.append(Run.dataset == dataset)
    if track is not None:
        conditions.append(or_(Run.track == track, Run.track.startswith(f"{track}[", autoescape=True)))
    if protocol is not None:
        conditions.append(_starts(Run.protocol_id, protocol))
    if contender is not None:
        conditions.append(Run.contender == canonical(contender))
    if outcome is not None:
        conditions.append(Run.outcome == outcome)
    return conditions


def _starts(column: InstrumentedAttribute[str], prefix: str) -> ColumnElement[bool]:
    """Return the condition that a hexadecimal id starts with `prefix`.

    It is a range, because an index can answer it. "g" comes after every digit.
    """
    return column == prefix if len(prefix) == ID_LENGTH else column.between(prefix, f"{prefix}g")


def _chunks(names: Sequence[str]) -> Iterator[Sequence[str]]:
    return (names[start : start + CHUNK] for start in range(0, len(names), CHUNK))
