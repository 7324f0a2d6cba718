"""Transactions of a store, and the claims by which one driver at a time computes a run.

A server may be restarted while a grid runs. A transaction that fails for that is tried once more as soon as the server
answers. Writes may be tried again, as the first settled record of a run wins.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Connection, Engine, func, select, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session

from collapsebench.store.connection import IMMEDIATE, in_one_line

T = TypeVar("T")

RESTART = 30.0
"""A server that has answered before is waited for this many seconds."""

PAUSE = 0.2
"""Seconds between two attempts to reach a server."""

GONE = ("08", "57P")
"""The classes of SQLSTATE that mean a lost connection, and a server that stops or starts."""

ONE_WRITER = (1129270354, 1)
"""The key of the lock for what must not be done by two processes at once: making tables, and imports."""


HOLDERS = text(
    "SELECT classid::bigint << 32 | objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 "
    "AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
"""Asks for the keys of the claims that are held. The server shows a key as its two halves."""


class Database:
    """Opens the transactions of one engine. An error of the database becomes one line."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.writing = engine.execution_options(**{IMMEDIATE: True})

    def read(self, work: Callable[[Session], T]) -> T:
        """Return the result of some work in a transaction that only reads."""
        return again_after_restart(self.engine, lambda: self._in_transaction(self.engine, work))

    def write(self, work: Callable[[Session], T]) -> T:
        """Return the result of some work in a transaction that writes. It is rolled back if the work fails."""
        return again_after_restart(self.engine, lambda: self._in_transaction(self.writing, work))

    @contextmanager
    def stream(self, *, writing: bool = False) -> Iterator[Session]:
        """Open a session for as long as its user takes. It is not opened again after a restart."""
        with in_one_line(self.engine.url), Session(self.writing if writing else self.engine) as session:
            yield session

    def _in_transaction(self, engine: Engine, work: Callable[[Session], T]) -> T:
        with Session(engine) as session, session.begin():
            return work(session)


def again_after_restart(engine: Engine, call: Callable[[], T]) -> T:
    """Call, and call once more if the server went away meanwhile. Raises StoreError for what the database reports."""
    with in_one_line(engine.url):
        try:
            return call()
        except DBAPIError as error:
            if not _went_away(engine, error):
                raise
            _await_server(engine)
            return call()


def take_turns(connection: Connection) -> None:
    """Wait for other processes that hold ONE_WRITER, until the end of the transaction. SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(*ONE_WRITER)))


def _went_away(engine: Engine, error: DBAPIError) -> bool:
    if engine.dialect.name != "postgresql":
        return False
    state = getattr(error.orig, "sqlstate", None)
    return error.connection_invalidated or (
        isinstance(error, OperationalError) and (state is None or state.startswith(GONE))
    )


def _await_server(engine: Engine) -> None:
    """Wait until a connection can be made. Raises the error of the last attempt."""
    deadline = time.monotonic() + RESTART
    while True:
        try:
            with engine.connect():
                return
        except OperationalError:
            if time.monotonic() > deadline:
                raise
        time.sleep(PAUSE)


class Claims:
    """Advisory locks of PostgreSQL, one a run, all held on one connection.

    The server gives a claim back when the connection ends, whatever ends it. A restart of the server ends it, too; the
    claims that are still held are then taken again with the next one, if no other driver was faster.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None
        self._held: set[str] = set()

    @contextmanager
    def claim(self, run_id: str) -> Iterator[bool]:
        """Hold a run, or yield False if it is held already, here or elsewhere."""
        if run_id in self._held or not again_after_restart(self._engine, lambda: self._lock(run_id)):
            yield False
            return
        self._held.add(run_id)
        try:
            yield True
        finally:
            self._held.discard(run_id)
            again_after_restart(self._engine, lambda: self._unlock(run_id))

    def taken(self, run_ids: Iterable[str]) -> set[str]:
        """Return those of the runs that somebody holds."""

        def read() -> set[int]:
            with self._engine.connect() as connection:
                return set(connection.scalars(HOLDERS))

        held = again_after_restart(self._engine, read)
        return {run_id for run_id in run_ids if _key(run_id) in held}

    def close(self) -> None:
        """Give all claims back."""
        if self._connection is not None:
            self._connection.invalidate()  # a lock outlives a connection that goes back to its pool
            self._connection.close()
            self._connection = None

    def _lock(self, run_id: str) -> bool:
        return bool(self._connected().scalar(select(func.pg_try_advisory_lock(_key(run_id)))))

    def _unlock(self, run_id: str) -> None:
        self._connected().execute(select(func.pg_advisory_unlock(_key(run_id))))

    def _connected(self) -> Connection:
        """Return the connection of the claims, a new one if there is none or if it has gone."""
        if self._connection is not None and (self._connection.closed or self._connection.invalidated):
            self.close()
        if self._connection is None:
            self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            for run_id in self._held:
                self._lock(run_id)
        return self._connection


def _key(run_id: str) -> int:
    """Return the id as the signed integer that a lock is named by."""
    return int(run_id, 16) - 2**63
