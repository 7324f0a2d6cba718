"""The stores of older schemas that are kept in `stores/`."""

from __future__ import annotations

import gzip
from pathlib import Path

from sqlalchemy import Connection, MetaData, Table, create_engine, text

from collapsebench.store import connection, schema

STORES = Path(__file__).parent / "stores"


def unpacked(version: str, name: str) -> bytes:
    """Return a file that a version has left."""
    return gzip.decompress((STORES / version / f"{name}.gz").read_bytes())


def fill(database: str, version: str, folder: Path) -> None:
    """Make the schema of a version in an empty PostgreSQL database, and copy the rows of its kept store."""
    from alembic import command
    from alembic.config import Config

    kept = folder / f"{version}.sqlite"
    kept.write_bytes(unpacked(version, "runs.sqlite"))
    source, target = create_engine(f"sqlite:///{kept}"), connection.connect(connection.store_url(database), 10.0)
    with source.connect() as reading, target.begin() as writing:
        config = Config(attributes={"connection": writing})
        config.set_main_option("script_location", str(schema.MIGRATIONS).replace("%", "%%"))
        command.upgrade(config, version)
        tables = MetaData()
        tables.reflect(writing)
        for table in tables.sorted_tables:
            if table.name != schema.VERSIONS.name:
                _copy(reading, writing, table)
    source.dispose()
    target.dispose()


def _copy(reading: Connection, writing: Connection, table: Table) -> None:
    """Copy a table as it lies there: JSON is text, and truth values are numbers in SQLite."""
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    values = ", ".join(f"CAST(CAST(:{column.name} AS TEXT) AS {column.type})" for column in table.columns)
    rows = [dict(row) for row in reading.exec_driver_sql(f'SELECT {names} FROM "{table.name}"').mappings()]  # noqa: S608
    if rows:
        writing.execute(text(f'INSERT INTO "{table.name}" ({names}) VALUES ({values})'), rows)  # noqa: S608
