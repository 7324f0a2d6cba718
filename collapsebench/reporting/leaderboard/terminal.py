"""Pages as text for a terminal, or for a file. On a terminal tables are made to fit its width."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat, starmap
from typing import NamedTuple

from collapsebench.printable import printable
from collapsebench.reporting.leaderboard.numbers import BLANK
from collapsebench.reporting.leaderboard.pages import DIFFERS, IMPOSSIBLE, SATURATED, Page, TableCell, TextTable

MARGIN, GAP, NARROW = "  ", "   ", "  "
"""The space before the first column, between two columns, and between two columns of a table that hardly fits."""
SHORTEST = 1
"""The least width of a column of labels. A label that is longer than its column has a line of its own."""
CLOSER = (
    *((" ± ", "±"), (", ", ","), (" [", "[")),
    *((f" {mark}", mark) for mark in (DIFFERS, SATURATED, IMPOSSIBLE)),
)
"""What stands closer together in the cells of a table that hardly fits."""
COMMA = re.compile(r",(?=[A-Za-z_])")
"""A comma in the middle of a word, as in the overrides of a track. A long line may be broken there."""
BREAK = "\v"
"""Where a word may be broken: white space to `textwrap`, and in no text of a page."""
ANY_WIDTH = 10_000
"""The width of a column that may be as wide as it is. No text is so wide."""


class Fit(NamedTuple):
    """A table as it is written."""

    table: TextTable
    gap: str = GAP
    room: int = ANY_WIDTH
    """The width of the column of labels."""


def terminal(pages: Iterable[Page], width: int | None) -> Iterator[str]:
    """Write pages. Without a width no line is broken, and the best numbers have a star in place of bold type."""
    for number, page in enumerate(pages):
        text = _page(page.escaped(printable), width)
        yield f"\n{text}" if number else text


def _page(page: Page, width: int | None) -> str:
    styled = width is not None
    lines = [_bold(line) if styled else line for line in _wrapped(page.title, width)]
    for table in page.tables:
        lines.append(table.caption)
        for fit in _fitted(table, width):
            lines += ["", *_grid(fit, styled=styled)]
        lines.append("")
    lines += [line for note in page.notes for line in _wrapped(note, width)]
    lines.append(f"Made by: {page.command}")
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _wrapped(text: str, width: int | None) -> list[str]:
    if width is None:
        return [text]
    whole = text.replace(" ± ", "\xa0±\xa0")  # no line begins with half of an interval
    breakable = whole if len(text) <= width else COMMA.sub(f",{BREAK}", whole)
    wrapper = textwrap.TextWrapper(max(width, 20), subsequent_indent=MARGIN)
    wrapper.break_on_hyphens = wrapper.break_long_words = wrapper.replace_whitespace = False
    return [line.replace("\xa0", " ").replace(BREAK, "") for line in wrapper.wrap(breakable)] or [text]


def _fitted(table: TextTable, width: int | None) -> list[Fit]:
    """Fit a table to a width: closer together, with long labels on lines of their own, or else in parts."""
    whole = _aligned(table, f" {DIFFERS}")
    if width is None:
        return [Fit(whole)]
    closer = _aligned(_closer(table), DIFFERS)
    tried = (Fit(each, gap, _room(each, gap, width)) for each, gap in ((whole, GAP), (closer, NARROW), (closer, " ")))
    fitting = [fit for fit in tried if fit.room >= min(SHORTEST, _widths(whole)[0])]
    fitting = [fit for fit in fitting if fit.gap != " "] or fitting
    return [min(fitting, key=_lines_of_labels)] if fitting else list(map(Fit, _split(whole, width)))


def _room(table: TextTable, gap: str, width: int) -> int:
    """Return the width that the other columns leave to the labels."""
    return width - len(MARGIN) - 1 - sum(each + len(gap) for each in _widths(table)[1:])


def _lines_of_labels(fit: Fit) -> int:
    """Return the number of labels that need a line of their own."""
    from rich.cells import cell_len

    labels = (fit.table.headers[0], *(row[0].text for row in fit.table.rows))
    return sum(cell_len(label) > fit.room for label in labels)


def _widths(table: TextTable) -> list[int]:
    from rich.cells import cell_len

    grid = [*_lines_of(table.headers), *([cell.text for cell in row] for row in table.rows)]
    return [max(map(cell_len, column)) for column in zip(*grid, strict=True)]


def _lines_of(headers: Sequence[str]) -> list[Sequence[str]]:
    """Return the lines of a head, in which headers may be broken. Shorter headers stand at its foot."""
    broken = [header.split("\n") for header in headers]
    height = max(map(len, broken))
    return list(zip(*([""] * (height - len(lines)) + lines for lines in broken), strict=True))


def _closer(table: TextTable) -> TextTable:
    """Put what stands in the cells closer together, and break headers in front of their brackets."""
    headers = (table.headers[0], *(header.replace(" [", "\n[", 1) for header in table.headers[1:]))
    rows = tuple((row[0], *(cell._replace(text=_close(cell.text)) for cell in row[1:])) for row in table.rows)
    return table._replace(headers=headers, rows=rows)


def _aligned(table: TextTable, mark: str) -> TextTable:
    """Leave room for a mark in every cell of a column in which a cell ends with it, so that numbers stay in line."""
    marked = {place for row in table.rows for place, cell in enumerate(row) if cell.text.endswith(mark)}

    def aligned(place: int, cell: TableCell) -> TableCell:
        room = "" if place not in marked or cell.text.endswith(mark) else " " * len(mark)
        return cell._replace(text=f"{cell.text}{room}")

    return table._replace(rows=tuple(tuple(starmap(aligned, enumerate(row))) for row in table.rows))


def _close(text: str) -> str:
    for wide, close in CLOSER:
        text = text.replace(wide, close)
    return text.removesuffix(" seeds") if text.startswith(BLANK) else text


def _split(table: TextTable, width: int) -> Iterator[TextTable]:
    """Split a table into parts that fit the width. Each part has the first column."""
    first, *others = (each + len(GAP) for each in _widths(table))
    start, used = 1, first
    for index, needed in enumerate(others, start=1):
        if used + needed > width and index > start:
            yield _part(table, start, index)
            start, used = index, first
        used += needed
    yield _part(table, start, len(table.headers))


def _part(table: TextTable, start: int, stop: int) -> TextTable:
    rows = tuple((row[0], *row[start:stop]) for row in table.rows)
    return table._replace(headers=(table.headers[0], *table.headers[start:stop]), rows=rows)


def _grid(fit: Fit, *, styled: bool) -> Iterator[str]:
    """Write a table in lines. Text is on the left, and numbers on the right. The best have bold type or a star."""
    from rich.cells import cell_len

    table = fit.table
    starred = {place for row in table.rows for place, cell in enumerate(row) if cell.bold and not styled}
    rows = [[_starred(cell) if place in starred else cell.text for place, cell in enumerate(r)] for r in table.rows]
    heads = _lines_of(table.headers)
    columns = list(zip(*heads, *rows, strict=True))
    labels = max((length for text in columns[0] if (length := cell_len(text)) <= fit.room), default=0)
    widths = [labels, *(max(map(cell_len, column)) for column in columns[1:])]

    def line(texts: Sequence[str], strong: Iterable[bool]) -> Iterator[str]:
        if cell_len(texts[0]) > labels:
            yield MARGIN + texts[0]
            texts = ["", *texts[1:]]
        cells: list[str] = []
        for text, width, bold in zip(texts, widths, strong, strict=False):
            space = " " * (width - cell_len(text))
            styled_text = _bold(text) if bold and styled else text
            cells.append(space + styled_text if cells else styled_text + space)
        yield MARGIN + fit.gap.join(cells)

    if cell_len(heads[-1][0]) > labels:
        yield MARGIN + _bold(heads[-1][0]) if styled else MARGIN + heads[-1][0]
        heads = [["", *head[1:]] for head in heads]
    for head in heads:
        yield from line(head, repeat(True))
    yield " " + "─" * (sum(widths) + len(fit.gap) * (len(widths) - 1) + 2)
    for row, texts in zip(table.rows, rows, strict=True):
        yield from line(texts, [cell.bold for cell in row])


def _starred(cell: TableCell) -> str:
    return f"{cell.text} {'*' if cell.bold else ' '}"


def _bold(text: str) -> str:
    return f"\x1b[1m{text}\x1b[0m" if text else text
