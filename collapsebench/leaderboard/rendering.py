"""Boards as text for people: a terminal, Markdown, LaTeX, HTML; `exports` has what is for programs."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from collapsebench.leaderboard.exports import to_csv, to_json
from collapsebench.leaderboard.layout import Cell, Page, Table, lay_out
from collapsebench.leaderboard.scoring import Board

if TYPE_CHECKING:
    from rich.console import RenderableType

LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        **{char: f"\\{char}" for char in "&%$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": "$<$",
        ">": "$>$",
        "|": "$|$",
        "±": r"$\pm$",
        "−": "$-$",
        "↓": r"$\downarrow$",
        "↑": r"$\uparrow$",
        "Δ": r"$\Delta$",
        "≥": r"$\geq$",
        "≤": r"$\leq$",
        "·": r"$\cdot$",
        "—": "---",
    }
)
MARKDOWN = re.compile(r"[\\`*|<]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
WIDE = 10_000
"""More than any table needs: nothing is cut or wrapped."""
PADDING = 3
"""What lies between two columns."""
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem; }
table { border-collapse: collapse; margin: 1rem 0; }
caption { text-align: left; font-weight: 600; }
th, td { padding: .2rem .7rem; border-bottom: 1px solid #ccc; white-space: nowrap; }
""".strip()


def render(boards: Iterable[Board], format_: str, *, width: int | None = None) -> str:
    """The boards in one of FORMATS; with the `width` of a terminal, tables are split to fit it and use its bold."""
    return "".join(pieces(boards, format_, width=width))


def pieces(boards: Iterable[Board], format_: str, *, width: int | None = None) -> Iterator[str]:
    """What `render` returns, as the boards come: all formats but CSV need one board at a time."""
    if format_ in EXPORTS:
        return EXPORTS[format_](boards)
    return written(map(lay_out, boards), format_, width=width)


def written(pages: Iterable[Page], format_: str, *, width: int | None = None) -> Iterator[str]:
    """Pages in one of PAGED, as they come."""
    return _terminal(pages, width) if format_ == "table" else PAGED[format_](pages)


def _apart(pages: Iterable[str]) -> Iterator[str]:
    """The pages with an empty line between them."""
    for number, page in enumerate(pages):
        yield f"\n{page}" if number else page


def _terminal(pages: Iterable[Page], width: int | None = None) -> Iterator[str]:
    return _apart(_terminal_page(page, width) for page in pages)


def _terminal_page(page: Page, width: int | None) -> str:
    from rich.console import Console

    out, styled = io.StringIO(), width is not None
    console = Console(file=out, width=WIDE, force_terminal=styled, color_system="standard" if styled else None)
    console.print(page.title, style="bold", highlight=False, markup=False)
    for table in page.tables:
        console.print(table.caption, highlight=False, markup=False)
        for part in _split(table, width or WIDE):
            console.print(_rich_table(part, styled=styled))
    for note in (*page.notes, f"Made by: {page.command}"):
        console.print(note, highlight=False, markup=False)
    lines = "\n".join(line.rstrip() for line in out.getvalue().splitlines())
    return re.sub(r"\n{3,}", "\n\n", lines).rstrip("\n") + "\n"


def _split(table: Table, width: int) -> Iterator[Table]:
    """The table in parts that fit, each with the first column."""
    grid = [table.headers, *([cell.text for cell in row] for row in table.rows)]
    first, *others = (max(map(len, column)) + PADDING for column in zip(*grid, strict=True))
    start, used = 1, first
    for index, needed in enumerate(others, start=1):
        if used + needed > width and index > start:
            yield _part(table, start, index)
            start, used = index, first
        used += needed
    yield _part(table, start, len(table.headers))


def _part(table: Table, start: int, stop: int) -> Table:
    rows = tuple((row[0], *row[start:stop]) for row in table.rows)
    return Table(table.caption, (table.headers[0], *table.headers[start:stop]), rows)


