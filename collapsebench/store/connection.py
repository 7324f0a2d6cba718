"""Turns `--store` into an engine. A plain path is an SQLite file. An error of a database becomes one line."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path

from platformdirs import user_cache_path
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from collapsebench.errors import StoreError

REASONS = {
    sqlite3.SQLITE_NOTADB: "is not an SQLite database",
    sqlite3.SQLITE_CORRUPT: "is damaged",
    sqlite3.SQLITE_READONLY: "is read-only",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: it or its folder is missing, not a file, or may not be written to",
    sqlite3.SQLITE_BUSY: "is locked by another program: try again when that has finished",
    sqlite3.SQLITE_FULL: "cannot grow: the disk is full",
    sqlite3.SQLITE_IOERR: "cannot be read or written: the disk reports an error",
}
"""The reasons why a store cannot be used, by SQLite's primary result code."""

IMMEDIATE = "collapsebench_immediate"
"""The execution option of connections that write. They wait for the lock before they read."""


def store_url(store: str) -> URL:
    """Return the URL of a file or of a database that SQLAlchemy knows. Raises StoreError if the text is neither."""
    if "://" not in store:
        return URL.create("sqlite", database=str(Path(store).expanduser()))
    try:
        return make_url(store)
    except ArgumentError:
        raise StoreError(f"cannot read the store '{store}': write a file, or a URL as sqlite:///runs.sqlite") from None


def connect(url: URL, timeout: float) -> Engine:
    """Return an engine that waits at most `timeout` seconds for a locked SQLite file.

    Raises StoreError for a database that SQLAlchemy does not know, or whose driver is not installed.
    """
    name = store_name(url)
    sqlite = url.get_backend_name() == "sqlite"
    arguments = {"timeout": timeout} if sqlite else {}
    try:
        # A bare NaN is not JSON. A number that may not be finite is stored with its kind.
        engine = create_engine(url, connect_args=arguments, json_serializer=partial(json.dumps, allow_nan=False))
    except NoSuchModuleError:
        raise StoreError(f"cannot open the store '{name}': SQLAlchemy has no '{url.drivername}' database") from None
    except ImportError as error:
        raise StoreError(f"cannot open the store '{name}': it needs the Python package '{error.name}'") from None
    if sqlite:
        event.listen(engine, "connect", _configure)
        event.listen(engine, "begin", _begin)
    return engine


def exists(url: URL) -> bool:
    """Return False if the URL is that of an SQLite file that does not exist. Other databases report it themselves."""
    path = _file(url)
    return path is None or path.exists()


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
    """Return the folder, on this machine, of the files that belong to the runs of a store: `checkpoints`, `codes`.

    It is `FILE.checkpoints` beside an SQLite file, and in the user's cache folder for other databases.
    """
    path = _file(url)
    if path is not None:
        return path.with_name(f"{path.name}.{what}")
    name = sha256(url.render_as_string(hide_password=True).encode()).hexdigest()[:16]
    return user_cache_path("collapsebench") / what / name


def store_name(url: URL) -> str:
    """Return the name of the store in messages: the file, or the URL without its password."""
    path = _file(url)
    return url.render_as_string(hide_password=True) if path is None else str(path)


@contextmanager
def in_one_line(url: URL) -> Iterator[None]:
    """Turn an error of the database into a StoreError of one line."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise StoreError(f"the store '{store_name(url)}' {_reason(error)}") from error


def _reason(error: Exception) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    return REASONS.get(code) or f"reports: {' '.join(str(cause).split())}"


def _file(url: URL) -> Path | None:
    local = url.get_backend_name() == "sqlite" and url.database not in {None, "", ":memory:"}
    return Path(str(url.database)) if local and not str(url.database).startswith("file:") else None


def _configure(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None  # SQLAlchemy begins the transactions, not the first change
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA journal_mode = WAL")


def _begin(connection: Connection) -> None:
    immediate = connection.get_execution_options().get(IMMEDIATE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
