"""Compares a board that somebody shows with the board that follows from the records."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from collapsebench.errors import CollapsebenchError, UsageError
from collapsebench.observation import Observation
from collapsebench.reporting.leaderboard import ENTRIES, EXPORTS, Board, best_possible, likelihood_limits, score
from collapsebench.verification.report import Check, Verdict

if TYPE_CHECKING:
    from collapsebench.components.catalog import Catalog
    from collapsebench.record import RunRecord

WHAT = "board"

KEY: Final = ("protocol_id", "contender", "column")
"""The columns that name a line of a board."""

PAIRED: Final = ("difference_n", "difference", "difference_half_width")
"""The columns that depend on the contender with which a board compares."""

Line: TypeAlias = Mapping[str, str]
"""The cells of a line by the heads of their columns."""

ROUNDING: Final = 1e-9
"""Statistics of other versions of SciPy may differ by this share."""


def recomputed(records: Iterable[RunRecord], catalog: Catalog) -> Iterator[Board]:
    """Yield the boards of records, one for each protocol."""
    by_protocol: dict[str, list[Observation]] = {}
    for record in records:
        by_protocol.setdefault(record.protocol_id, []).append(Observation.of(record, ENTRIES))
    for runs in by_protocol.values():
        yield replace(score(runs, likelihood_limits(catalog)), reference=best_possible(runs[0].protocol, catalog))


def check_board(records: Iterable[RunRecord], catalog: Catalog, shown: Path) -> Iterator[Check]:
    """Compare every cell of a board as `leaderboard --format csv` writes it, of the end of runs, with the records.

    Raises UsageError for a file that is no such board, and CollapsebenchError for one that cannot be read.
    """
    computed = {_key(row): row for row in _rows("".join(EXPORTS["csv"](recomputed(records, catalog))))}
    given = _rows(_text(shown))
    if not given or not set(KEY) <= given[0].keys():
        raise UsageError(f"'{shown}' is no board as `collapsebench leaderboard --format csv` writes it")
    wrong = list(_wrong(given, computed))
    yield from wrong
    if not wrong:
        yield Check(Verdict.OK, WHAT, f"the {len(given)} lines of '{shown}' follow from the records")


def _wrong(given: Iterable[Line], computed: Mapping[tuple[str, ...], Line]) -> Iterator[Check]:
    for row in given:
        name = f"{row['contender']} {row['column']}"
        found = computed.get(_key(row))
        if found is None:
            yield Check(Verdict.DIFFERS, WHAT, f"{name} does not follow from any record")
            continue
        cells = [cell for cell in row if not _same(row[cell], found.get(cell, ""))]
        for cell in cells:
            if cell in PAIRED:
                reason = f"the {cell} of {name} is not that to vae, and may be that to another contender"
                yield Check(Verdict.UNCHECKED, WHAT, reason)
            else:
                reason = f"the {cell} of {name} is {row[cell]:.80}, and {found.get(cell, '') or 'empty'} by the records"
                yield Check(Verdict.DIFFERS, WHAT, reason)


def _rows(text: str) -> list[dict[str, str]]:
    return [
        {key or "": value or "" for key, value in row.items() if isinstance(value, str)}
        for row in csv.DictReader(io.StringIO(text))
    ]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise CollapsebenchError(f"cannot read '{path}': {getattr(error, 'strerror', None) or error}") from error


def _key(row: Line) -> tuple[str, ...]:
    return tuple(row.get(name, "") for name in KEY)


def _same(left: str, right: str) -> bool:
    """Return whether two cells are the same text, or numbers that rounding makes different."""
    try:
        return left == right or math.isclose(float(left), float(right), rel_tol=ROUNDING, abs_tol=0)
    except ValueError:
        return False
