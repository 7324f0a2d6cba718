"""The boards of a suite: its stored runs beside the numbers of its paper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from collapsebench.components.interfaces import Dataset
from collapsebench.data.files import facts_of
from collapsebench.experiment import suites
from collapsebench.experiment.suites import Suite
from collapsebench.facts import SplitFacts
from collapsebench.observation import Unreadable, unreadable_line
from collapsebench.published import PublishedRow, publication
from collapsebench.reporting.leaderboard import (
    ENTRIES,
    EXPORTS,
    Presentation,
    RowOrder,
    Shown,
    likelihood_limits,
    page_pieces,
    pieces,
    present,
    score,
    select,
)
from collapsebench.reporting.leaderboard.comparison import MeasuredCell, Pair, compare
from collapsebench.reporting.leaderboard.comparison_page import comparison_csv, comparison_json, comparison_page
from collapsebench.reporting.leaderboard.provenance import DATA, needs_files
from collapsebench.reporting.queries import SuiteQuery
from collapsebench.reporting.selection import (
    as_written,
    declared_cells,
    labels,
    names_of,
    nothing_ran,
    stored_protocol,
)
from collapsebench.reporting.tuning import Tunings

if TYPE_CHECKING:
    from collapsebench.components.catalog import Catalog
    from collapsebench.experiment.suites import Cell
    from collapsebench.reporting.leaderboard import Board
    from collapsebench.reporting.leaderboard.pages import Page
    from collapsebench.store import Store


class SuiteBoards(NamedTuple):
    """The cells of a suite with their boards, and the comparison with the paper's numbers."""

    query: SuiteQuery
    suite: Suite
    cells: tuple[MeasuredCell, ...]
    published: tuple[PublishedRow, ...]
    """The rows of the paper's table; empty if the paper prints no numbers."""
    pairs: tuple[Pair, ...]
    """The measured numbers beside the published ones; empty if the paper prints no numbers."""

    @property
    def boards(self) -> tuple[Board, ...]:
        """The board of each protocol that has run."""
        of_protocol = {cell.board.protocol_id: cell.board for cell in self.cells if cell.board is not None}
        return tuple(of_protocol.values())


def suite_boards(store: Store, query: SuiteQuery, columns: Shown | Sequence[str] = Shown.USUAL) -> SuiteBoards:
    """Read the boards of a suite, and compare their numbers with those of its paper.

    `columns` are the keys of the columns that are compared; the usual ones are those of the paper. If the paper prints
    no numbers, the boards show these columns. Raises UsageError for a suite, scale, variant, cell or column that does
    not exist, and StoreError if the suite has no runs.
    """
    suite, cells = suites.suite(query.suite), declared_cells(query)
    components = suite.catalog(query.plugins)
    tunings = Tunings(store, (*query.plugins, *suite.plugin_files))
    measured = tuple(_with_trials(measured_cell(store, cell, components), tunings) for cell in cells)
    if all(cell.board is None for cell in measured):
        raise nothing_ran(query)
    if suite.published is None:
        return SuiteBoards(query, suite, _showing(measured, columns), (), ())
    published = publication(suite.published.publication).table(suite.published.table)
    pairs = compare(suite.scale(query.scale), measured, published, _keys(measured, columns))
    return SuiteBoards(query, suite, measured, published, pairs)


def _with_trials(cell: MeasuredCell, tunings: Tunings) -> MeasuredCell:
    """Let the rows of a cell know of the trials of their contenders."""
    return cell if cell.board is None else cell._replace(board=tunings.on(cell.board))


def _showing(cells: Sequence[MeasuredCell], columns: Shown | Sequence[str]) -> tuple[MeasuredCell, ...]:
    """Choose the columns of the boards of cells."""
    boards: Iterator[Board] = (cell.board for cell in cells if cell.board is not None)
    if not isinstance(columns, Shown):
        boards = select(boards, columns)
    shown = columns if isinstance(columns, Shown) else Shown.EVERY
    shown_boards = present(boards, Presentation(shown, RowOrder.BY_DECISION))
    return tuple(cell if cell.board is None else cell._replace(board=next(shown_boards)) for cell in cells)


