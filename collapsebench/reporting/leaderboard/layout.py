"""The layout of a board: the texts of its tables. The columns are those that people have chosen to see."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from collapsebench.estimates import Direction
from collapsebench.reporting.leaderboard import reference
from collapsebench.reporting.leaderboard.decisions import LIKELIHOODS, deciding, differs, leaders
from collapsebench.reporting.leaderboard.notes import footnotes, notes, usual_notes
from collapsebench.reporting.leaderboard.numbers import (
    ANY,
    BLANK,
    Range,
    bracket,
    cost,
    place_text,
    possible,
    with_error,
    with_interval,
)
from collapsebench.reporting.leaderboard.pages import (
    DECLINED,
    DIFFERS,
    FINDING,
    IMPOSSIBLE,
    SATURATED,
    Page,
    Part,
    TableCell,
    TextTable,
)
from collapsebench.reporting.leaderboard.presentation import RowOrder, Shown
from collapsebench.reporting.leaderboard.provenance import places, whole_command
from collapsebench.reporting.leaderboard.scoring import PARAMETERS, Board, BoardColumn, Row, SeedSample, Tuned
from collapsebench.reporting.leaderboard.views import ordered

ARROWS = {Direction.LOWER: " ↓", Direction.HIGHER: " ↑", Direction.NONE: ""}
LOWER, UPPER = "mi_lower", "mi_upper"
"""The two bounds on the mutual information, which the usual view shows as a bracket."""
USUAL = ("neg_elbo", *LIKELIHOODS, "kl", LOWER, "active_units")
"""The columns of the usual view, each if the board has it. Of the likelihoods there is one beside the bound."""
FINEST, FINE = 3, 2
"""The most decimals of a likelihood, and of another column, in the usual view. A decided difference may have more."""


class Head(NamedTuple):
    """One column of a table: a column of the board, or a bracket of two."""

    column: BoardColumn
    upper: BoardColumn | None = None
    """The upper bound of a bracket, whose lower bound is `column`."""

    @property
    def bounds(self) -> tuple[BoardColumn, ...]:
        """The columns of the board that it shows."""
        return (self.column,) if self.upper is None else (self.column, self.upper)

    @property
    def most_decimals(self) -> int:
        """The most decimals in the usual view."""
        return FINEST if self.column.key in LIKELIHOODS else FINE

    @property
    def title(self) -> str:
        """The title with the direction, without the unit."""
        title, arrow = self.column.title, ARROWS[self.column.direction]
        return f"{title}{arrow}" if self.upper is None else f"{title.removesuffix(' ≥')}{arrow} [lower, upper]"


def lay_out(board: Board) -> Page:
    """Return the page of a board: results, distances from the best possible, differences, costs and notes.

    The usual view has results and differences of a few columns; what else there is stands in its notes.
    """
    board = board.labelled
    heads = _usual_heads(board) if board.presentation.columns is Shown.USUAL else []
    shown = [column for head in heads for column in head.bounds] or [each for each in board.columns if each.metric]
    decisive = deciding(shown)
    if board.presentation.order is RowOrder.BY_DECISION and decisive is not None:
        board = ordered(board, decisive.key)
    return _usual_page(board, heads) if heads else _whole_page(board, shown)


def usual_columns(board: Board) -> list[BoardColumn]:
    """Return the columns of the usual view; empty if the board has none of them."""
    return [column for head in _usual_heads(board) for column in head.bounds]


def score_text(board: Board, row: Row, column: BoardColumn) -> str:
    """Write the cell of a row and a column of metrics: mean, interval and marks; or why there is no number."""
    return _result(board, row, Head(column), usual=False)


def difference_text(board: Board, row: Row, column: BoardColumn) -> str:
    """Write the paired difference of a row to the compared one, with interval and marks."""
    return _difference(board, row, Head(column), usual=False)


def _usual_heads(board: Board) -> list[Head]:
    """Return the heads of the usual view; empty if the board has none of its columns. A dialect has few, all usual."""
    if board.dialect is not None:
        return [Head(column) for column in board.columns if column.metric]
    by_key = {column.key: column for column in board.columns if column.metric}
    likelihood = next((key for key in LIKELIHOODS if key in by_key), None)
    keys = [key for key in USUAL if key in by_key and (key not in LIKELIHOODS or key in {"neg_elbo", likelihood})]
    return [Head(by_key[key], by_key.get(UPPER) if key == LOWER else None) for key in dict.fromkeys(keys)]


def _usual_page(board: Board, heads: Sequence[Head]) -> Page:
    tables = [_results(board, heads, usual=True)]
    if board.compared is not None and len(board.rows) > 1:
        tables.append(_differences(board, heads, usual=True))
    tables += _tuning(board)
    shown = [column for head in heads for column in head.bounds]
    return _page(board, tables, usual_notes(board, shown), shown)


def _whole_page(board: Board, metrics: Sequence[BoardColumn]) -> Page:
    heads, costs = list(map(Head, metrics)), [column for column in board.columns if not column.metric]
    tables = []
    if metrics:
        tables += [_results(board, heads, usual=False), *_distances(board, metrics)]
    if metrics and board.compared is not None and len(board.rows) > 1:
        tables.append(_differences(board, heads, usual=False))
    if costs:
        tables.append(_costs(board, costs))
    tables += _tuning(board)
    return _page(board, tables, notes(board, metrics), metrics)


def _page(board: Board, tables: Iterable[TextTable], below: Iterable[str], shown: Sequence[BoardColumn]) -> Page:
    differences = [Part.DIFFERENCES] if board.presentation.print_differences else []
    return Page(
        title=title(board),
        tables=tuple(tables),
        notes=(*below, *places(board)),
        command=whole_command(board),
        printed=frozenset({Part.RESULTS, *differences}),
        footnotes=tuple(footnotes(board, shown)),
    )


def title(board: Board) -> str:
    """Return the title of a board: dataset, track, budget, protocol and versions."""
    protocol = board.protocol
    versions = sorted({str(environment.get("collapsebench", "?")) for environment, _ in board.environments})
    return (
        f"{protocol.dataset.name} · {protocol.track_label}{' (of a file)' if protocol.file_name else ''} · "
        f"{protocol.budget} · protocol {board.protocol_id} "
        f"(version {protocol.version}) · collapsebench {', '.join(versions)}"
        f"{f' · validation split at {board.at}' if board.at else ''}"
        f"{f' · as {board.dialect.name} scores' if board.dialect else ''}"
    )


def _results(board: Board, heads: Sequence[Head], *, usual: bool) -> TextTable:
    tops = {head.column.key: leaders(board, head.column) for head in heads}
    counts = list(map(_count, board.rows))
    rows = [
        (
            TableCell(marked_label(row)),
            TableCell(count),
            *(TableCell(_result(board, row, head, usual=usual), row.label in tops[head.column.key]) for head in heads),
        )
        for row, count in zip(board.rows, counts, strict=True)
    ]
    if any(column.key in board.reference for head in heads for column in head.bounds):
        best = (TableCell(_best_possible(board, head, usual=usual)) for head in heads)
        rows.append((TableCell(reference.LABEL), TableCell(""), *best))
    headers = (head.title if usual else header(head.column) for head in heads)
    table = TextTable("Results", ("contender", "n", *headers), tuple(rows))
    return _without_count(table, counts) if usual else table


def _without_count(table: TextTable, counts: Sequence[str]) -> TextTable:
    """Say the number of seeds in the caption if all rows have the same, and leave its column out."""
    if len(set(counts)) > 1 or not counts[0].isdecimal():
        return table
    seeds = f"{counts[0]} seed{'' if counts[0] == '1' else 's'}"
    rows = tuple((row[0], *row[2:]) for row in table.rows)
    return table._replace(
        caption=f"{table.caption}, {seeds}", headers=(table.headers[0], *table.headers[2:]), rows=rows
    )


def _distances(board: Board, columns: Iterable[BoardColumn]) -> Iterator[TextTable]:
    """Yield the table of regrets and shares of the information, if a shown column has any of them."""
    keys = {column.key for column in columns}
    measured = [
        (header, key, [_distance(board, row, key, measure(board, row)) for row in board.rows])
        for key, header, measure in (
            (reference.LIKELIHOOD, "regret of IW-NLL [nats] ↓", reference.regret),
            (reference.INFORMATION, "MI ≥ of I(x; z) [%]", reference.share),
        )
        if key in keys
    ]
    measured = [(header, key, texts) for header, key, texts in measured if any(texts)]
    if measured:
        filled = [
            [text or f"{BLANK}{_mark_of_declined([row], key)}" for row, text in zip(board.rows, texts, strict=True)]
            for _, key, texts in measured
        ]
        rows = zip(map(marked_label, board.rows), *filled, strict=True)
        headers = ("contender", *(header for header, _, _ in measured))
        cells = tuple(tuple(map(TableCell, row)) for row in rows)
        yield TextTable(f"Against the {reference.LABEL}", headers, cells, Part.DISTANCES)


def _distance(board: Board, row: Row, key: str, sample: SeedSample | None) -> str:
    """Write a distance from the best possible; an empty text if it is not known."""
    column = next(column for column in board.columns if column.key == key)
    return "" if sample is None else f"{with_interval(sample)}{_mark_of_impossible([row], column)}"


def _best_possible(board: Board, head: Head, *, usual: bool) -> str:
    """Write what the best model scores. A bracket of one number is that number."""
    best = [board.reference[column.key] for column in head.bounds if column.key in board.reference]
    return with_error(best[0], head.most_decimals if usual else None) if best else ""


def _differences(board: Board, heads: Sequence[Head], *, usual: bool) -> TextTable:
    rows = [
        (
            TableCell(marked_label(row)),
            TableCell(_pairs(row)),
            *(TableCell(_difference(board, row, head, usual=usual)) for head in heads),
        )
        for row in board.rows
        if row.label != board.against
    ]
    titles = (head.title if usual else f"Δ {header(head.column)}" for head in heads)
    table = TextTable(
        f"Paired difference to {board.against}", ("contender", "pairs", *titles), tuple(rows), Part.DIFFERENCES
    )
    return _without_count(table, [row[1].text for row in rows]) if usual and rows else table


def _costs(board: Board, columns: Sequence[BoardColumn]) -> TextTable:
    headers = ["contender"]
    for column in columns:
        headers += [column.title, f"Δ {column.title}"] if _has_difference(board, column) else [column.title]
    rows = ((TableCell(marked_label(row)), *map(TableCell, _row_of_costs(board, row, columns))) for row in board.rows)
    caption = f"Costs: parameters, and counters at {board.at or 'the end of training'} (means)"
    return TextTable(caption, tuple(headers), tuple(rows), Part.COSTS)


def _row_of_costs(board: Board, row: Row, columns: Iterable[BoardColumn]) -> Iterator[str]:
    for column in columns:
        yield cost(row.sample(column.key))
        if _has_difference(board, column):
            yield "" if row is board.compared else cost(board.difference(row, column.key), signed=True)


def _tuning(board: Board) -> Iterator[TextTable]:
    """Yield the table of rows whose setting was tried in a tuning, if there are any."""
    rows = tuple(tuple(map(TableCell, _tuned(row, row.tuned))) for row in board.rows if row.tuned is not None)
    if rows:
        headers = ("contender", "chosen by", "trials", "their FLOPs", "below it, of each range")
        yield TextTable("Tuning: what chose a setting, on the validation split", headers, rows, Part.TUNING)


def _tuned(row: Row, tuned: Tuned) -> Iterator[str]:
    yield marked_label(row)
    yield ", ".join(tuned.rules) or "no rule"
    yield str(tuned.trials)
    yield f"{tuned.flops:.3g}"
    yield ", ".join(filter(None, map(place_text, tuned.places)))


def _has_difference(board: Board, column: BoardColumn) -> bool:
    """Return True for a cost that is compared. Only the parameters are."""
    return board.compared is not None and column.key == PARAMETERS


def header(column: BoardColumn) -> str:
    """Return the head of a column: title, unit and direction."""
    unit = f" [{column.unit}]" if column.unit else ""
    return f"{column.title}{unit}{ARROWS[column.direction]}"


def marked_label(row: Row) -> str:
    """Return the label of a row, with a mark if guards found something in its runs."""
    return f"{row.label} {FINDING}" if row.findings else row.label


def _count(row: Row) -> str:
    finished = len(row.seeds) - len(row.problems)
    return f"{finished} of {len(row.seeds)}" if row.problems else str(finished)


def _pairs(row: Row) -> str:
    return str(max((len(sample.seeds) for sample in row.differences.values()), default=0))


def _result(board: Board, row: Row, head: Head, *, usual: bool) -> str:
    saturates = any(row.saturates(column) for column in head.bounds)
    mark = f"{f' {SATURATED}' if saturates else ''}{_marks_of_impossible([row], head)}"
    samples = [sample for column in head.bounds if (sample := row.sample(column.key)) is not None]
    if len(samples) < len(head.bounds):
        blank = _blank([row], head.column)
        return f"{blank}{mark}" if blank else ""
    within = ANY if row.impossible(head.column) else possible(board, head.column)
    text = _number(samples, within=within, most=head.most_decimals if usual else None)
    return f"{text}{mark}{_mark_of_difference(board, row, head)}"


def _number(samples: Sequence[SeedSample], *, signed: bool = False, within: Range = ANY, most: int | None) -> str:
    """Write a number with its interval, or a bracket of two."""
    if len(samples) > 1:
        return bracket(samples[0], samples[1], signed=signed, within=within, most=most)
    return with_interval(samples[0], signed=signed, within=within, most=most)


def _difference(board: Board, row: Row, head: Head, *, usual: bool) -> str:
    samples = [sample for column in head.bounds if (sample := board.difference(row, column.key)) is not None]
    both = [row] if board.compared is None else [row, board.compared]
    if len(samples) < len(head.bounds):
        return _blank(both, head.column)
    mark = _mark_of_difference(board, row, head)
    most = _most_decimals(samples, head.most_decimals, small=bool(mark)) if usual else None
    text = _number(samples, signed=True, most=most)
    return f"{text}{_marks_of_impossible(both, head)}{mark}"


def _most_decimals(samples: Sequence[SeedSample], most: int, *, small: bool) -> int | None:
    """Return the most decimals of a difference. A small one that is decided gets one more, or as many as it needs."""
    least = min(abs(sample.mean) for sample in samples)
    enough = (decimals for decimals in (most, most + 1) if least >= 10**-decimals)
    return next(enough, None) if small else most


def _mark_of_difference(board: Board, row: Row, head: Head) -> str:
    """Return the mark of a number that differs from the compared one; of a bracket, both bounds must."""
    return f" {DIFFERS}" if all(differs(board, row, column) for column in head.bounds) else ""


def _blank(rows: Sequence[Row], column: BoardColumn) -> str:
    """Write a cell without a number, which would be computed from these rows. The first one is its own."""
    missing = f"{BLANK}{_reason(rows, column)}" if rows[0].applies(column.key) else ""
    return f"{missing}{_mark_of_declined(rows, column.key)}".strip()


def _reason(rows: Iterable[Row], column: BoardColumn) -> str:
    """Say how many seeds have a number, of the first row that lacks one; empty if all have."""
    for row in rows:
        sample = row.samples.get(column.key)
        numbers = 0 if sample is None else len(sample.seeds)
        if numbers < len(row.seeds):
            return f" {numbers} of {len(row.seeds)} seeds"
    return ""


def _mark_of_declined(rows: Iterable[Row], key: str) -> str:
    """Return the mark of a cell that has no number, as a metric says of one of these rows."""
    return f" {DECLINED}" if any(key in row.declined for row in rows) else ""


def _marks_of_impossible(rows: Sequence[Row], head: Head) -> str:
    return next((mark for column in head.bounds if (mark := _mark_of_impossible(rows, column))), "")


def _mark_of_impossible(rows: Iterable[Row], column: BoardColumn) -> str:
    """Return the mark of a cell that is computed from the numbers of these rows."""
    return f" {IMPOSSIBLE}" if any(row.impossible(column) for row in rows) else ""
