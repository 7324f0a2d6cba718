"""The points of a run as one value: JSON, compressed. Floats, NaN and infinities stay exactly the same."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from collapsebench.record import Point
from collapsebench.store.rows import counters, flag, point_values, shown

LARGEST = 2**26
"""A trajectory of more bytes is none. What claims to be larger is not unpacked."""

FIELDS = {"counters", "values", "selected"}


class StoredPoint(NamedTuple):
    """One checked point."""

    counters: dict[str, float]
    values: dict[str, float]
    selected: bool


def pack(points: Sequence[Point]) -> bytes:
    """Return the points as one value."""
    return compressed(json.dumps([json.loads(point.model_dump_json()) for point in points], allow_nan=False))


def compressed(text: str) -> bytes:
    """Compress the JSON of a list of points."""
    return zlib.compress(text.encode())


def unpack(packed: object, end: dict[str, float] | None) -> tuple[StoredPoint, ...]:
    """Return the points of a run. `packed` is None, and so is `end`, if it has none.

    `end` are the counters of the last point, as the row of the run has them. Raises ValueError for what is no
    trajectory, or one that ends elsewhere.
    """
    points = () if packed is None else tuple(map(_point, _content(packed)))
    last = points[-1].counters if points else None
    if last != end:
        raise ValueError(f"its counters are {shown(end)}, but its points end with {shown(last)}")
    return points


def _content(packed: object) -> list[Any]:
    if not isinstance(packed, bytes):
        raise ValueError(f"its points are {shown(packed)}")  # noqa: TRY004 - the row is wrong, not a call
    try:
        content = json.loads(_decompressed(packed))
    except (zlib.error, UnicodeDecodeError, json.JSONDecodeError):
        raise ValueError("its points are damaged") from None
    if not isinstance(content, list):
        raise ValueError(f"its points are {shown(content)}")  # noqa: TRY004 - the row is wrong, not a call
    return content


def _decompressed(packed: bytes) -> bytes:
    decompressor = zlib.decompressobj()
    text = decompressor.decompress(packed, LARGEST)
    if decompressor.unconsumed_tail:
        raise ValueError(f"its points are more than {LARGEST:,} bytes")
    if not decompressor.eof:
        raise ValueError("its points are damaged")
    return text


def _point(content: object) -> StoredPoint:
    if not isinstance(content, dict) or content.keys() != FIELDS:
        raise ValueError(f"a point of it is {shown(content)}")
    selected = content["selected"]
    flag("the selection of a point", selected)
    return StoredPoint(counters(content["counters"]), point_values(content["values"]), bool(selected))
