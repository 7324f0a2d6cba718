r"""Pages as LaTeX, for one column of a paper with two. It needs `booktabs` alone, and the notes are below each table.

Type is small. Where a table would still be too wide, intervals stand below their numbers, and long labels above them.
Where most labels stand above, intervals stand beside their numbers if there is room, so that no row has three lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from collapsebench.reporting.escaping import latex, latex_comment
from collapsebench.reporting.leaderboard.pages import Page, TableCell, TextTable

HEAD = "% needs \\usepackage{booktabs}\n\n"
COLUMN = 56
"""The characters of a line that a column of 3.3 inches has in this type."""
BETWEEN = 2
"""The space between two columns, in characters."""
TINY = 0.7
"""The width of a character of an interval, in characters."""
MARKS = "≠†‡§!"
"""What stands at the end of a cell, raised."""


class PrintedCell(NamedTuple):
    """One cell, in parts."""

    number: str
    interval: str
    """The interval, such as `±0.31` or ` [0, 0.12]`, or the upper bound of a bracket; empty if there is none."""
    marks: str
    bold: bool

    @classmethod
    def of(cls, cell: TableCell) -> PrintedCell:
        """Take a cell apart."""
        text = cell.text.rstrip(f"{MARKS} ") or cell.text
        marks = cell.text[len(text) :].replace(" ", "")
        if " ± " in text:
            number, _, half_width = text.partition(" ± ")
            return cls(number, f"±{half_width}", marks, cell.bold)
        if text.startswith("["):
            lower, _, upper = text.strip("[]").partition(", ")
            return cls(lower, f" to {upper}", marks, cell.bold)
        number, bracket, rest = text.partition(" [")
        return cls(number, f" [{rest}" if bracket else "", marks, cell.bold)

    @property
    def main(self) -> str:
        """The number with its marks, in LaTeX."""
        number = rf"\textbf{{{latex(self.number)}}}" if self.bold else latex(self.number)
        marks = rf"\textsuperscript{{{latex(self.marks)}}}" if self.marks else ""
        return f"{number}{marks}"

    @property
    def small(self) -> str:
        """The interval in small type, in LaTeX."""
        space = "~" if self.interval.startswith(" ") else ""
        return rf"{{\tiny{{}}{space}{latex(self.interval)}}}" if self.interval else ""

    @property
    def width(self) -> float:
        """The width in one line, in characters."""
        return len(self.number) + TINY * (len(self.interval) + len(self.marks))

    @property
    def stacked_width(self) -> float:
        """The width with the interval below the number, in characters."""
        return max(len(self.number) + TINY * len(self.marks), TINY * len(self.interval))


def to_latex(pages: Iterable[Page]) -> Iterator[str]:
    """Write pages. A board is one table of its results, and all that is known of it stands in comments below."""
    yield HEAD
    for number, page in enumerate(pages):
        yield f"\n{_page(page)}" if number else _page(page)


def _page(page: Page) -> str:
    tables = [table for table in page.tables if table.part in page.printed] or page.tables
    comments = (page.title, *page.notes, f"Made by: {page.command}")
    parts = [_table(page, table) for table in tables]
    return "\n\n".join([*parts, "\n".join(f"% {latex_comment(note)}" for note in comments)]) + "\n"


def _table(page: Page, table: TextTable) -> str:
    headers = [header.removesuffix(" [lower, upper]").removeprefix("Δ ") for header in table.headers]
    rows = [(row[0].text, [PrintedCell.of(cell) for cell in row[1:]]) for row in table.rows]
    beside = COLUMN - _width(headers, rows, lambda cell: cell.width)
    below = COLUMN - _width(headers, rows, lambda cell: cell.stacked_width)
    most_above = len(headers[0]) <= beside and _longer(rows, below) > len(rows) / 2
    stacked = (len(headers[0]) > beside or _longer(rows, beside) > 0) and not most_above
    room = max(len(headers[0]), below if stacked else beside)
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_caption(page.title)}. {latex(table.caption)}.}}",
        r"\scriptsize\setlength{\tabcolsep}{2.5pt}",
        rf"\begin{{tabular}}{{@{{}}l{'r' * (len(headers) - 1)}@{{}}}}",
        r"\toprule",
        _row(map(latex, headers)),
        r"\midrule",
        *(line for label, cells in rows for line in _printed(label, cells, room, stacked=stacked)),
        r"\bottomrule",
        r"\end{tabular}",
        *_notes(page.footnotes),
        r"\end{table}",
    ]
    return "\n".join(lines)


def _caption(title: str) -> str:
    """Write a title. The overrides of a track are long words, which may be broken between their parts."""
    return re.sub(r"(?<=\w[.,=])(?=[A-Za-z_])", r"\\allowbreak{}", latex(title.replace(" · ", ", ")))


def _width(
    headers: Sequence[str], rows: Sequence[tuple[str, Sequence[PrintedCell]]], width: Callable[[PrintedCell], float]
) -> float:
    """Return the width of the columns of numbers, in characters."""
    columns = zip(*(cells for _, cells in rows), strict=True)
    widths: list[float] = [
        max(len(header), *map(width, column)) for header, column in zip(headers[1:], columns, strict=True)
    ]
    return sum(widths) + BETWEEN * len(widths)


def _longer(rows: Sequence[tuple[str, Sequence[PrintedCell]]], room: float) -> int:
    """Return the number of labels that are longer than a column of this width."""
    return sum(len(label) > room for label, _ in rows)


def _printed(label: str, cells: Sequence[PrintedCell], room: float, *, stacked: bool) -> Iterator[str]:
    """Write a row. A label that is longer than its column has a line, and so have intervals that are stacked."""
    if len(label) > room:
        yield rf"\multicolumn{{{len(cells) + 1}}}{{@{{}}l@{{}}}}{{{latex(label)}}} \\"
    numbers = [cell.main if stacked else f"{cell.main}{cell.small}" for cell in cells]
    yield _row(["" if len(label) > room else latex(label), *numbers])
    if stacked and any(cell.interval for cell in cells):
        yield _row(["", *(cell.small for cell in cells)])


def _row(cells: Iterable[str]) -> str:
    return rf"{' & '.join(cells)} \\"


def _notes(notes: Sequence[str]) -> Iterator[str]:
    """Write the notes below a table as one paragraph."""
    if notes:
        yield r"\par\smallskip"
        yield r"\parbox{\columnwidth}{\scriptsize"
        yield from (latex(note if note.endswith((".", ":")) else f"{note}.") for note in notes)
        yield "}"
