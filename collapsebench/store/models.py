"""The tables: runs, and the points, metric values and artifacts of each run. Times are UTC, durations seconds."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, Dialect, Enum, ForeignKey, Index, MetaData, String, Text
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


class Run(Base):
    """One run: its identity, its outcome, and the environment that it ran in."""

    __tablename__ = "runs"
    __table_args__ = (Index(None, "started_at", "run_id"),)

    run_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    protocol_id: Mapped[str] = mapped_column(String(16), index=True)
    dataset: Mapped[str] = mapped_column(String(100), index=True)
    track: Mapped[str] = mapped_column(Text)
    contender: Mapped[str] = mapped_column(Text)
    seed: Mapped[int] = mapped_column(BigInteger)
    budget: Mapped[str] = mapped_column(Text)
    spec: Mapped[dict[str, Any]] = mapped_column(JSON)
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


def _run_key() -> Mapped[str]:
    return mapped_column(ForeignKey("runs.run_id", ondelete="CASCADE"), primary_key=True)


class PointRow(Base):
    """One scheduled evaluation.

    Counters and values are JSON objects. Rows of single counters would be twelve times as many, and a query can read
    one counter of an object (`PointRow.counters["seconds"].as_float()`).
    """

    __tablename__ = "points"

    run_id: Mapped[str] = _run_key()
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    counters: Mapped[dict[str, Any]] = mapped_column(JSON)
    values: Mapped[dict[str, Any]] = mapped_column(JSON)
    selected: Mapped[bool]


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
