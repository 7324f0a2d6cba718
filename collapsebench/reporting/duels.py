"""Two contenders side by side, on every protocol that has both: what tells them apart, and what they cost."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from collapsebench.errors import StoreError, UsageError
from collapsebench.estimates import Direction
from collapsebench.reporting.boards import BoardView, boards
from collapsebench.reporting.leaderboard import page_pieces
from collapsebench.reporting.leaderboard.decisions import MOST_PAIRS, pairs_to_tell, told
from collapsebench.reporting.leaderboard.exports import aggregate, head
from collapsebench.reporting.leaderboard.layout import difference_text, header, score_text, title
from collapsebench.reporting.leaderboard.notes import INTERVALS, run_notes
from collapsebench.reporting.leaderboard.numbers import BLANK, cost
from collapsebench.reporting.leaderboard.pages import DIFFERS, Page, Part, TableCell, TextTable
from collapsebench.reporting.leaderboard.presentation import Shown
from collapsebench.reporting.leaderboard.provenance import command, places, whole_command
from collapsebench.syntax import canonical

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from collapsebench.record import RunRecord
    from collapsebench.reporting.leaderboard import Board
    from collapsebench.reporting.leaderboard.scoring import BoardColumn, Row, SeedSample
    from collapsebench.reporting.queries import ProtocolQuery
    from collapsebench.store import Store


LEGEND = (
    f"{DIFFERS}: the paired difference has no zero in its interval. The last column says what that decides, or with "
    "about how many seeds it would have none."
)


class Duel(NamedTuple):
    """Two contenders of one protocol. Differences are the first minus the second."""

    board: Board
    """The board of the protocol, whose rows are compared with the second."""
    first: Row
    second: Row
    parameters: Mapping[str, tuple[Any, Any]]
    """The parameters of their methods that differ, as the first and the second have them; None for one without it."""

    def as_json(self) -> dict[str, Any]:
        """Return the two with all columns as JSON. A decision is null where there is none."""
        return {
            **head(self.board),
            "first": self.first.label,
            "second": self.second.label,
            "parameters": {name: list(values) for name, values in self.parameters.items()},
            "columns": [self._column(column) for column in self.board.columns],
            "command": command(self.board),
        }

    def _column(self, column: BoardColumn) -> dict[str, Any]:
        difference = self.board.difference(self.first, column.key)
        return column._asdict() | {
            "first": aggregate(self.first.sample(column.key)),
            "second": aggregate(self.second.sample(column.key)),
            "difference": aggregate(difference),
            "decided": None if difference is None else told(difference),
            "seeds_to_decide": None if difference is None else pairs_to_tell(difference),
        }

    def as_page(self) -> Page:
        """Lay the two out: a row for each column of metrics, and one for each cost."""
        metrics = [column for column in self.board.columns if column.metric]
        costs = [column for column in self.board.columns if not column.metric]
        names = (self.first.label, self.second.label)
        difference = f"{names[0]} − {names[1]}"
        tables = [
            TextTable(
                "Metrics",
                ("column", *names, difference, "says"),
                tuple(tuple(map(TableCell, self._of_metric(column))) for column in metrics),
            ),
            TextTable(
                "Costs (means)",
                ("cost", *names, "first / second"),
                tuple(tuple(map(TableCell, self._of_cost(column))) for column in costs),
                Part.COSTS,
            ),
        ]
        if self.parameters:
            rows = (
                tuple(map(TableCell, (name, *(_text(value) for value in values))))
                for name, values in self.parameters.items()
            )
            tables.append(TextTable("What differs in their methods", ("parameter", *names), tuple(rows)))
        notes = (
            INTERVALS,
            LEGEND,
            *run_notes(self.board, metrics),
            *places(self.board),
        )
        return Page(title(self.board), tuple(tables), notes, whole_command(self.board))

    def _of_metric(self, column: BoardColumn) -> Iterator[str]:
        yield header(column)
        yield from (score_text(self.board, row, column) for row in (self.first, self.second))
        yield difference_text(self.board, self.first, column)
        difference = self.board.difference(self.first, column.key)
        possible = not any(row.impossible(column) for row in (self.first, self.second))
        yield _says(column, difference) if difference is not None and possible else ""

    def _of_cost(self, column: BoardColumn) -> Iterator[str]:
        samples = [row.sample(column.key) for row in (self.first, self.second)]
        yield column.title
        yield from map(cost, samples)
        first, second = samples
        yield BLANK if first is None or second is None or not second.mean else f"{first.mean / second.mean:.3g}"


def _says(column: BoardColumn, difference: SeedSample) -> str:
    """Say what a difference decides, or how many seeds would."""
    decided = told(difference)
    if decided is None:
        return "one seed tells nothing" if len(difference.seeds) < 2 else ""
    if not any(difference.seeds.values()):
        return "equal"
    if not decided:
        pairs = pairs_to_tell(difference)
        return f"more than {MOST_PAIRS} seeds" if pairs is None else f"about {pairs} seeds"
    if column.direction is Direction.NONE:
        return "more" if difference.mean > 0 else "less"
    return "better" if (difference.mean < 0) == (column.direction is Direction.LOWER) else "worse"


def _text(value: Any) -> str:
    if value is None:
        return BLANK
    return value if isinstance(value, str) else json.dumps(value)


class Duels(NamedTuple):
    """Two contenders on every protocol that has both."""

    duels: tuple[Duel, ...]

    def as_json(self) -> dict[str, Any]:
        """Return all comparisons as JSON."""
        return {"comparisons": [duel.as_json() for duel in self.duels]}

    def as_text(self, width: int | None = None) -> str:
        """Write all comparisons for a terminal of this width; None if the text goes elsewhere."""
        return "".join(page_pieces((duel.as_page() for duel in self.duels), "table", width=width))


def read_duels(store: Store, query: ProtocolQuery, first: str, second: str, plugins: Sequence[Path] = ()) -> Duels:
    """Compare two contenders on each selected protocol that has runs of both.

    Raises UsageError for a contender without runs or compared with itself, and StoreError if no protocol has both.
    """
    names = [canonical(text) for text in (first, second)]
    if names[0] == names[1]:
        raise UsageError(f"'{names[0]}' is compared with itself")
    view = BoardView(against=names[1], contenders=[names[0]], columns=Shown.EVERY)
    found = tuple(duel for board in boards(store, query, view, plugins) for duel in _of_board(store, board, names[0]))
    if not found:
        raise StoreError(f"no protocol has runs of both {names[0]} and {names[1]}")
    return Duels(found)


def _of_board(store: Store, board: Board, first: str) -> Iterator[Duel]:
    """Yield the comparison of each version of the first contender with the compared row, if the board has it."""
    second = board.compared
    if second is not None:
        rows = (row for row in board.rows if row.contender == first)
        yield from (Duel(board, row, second, _parameters(store, row, second)) for row in rows)


def _parameters(store: Store, first: Row, second: Row) -> dict[str, tuple[Any, Any]]:
    """Return the parameters in which the methods of two contenders differ."""
    own, others = (_of_methods(store.get(next(iter(row.runs.values())))) for row in (first, second))
    found = {name: (own.get(name), others.get(name)) for name in dict.fromkeys((*own, *others))}
    return {name: values for name, values in found.items() if values[0] != values[1]}


def _of_methods(record: RunRecord) -> dict[str, Any]:
    """Return the rate of a run's contender and every parameter of its methods. The name of each has its version."""
    found: dict[str, Any] = {"rate": record.spec.contender.rate}
    for method in record.spec.contender.methods:
        found[method.name] = f"version {method.version}"
        found |= {f"{method.name}.{name}": value for name, value in method.params.items()}
    return found
