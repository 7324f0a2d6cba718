"""The schema of a store: created new, upgraded by Alembic, refused if a newer version of collapsebench wrote it."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    insert,
    inspect,
    select,
)

from collapsebench.errors import StoreError
from collapsebench.store.models import Base

MIGRATIONS = Path(__file__).with_name("migrations")
HEAD = "0001"
"""The newest version in MIGRATIONS, written here so that a store that has it, or a new one, opens without Alembic."""

VERSIONS = Table(
    "collapsebench_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="collapsebench_version_pkc"),
)
"""The table of one row in which Alembic keeps the version, as it makes it."""


def prepare(reading: Engine, writing: Engine, name: str) -> None:
    """Bring the store to HEAD in one transaction: a new one at once, an older one by migrations.

    Raises StoreError if its version is unknown, or if it is a database of something else.
    """
    with reading.connect() as connection:
        if version(connection, name) == HEAD:
            return
    with writing.begin() as connection:
        since = version(connection, name)
        if since is None:
            create(connection)
        else:
            migrate(connection, since, name)


def version(connection: Connection, name: str) -> str | None:
    """The version of the store, None if it is empty."""
    tables = inspect(connection).get_table_names()
    if VERSIONS.name in tables:
        return connection.scalar(select(VERSIONS.c.version_num))
    if tables:
        raise StoreError(f"'{name}' is not a store of collapsebench: it has other tables ({', '.join(sorted(tables))})")
    return None


def create(connection: Connection) -> None:
    """Make all tables as they are at HEAD: what every migration after nothing comes to, without loading Alembic."""
    Base.metadata.create_all(connection)
    VERSIONS.create(connection)
    connection.execute(insert(VERSIONS).values(version_num=HEAD))


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
