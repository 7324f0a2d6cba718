"""Views of boards: some of their columns and rows, in another order, or compared with another contender."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from collapsebench.errors import UsageError, unknown
from collapsebench.estimates import Direction
from collapsebench.reporting.leaderboard.presentation import Presentation
from collapsebench.reporting.leaderboard.scoring import Board, Row, differences_of


def select(boards: Iterable[Board], keys: Sequence[str]) -> Iterator[Board]:
    """Keep the named columns of each board, in the order of the names. A board may have only some of them.

    Raises UsageError for a column that no board has.
    """
    for board in _having(boards, keys):
        columns = (column for key in dict.fromkeys(keys) for column in board.columns if column.key == key)
        yield replace(board, columns=tuple(columns))


def order(boards: Iterable[Board], key: str) -> Iterator[Board]:
    """Sort the rows of each board by one column, the best first. The compared row stays above them.

    Rows without the number, or with an impossible one, come last. Raises UsageError for a column that no board has.
    """
    for board in _having(boards, [key]):
        yield ordered(board, key)


def compare_with(boards: Iterable[Board], contender: str) -> Iterator[Board]:
    """Take paired differences to this contender, and put it in the first row. Boards without it have no differences.

    Raises UsageError for a contender that no board has.
    """
    for board in _holding(boards, [contender], "contender", lambda board: (row.label for row in board.rows)):
        samples = next((row.samples for row in board.rows if row.label == contender), {})
        rows = (
            replace(row, differences={} if row.label == contender else differences_of(row.samples, samples))
            for row in sorted(board.rows, key=lambda row: row.label != contender)
        )
        yield replace(board, rows=tuple(rows), against=contender)


def present(boards: Iterable[Board], presentation: Presentation) -> Iterator[Board]:
    """Say how boards are shown to people.

    Raises UsageError for the label of a contender that no board has, and if two contenders would have equal labels.
    """
    labels = presentation.labels
    for board in _holding(boards, list(labels), "contender", lambda board: (row.contender for row in board.rows)):
        presented = replace(board, presentation=presentation)
        twice = [label for label, rows in Counter(row.label for row in presented.labelled.rows).items() if rows > 1]
        if twice:
            raise UsageError(f"protocol {board.protocol_id}: two contenders cannot both be called '{twice[0]}'")
        yield presented


def keep(boards: Iterable[Board], contenders: Sequence[str]) -> Iterator[Board]:
    """Keep the rows of some contenders, and the row that they are compared with. Boards without them are left out.

    Raises UsageError for a contender that no board has.
    """
    for board in _holding(boards, contenders, "contender", lambda board: (row.contender for row in board.rows)):
        if any(row.contender in contenders for row in board.rows):
            rows = (row for row in board.rows if row.contender in contenders or row is board.compared)
            yield replace(board, rows=tuple(rows))


def _having(boards: Iterable[Board], keys: Sequence[str]) -> Iterator[Board]:
    return _holding(boards, keys, "column", lambda board: (column.key for column in board.columns))


def _holding(
    boards: Iterable[Board], wanted: Sequence[str], kind: str, names: Callable[[Board], Iterable[str]]
) -> Iterator[Board]:
    """Hold boards back until each wanted name is in one of them. Raises UsageError for a name that no board has."""
    coming, held, seen = iter(boards), deque[Board](), set[str]()
    for board in coming:
        held.append(board)
        seen.update(names(board))
        if seen.issuperset(wanted):
            break
    for name in wanted:
        if name not in seen:
            raise UsageError(unknown(kind, name, seen))
    while held:
        yield held.popleft()
    yield from coming


def ordered(board: Board, key: str) -> Board:
    """Sort the rows of a board as `order` does. A board without the column keeps its order but for the compared row."""
    column = next((column for column in board.columns if column.key == key), None)
    sign = -1 if column is not None and column.direction is Direction.HIGHER else 1

    def place(row: Row) -> tuple[bool, bool, float]:
        sample = row.sample(key)
        absent = sample is None or math.isnan(sample.mean) or (column is not None and bool(row.impossible(column)))
        return row is not board.compared, absent, 0.0 if sample is None or absent else sign * sample.mean

    return replace(board, rows=tuple(sorted(board.rows, key=place)))
