"""The schema of a store: created new, upgraded by Alembic, refused if a newer version of collapsebench wrote it."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine, column, inspect, select, table

from collapsebench.errors import StoreError

MIGRATIONS = Path(__file__).with_name("migrations")
HEAD = "0001"
"""The newest version in MIGRATIONS, written here so that a store that has it opens without loading Alembic."""

VERSIONS = "collapsebench_version"
"""The table of one row in which Alembic keeps the version."""


def prepare(reading: Engine, writing: Engine, name: str) -> None:
    """Bring the store to HEAD in one transaction; a store that has it is only read.

    Raises StoreError if its version is unknown, or if it is a database of something else.
    """
    with reading.connect() as connection:
        if version(connection, name) == HEAD:
            return
    with writing.begin() as connection:
        migrate(connection, version(connection, name), name)


def version(connection: Connection, name: str) -> str | None:
    """The version of the store, None if it is empty."""
    tables = inspect(connection).get_table_names()
    if VERSIONS in tables:
        found: str | None = connection.scalar(select(column("version_num")).select_from(table(VERSIONS)))
        return found
    if tables:
        raise StoreError(f"'{name}' is not a store of collapsebench: it has other tables ({', '.join(sorted(tables))})")
    return None


def migrate(connection: Connection, since: str | None, name: str) -> None:
    """Run every migration after `since`. Raises StoreError if no migration is called `since`."""
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if since is not None and since not in known:
        raise StoreError(
            f"the store '{name}' has schema {since}, newer than the {HEAD} this collapsebench knows: "
            "pip install --upgrade collapsebench"
        )
    command.upgrade(config, "head")
