"""The published numbers of a suite's paper, beside the measured ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from collapsebench.reporting.leaderboard.comparison import Pair
from collapsebench.reporting.leaderboard.comparison_page import difference_text, printed_text
from collapsebench.reporting.leaderboard.pages import Page, TextTable
from collapsebench.reporting.leaderboard.scoring import Board

Published = dict[str, list[Any]]
"""By the place of a column: the number as printed, ours minus it, where it stands, and why the two do not compare."""


def published(board: Board, pairs: Iterable[Pair], source: str) -> dict[str, Published]:
    """Return the published numbers of the rows of a board, by their label."""
    places = {column.key: str(place) for place, column in enumerate(board.columns)}
    found: dict[str, Published] = {}
    for pair in pairs:
        own = pair.protocol_id == board.protocol_id and not pair.against and not pair.since
        if own and pair.published is not None and pair.column.key in places:
            texts = [printed_text(pair.published), difference_text(pair), f"{source}, {pair.cell}, {pair.model}"]
            found.setdefault(pair.contender, {})[places[pair.column.key]] = [*texts, list(pair.reasons)]
    return found


def tables(page: Page) -> dict[str, Any]:
    """Return the page of a comparison, with one table for each column."""
    return {"title": page.title, "tables": list(map(_table, page.tables)), "notes": page.notes, "command": page.command}


def _table(table: TextTable) -> dict[str, Any]:
    rows: Sequence[Sequence[str]] = [[cell.text for cell in row] for row in table.rows]
    return {"caption": table.caption, "heads": table.headers, "rows": rows}
