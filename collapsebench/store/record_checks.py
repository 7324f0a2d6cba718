"""The checks of a record that comes from elsewhere: it agrees with itself, and boards can compute with all of it.

A record is data. Nothing here imports or calls what a record names.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from collapsebench.errors import UsageError
from collapsebench.observation import Observation
from collapsebench.plausibility import ENTRIES, checker
from collapsebench.record import DeclinedColumn, Point, RunRecord, Value
from collapsebench.spec import Choice
from collapsebench.store.labels import contradictions, label_of
from collapsebench.store.mapping import UNSTORABLE
from collapsebench.store.rows import shown
from collapsebench.syntax import NAME

DEEPEST = 64
"""The parts of a record are nested less deeply than this."""

LARGEST = 2**63
"""A database keeps whole numbers below this."""

SHORT = 100
"""The number of characters of names, titles and units."""

COUNTER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,40}")
"""The names of counters."""

LINES = frozenset({"message", "traceback"})
"""The fields that may have several lines."""


def read_json(line: bytes) -> dict[str, Any]:
    """Return the object of one line. Raises UsageError for what is no JSON, or no value that a store can keep."""
    try:
        content = json.loads(
            line.decode(),
            parse_constant=_refuse,
            parse_float=_finite,
            parse_int=_whole,
            object_pairs_hook=_without_doubles,
        )
    except ValueError as error:
        raise UsageError(f"it is not JSON ({error}), and so no run as `collapsebench runs export` writes it") from error
    except RecursionError:
        raise UsageError("it is nested too deeply") from None
    if not isinstance(content, dict):
        raise UsageError("it is not a run as `collapsebench runs export` writes it")
    for field, value in content.items():
        _check_texts(value, DEEPEST, several=field in LINES)
    return content


def _refuse(constant: str) -> None:
    raise UsageError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    if not math.isfinite(float(text)):
        raise UsageError(f"the number {text:.40} is too large")
    return float(text)


def _whole(text: str) -> int:
    if len(text) > len(str(LARGEST)) + 1 or not -LARGEST <= int(text) < LARGEST:
        raise UsageError(f"the number {text:.40} is too large")
    return int(text)


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise UsageError(f"{shown(next(name for name in names if names.count(name) > 1))} is given twice")
    return content


def _check_texts(value: Any, depth: int, *, several: bool = False) -> None:
    """Raise UsageError for a text that a terminal obeys or that no database keeps, and for JSON that is too deep."""
    if depth == 0:
        raise UsageError("it is nested too deeply")
    if isinstance(value, str):
        found = UNSTORABLE.search(value if several else value.replace("\n", "\0").replace("\t", "\0"))
        if found is not None:
            raise UsageError(f"the text {shown(value)} has a control character or half a character")
    elif isinstance(value, dict | list):
        for inner in value:
            _check_texts(inner, depth - 1)
        for inner in value.values() if isinstance(value, dict) else ():
            _check_texts(inner, depth - 1)


def check_record(record: RunRecord) -> None:
    """Raise UsageError, with the reason, if the record contradicts itself, or if a board could not show it."""
    for mistake in _mistakes(record):
        raise UsageError(mistake)
    try:
        checker(record.spec.protocol)(Observation.of(record, ENTRIES))
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise UsageError(f"no board can compute with it ({error})") from error


def _mistakes(record: RunRecord) -> Iterator[str]:
    spec = record.spec
    stated = {
        "run_id": (record.run_id, spec.run_id),
        "protocol_id": (record.protocol_id, spec.protocol.protocol_id),
        "contender": (record.contender, label_of(spec.contender)),
        "track": (record.track, spec.protocol.track_label),
    }
    for field, got, expected in contradictions(stated):
        yield f"its {field} is '{got}', but its spec gives '{expected}'"
    yield from _names(record)
    times = [time for time in (record.started_at, record.finished_at) if time is not None]
    if any(time.tzinfo is None for time in times):
        yield "its times have no time zone"
    elif not all(map(_in_calendar, times)):
        yield "its times lie outside of the calendar"
    if record.parameters >= LARGEST:
        yield f"its {record.parameters} parameters are too many"
    if spec.protocol.of_trials and (record.values or record.declined):
        yield "it is a trial, which rules choose without a look at the test split, and it has values of that"
    yield from _values(record.values)
    yield from _declined(record.declined, record.values)
    yield from _points(record.points)


def _in_calendar(time: datetime) -> bool:
    """Return whether a time can be told in UTC: the years 1 and 9999 may end too early for a time zone."""
    try:
        time.astimezone(UTC)
    except OverflowError:
        return False
    return True


def _names(record: RunRecord) -> Iterator[str]:
    protocol, setting = record.spec.protocol, record.spec.protocol.setting
    parts: Iterable[Choice] = (
        protocol.dataset,
        *record.spec.contender.methods,
        *(setting.encoder, setting.decoder, setting.posterior, setting.initialization),
        *setting.evaluation.metrics,
    )
    metrics = (*(value.metric for value in record.values), *(each.metric for each in record.declined))
    for name in (*(part.name for part in parts), *metrics):
        if NAME.fullmatch(name) is None or len(name) > SHORT:
            yield f"{shown(name)} is no name of a component"


def _values(values: Iterable[Value]) -> Iterator[str]:
    seen = set[tuple[str, str]]()
    for value in values:
        where = f"'{value.metric}' '{shown(value.column)}'"
        if (value.metric, value.column) in seen:
            yield "it has two values of one metric and column"
        seen.add((value.metric, value.column))
        if not value.column:
            yield f"a value of '{value.metric}' has no column"
        if max(map(len, (value.column, value.title, value.unit))) > SHORT:
            yield f"the column, title and unit of {where} have at most {SHORT} characters"
        error = None if value.standard_error is None else float(value.standard_error)
        if error is not None and (error < 0 or math.isinf(error)):
            yield f"the standard error of {where} is {error}"
        if value.column in ENTRIES:
            yield from _entry(value.column, float(value.estimate))


def _declined(declined: Iterable[DeclinedColumn], values: Iterable[Value]) -> Iterator[str]:
    seen = {(value.metric, value.column) for value in values}
    for each in declined:
        if (each.metric, each.column) in seen:
            yield f"it declines '{each.metric}' '{shown(each.column)}' twice, or beside a value"
        seen.add((each.metric, each.column))
        if not 0 < len(each.column) <= SHORT:
            yield f"a declined column of '{each.metric}' has 1 to {SHORT} characters"


def _entry(column: str, number: float) -> Iterator[str]:
    """Check the entries that the rules of plausibility count with."""
    if not 0 < number < math.inf or (column.endswith("examples") and number != int(number)):
        yield f"its {column} are {number:g}"


def _points(points: Sequence[Point]) -> Iterator[str]:
    before: dict[str, float] = {}
    for number, point in enumerate(points, start=1):
        for name, count in point.counters.items():
            if COUNTER.fullmatch(name) is None:
                yield f"{shown(name)} is no name of a counter"
            if not 0 <= count < math.inf:
                yield f"the counter {name} of point {number} is {count}"
            if count < before.get(name, 0):
                yield f"the counter {name} goes back from {before[name]:g} to {count:g} at point {number}"
        if "steps" in before and point.counters.get("steps") == before["steps"]:
            yield f"points {number - 1} and {number} are both of step {before['steps']:g}"
        if before and before.keys() != point.counters.keys():
            yield f"points {number - 1} and {number} have different counters"
        before |= point.counters
    if sum(point.selected for point in points) > 1:
        yield "it has two selected points"
