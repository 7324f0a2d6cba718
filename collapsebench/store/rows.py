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

from pydantic import BaseModel, TypeAdapter, ValidationError
from sqlalchemy import Integer, String, Text, cast, literal, type_coerce
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from collapsebench.errors import CollapsebenchError
from collapsebench.estimates import Direction
from collapsebench.observation import RUN_ID, ColumnHead
from collapsebench.printable import printable
from collapsebench.record import DeclinedColumn, Finding, NumberKind, Outcome
from collapsebench.spec import RunSpec, identity
from collapsebench.store.labels import contradictions, with_labels
from collapsebench.store.models import PointRow, Run, ValueRow
from collapsebench.validation import describe

T = TypeVar("T")

DAMAGE = (ArithmeticError, LookupError, RecursionError, TypeError, ValueError, CollapsebenchError)
"""What the reading of a damaged row can raise."""

SUMMARY = (
    Run.run_id,
    Run.protocol_id,
    Run.dataset,
    Run.track,
    Run.budget,
    Run.contender,
    Run.seed,
    type_coerce(Run.outcome, String).label("outcome"),
    Run.message,
    type_coerce(Run.started_at, String).label("started_at"),
    type_coerce(Run.finished_at, String).label("finished_at"),
)
RUN = (
    *SUMMARY,
    Run.parameters,
    cast(Run.spec, Text).label("spec"),
    cast(Run.environment, Text).label("environment"),
    cast(Run.code, Text).label("code"),
    cast(Run.findings, Text).label("findings"),
    cast(Run.declined, Text).label("declined"),
)
"""The columns of a run, as text where their type would convert them."""
POINT = (
    PointRow.run_id,
    cast(PointRow.counters, Text),
    cast(PointRow.values, Text),
    type_coerce(PointRow.selected, Integer),
)
END = (PointRow.run_id, cast(PointRow.counters, Text), literal("{}"), type_coerce(PointRow.selected, Integer))
"""The columns of a point, the second one without its values."""
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

CODE = TypeAdapter(dict[str, str])
FINDINGS = TypeAdapter(tuple[Finding, ...])
DECLINED = TypeAdapter(tuple[DeclinedColumn, ...])


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
    """One line of `runs list`: the checked columns of SUMMARY, in their order."""

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
    """Check the columns of SUMMARY. Raises ValueError with what is wrong."""
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


class RunDetails(NamedTuple):
    """The checked columns of a run that SUMMARY does not have."""

    parameters: int
    spec: RunSpec
    """The spec of the run, but perhaps with the seed of another run of its contender."""
    contender_id: str
    environment: dict[str, Any]
    environment_text: str
    """The environment as JSON with sorted keys."""
    code: dict[str, str]
    findings: tuple[Finding, ...]
    declined: tuple[DeclinedColumn, ...]