def _rich_table(table: Table, *, styled: bool) -> RenderableType:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(box=box.SIMPLE_HEAD)
    for index, header in enumerate(table.headers):
        shown.add_column(Text(header), justify="right" if index else "left", no_wrap=True)
    for row in table.rows:
        texts = (cell.text if styled else _starred(cell, row) for cell in row)
        shown.add_row(*(Text(text, "bold" if cell.bold else "") for text, cell in zip(texts, row, strict=True)))
    return shown


def _starred(cell: Cell, row: Sequence[Cell]) -> str:
    return f"{cell.text} {'*' if cell.bold else ' '}" if cell is not row[0] else cell.text


def _markdown(pages: Iterable[Page]) -> Iterator[str]:
    return _apart(map(_markdown_page, pages))


def _markdown_page(page: Page) -> str:
    def escape(text: str) -> str:
        return MARKDOWN.sub(r"\\\g<0>", text)

    parts = [f"## {escape(page.title)}"]
    for table in page.tables:
        parts += [f"**{escape(table.caption)}**", _tabulated(table, "pipe", escape, "**{}**")]
    parts += ["\n".join(f"- {escape(note)}" for note in page.notes), f"Made by:\n\n    {page.command}"]
    return "\n\n".join(parts) + "\n"


def _html(pages: Iterable[Page]) -> Iterator[str]:
    yield (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>collapsebench leaderboard</title>\n'
        f"<style>\n{STYLE}\n</style>\n</head>\n<body>\n<h1>collapsebench leaderboard</h1>\n"
    )
    yield from map(_html_page, pages)
    yield "</body>\n</html>\n"


def _html_page(page: Page) -> str:
    parts = [f"<h2>{html.escape(page.title)}</h2>"]
    for table in page.tables:
        grid = _tabulated(table, "unsafehtml", html.escape, "<b>{}</b>")
        parts.append(grid.replace("<table>", f"<table>\n<caption>{html.escape(table.caption)}</caption>", 1))
    parts += ["<ul>", *(f"<li>{html.escape(note)}</li>" for note in page.notes), "</ul>"]
    parts.append(f"<p>Made by:</p>\n<pre>{html.escape(page.command)}</pre>\n")
    return "\n".join(parts)


def _tabulated(table: Table, format_: str, escape: Callable[[str], str], bold: str) -> str:
    from tabulate import tabulate

    rows = [[bold.format(escape(cell.text)) if cell.bold else escape(cell.text) for cell in row] for row in table.rows]
    align = ["left", *["right"] * (len(table.headers) - 1)]
    return tabulate(rows, [*map(escape, table.headers)], format_, disable_numparse=True, colalign=align)


def _latex(pages: Iterable[Page]) -> Iterator[str]:
    yield "% needs \\usepackage{booktabs}\n\n"
    yield from _apart(map(_latex_page, pages))


def _latex_page(page: Page) -> str:
    notes = "\n".join(f"% {note}" for note in (*page.notes, f"Made by: {page.command}"))
    return "\n\n".join([*(_latex_table(page, table) for table in page.tables), notes]) + "\n"


def _latex_table(page: Page, table: Table) -> str:
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{page.title.translate(LATEX)}. {table.caption.translate(LATEX)}.}}",
        rf"\begin{{tabular}}{{l{'r' * (len(table.headers) - 1)}}}",
        r"\toprule",
        _latex_row([header.translate(LATEX) for header in table.headers]),
        r"\midrule",
        *(_latex_row([_latex_cell(cell) for cell in row]) for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines)


def _latex_row(cells: Sequence[str]) -> str:
    return rf"{' & '.join(cells)} \\"


def _latex_cell(cell: Cell) -> str:
    text = cell.text.translate(LATEX)
    return rf"\textbf{{{text}}}" if cell.bold else text


PAGED: Mapping[str, Callable[[Iterable[Page]], Iterator[str]]] = {
    "table": _terminal,
    "markdown": _markdown,
    "latex": _latex,
    "html": _html,
}
"""The formats for people."""

EXPORTS: Mapping[str, Callable[[Iterable[Board]], Iterator[str]]] = {"csv": to_csv, "json": to_json}
"""The formats for programs."""

FORMATS = (*PAGED, *EXPORTS)
"""All of them, by name."""
