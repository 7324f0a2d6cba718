"""What is wrong with a value, in one line."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING, get_args

from pydantic import BaseModel, ValidationError

from collapsebench.errors import unknown

if TYPE_CHECKING:
    pass


def describe(error: ValidationError, model: type[BaseModel]) -> str:
    """The first mistake of a validation in one line; unknown fields get the nearest name and all names."""
    first = error.errors(include_url=False)[0]
    *path, last = (str(part) for part in first["loc"]) if first["loc"] else [""]
    where = ".".join((*path, last))
    if first["type"] == "extra_forbidden":
        return unknown("parameter", where, [".".join((*path, name)) for name in _fields_at(model, path)])
    message = first["msg"].removeprefix("Value error, ")
    got = "" if first["type"] == "missing" or not where else f", got {first['input']!r:.80}"
    return f"{where}: {message}{got}" if where else message


def _fields_at(model: type[BaseModel], path: Iterable[str]) -> Iterable[str]:
    """The field names of the model that stands at a path inside of another."""
    for name in path:
        annotation = model.model_fields[name].annotation
        inner = [kind for kind in (annotation, *get_args(annotation)) if inspect.isclass(kind)]
        model = next(kind for kind in inner if issubclass(kind, BaseModel))
    return model.model_fields
