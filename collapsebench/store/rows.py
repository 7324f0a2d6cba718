"""Reads rows as they lie in the database, and checks them one by one. A damaged row costs its own run and no other.

SQLite keeps anything in any column, and a store may have been edited or come from somebody else. So columns are
fetched without conversion, and every value is checked here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError
from sqlalchemy import Integer, String, Text, cast, type_coerce
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.types import NullType

from collapsebench.errors import CollapsebenchError
from collapsebench.estimates import Direction
from collapsebench.observation import RUN_ID, ColumnHead
from collapsebench.printable import printable
from collapsebench.record import NumberKind, Outcome
from collapsebench.store.models import Run, TrajectoryRow, ValueRow
from collapsebench.validation import describe

T = TypeVar("T")

DAMAGE = (ArithmeticError, LookupError, RecursionError, TypeError, ValueError, CollapsebenchError)
"""What the reading of a damaged row can raise."""

RUN = (
    Run.run_id,
    Run.protocol_key,
    Run.contender_key,
    Run.seed,
    type_coerce(Run.outcome, String).label("outcome"),
    Run.message,
    type_coerce(Run.started_at, String).label("started_at"),
    type_coerce(Run.finished_at, String).label("finished_at"),
    Run.parameters,
    cast(Run.environment, Text).label("environment"),
    cast(Run.code, Text).label("code"),
    cast(Run.findings, Text).label("findings"),
    cast(Run.declined, Text).label("declined"),
    cast(Run.counters, Text).label("counters"),
)
"""The columns of a run, as text where their type would convert them."""
TRAJECTORY = (TrajectoryRow.run_id, type_coerce(TrajectoryRow.points, NullType))
VALUE = (
    ValueRow.run_id,
    type_coerce(ValueRow.board, Integer),
    ValueRow.metric,
    ValueRow.column,
    ValueRow.title,
    ValueRow.unit,
    type_coerce(ValueRow.direction, String),
    type_coerce(ValueRow.kind, String),
    ValueRow.value,
    type_coerce(ValueRow.standard_error_kind, String),
    ValueRow.standard_error,
)


def shown(value: object) -> str:
    """Return what a row holds as text that a terminal only prints, at most some words of it."""
    text = printable(value if isinstance(value, str) and value else repr(value))
    return text if len(text) <= 80 else f"{text[:79]}…"


def reason_of(error: Exception) -> str:
    """Write why a row cannot be read, in one line."""
    if isinstance(error, ValidationError):
        return printable(describe(error, BaseModel, "field"))
    if isinstance(error, RecursionError):
        return "its JSON is nested too deeply"
    return printable(" ".join(str(error).split()))


def tolerantly(session: Session, fetch: Callable[[], T]) -> T:
    """Fetch rows. If a text is not UTF-8, fetch them again, with a mark in place of what cannot be decoded."""
    try:
        return fetch()
    except OperationalError as error:
        if "decode" not in str(error.orig):
            raise
        raw = session.connection().connection.dbapi_connection
        raw.text_factory = lambda text: text.decode(errors="replace")  # type: ignore[union-attr]
        return fetch()


def by_run(rows: Iterable[Sequence[Any]]) -> Mapping[str, list[Sequence[Any]]]:
    """Group rows by their first column, the id of their run."""
    found: dict[str, list[Sequence[Any]]] = {}
    for row in rows:
        found.setdefault(row[0], []).append(row)
    return found


class RunSummary(NamedTuple):
    """One line of `runs list`."""

    run_id: str
    protocol_id: str
    dataset: str
    track: str
    budget: str
    contender: str
    seed: int
    outcome: Outcome
    message: str
    started_at: datetime
    finished_at: datetime | None


OUTCOMES = {outcome.value: outcome for outcome in Outcome}


def run_facts(row: Sequence[Any]) -> RunSummary:
    """Check what a summary has, in its order. Raises ValueError with what is wrong."""
    run_id, protocol_id, dataset, track, budget, contender, seed, outcome, message, started, finished = row
    for name, id_ in (("id", run_id), ("protocol", protocol_id)):
        if not is_id(id_):
            raise ValueError(f"its {name} is {shown(id_)}, not 16 hexadecimal digits")
    texts = {"dataset": dataset, "track": track, "budget": budget, "contender": contender, "message": message}
    for name, text in texts.items():
        if type(text) is not str:
            raise ValueError(f"its {name} is {shown(text)}")
    if type(seed) is not int or not 0 <= seed < 2**63:
        raise ValueError(f"its seed is {shown(seed)}")
    if outcome not in OUTCOMES:
        raise ValueError(f"its outcome is {shown(outcome)}")
    return RunSummary(
        run_id,
        protocol_id,
        dataset,
        track,
        budget,
        contender,
        seed,
        OUTCOMES[outcome],
        message,
        _time("start", started),
        None if finished is None else _time("end", finished),
    )


def is_id(text: object) -> bool:
    """Return whether this is the id of a run or a protocol."""
    return isinstance(text, str) and RUN_ID.fullmatch(text) is not None


def _time(what: str, text: object) -> datetime:
    try:
        time = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise ValueError(f"its {what} is {shown(text)}, not a time with a zone")
    return time


def parsed(name: str, text: object) -> Any:
    """Return the content of JSON. Raises ValueError, with the name, for what is no JSON."""
    if not isinstance(text, str):
        raise ValueError(f"its {name} is {shown(text)}")  # noqa: TRY004 - the row is wrong, not a call
    try:
        return json.loads(text)
    except ValueError:
        raise ValueError(f"its {name} is not JSON") from None


class ColumnHeads(dict[tuple[str, str, str, str, str], ColumnHead]):
    """The heads of columns. Equal heads are one object in all runs, and are checked once."""

    def __missing__(self, key: tuple[str, str, str, str, str]) -> ColumnHead:
        if not all(isinstance(text, str) for text in key):
            raise ValueError(f"the head of a column is {', '.join(map(shown, key))}")
        metric, column, title, unit, direction = key
        if direction not in list(Direction):
            raise ValueError(f"the direction of '{column}' is {shown(direction)}")
        self[key] = head = ColumnHead(metric, column, title, unit, Direction(direction))
        return head


def number(kind: object, value: object) -> float:
    """Return a number by its kind. Raises ValueError if the two contradict each other."""
    if kind == NumberKind.FINITE and type(value) in {float, int} and math.isfinite(value):  # type: ignore[arg-type]
        return float(value)  # type: ignore[arg-type]
    if kind in list(NumberKind) and kind != NumberKind.FINITE and value is None:
        return float(str(kind))
    raise ValueError(f"a number of it is {shown(kind)} {shown(value)}")


def standard_error(kind: object, value: object) -> float | None:
    """Return a standard error, or None if there is none. Raises ValueError if kind and value contradict each other."""
    return None if kind is None and value is None else number(kind, value)


def flag(name: str, value: object) -> bool:
    """Return a truth value. Raises ValueError for any other."""
    if value not in (0, 1):
        raise ValueError(f"{name} is {shown(value)}")
    return bool(value)


def counters(content: object) -> dict[str, float]:
    """Return the counters of a point. Raises ValueError if one is not a finite number, or negative."""
    counted = _object("counters", content)
    for name, count in counted.items():
        if type(count) not in {float, int} or not 0 <= count < math.inf:
            raise ValueError(f"its counter {shown(name)} is {shown(count)}")
    return {name: float(count) for name, count in counted.items()}


def point_values(content: object) -> dict[str, float]:
    """Return the values of a point. Raises one of DAMAGE if one is not a number."""
    return {name: number(stored["kind"], stored["value"]) for name, stored in _object("point", content).items()}


def _object(name: str, content: object) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise ValueError(f"its {name} is {shown(content)}")  # noqa: TRY004 - the row is wrong, not a call
    return content


def chunks(names: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Cut names into parts of at most `size`."""
    return (names[start : start + size] for start in range(0, len(names), size))
