"""Describes the mistake in a value, in one line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from collapsebench.errors import unknown


def describe(error: ValidationError, model: type[BaseModel], what: str = "parameter") -> str:
    """Return the first mistake in one line: its place, the rule, and the value. An unknown field comes before others.

    `model` is the validated model, and `what` is the word for its fields. For an unknown field, the line has the
    nearest name and all names. For a rule about several values, the message of the rule has the values.
    """
    first = min(error.errors(include_url=False), key=lambda each: each["type"] != "extra_forbidden")
    *path, last = (str(part) for part in first["loc"]) if first["loc"] else [""]
    where = ".".join((*path, last))
    if first["type"] == "extra_forbidden":
        return unknown(what, where, [".".join((*path, name)) for name in _fields_at(model, path)])
    message = first["msg"].removeprefix("Value error, ")
    of_several = first["type"] == "value_error" and isinstance(first["input"], dict | list | tuple)
    got = "" if first["type"] == "missing" or of_several or not where else f", got {first['input']!r:.80}"
    return f"{where}: {message}{got}" if where else message


def _fields_at(model: type[BaseModel], path: Iterable[str]) -> Iterable[str]:
    """Return the field names of the model at a path inside another model."""
    for name in path:
        if name in model.model_fields:  # other names are places in a collection of models
            model = next(_models(model.model_fields[name].annotation), model)
    return model.model_fields


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that a type consists of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
