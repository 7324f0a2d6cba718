"""Runs, points, metric values and artifacts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from collapsebench.store.models import EXACT

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    _runs()
    _points()
    _metric_values()
    _artifacts()


def _runs() -> None:
    op.create_table(
        "runs",
        sa.Column("run_id", sa.String(16), nullable=False),
        sa.Column("protocol_id", sa.String(16), nullable=False),
        sa.Column("dataset", sa.String(100), nullable=False),
        sa.Column("track", sa.Text, nullable=False),
        sa.Column("contender", sa.Text, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("budget", sa.Text, nullable=False),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("traceback", sa.Text, nullable=False),
        sa.Column("started_at", sa.String(32), nullable=False),
        sa.Column("finished_at", sa.String(32)),
        sa.Column("environment", sa.JSON, nullable=False),
        sa.Column("parameters", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("run_id"),
    )
    op.create_index(None, "runs", ["protocol_id"])
    op.create_index(None, "runs", ["dataset"])
    op.create_index(None, "runs", ["started_at", "run_id"])


def _points() -> None:
    op.create_table(
        "points",
        _run_id(),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("counters", sa.JSON, nullable=False),
        sa.Column("values", sa.JSON, nullable=False),
        sa.Column("selected", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "number"),
    )


def _metric_values() -> None:
    op.create_table(
        "metric_values",
        _run_id(),
        sa.Column("metric", sa.String(100), nullable=False),
        sa.Column("column", sa.String(100), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("value", EXACT),
        sa.Column("standard_error_kind", sa.String(16)),
        sa.Column("standard_error", EXACT),
        sa.Column("unit", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("direction", sa.String(16), nullable=False),
        sa.Column("board", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "metric", "column"),
        sa.CheckConstraint("(kind = 'finite') = (value IS NOT NULL)", "value"),
        sa.CheckConstraint(
            "coalesce(standard_error_kind = 'finite', FALSE) = (standard_error IS NOT NULL)", "standard_error"
        ),
        sqlite_with_rowid=False,
    )


def _artifacts() -> None:
    op.create_table(
        "artifacts",
        _run_id(),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("location", sa.Text, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "name"),
    )


def _run_id() -> sa.Column[str]:
    return sa.Column("run_id", sa.String(16), sa.ForeignKey("runs.run_id", ondelete="CASCADE"), nullable=False)