class DetailReader:
    """Checks the columns of runs beside SUMMARY. What runs share is parsed once."""

    def __init__(self) -> None:
        self._specs: dict[tuple[str, ...], tuple[RunSpec, str]] = {}
        self._environments: dict[str, tuple[dict[str, Any], str]] = {}
        self._codes: dict[str, dict[str, str]] = {}
        self._findings: dict[str, tuple[Finding, ...]] = {}
        self._declined: dict[str, tuple[DeclinedColumn, ...]] = {}

    def read(self, facts: RunSummary, columns: Sequence[Any]) -> RunDetails:
        """Check the columns of RUN behind those of SUMMARY. Raises one of DAMAGE with what is wrong."""
        parameters, *texts = columns
        if type(parameters) is not int or not 0 <= parameters < 2**63:
            raise ValueError(f"its parameters are {shown(parameters)}")
        for name, text in zip(("spec", "environment", "code", "findings", "declined"), texts, strict=True):
            if type(text) is not str:
                raise ValueError(f"its {name} is {shown(text)}")
        spec, environment, code, findings, declined = texts
        own_environment, text = _kept(self._environments, environment, _environment)
        parsed, contender_id = self._spec(facts, spec, own_environment)
        return RunDetails(
            parameters,
            parsed,
            contender_id,
            own_environment,
            text,
            _kept(self._codes, code, lambda text: CODE.validate_python(_json("code", text))),
            _kept(self._findings, findings, lambda text: FINDINGS.validate_python(_json("findings", text))),
            _kept(self._declined, declined, lambda text: DECLINED.validate_python(_json("declined", text))),
        )

    def _spec(self, facts: RunSummary, text: str, environment: Mapping[str, Any]) -> tuple[RunSpec, str]:
        """Parse a spec. Runs of one contender and protocol differ only in the seed, which their specs end with."""
        shared, seed = _without_seed(text)
        if seed is not None and seed != facts.seed:
            raise ValueError(f"its seed is {facts.seed}, but its spec gives {seed}")
        key = (shared, facts.protocol_id, facts.track, facts.contender, facts.dataset, facts.budget)
        if key not in self._specs:
            spec = with_labels(_validated(text, environment), facts.contender, facts.track)
            _agree(facts, spec)
            self._specs[key] = (spec, identity(spec.contender))
        return self._specs[key]


def _without_seed(text: str) -> tuple[str, int | None]:
    before, key, after = text.rpartition('"seed": "')
    seed = after.removesuffix('"}')
    return (before, int(seed)) if key and seed != after and seed.isdecimal() and len(seed) < 20 else (text, None)


def _validated(text: str, environment: Mapping[str, Any]) -> RunSpec:
    content = _json("spec", text)
    try:
        return RunSpec.model_validate(content)
    except ValidationError as error:
        writer = shown(environment.get("collapsebench", "of an unknown version"))
        mistake = describe(error, RunSpec, "field")
        raise ValueError(
            f"it was stored by collapsebench {writer} with a spec that this version cannot read: {mistake}"
        ) from None


def _agree(facts: RunSummary, spec: RunSpec) -> None:
    """Raise ValueError if columns of a run contradict its spec."""
    protocol = spec.protocol
    stated = {
        "protocol": (facts.protocol_id, protocol.protocol_id),
        "dataset": (facts.dataset, protocol.dataset.name),
        "budget": (facts.budget, str(protocol.budget)),
    }
    for name, got, expected in contradictions(stated, spec, facts.contender, facts.track):
        raise ValueError(f"its {name} is '{got}', but its spec gives '{expected}'")


def _environment(text: str) -> tuple[dict[str, Any], str]:
    content = _json("environment", text)
    if not isinstance(content, dict):
        raise ValueError(f"its environment is {shown(content)}")  # noqa: TRY004 - the row is wrong, not a call
    return content, json.dumps(content, sort_keys=True)


def _kept(cache: dict[str, T], text: str, make: Callable[[str], T]) -> T:
    if text not in cache:
        cache[text] = make(text)
    return cache[text]


def _json(name: str, text: str) -> Any:
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


def counters(text: str) -> dict[str, float]:
    """Return the counters of a point. Raises ValueError if one is not a finite number, or negative."""
    content = _object("counters", text)
    for name, count in content.items():
        if type(count) not in {float, int} or not 0 <= count < math.inf:
            raise ValueError(f"its counter {shown(name)} is {shown(count)}")
    return {name: float(count) for name, count in content.items()}


def point_values(text: str) -> dict[str, float]:
    """Return the values of a point. Raises ValueError or LookupError if one is not a number."""
    return {name: number(stored["kind"], stored["value"]) for name, stored in _object("point", text).items()}


def _object(name: str, text: str) -> dict[str, Any]:
    content = _json(name, text) if isinstance(text, str) else text
    if not isinstance(content, dict):
        raise ValueError(f"its {name} is {shown(content)}")  # noqa: TRY004 - the row is wrong, not a call
    return content


def chunks(names: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Cut names into parts of at most `size`."""
    return (names[start : start + size] for start in range(0, len(names), size))
