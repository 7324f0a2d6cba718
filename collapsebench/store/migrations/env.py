"""Run migrations on the connection that `collapsebench.store.schema` passes, inside its transaction."""

from __future__ import annotations

from alembic import context

from collapsebench.store.models import Base
from collapsebench.store.schema import VERSIONS

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, version_table=VERSIONS.name
)
context.run_migrations()