def _keys(cells: Sequence[MeasuredCell], columns: Shown | Sequence[str]) -> Sequence[str]:
    """Return the keys of the compared columns; none for those of the paper."""
    if not isinstance(columns, Shown):
        return columns
    boards = [cell.board for cell in cells if cell.board is not None] if columns is Shown.EVERY else []
    return list(dict.fromkeys(column.key for board in boards for column in board.columns))


def measured_cell(store: Store, cell: Cell, components: Catalog, seeds: int | None = None) -> MeasuredCell:
    """Return the cell with the board of its protocol, or with None if the cell has no runs.

    Of all runs only those of seeds 1 to `seeds` count, if it is given.
    """
    dataset = components.entry("dataset", cell.dataset).component
    test = facts_of(dataset).splits.get("test", SplitFacts()) if issubclass(dataset, Dataset) else SplitFacts()
    protocol, limits = stored_protocol(store, cell, components), likelihood_limits(components)
    left_out: list[Unreadable] = []
    runs = [] if protocol is None else store.observations(protocol=protocol, entries=ENTRIES, left_out=left_out)
    named = [run for run in as_written(runs, names_of(cell, components)) if seeds is None or 1 <= run.seed <= seeds]
    board = replace(score(named, limits), left_out=tuple(left_out)) if named else None
    return MeasuredCell(cell, labels(cell, components), test.examples, board)


def suite_pieces(found: SuiteBoards, format_: str, *, width: int | None = None) -> Iterator[str]:
    """Yield the comparison in one of FORMATS, in pieces. If the paper prints no numbers, these are the boards.

    If `width` is that of a terminal, tables are split to fit it.
    """
    if found.suite.published is None:
        return pieces(found.boards, format_, width=width)
    if format_ in EXPORTS:
        export = {"csv": comparison_csv, "json": comparison_json}[format_]
        return iter([export(found.suite.name, found.query.scale, found.pairs)])
    return page_pieces([suite_page(found)], format_, width=width)


def suite_page(found: SuiteBoards) -> Page:
    """Lay out the comparison of a suite with its paper."""
    title = " · ".join([found.suite.name, found.query.scale, *found.query.variants, found.suite.source])
    return comparison_page(title, found.pairs, _notes(found), _command(found))


def _command(found: SuiteBoards) -> str:
    """Return the command that runs the suite with as many seeds, and with the place of data files if it needs any."""
    seeds = max((seed for board in found.boards for row in board.rows for seed in row.seeds), default=0)
    data = f" --data-dir {DATA}" if any(map(needs_files, found.boards)) else ""
    return f"{found.query.command}{f' --seeds {seeds}' if seeds else ''}{data}"


def _notes(found: SuiteBoards) -> Iterator[str]:
    suite, query = found.suite, found.query
    yield f"This suite follows: {suite.follows}"
    yield f"Scale {query.scale}: {suite.scale(query.scale).description}."
    yield from (f"Variant {name}: {suite.known_variants(query.scale)[name].description}." for name in query.variants)
    yield from _protocols_apart([cell.cell for cell in found.cells])
    comparable = dict.fromkeys(row.comparable for row in found.published)
    left_out = tuple(dict.fromkeys(run for board in found.boards for run in board.left_out))
    if left_out:
        yield f"{unreadable_line(left_out)}."
    yield from (f"Comparable, says the table: {text}" for text in comparable)


def _protocols_apart(cells: Sequence[Cell]) -> Iterator[str]:
    """Yield a note for each cell that is subtracted from another cell: the settings in which their protocols differ."""
    named = {cell.name: cell for cell in cells}
    for cell in cells:
        own, other = set(cell.settings), set(named.get(cell.against, cell).settings)
        if own != other:
            sides = (("the first", own - other), ("the second", other - own))
            only = [f"only {side} has {', '.join(sorted(settings))}" for side, settings in sides if settings]
            yield f"{cell.name} against {cell.against}: two protocols, {'; '.join(only)}."
