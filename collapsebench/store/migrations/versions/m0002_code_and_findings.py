"""The code of a run's components, and what the guards found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the two columns, empty for the runs that are stored."""
    op.add_column("runs", sa.Column("code", sa.JSON, nullable=False, server_default="{}"))
    op.add_column("runs", sa.Column("findings", sa.JSON, nullable=False, server_default="[]"))
