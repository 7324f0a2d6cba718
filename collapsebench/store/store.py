"""The store writes and reads the records of runs, with one transaction a run."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from enum import Enum
from hashlib import file_digest
from pathlib import Path
from typing import Any, NamedTuple, Self, Unpack

from sqlalchemy import ColumnElement, Engine, String, Text, delete, func, select, type_coerce
from sqlalchemy.orm import Session

from collapsebench.errors import StoreError, UsageError, no_store
from collapsebench.observation import Observation, Unreadable
from collapsebench.record import Outcome, RunRecord
from collapsebench.store import connection, schema
from collapsebench.store.filters import ID_LENGTH, Filters, conditions, starts, without_id
from collapsebench.store.journal import choose_journal
from collapsebench.store.mapping import storable, to_json
from collapsebench.store.models import ArtifactRow, ProtocolRow, Run, ValueRow
from collapsebench.store.observations import Reader
from collapsebench.store.reading import engine_to_read
from collapsebench.store.records import RecordReader
from collapsebench.store.rows import (
    DAMAGE,
    OUTCOMES,
    RUN,
    RunSummary,
    chunks,
    is_id,
    reason_of,
    shown,
    tolerantly,
)
from collapsebench.store.runs import RunReader
from collapsebench.store.transactions import Claims, Database, take_turns
from collapsebench.store.writing import put

CHUNK = 500
"""The number of ids that are sent at once."""


class ProtocolSummary(NamedTuple):
    """One protocol with stored runs, and so with a leaderboard, unless they are trials."""

    protocol_id: str
    dataset: str
    track: str
    runs: int
    of_trials: bool
    """True for the trials of a tuning, which have rules in place of metrics, and so no leaderboard."""


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
    """Runs in a database. Every method raises StoreError, in one line, if the database reports an error.

    A run whose rows are damaged is left out of what is read, and noted in `unreadable`.
    """

    def __init__(self, engine: Engine) -> None:
        self._database = Database(engine)
        self._claims = Claims(engine) if engine.dialect.name == "postgresql" else None
        self._begun: set[str] = set()
        self._unreadable: dict[str, Unreadable] = {}

    @classmethod
    @contextmanager
    def open(cls, store: str | Path, *, timeout: float = 10.0, create: bool = True) -> Iterator[Self]:
        """Open a file, or the URL of a PostgreSQL database, and create or upgrade its schema.

        `timeout` is the number of seconds to wait for a locked SQLite file. Raises UsageError for a text that is
        neither, and StoreError if the store is not a database, read-only, locked, of a newer schema, or missing while
        `create` is False.
        """
        url = connection.store_url(str(store))
        if not create and not connection.exists(url):
            raise StoreError(no_store(connection.store_name(url)))
        connection.create_folder(url)
        engine = connection.connect(url, timeout)
        opened = cls(engine)
        try:
            with connection.in_one_line(url):
                schema.prepare(engine, opened._database.writing, connection.store_name(url))
                _choose_journal(engine)
            yield opened
        finally:
            opened._close()

    @classmethod
    @contextmanager
    def reading(cls, store: str | Path, *, timeout: float = 10.0) -> Iterator[Self]:
        """Open a store that exists, to read it. This needs no right to write, and writes nothing.

        An SQLite file of an older schema is upgraded in a temporary copy. Raises UsageError and StoreError as `open`.
        """
        url = connection.store_url(str(store))
        with engine_to_read(url, timeout) as engine:
            yield cls(engine)

    @property
    def unreadable(self) -> tuple[Unreadable, ...]:
        """The runs that could not be read, of all that was read so far."""
        return tuple(self._unreadable.values())

    @property
    def has_claims(self) -> bool:
        """True if the database knows who computes which run."""
        return self._claims is not None

    @contextmanager
    def claim(self, run_id: str) -> Iterator[bool]:
        """Hold a run for this driver, or yield False if another driver holds it, on this machine or another.

        Drivers of one PostgreSQL database see the claims of each other. An SQLite file has no claims: it yields True.
        """
        if self._claims is None:
            yield True
            return
        with self._claims.claim(run_id) as claimed:
            yield claimed

    def taken(self, run_ids: Iterable[str]) -> set[str]:
        """Return those of the runs that somebody holds by `claim`. Nothing is claimed meanwhile."""
        return set() if self._claims is None else self._claims.taken(run_ids)

    def begin(self, record: RunRecord) -> Written:
        """Write a run as `started`, in place of an earlier attempt without a result.

        Returns SETTLED, and writes nothing, if the store has a result of the run.
        """
        written = self._database.write(lambda session: put(session, storable(record)))
        self._begun.add(record.run_id)
        return Written.STORED if written else Written.SETTLED

    def finish(self, record: RunRecord) -> Written:
        """Write a run that has ended, in place of a row without a result.

        Returns SETTLED, and writes nothing, if another process has stored a result meanwhile. Returns DELETED, and
        writes nothing, if this store has begun the run and its row is gone: a deleted run does not come back.
        """
        clean, new = storable(record), record.run_id not in self._begun

        def write(session: Session) -> Written:
            if put(session, clean, new=new):
                return Written.STORED
            if not _has(session, clean.run_id):
                return Written.DELETED
            return Written.SETTLED if _differs(session, clean) else Written.STORED

        return self._database.write(write)

    def add(self, records: Iterable[RunRecord]) -> Added:
        """Write records of another store, all or none.

        A settled record replaces an unsettled one. Records that the store already has are skipped. Raises StoreError if
        the store has another settled record of the same run, and UsageError if the records are two of one run that
        differ.
        """
        written = skipped = 0
        seen = set[str]()
        # The records can be read only once, so that this transaction is not tried again after a restart.
        with self._database.stream(writing=True) as session, session.begin():
            take_turns(session.connection())
            for record in map(storable, records):
                if put(session, record, replace=record.outcome.settled):
                    written += 1
                elif record.outcome.settled and _differs(session, record):
                    raise _given_twice(record) if record.run_id in seen else _settled(record)
                else:
                    skipped += 1
                seen.add(record.run_id)
        return Added(written, skipped)

    def delete(self, run_ids: Iterable[str]) -> int:
        """Delete runs with all their rows, readable or not. Return the number of deleted runs."""
        ids = list(run_ids)

        def write(session: Session) -> int:
            deletions = (delete(Run).where(Run.run_id.in_(chunk)) for chunk in chunks(ids, CHUNK))
            return sum(_rows_of(session, deletion) for deletion in deletions)

        return self._database.write(write)

    def delete_without_id(self) -> int:
        """Delete the rows of runs whose id is none, which nobody can name. Return their number."""
        return self._database.write(lambda session: _rows_of(session, delete(Run).where(without_id(session))))

    def outcomes(self, run_ids: Iterable[str]) -> dict[str, Outcome]:
        """Return the outcomes of the runs, by run id. Runs that are not stored are left out."""
        stored = self._column(run_ids, type_coerce(Run.outcome, String))
        return {run_id: OUTCOMES[outcome] for run_id, outcome in stored if outcome in OUTCOMES}

    def code_of(self, run_ids: Iterable[str]) -> dict[str, dict[str, str]]:
        """Return the hashes of code of the runs, by run id. Runs without any, or that are not stored, are left out."""
        stored = self._column(run_ids, type_coerce(Run.code, Text))
        return {run_id: code for run_id, text in stored if (code := _hashes(text))}

    def resolve(self, prefix: str) -> str:
        """Return the only run id that starts with `prefix`. Raises UsageError if there is no such id, or several."""
        found: list[str] = []
        if prefix and is_id(prefix.ljust(ID_LENGTH, "0")):
            query = select(Run.run_id).where(starts(Run.run_id, prefix)).limit(5)
            found = list(filter(is_id, self._database.read(lambda session: session.scalars(query).all())))
        if not found:
            raise UsageError(f"no run {prefix!r:.40} in the store; `collapsebench runs list` shows what there is")
        if len(found) > 1:
            raise UsageError(f"run '{prefix}' is ambiguous: {', '.join(found)}")
        return found[0]

    def has(self, run_id: str) -> bool:
        """Return whether a run has exactly this id, be it one or not."""
        return self._database.read(lambda session: _has(session, run_id))

    def get(self, run_id: str) -> RunRecord:
        """Return one record, by its id or the first digits.

        Raises UsageError if there is no such run, or several, and StoreError if its rows are damaged.
        """
        record = self.look(self.resolve(run_id))
        if isinstance(record, Unreadable):
            raise StoreError(f"run {record.run_id} cannot be read: {record.reason}; `{record.removal}` removes it")
        return record

    def look(self, run_id: str) -> RunRecord | Unreadable:
        """Return the record of a stored run by its full id, or why it cannot be read."""
        return self._database.read(lambda session: RecordReader(session).one(run_id))

    def find(self, **filters: Unpack[Filters]) -> Iterator[RunRecord]:
        """Yield records in the order of their start, with a few in memory at a time."""
        chosen = conditions(filters)
        with self._database.stream() as session:
            for found in RecordReader(session).read(chosen):
                if isinstance(found, Unreadable):
                    self._note(found)
                else:
                    yield found

    def observations(
        self,
        *,
        trajectories: bool = False,
        entries: Collection[str] = (),
        left_out: list[Unreadable] | None = None,
        **filters: Unpack[Filters],
    ) -> Iterator[Observation]:
        """Yield what boards and curves read of the runs, in any order.

        An observation has the last counters, or all points if `trajectories` is True. `entries` are the columns that
        are read although boards do not show them. `left_out` gets the runs that cannot be read.
        """
        chosen = conditions(filters)

        def tell(run: Unreadable) -> None:
            self._note(run)
            if left_out is not None:
                left_out.append(run)

        with self._database.stream() as session:
            yield from Reader(session, entries, tell).read(chosen, trajectories=trajectories)

    def summaries(self, *, limit: int | None = None, offset: int = 0, **filters: Unpack[Filters]) -> list[RunSummary]:
        """Return one summary for each run, the newest first. Runs that cannot be read take places, too."""
        query = select(*RUN).where(*conditions(filters)).order_by(Run.started_at.desc(), Run.run_id.desc())
        runs = RunReader(self._rows)
        found = []
        for row in runs.rows(query.limit(limit).offset(offset)):
            try:
                facts, _ = runs.read(row)
            except DAMAGE as error:
                self._note(Unreadable(shown(row[0]), reason_of(error)))
            else:
                found.append(facts)
        return found

    def count(self, **filters: Unpack[Filters]) -> int:
        """Return the number of matching runs, readable or not."""
        query = select(func.count()).select_from(Run).where(*conditions(filters))
        return self._database.read(lambda session: session.scalar(query) or 0)

    def protocols(self, **filters: Unpack[Filters]) -> list[ProtocolSummary]:
        """Return the protocols of the matching runs, in the order of dataset and track."""
        counted = select(Run.protocol_key, func.count()).where(*conditions(filters)).group_by(Run.protocol_key)
        counts = {row[0]: row[1] for row in self._rows(counted)}
        named = (
            ProtocolRow.key,
            ProtocolRow.protocol_id,
            ProtocolRow.dataset,
            ProtocolRow.track,
            ProtocolRow.content,
        )
        rows = [
            row
            for chunk in chunks(list(filter(is_id, counts)), CHUNK)
            for row in self._rows(select(*named).where(ProtocolRow.key.in_(chunk)))
        ]
        whole = [row for row in rows if is_id(row[1]) and all(isinstance(text, str) for text in row[2:])]
        if len(whole) < len(counts):
            self.summaries(**filters)  # to note what is left out
        groups = defaultdict(list)
        for key, protocol_id, dataset, track, content in whole:
            groups[protocol_id].append((dataset, track, counts[key], _has_rules(content)))
        found = (
            ProtocolSummary(protocol_id, min(dataset), min(track), sum(count), any(of_trials))
            for protocol_id, group in groups.items()
            for dataset, track, count, of_trials in [zip(*group, strict=True)]
        )
        return sorted(found, key=lambda each: (each.dataset, each.track, each.protocol_id))

    def board_columns(self, **filters: Unpack[Filters]) -> list[tuple[str, str]]:
        """Return the columns that boards show of the runs, each as its metric and its name, in the order of these."""
        of_runs = select(ValueRow.metric, ValueRow.column).join(Run, Run.run_id == ValueRow.run_id)
        rows = self._rows(of_runs.where(ValueRow.board, *conditions(filters)).distinct())
        return sorted((metric, name) for metric, name in rows if isinstance(metric, str) and isinstance(name, str))

    def attach(self, run_id: str, name: str, path: Path) -> Artifact:
        """Store the path and the SHA-256 of a file of a stored run. They replace those of a file of the same name."""
        with path.open("rb") as file:
            artifact = Artifact(name, str(path), file_digest(file, "sha256").hexdigest(), path.stat().st_size)
        row = {"run_id": run_id, **artifact._asdict()}
        self._database.write(lambda session: session.merge(ArtifactRow(**row)))
        return artifact

    def artifacts(self, run_id: str) -> list[Artifact]:
        """Return the files of a run, in the order of their names."""
        columns = [getattr(ArtifactRow, field) for field in Artifact._fields]
        query = select(*columns).where(ArtifactRow.run_id == run_id).order_by(ArtifactRow.name)
        return [Artifact(*row) for row in self._rows(query)]

    def artifact_file(self, run_id: str, name: str, work_folder: Path | None = None) -> Path | None:
        """Return the file of an artifact, in its folder beside the store or in `work_folder`; None if the run has none.

        Only the last part of the stored location counts: the store may have moved, or come from somebody else. Raises
        StoreError for a file of another name than its run gives it, and for a link that leads out of the folder.
        """
        location = next((each.location for each in self.artifacts(run_id) if each.name == name), None)
        if location is None:
            return None
        beside = connection.companion(self._database.engine.url, name)
        folder = beside if work_folder is None else work_folder / name
        path = folder / Path(location).name
        inside = path.resolve().is_relative_to(folder.parent.resolve() / folder.name)
        if not (inside and is_id(run_id) and path.name.startswith(f"{run_id}.")):
            raise StoreError(f"the {name} of run {run_id} are not in '{folder}', but '{shown(location)}'")
        return path

    def _column(self, run_ids: Iterable[str], column: ColumnElement[Any]) -> list[tuple[str, Any]]:
        """Return the ids of the stored runs with one column, as it lies in the database."""
        ids = list(run_ids)

        def read(session: Session) -> list[tuple[str, Any]]:
            queries = (select(Run.run_id, column).where(Run.run_id.in_(chunk)) for chunk in chunks(ids, CHUNK))
            return [(row[0], row[1]) for query in queries for row in session.execute(query)]

        return self._database.read(read)

    def _rows(self, query: Any) -> Sequence[Sequence[Any]]:
        return self._database.read(lambda session: tolerantly(session, lambda: session.execute(query).all()))

    def _note(self, run: Unreadable) -> None:
        self._unreadable.setdefault(run.run_id, run)

    def _close(self) -> None:
        if self._claims is not None:
            self._claims.close()
        self._database.engine.dispose()


def _choose_journal(engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        with closing(engine.raw_connection()) as raw:
            choose_journal(raw.dbapi_connection, Path(str(engine.url.database)))  # type: ignore[arg-type]


def _has(session: Session, run_id: str) -> bool:
    return session.scalar(select(func.count()).select_from(Run).where(Run.run_id == run_id)) == 1


def _differs(session: Session, record: RunRecord) -> bool:
    """Return whether the store has another record of the run, or one that cannot be read."""
    stored = RecordReader(session).one(record.run_id)
    return isinstance(stored, Unreadable) or to_json(stored) != to_json(record)


def _settled(record: RunRecord) -> StoreError:
    return StoreError(
        f"run {record.run_id} is already stored with other content; "
        f"to replace it: collapsebench runs delete {record.run_id}"
    )


def _given_twice(record: RunRecord) -> UsageError:
    return UsageError(f"run {record.run_id} is given twice with different content: leave out one of both")


def _rows_of(session: Session, deletion: Any) -> int:
    """Delete, and return the number of rows."""
    return int(session.execute(deletion).rowcount)  # type: ignore[attr-defined]


def _has_rules(content: str) -> bool:
    """Return whether a protocol has rules by which trials are chosen. Only those have the word at all."""
    if '"selection"' not in content:
        return False
    try:
        return bool(json.loads(content)["setting"]["evaluation"].get("selection"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


def _hashes(stored: str | None) -> dict[str, str]:
    """Read the hashes of code from JSON; none from a row that is damaged."""
    try:
        content = json.loads(stored or "{}")
    except ValueError:
        return {}
    return {str(name): str(code) for name, code in content.items()} if isinstance(content, dict) else {}
