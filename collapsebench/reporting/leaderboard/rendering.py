"""Boards as text for people: on a terminal, in Markdown, LaTeX and HTML. `exports` writes for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

from collapsebench.reporting.escaping import html, markdown
from collapsebench.reporting.leaderboard.exports import to_csv, to_json
from collapsebench.reporting.leaderboard.latex import to_latex
from collapsebench.reporting.leaderboard.layout import lay_out
from collapsebench.reporting.leaderboard.pages import Page, TextTable
from collapsebench.reporting.leaderboard.scoring import Board
from collapsebench.reporting.leaderboard.terminal import terminal

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem; }
table { border-collapse: collapse; margin: 1rem 0; }
caption { text-align: left; font-weight: 600; }
th, td { padding: .2rem .7rem; border-bottom: 1px solid #ccc; white-space: nowrap; }
""".strip()


def render(boards: Iterable[Board], format_: str, *, width: int | None = None) -> str:
    """Write boards in one of FORMATS.

    `width` is that of a terminal: tables are made to fit it, and the best numbers are in bold.
    """
    return "".join(pieces(boards, format_, width=width))


def pieces(boards: Iterable[Board], format_: str, *, width: int | None = None) -> Iterator[str]:
    """Write as `render` does, but piece by piece. All formats except CSV have one board in memory at a time."""
    if format_ in EXPORTS:
        return EXPORTS[format_](boards)
    return page_pieces(map(lay_out, boards), format_, width=width)


def page_pieces(pages: Iterable[Page], format_: str, *, width: int | None = None) -> Iterator[str]:
    """Write pages in one of PAGED, one page at a time."""
    return terminal(pages, width) if format_ == "table" else PAGED[format_](pages)


def _apart(pages: Iterable[str]) -> Iterator[str]:
    """Put an empty line between pages."""
    for number, page in enumerate(pages):
        yield f"\n{page}" if number else page


def _markdown(pages: Iterable[Page]) -> Iterator[str]:
    return _apart(_markdown_page(page.escaped(markdown)) for page in pages)


def _markdown_page(page: Page) -> str:
    parts = [f"## {page.title}"]
    for table in page.tables:
        parts += [f"**{table.caption}**", _tabulated(table, "pipe", "**{}**")]
    parts += ["\n".join(f"- {note}" for note in page.notes), f"Made by:\n\n    {page.command}"]
    return "\n\n".join(parts) + "\n"


def _html(pages: Iterable[Page]) -> Iterator[str]:
    yield (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>collapsebench</title>\n'
        f"<style>\n{STYLE}\n</style>\n</head>\n<body>\n<h1>collapsebench</h1>\n"
    )
    yield from (_html_page(page.escaped(html, raw=html)) for page in pages)
    yield "</body>\n</html>\n"


def _html_page(page: Page) -> str:
    parts = [f"<h2>{page.title}</h2>"]
    for table in page.tables:
        grid = _tabulated(table, "unsafehtml", "<b>{}</b>")
        parts.append(grid.replace("<table>", f"<table>\n<caption>{table.caption}</caption>", 1))
    parts += ["<ul>", *(f"<li>{note}</li>" for note in page.notes), "</ul>"]
    parts.append(f"<p>Made by:</p>\n<pre>{page.command}</pre>\n")
    return "\n".join(parts)


def _tabulated(table: TextTable, format_: str, bold: str) -> str:
    from tabulate import tabulate

    rows = [[bold.format(cell.text) if cell.bold else cell.text for cell in row] for row in table.rows]
    align = ["left", *["right"] * (len(table.headers) - 1)]
    return tabulate(rows, table.headers, format_, disable_numparse=True, colalign=align)


PAGED: Mapping[str, Callable[[Iterable[Page]], Iterator[str]]] = {
    "table": partial(terminal, width=None),
    "markdown": _markdown,
    "latex": to_latex,
    "html": _html,
}
"""The formats for people."""

EXPORTS: Mapping[str, Callable[[Iterable[Board]], Iterator[str]]] = {"csv": to_csv, "json": to_json}
"""The formats for programs."""

FORMATS = (*PAGED, *EXPORTS)
"""All formats, by name."""
