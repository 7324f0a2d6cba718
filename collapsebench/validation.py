"""What is wrong with a value, in one line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from collapsebench.errors import unknown


def describe(error: ValidationError, model: type[BaseModel], what: str = "parameter") -> str:
    """Return the first mistake in one line: where it is, what is wrong, and what was given.

    `model` is what was validated, and `what` its fields are called. An unknown field gets the nearest name and all
    names. A rule about several values together says itself what it got.
    """
    first = error.errors(include_url=False)[0]
    *path, last = (str(part) for part in first["loc"]) if first["loc"] else [""]
    where = ".".join((*path, last))
    if first["type"] == "extra_forbidden":
        return unknown(what, where, [".".join((*path, name)) for name in _fields_at(model, path)])
    message = first["msg"].removeprefix("Value error, ")
    got = "" if first["type"] == "missing" or not where else f", got {first['input']!r:.80}"
    return f"{where}: {message}{got}" if where else message


def _fields_at(model: type[BaseModel], path: Iterable[str]) -> Iterable[str]:
    """Return the field names of the model that stands at a path inside another one."""
    for name in path:
        if name in model.model_fields:  # what is no field is a place in a collection of models
            model = next(_models(model.model_fields[name].annotation), model)
    return model.model_fields


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that a type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
