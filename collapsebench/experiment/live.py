"""Lines that are drawn again and again while runs go on: on a terminal, or below the cell of a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from html import escape
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from rich.cells import cell_len
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

TAIL = 10
"""A label that is too long is cut in its middle; so many of its last letters stay, which name the seed."""
NARROW = 60
"""A terminal of fewer columns has no bars."""


class LiveLine(NamedTuple):
    """One line: of a run in progress, or of the grid."""

    label: str
    share: float
    """The share that is done, 0 to 1."""
    status: str
    """What is known, the most important first: its end is cut off where there is no room."""
    left: str
    """The time that is left; empty if that is unknown."""


class LiveLines(Protocol):
    """A place where lines are drawn again and again."""

    def draw(self, lines: Sequence[LiveLine]) -> None:
        """Draw these lines in place of those before."""

    def close(self) -> None:
        """Remove the lines."""


class NotebookLines:
    """Live lines below the cell of a notebook, with a bar each."""

    def __init__(self) -> None:
        display = import_module("IPython.display")  # every notebook has IPython

        self._html: Any = display.HTML
        self._place: Any = display.display(self._html(""), display_id=True)

    def draw(self, lines: Sequence[LiveLine]) -> None:
        """See LiveLines."""
        self._place.update(self._html("".join(map(_as_html, lines))))

    def close(self) -> None:
        """See LiveLines."""
        self.draw(())


def _as_html(line: LiveLine) -> str:
    words = " · ".join(filter(None, (line.status, line.left and f"{line.left} left")))
    return f"<div>{escape(line.label)} <progress max=1 value={line.share:.4f}></progress> {escape(words)}</div>"


class TerminalLines:
    """Live lines at the bottom of a terminal. None of them is longer than the terminal is wide, and all are seen."""

    def __init__(self, console: Console, *, shared: bool) -> None:
        """Draw on this terminal. `shared` is True if standard output goes to it, too."""
        self._lines: Sequence[LiveLine] = ()
        self._live = Live(
            self,
            console=console,
            refresh_per_second=4,
            transient=True,
            redirect_stdout=shared,
        )
        self._live.start()

    def draw(self, lines: Sequence[LiveLine]) -> None:
        """Keep these lines for the next time that the terminal is drawn."""
        self._lines = tuple(lines)

    def refresh(self) -> None:
        """Draw now."""
        self._live.refresh()

    def close(self) -> None:
        """See LiveLines."""
        with suppress(OSError):  # the terminal may be gone
            self._live.stop()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table of the lines, as rich asks for it."""
        lines, hidden = _that_fit(self._lines, console.height - 1)
        if lines:
            yield _table(lines, options.max_width)
        if hidden:
            yield Text(f"… and {hidden} more")


def _that_fit(lines: Sequence[LiveLine], height: int) -> tuple[Sequence[LiveLine], int]:
    """Return the lines that fit a height, the last one always among them, and the number of the others."""
    if len(lines) <= height:
        return lines, 0
    shown = max(0, height - 2)
    return [*lines[:shown], lines[-1]], len(lines) - shown - 1


def _table(lines: Sequence[LiveLine], width: int) -> Table:
    """Lay the lines out so that none is longer than the width: labels get less than half of it, the status the rest."""
    bar = 0 if width < NARROW else width // 8
    left = max(cell_len(line.left) for line in lines)
    label = min(max(cell_len(line.label) for line in lines), (width - bar - left) * 2 // 5)
    status = max(1, width - label - bar - left - 3)
    widths = (label, bar, status, left)
    table = Table.grid(
        *(Column(width=each, no_wrap=True, overflow="ellipsis") for each in widths), padding=(0, 1, 0, 0)
    )
    for line in lines:
        progress = ProgressBar(total=1.0, completed=line.share, width=bar) if bar else ""
        table.add_row(Text(cut(line.label, label)), progress, Text(line.status), Text(line.left, justify="right"))
    return table


def cut(text: str, width: int) -> str:
    """Cut a text in its middle if it is wider than so many cells of a terminal.

    >>> cut("skip+kl-annealing[warmup=0.1] seed 12", 20)
    'skip+kl-a…1] seed 12'
    """
    if cell_len(text) <= width:
        return text
    tail = text[-min(TAIL, width // 2) :]
    head = text[: max(0, width - len(tail) - 1)]
    while head and cell_len(head) + 1 + cell_len(tail) > width:
        head = head[:-1]
    return f"{head}…{tail}"
