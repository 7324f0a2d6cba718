"""The columns that mean nothing for a run's contender."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column, empty for the runs that are stored."""
    op.add_column("runs", sa.Column("declined", sa.JSON, nullable=False, server_default="[]"))
