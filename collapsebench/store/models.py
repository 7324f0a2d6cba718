"""The tables: runs with what they share, and the trajectory, metric values and artifacts of each run.

Times are UTC, durations seconds.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Dialect,
    Enum,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import Double, TypeDecorator, TypeEngine, UserDefinedType

from collapsebench.estimates import Direction
from collapsebench.record import NumberKind, Outcome


class Untyped(UserDefinedType[float]):
    """A column of SQLite without a type. A REAL column would keep small whole numbers as integers and lose -0.0."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Return no type."""
        return ""


class UTCTime(TypeDecorator[datetime]):
    """An instant as ISO 8601 text in UTC, to the microsecond. The text sorts by time in every database."""

    impl = String(32)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        """Write the time in UTC. Raises ValueError for a time without a zone."""
        del dialect
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a stored time needs a time zone, got {value.isoformat()}")
        return value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:
        """Read back the same instant."""
        del dialect
        return None if value is None else datetime.fromisoformat(value)


def _words(enum: type[StrEnum]) -> Enum:
    return Enum(enum, values_callable=lambda members: [m.value for m in members], native_enum=False, length=16)


EXACT: TypeEngine[float] = Double().with_variant(Untyped(), "sqlite")


class Base(DeclarativeBase):
    """The base of all tables. It gives constraints predictable names, so that migrations can change them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class ProtocolRow(Base):
    """A protocol under one name of its track. Runs share it."""

    __tablename__ = "protocols"

    key: Mapped[str] = mapped_column(String(16), primary_key=True)
    """The hash of the other columns: two names of a track, or two orders of keys in the JSON, are two rows."""
    protocol_id: Mapped[str] = mapped_column(String(16), index=True)
    dataset: Mapped[str] = mapped_column(String(100), index=True)
    track: Mapped[str] = mapped_column(Text)
    budget: Mapped[str] = mapped_column(Text)
    content: Mapped[str] = mapped_column(Text)
    """The protocol as JSON."""


class ContenderRow(Base):
    """A contender under one label. Runs share it."""

    __tablename__ = "contenders"

    key: Mapped[str] = mapped_column(String(16), primary_key=True)
    """The hash of the other columns."""
    label: Mapped[str] = mapped_column(Text)
    content: Mapped[str] = mapped_column(Text)
    """The contender as JSON."""


class Run(Base):
    """One run: what it shares with others, its seed, its outcome, and the environment that it ran in.

    No constraint says that its protocol and its contender are there: rows that are shared are never deleted.
    """

    __tablename__ = "runs"
    __table_args__ = (Index(None, "started_at", "run_id"), Index(None, "protocol_key", "outcome"))

    run_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    protocol_key: Mapped[str] = mapped_column(String(16), server_default="")
    contender_key: Mapped[str] = mapped_column(String(16), server_default="")
    seed: Mapped[int] = mapped_column(BigInteger)
    outcome: Mapped[Outcome] = mapped_column(_words(Outcome))
    message: Mapped[str] = mapped_column(Text)
    traceback: Mapped[str] = mapped_column(Text)
    started_at: Mapped[datetime] = mapped_column(UTCTime)
    finished_at: Mapped[datetime | None] = mapped_column(UTCTime)
    environment: Mapped[dict[str, Any]] = mapped_column(JSON)
    parameters: Mapped[int] = mapped_column(BigInteger)
    code: Mapped[dict[str, str]] = mapped_column(JSON, server_default="{}")
    findings: Mapped[list[dict[str, str]]] = mapped_column(JSON, server_default="[]")
    declined: Mapped[list[dict[str, str]]] = mapped_column(JSON, server_default="[]")
    counters: Mapped[dict[str, float] | None] = mapped_column(JSON(none_as_null=True))
    """Those of the last point, for boards; none before the first point."""


def _run_key() -> Mapped[str]:
    return mapped_column(ForeignKey("runs.run_id", ondelete="CASCADE"), primary_key=True)


class TrajectoryRow(Base):
    """All points of one run, as `trajectories.pack` makes one value of them."""

    __tablename__ = "trajectories"

    run_id: Mapped[str] = _run_key()
    points: Mapped[bytes] = mapped_column(LargeBinary)


class ValueRow(Base):
    """One column of one metric. SQL cannot hold NaN and infinities: they are in `kind`."""

    __tablename__ = "metric_values"
    __table_args__ = (
        CheckConstraint("(kind = 'finite') = (value IS NOT NULL)", "value"),
        CheckConstraint(
            "coalesce(standard_error_kind = 'finite', FALSE) = (standard_error IS NOT NULL)", "standard_error"
        ),
        {"sqlite_with_rowid": False},
    )

    run_id: Mapped[str] = _run_key()
    metric: Mapped[str] = mapped_column(String(100), primary_key=True)
    column: Mapped[str] = mapped_column(String(100), primary_key=True)
    position: Mapped[int]
    kind: Mapped[NumberKind] = mapped_column(_words(NumberKind))
    value: Mapped[float | None] = mapped_column(EXACT)
    standard_error_kind: Mapped[NumberKind | None] = mapped_column(_words(NumberKind))
    standard_error: Mapped[float | None] = mapped_column(EXACT)
    unit: Mapped[str] = mapped_column(Text)
    title: Mapped[str] = mapped_column(Text)
    direction: Mapped[Direction] = mapped_column(_words(Direction))
    board: Mapped[bool]


class ArtifactRow(Base):
    """A file that a run has written."""

    __tablename__ = "artifacts"

    run_id: Mapped[str] = _run_key()
    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    location: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(BigInteger)
    """The size in bytes."""
