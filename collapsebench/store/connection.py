"""Turns `--store` into an engine. A plain path is an SQLite file. An error of a database becomes one line.

Two databases are known: SQLite, in a file, and PostgreSQL, by its URL. A password is never part of a message.
"""

from __future__ import annotations

import json
import re
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from collapsebench.errors import StoreError, UsageError
from collapsebench.files import DEFAULT_STORE, expanded

REASONS = {
    sqlite3.SQLITE_NOTADB: "is not an SQLite database",
    sqlite3.SQLITE_CORRUPT: "is damaged",
    sqlite3.SQLITE_READONLY: "is read-only",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: it or its folder is missing, not a file, or may not be written to",
    sqlite3.SQLITE_BUSY: "is locked by another program: try again when that has finished",
    sqlite3.SQLITE_FULL: "cannot grow: the disk is full",
    sqlite3.SQLITE_IOERR: "cannot be read or written: the disk reports an error",
    sqlite3.SQLITE_PROTOCOL: "cannot be locked: move it to a local disk, or use a PostgreSQL database",
}
"""The reasons why a store cannot be used, by SQLite's primary result code."""

NO_LOCKS = (sqlite3.SQLITE_IOERR_LOCK, sqlite3.SQLITE_IOERR_RDLOCK, sqlite3.SQLITE_IOERR_CHECKRESERVEDLOCK)
"""The extended result codes of a file system without locks."""

DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
"""The schemes of a store's URL, each with the driver that is used and tested."""

SCHEME = re.compile(r"[\w+]*:*:/|(sqlite|postgres(ql)?)(\+\w+)?:", re.IGNORECASE)
"""The beginning of a URL, also of one that is misspelled, as it may hold a password."""

EXAMPLES = "write a file, or postgresql://USER@HOST/DATABASE"

IMMEDIATE = "collapsebench_immediate"
"""The execution option of connections that write. They wait for the lock before they read."""

PATIENCE = 10
"""A server that does not answer is waited for this many seconds."""


def store_url(store: str) -> URL:
    """Return the URL of a file or of a PostgreSQL database. Raises UsageError if the text is neither."""
    if "\0" in store or not store.strip():
        raise UsageError(f"cannot read the store {store!r}: {EXAMPLES}")
    return _parsed(store) if SCHEME.match(store) else _file_url(store)


def _parsed(store: str) -> URL:
    shown = _masked(store)
    try:
        url = make_url(store)
    except (SQLAlchemyError, ValueError):
        raise UsageError(f"cannot read the store '{shown}': {EXAMPLES}") from None
    driver = DRIVERS.get(url.drivername.lower())
    if driver is None:
        raise UsageError(f"cannot open the store '{shown}': stores are SQLite or PostgreSQL; {EXAMPLES}")
    if "@" in (url.host or ""):
        raise UsageError(f"cannot read the store '{shown}': an @ in a password is written %40")
    if driver != "sqlite":
        return url.set(drivername=driver)
    if url.host or url.query or (url.database or "").startswith("file:"):
        raise UsageError(f"cannot read the store '{shown}': write the file alone, as in sqlite:///runs.sqlite")
    return _file_url(url.database or ":memory:")


def _file_url(path: str) -> URL:
    """Return the URL of a file. Raises UsageError for a database in memory, and for the folder of an unknown user."""
    if path == ":memory:":
        raise UsageError("a store in memory is gone when the command ends: write a file, as in --store runs.sqlite")
    return URL.create("sqlite", database=str(expanded(path)))


def _masked(text: str) -> str:
    """Hide whatever may be the password in a URL that cannot be read."""
    return re.sub(r"(:/+[^:@/]*):.*@", r"\1:***@", re.sub(r"(password=)[^&]*", r"\1***", text))


def connect(url: URL, timeout: float) -> Engine:
    """Return an engine that waits at most `timeout` seconds for a locked SQLite file.

    Raises StoreError if the driver of the database is not installed.
    """
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, connect_args={"timeout": timeout}, json_serializer=to_text)
        set_up(engine)
        return engine
    # A driver needs one connection, and a second one while it writes in the middle of reading.
    pool: dict[str, Any] = {"pool_pre_ping": True, "pool_size": 1, "max_overflow": 4}
    known = {"connect_timeout": PATIENCE, "application_name": "collapsebench"}
    given = {name: value for name, value in known.items() if name not in url.query}
    try:
        return create_engine(url, connect_args=given, json_serializer=to_text, **pool)
    except ImportError as error:
        raise StoreError(
            f"cannot open the store '{store_name(url)}': it needs the Python package '{error.name}': "
            "pip install 'collapsebench[postgres]'"
        ) from None


to_text = partial(json.dumps, allow_nan=False)
"""A bare NaN is not JSON. A number that may not be finite is stored with its kind."""


def exists(url: URL) -> bool:
    """Return False if the URL is that of an SQLite file that does not exist. Other databases report it themselves."""
    path = _file(url)
    return path is None or path.exists()


def inode(url: URL) -> int | None:
    """Return what tells the file of an SQLite store from another one of its name, 0 if it is gone.

    It is None for other databases.
    """
    path = _file(url)
    if path is None:
        return None
    return path.stat().st_ino if path.exists() else 0


def create_folder(url: URL) -> None:
    """Create the folder of an SQLite file. Raises StoreError if that is not possible."""
    path = _file(url)
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot create the folder of the store '{path}': {error.strerror}") from error


def companion(url: URL, what: str) -> Path:
    """Return the folder, on this machine, of the files that belong to the runs of a store, as `codes`.

    It is `FILE.checkpoints` beside an SQLite file, be it called by its path or by a link to it. For other databases it
    is in the user's cache folder, under a name made of host, port and database.
    """
    path = _file(url)
    if path is not None:
        path = path.resolve()
        return path.with_name(f"{path.name}.{what}")
    host = "localhost" if url.host in {None, "", "127.0.0.1", "::1"} else url.host
    name = sha256(f"{host}:{url.port or 5432}/{url.database}".encode()).hexdigest()[:16]
    return user_cache_path("collapsebench") / what / name


def store_name(url: URL) -> str:
    """Return the name of the store in messages: the file, or the URL without its password."""
    path = _file(url)
    if path is not None:
        return str(path)
    shown = url.difference_update_query([name for name in url.query if "password" in name])
    return shown.set(drivername="postgresql").render_as_string(hide_password=True)


def store_option(store: str) -> str:
    """Write the option of a command that names a store, without its password; nothing for the default store."""
    return "" if store == DEFAULT_STORE else f" --store {shlex.quote(store_name(store_url(store)))}"


@contextmanager
def in_one_line(url: URL) -> Iterator[None]:
    """Turn an error of the database into a StoreError of one line."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise StoreError(f"the store '{store_name(url)}' {_reason(error)}") from error


def _reason(error: Exception) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    code = getattr(cause, "sqlite_errorcode", 0)
    if code in NO_LOCKS:
        code = sqlite3.SQLITE_PROTOCOL
    return REASONS.get(code & 0xFF) or f"reports: {' '.join(str(cause).split())}"


def _file(url: URL) -> Path | None:
    return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None


def set_up(engine: Engine) -> None:
    """Set up an engine of SQLite: its connections, and how transactions begin."""
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)


def _configure(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None  # SQLAlchemy begins the transactions, not the first change
    connection.execute("PRAGMA foreign_keys = ON")


def _begin(connection: Connection) -> None:
    immediate = connection.get_execution_options().get(IMMEDIATE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
