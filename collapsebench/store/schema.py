"""Creates the schema of a store, or upgrades it with Alembic. The schema of a newer collapsebench is refused."""

from __future__ import annotations

import re
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
from sqlalchemy.exc import OperationalError

from collapsebench.errors import StoreError
from collapsebench.store.models import Base
from collapsebench.store.transactions import take_turns

MIGRATIONS = Path(__file__).with_name("migrations")
HEAD = "0004"
"""The newest version in MIGRATIONS. It is written here so that a new or current store opens without Alembic."""

IN_THE_WAY = re.compile(r"^error in (view|index|trigger) (.*) after drop column")
"""What SQLite says if a column is needed by what a user has added."""

VERSIONS = Table(
    "collapsebench_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="collapsebench_version_pkc"),
)
"""The table of one row in which Alembic keeps the version. It equals the one that Alembic makes."""


def prepare(reading: Engine, writing: Engine, name: str) -> None:
    """Bring the store to HEAD in one transaction. A new store is created at HEAD, and an older one is migrated.

    Raises StoreError if its version is unknown, or if the database belongs to another program.
    """
    with reading.connect() as connection:
        if version(connection, name) == HEAD:
            return
    with writing.begin() as connection:
        take_turns(connection)
        since = version(connection, name)
        if since == HEAD:  # another process was faster
            return
        if since is None:
            create(connection)
        else:
            migrate(connection, since, name)


def version(connection: Connection, name: str) -> str | None:
    """Return the version of the store; None if the database is empty. Raises StoreError if it has other tables."""
    tables = inspect(connection).get_table_names()
    if VERSIONS.name in tables:
        return connection.scalar(select(VERSIONS.c.version_num))
    if tables:
        raise StoreError(f"'{name}' is not a store of collapsebench: it has other tables ({', '.join(sorted(tables))})")
    return None


def create(connection: Connection) -> None:
    """Create all tables as they are at HEAD. All migrations together make the same, but need Alembic."""
    Base.metadata.create_all(connection)
    VERSIONS.create(connection)
    connection.execute(insert(VERSIONS).values(version_num=HEAD))


def migrate(connection: Connection, since: str | None, name: str) -> None:
    """Run every migration after `since`. Raises StoreError if no migration is called `since`.

    A view or an index of the user's may need a column that goes. Then nothing is changed, and StoreError says so.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    revisions = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if since is not None and since not in revisions:
        raise StoreError(
            f"the store '{name}' has schema {since}, newer than the {HEAD} this collapsebench knows: "
            "pip install --upgrade collapsebench"
        )
    try:
        command.upgrade(config, "head")
    except OperationalError as error:
        added = IN_THE_WAY.search(str(error.orig))
        if added is None:
            raise
        kind, of_user = added.groups()
        raise StoreError(
            f"the store '{name}' cannot be upgraded while it has the {kind} '{of_user}' of yours: "
            f'`DROP {kind.upper()} "{of_user}"` in it, and make it anew afterwards'
        ) from error
