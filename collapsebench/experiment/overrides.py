"""The overrides of a track: what `--set` says is applied to the table of the track, in the order of the texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel

from collapsebench.errors import UsageError
from collapsebench.spec import Setting
from collapsebench.syntax import Call, ParameterValue, parse_composition, parse_setting

NAMED = tuple(
    name
    for name, field in Setting.model_fields.items()
    if isinstance(field.annotation, type)
    and issubclass(field.annotation, BaseModel)
    and "name" in field.annotation.model_fields
)
"""The parts of a setting that are chosen by name and have parameters: `decoder=mlp[layers=2]`."""


METRICS = "evaluation.metrics"
"""The setting that is a list of such names: `evaluation.metrics=[kl,iw-nll[samples=20]]`."""


class _Override(NamedTuple):
    """One text of `--set`: a value, the name of a part with its parameters, or the names of metrics with theirs."""

    path: str
    value: ParameterValue
    params: Mapping[str, ParameterValue] | None = None
    """The parameters of what is chosen by name, by dotted path; None for a value."""

    @classmethod
    def read(cls, text: str) -> _Override:
        path, value = parse_setting(text)
        if path in NAMED and isinstance(value, str):
            calls = parse_composition(value) if "[" in value else [Call(value, {})]
            value = calls[0] if len(calls) == 1 else value
        if isinstance(value, Call):
            return cls._part(path, value)
        if not isinstance(value, list):
            return cls(path, value)
        names = [each.name if isinstance(each, Call) else each for each in value]
        calls = [each for each in value if isinstance(each, Call)]
        return cls._metrics(path, names, calls) if calls else cls(path, names)

    @classmethod
    def _part(cls, path: str, call: Call) -> _Override:
        if path not in NAMED:
            raise UsageError(f"setting '{path}' is no name with parameters; these are: {', '.join(NAMED)}")
        if "name" in call.params:
            raise UsageError(f"setting '{path}' has two names: '{call.name}' and '{call.params['name']}'")
        return cls(path, call.name, call.params)

    @classmethod
    def _metrics(cls, path: str, names: list[ParameterValue], calls: Iterable[Call]) -> _Override:
        if path != METRICS:
            raise UsageError(f"setting '{path}' is no list of names with parameters; {METRICS} is one")
        distinct("metric", tuple(names))
        return cls(path, names, {f"{call.name}.{key}": value for call in calls for key, value in call.params.items()})

    @property
    def values(self) -> dict[str, ParameterValue]:
        """The values that it sets, by dotted path: those of the parameters come after the name."""
        return {self.path: self.value, **{f"{self.path}.{key}": value for key, value in (self.params or {}).items()}}


def overridden(table: dict[str, Any], texts: Iterable[str]) -> tuple[dict[str, Any], dict[str, ParameterValue]]:
    """Return the table of a track with its settings replaced, and those that change something, by dotted path.

    A part that is chosen by name loses the parameters that the track gives it. Raises UsageError for a setting that is
    given twice, and for one that a later choice of a whole part would undo.
    """
    changed: dict[str, ParameterValue] = {}
    given: list[str] = []
    for override in map(_Override.read, texts):
        distinct("setting", (*given, *override.values))
        undone = next((path for path in given if path.startswith(f"{override.path}.")), None)
        if undone is not None:
            raise UsageError(
                f"setting '{undone}' is undone by '{override.path}', which comes after it: give '{override.path}' first"
            )
        given += override.values
        differences = _differences(table, override)
        for path, value in override.values.items() if differences else ():
            table = _with(table, path.split("."), value)
        changed |= differences
    return table, changed


def _differences(table: Mapping[str, Any], override: _Override) -> dict[str, ParameterValue]:
    """Return which values of an override change a table, by dotted path, the same in whichever way they are written."""
    path, value, params = override
    old = _lookup(table, path)
    if params is None:
        return {} if old == value else {path: value}
    old = _as_table(old)
    if isinstance(old, Mapping) and _keeps(old, value, params):
        return {f"{path}.{key}": each for key, each in params.items() if old.get(key, _MISSING) != each}
    return override.values


def _keeps(old: Mapping[str, Any], name: ParameterValue, params: Mapping[str, ParameterValue]) -> bool:
    """Return True if a part by this name, with these parameters, has all that an old one says, if with other values."""
    nested = any(isinstance(value, Mapping) for value in old.values())
    return not nested and old.get("name") == name and old.keys() <= {"name", *params}


def _as_table(part: object) -> object:
    """Return a part that is written as its name alone as a table, and so names of metrics."""
    if isinstance(part, list) and all(isinstance(name, str) for name in part):
        return {name: {} for name in part}
    return {"name": part} if isinstance(part, str) else part


_MISSING = object()


def _lookup(table: Mapping[str, Any], path: str) -> object:
    """Return the value at a dotted path, or `_MISSING`."""
    found: object = table
    for key in path.split("."):
        found = found.get(key, _MISSING) if isinstance(found, Mapping) else _MISSING
    return found


def _with(table: Mapping[str, Any], path: list[str], value: object) -> dict[str, Any]:
    """Return a copy of nested tables with one value replaced."""
    head, *rest = path
    if not rest:
        return {**table, head: value}
    inner = table.get(head, {})
    inner = _as_table(inner) if head in {*NAMED, METRICS.rpartition(".")[2]} else inner
    if not isinstance(inner, Mapping):
        raise UsageError(f"setting '{head}' is a value, it has no '{'.'.join(rest)}'")
    return {**table, head: _with(inner, rest, value)}


def distinct(what: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the values. Raises UsageError, in which `what` is the word for them, if one is given twice."""
    twice = next((value for value in values if values.count(value) > 1), None)
    if twice is not None:
        raise UsageError(f"{what} '{twice}' is given twice")
    return values
