"""Numbers and texts as the page gets them: short, valid JSON, and safe to look at."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

from collapsebench.printable import printable
from collapsebench.record import json_number

JsonNumber: TypeAlias = float | str | None
"""A number as JSON can hold it: `nan`, `+inf` and `-inf` are texts."""

EXACT = 10
"""The significant digits of numbers that are read, as in `runs show`."""


def short(value: float | None, digits: int = EXACT) -> JsonNumber:
    """Round a number to so many significant digits. Whole numbers lose their decimal point.

    >>> short(2 / 3, 3), short(350.0), short(float("nan")), short(None)
    (0.667, 350, 'nan', None)
    """
    if value is None or not math.isfinite(value):
        return json_number(value)
    rounded = float(f"{value:.{digits}g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded


def visible(value: Any) -> Any:
    """Return the JSON value with every text, keys included, in characters that can be seen."""
    match value:
        case str():
            return printable(value)
        case dict():
            return {printable(str(key)): visible(inner) for key, inner in value.items()}
        case list() | tuple():
            return [visible(inner) for inner in value]
    return value
