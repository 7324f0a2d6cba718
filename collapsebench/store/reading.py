"""Opens a store to read it. This writes nothing: not the journal mode, not the schema, and no file beside the store.

A store can be read without the right to write it or its folder, and on a medium that nobody can write to.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, Engine, create_engine, event

from collapsebench.errors import StoreError, no_store
from collapsebench.store import connection, schema


@contextmanager
def engine_to_read(url: URL, timeout: float) -> Iterator[Engine]:
    """Yield an engine that reads the store as if its schema were the newest.

    Raises StoreError if there is no store, if it cannot be read, or if its schema is newer.
    """
    if url.get_backend_name() == "sqlite":
        with _engine_of_file(url, Path(str(url.database)), timeout) as engine:
            yield engine
        return
    engine = connection.connect(url, timeout)
    try:
        with connection.in_one_line(url):
            _bring_up_to_date(engine, connection.store_name(url))
        yield engine
    finally:
        engine.dispose()


def _bring_up_to_date(engine: Engine, name: str) -> None:
    """Upgrade an older database. One without tables is no store yet, and stays without."""
    with engine.connect() as opened:
        since = schema.version(opened, name)
    if since is None:
        raise StoreError(no_store(name))
    schema.prepare(engine, engine, name)


@contextmanager
def _engine_of_file(url: URL, path: Path, timeout: float) -> Iterator[Engine]:
    if not path.exists():
        raise StoreError(no_store(connection.store_name(url)))
    with _readable(url, path) as address:
        engine = _engine(url, address, timeout)
        try:
            with connection.in_one_line(url):
                since = _version(engine, connection.store_name(url))
            if since == schema.HEAD:
                yield engine
            else:
                with _upgraded(url, address, timeout) as copy:
                    yield copy
        finally:
            engine.dispose()


def _version(engine: Engine, name: str) -> str | None:
    with engine.connect() as opened:
        return schema.version(opened, name)


@contextmanager
def _readable(url: URL, path: Path) -> Iterator[str]:
    """Yield the address, for SQLite, at which the file can be read.

    A file that nobody writes and that cannot be written is opened as immutable, as SQLite could not make the files by
    which it shares a write-ahead log. What a writer that died has left beside such a file is read in a copy.
    """
    log, shared, journal = (path.with_name(f"{path.name}-{end}") for end in ("wal", "shm", "journal"))
    left = [each for each in (log, journal) if each.exists() and each.stat().st_size]
    if log in left and shared.exists():
        yield _address(path, "mode=ro")
    elif _may_write(path):
        yield _address(path, "mode=rw")
    elif not left:
        yield _address(path, "mode=ro&immutable=1")
    else:
        with _temporary_folder(url) as folder, connection.in_one_line(url):
            for each in (path, *left):
                shutil.copyfile(each, folder / each.name)
            yield _address(folder / path.name, "mode=rw")


def _may_write(path: Path) -> bool:
    """Return whether this process may write the file, and make others beside it."""
    own = os.access in os.supports_effective_ids
    return all(os.access(each, os.W_OK, effective_ids=own) for each in (path, path.resolve().parent))


def _address(path: Path, how: str) -> str:
    return f"file:{quote(str(path.absolute()))}?{how}"


def _engine(url: URL, address: str, timeout: float) -> Engine:
    """Return an engine whose connections cannot write."""

    def opened() -> sqlite3.Connection:
        return sqlite3.connect(address, timeout=timeout, uri=True, check_same_thread=False)

    engine = create_engine(url, creator=opened, json_serializer=connection.to_text)
    event.listen(engine, "connect", _only_read)
    connection.set_up(engine)
    return engine


def _only_read(opened: sqlite3.Connection, _: object) -> None:
    opened.execute("PRAGMA query_only = ON")


@contextmanager
def _upgraded(url: URL, address: str, timeout: float) -> Iterator[Engine]:
    """Yield an engine of a copy with the newest schema. The copy is a temporary file, as a store may be large."""
    with _temporary_folder(url) as folder, connection.in_one_line(url):
        path = folder / "upgraded.sqlite"
        with (
            closing(sqlite3.connect(path)) as copy,
            closing(sqlite3.connect(address, uri=True, timeout=timeout)) as source,
        ):
            source.backup(copy)
        upgrading = connection.connect(connection.store_url(str(path)), timeout)
        event.listen(upgrading, "connect", _without_safety)
        schema.prepare(upgrading, upgrading, connection.store_name(url))
        upgrading.dispose()
        engine = _engine(url, _address(path, "mode=ro"), timeout)
        try:
            yield engine
        finally:
            engine.dispose()


def _without_safety(opened: sqlite3.Connection, _: object) -> None:
    """Write a file that nobody needs after a crash."""
    opened.execute("PRAGMA journal_mode = OFF")
    opened.execute("PRAGMA synchronous = OFF")


@contextmanager
def _temporary_folder(url: URL) -> Iterator[Path]:
    """Yield a folder that is gone at the end. Raises StoreError if none can be made."""
    try:
        made = tempfile.TemporaryDirectory(prefix="collapsebench-")
    except OSError as error:
        name = connection.store_name(url)
        raise StoreError(
            f"the store '{name}' is read in a copy, for which there is no folder: {error.strerror}"
        ) from error
    with made as folder:
        yield Path(folder)
