"""The page of a board: tables of text with captions, and notes. It can be written in any format."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple

from collapsebench.printable import printable

IMPOSSIBLE = "!"
"""The mark of impossible numbers."""
SATURATED = "†"
"""The mark of numbers that have reached the limit of their estimator."""
FINDING = "‡"
"""The mark of contenders about whose runs there is something to know."""
DECLINED = "§"
"""The mark of cells whose metric has no number for the contender, and says why."""
DIFFERS = "≠"
"""The mark of numbers whose paired difference to the compared contender has an interval without zero."""


class Part(Enum):
    """What a table shows."""

    RESULTS = auto()
    DISTANCES = auto()
    DIFFERENCES = auto()
    COSTS = auto()
    TUNING = auto()


class TableCell(NamedTuple):
    """One cell of a table."""

    text: str
    bold: bool = False


class TextTable(NamedTuple):
    """A table with a caption. The first column is text, the others are numbers."""

    caption: str
    headers: tuple[str, ...]
    rows: tuple[tuple[TableCell, ...], ...]
    part: Part = Part.RESULTS

    def escaped(self, escape: Callable[[str], str]) -> TextTable:
        """Return the table with every text escaped."""
        rows = tuple(tuple(TableCell(escape(cell.text), cell.bold) for cell in row) for row in self.rows)
        return self._replace(caption=escape(self.caption), headers=tuple(map(escape, self.headers)), rows=rows)


class Page(NamedTuple):
    """A board that can be written in any format."""

    title: str
    tables: tuple[TextTable, ...]
    notes: tuple[str, ...]
    command: str
    """The command that makes the runs."""
    printed: frozenset[Part] = frozenset({Part.RESULTS})
    """The tables that go into a paper."""
    footnotes: tuple[str, ...] = ()
    """The notes that stand below a table in a paper."""

    def escaped(self, escape: Callable[[str], str], raw: Callable[[str], str] = printable) -> Page:
        """Return the page with every text escaped: the command by `raw`, all others by `escape`."""
        return self._replace(
            title=escape(self.title),
            tables=tuple(table.escaped(escape) for table in self.tables),
            notes=tuple(map(escape, self.notes)),
            footnotes=tuple(map(escape, self.footnotes)),
            command=raw(self.command),
        )
