"""The layout of a board: tables of text with captions and notes. Numbers are rounded to the digits that are certain."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from collapsebench.estimates import SATURATION, Direction, Estimate
from collapsebench.metrics.dialects import Dialect
from collapsebench.observation import unreadable_line
from collapsebench.printable import printable
from collapsebench.record import Outcome
from collapsebench.reporting.leaderboard import reference
from collapsebench.reporting.leaderboard.scoring import (
    PARAMETERS,
    Board,
    BoardColumn,
    Problem,
    Row,
    RowReason,
    SeedSample,
)
from collapsebench.syntax import BASELINE, print_value

ARROWS = {Direction.LOWER: " ↓", Direction.HIGHER: " ↑", Direction.NONE: ""}
BETTER = {Direction.LOWER: ", lower is better", Direction.HIGHER: ", higher is better", Direction.NONE: ""}
BLANK = "—"
LEGEND = (
    "Mean over seeds ± half-width of its 95 % Student-t interval; one seed has no interval. "
    "The best mean of a column is bold (in plain text: *)."
)
IMPOSSIBLE = "!"
"""The mark of impossible numbers."""
SATURATION_MARK = "†"
"""The mark of numbers that have reached the limit of their estimator."""
FINDING = "‡"
"""The mark of contenders about whose runs there is something to know."""
DECLINED = "§"
"""The mark of cells whose metric has no number for the contender, and says why."""
MANY = 1e9
"""Counts from this number on, such as FLOPs, are written as powers of ten."""
NORMAL = 1.96
"""The 95 % interval of a normal distribution has this many standard errors on either side."""
NEGLIGIBLE = 1e-12
"""An uncertainty below this share of a number says nothing about its digits."""


class TableCell(NamedTuple):
    """One cell of a table."""

    text: str
    bold: bool = False


class TextTable(NamedTuple):
    """A table with a caption. The first column is text, the others are numbers."""

    caption: str
    headers: tuple[str, ...]
    rows: tuple[tuple[TableCell, ...], ...]

    def escaped(self, escape: Callable[[str], str]) -> TextTable:
        """Return the table with every text escaped."""
        rows = tuple(tuple(TableCell(escape(cell.text), cell.bold) for cell in row) for row in self.rows)
        return TextTable(escape(self.caption), tuple(map(escape, self.headers)), rows)


class Page(NamedTuple):
    """A board that can be written in any format."""

    title: str
    tables: tuple[TextTable, ...]
    notes: tuple[str, ...]
    command: str
    """The command that makes the runs."""

    def escaped(self, escape: Callable[[str], str], raw: Callable[[str], str] = printable) -> Page:
        """Return the page with every text escaped: the command by `raw`, all others by `escape`."""
        tables = tuple(table.escaped(escape) for table in self.tables)
        return Page(escape(self.title), tables, tuple(map(escape, self.notes)), raw(self.command))


def lay_out(board: Board) -> Page:
    """Return the page of a board: results, distances from the best possible, differences, costs and notes."""
    board = board.labelled
    metrics = [column for column in board.columns if column.metric]
    costs = [column for column in board.columns if not column.metric]
    tables = []
    if metrics:
        tables += [_results(board, metrics), *_distances(board, metrics)]
    if metrics and board.compared is not None and len(board.rows) > 1:
        tables.append(_differences(board, metrics))
    if costs:
        tables.append(_costs(board, costs))
    return Page(title(board), tuple(tables), tuple(_notes(board, metrics)), command(board))


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


def command(board: Board) -> str:
    """Return the command that makes the runs of a board."""
    protocol = board.protocol
    words = ["collapsebench", "run", "--dataset", protocol.dataset.name, "--track", protocol.track_source]
    words += ["--budget", str(protocol.budget)]
    for key, value in sorted(protocol.overrides.items()):
        words += ["--set", f"{key}={print_value(value)}"]
    contenders = dict.fromkeys(row.contender for row in board.rows)
    for contender in contenders:
        words += [] if contender == BASELINE else ["--method", contender]
    for seed in sorted({seed for row in board.rows for seed in row.seeds}):
        words += ["--seed", str(seed)]
    return shlex.join(words if BASELINE in contenders else [*words, "--no-baseline"])


def rounded(number: float, uncertainty: float | None) -> str:
    """Round to the second significant digit of the uncertainty, or to four digits if it is unknown or negligible."""
    if not math.isfinite(number):
        return str(number).replace("-", "−")
    if uncertainty is None or not math.isfinite(uncertainty) or uncertainty <= abs(number) * NEGLIGIBLE:
        return _four_digits(number)
    return _fixed(number, _decimals(uncertainty, 2))


def with_interval(sample: SeedSample, *, signed: bool = False) -> str:
    """Write `98.41 ± 0.31`. The interval is left out for one seed, and if it is not finite."""
    mean, half_width = sample.mean, sample.half_width
    text = rounded(mean, sample.uncertainty)
    text = _signed(text) if signed and mean > 0 else text
    if half_width is None or not math.isfinite(half_width):
        return text
    negligible = half_width <= abs(mean) * NEGLIGIBLE
    return f"{text} ± {f'{half_width:.1g}' if negligible else rounded(half_width, half_width)}"


def _signed(text: str) -> str:
    return f"+{text}" if text.strip("0.") else text


def _four_digits(number: float) -> str:
    if number == round(number) and abs(number) < 1e15:
        return _fixed(number, 0)
    if not 1e-4 <= abs(number) < 1e7:
        return f"{number:.3e}".replace("-", "−")
    return _fixed(number, max(0, _decimals(number, 4)))


def _decimals(number: float, digits: int) -> int:
    """Return the number of decimals that show so many digits of the rounded number: 0.0996 is 0.10 and has two."""
    return digits - 1 - int(f"{number:.{digits - 1}e}".partition("e")[2])


def _fixed(number: float, decimals: int) -> str:
    return f"{round(number, decimals):z.{max(decimals, 0)}f}".replace("-", "−")


def _results(board: Board, columns: Sequence[BoardColumn]) -> TextTable:
    best = {column.key: board.best(column) for column in columns}
    rows = [
        (
            TableCell(marked_label(row)),
            TableCell(_count(row)),
            *(TableCell(score_text(row, column), row.label in best[column.key]) for column in columns),
        )
        for row in board.rows
    ]
    if any(column.key in board.reference for column in columns):
        references = (board.reference.get(column.key) for column in columns)
        cells = (TableCell("" if best is None else _best_possible(best)) for best in references)
        rows.append((TableCell(reference.LABEL), TableCell(""), *cells))
    return TextTable("Results", ("contender", "n", *map(header, columns)), tuple(rows))


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
        yield TextTable(f"Against the {reference.LABEL}", headers, tuple(tuple(map(TableCell, row)) for row in rows))


def _distance(board: Board, row: Row, key: str, sample: SeedSample | None) -> str:
    """Write a distance from the best possible; an empty text if it is not known."""
    column = next(column for column in board.columns if column.key == key)
    return "" if sample is None else f"{with_interval(sample)}{_mark_of_impossible([row], column)}"


def _best_possible(best: Estimate) -> str:
    """Write the value, with its 95 % interval if it was estimated."""
    if best.standard_error is None:
        return rounded(best.value, None)
    half_width = NORMAL * best.standard_error
    return f"{rounded(best.value, half_width)} ± {rounded(half_width, half_width)}"


def _differences(board: Board, columns: Sequence[BoardColumn]) -> TextTable:
    rows = [
        (
            TableCell(marked_label(row)),
            TableCell(_pairs(row)),
            *(TableCell(difference_text(board, row, column)) for column in columns),
        )
        for row in board.rows
        if row.label != board.against
    ]
    headers = ("contender", "pairs", *(f"Δ {header(column)}" for column in columns))
    return TextTable(f"Paired difference to {board.against}", headers, tuple(rows))


def _costs(board: Board, columns: Sequence[BoardColumn]) -> TextTable:
    headers = ["contender"]
    for column in columns:
        headers += [column.title, f"Δ {column.title}"] if _has_difference(board, column) else [column.title]
    rows = ((TableCell(marked_label(row)), *map(TableCell, _row_of_costs(board, row, columns))) for row in board.rows)
    caption = f"Costs: parameters, and counters at {board.at or 'the end of training'} (means)"
    return TextTable(caption, tuple(headers), tuple(rows))


def _row_of_costs(board: Board, row: Row, columns: Iterable[BoardColumn]) -> Iterator[str]:
    for column in columns:
        yield cost_text(row.sample(column.key))
        if _has_difference(board, column):
            yield "" if row is board.compared else cost_text(board.difference(row, column.key), signed=True)


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


def score_text(row: Row, column: BoardColumn) -> str:
    """Write the cell of a row and a column of metrics: mean, interval and marks; or why there is no number."""
    mark = f"{f' {SATURATION_MARK}' if row.saturates(column) else ''}{_mark_of_impossible([row], column)}"
    sample = row.sample(column.key)
    if sample is None:
        blank = _blank([row], column)
        return f"{blank}{mark}" if blank else ""
    return f"{with_interval(sample)}{mark}"


def difference_text(board: Board, row: Row, column: BoardColumn) -> str:
    """Write the paired difference of a row to the compared one, with interval and marks."""
    sample = board.difference(row, column.key)
    both = [row] if board.compared is None else [row, board.compared]
    if sample is None:
        return _blank(both, column)
    return f"{with_interval(sample, signed=True)}{_mark_of_impossible(both, column)}"


def _blank(rows: Sequence[Row], column: BoardColumn) -> str:
    """Write a cell without a number, which would be computed from these rows. The first one is its own."""
    missing = BLANK if rows[0].applies(column.key) else ""
    return f"{missing}{_mark_of_declined(rows, column.key)}".strip()


def _mark_of_declined(rows: Iterable[Row], key: str) -> str:
    """Return the mark of a cell that has no number, as a metric says of one of these rows."""
    return f" {DECLINED}" if any(key in row.declined for row in rows) else ""


def _mark_of_impossible(rows: Iterable[Row], column: BoardColumn) -> str:
    """Return the mark of a cell that is computed from the numbers of these rows."""
    return f" {IMPOSSIBLE}" if any(row.impossible(column) for row in rows) else ""


def cost_text(sample: SeedSample | None, *, signed: bool = False) -> str:
    """Write the mean of a cost: whole, or as a power of ten."""
    if sample is None:
        return BLANK
    mean = sample.mean
    whole = math.isfinite(mean) and (abs(mean) >= 1000 or mean == round(mean))
    text = f"{mean:z,.0f}" if abs(mean) < MANY else _power_of_ten(mean)
    text = text.replace("-", "−") if whole else rounded(mean, None)
    return _signed(text) if signed and mean > 0 else text


def _power_of_ten(number: float) -> str:
    mantissa, _, exponent = f"{number:.3e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def _notes(board: Board, metrics: Sequence[BoardColumn]) -> Iterator[str]:
    yield LEGEND
    if board.at:
        yield (
            f"Numbers of the validation split where {board.at}, interpolated linearly between the evaluations around "
            "it; blank for runs that did not get there."
        )
    if board.dialect:
        yield f"Dialect {board.dialect.name}, {board.dialect.source}. {_estimators(board.dialect)}."
    descriptions = [
        f"{column.title} = {column.key} ({column.unit or 'no unit'}{BETTER[column.direction]})" for column in metrics
    ]
    if descriptions:
        yield f"Columns: {'; '.join(descriptions)}."
    if any(column.key in board.reference for column in metrics):
        yield (
            f"The {reference.LABEL} is what the best model of this setting scores on the test examples, known because "
            "they were generated; ± there is the Monte Carlo error of I(x; z). The regret is at least 0 in expectation "
            "over examples; the share can pass 100 %, as z may hold more of x than made it."
        )
    problems = [(row, problem) for row in board.rows for problem in row.problems]
    if problems:
        yield f"{BLANK} where a run is missing or did not finish; these {len(problems)}:"
        yield from (f"{row.label}, seed {problem.seed}: {_problem(problem)}" for row, problem in problems)
    yield from _declined_notes(board.rows, metrics)
    if any(row.saturates(column) for row in board.rows for column in metrics):
        yield (
            f"{SATURATION_MARK} marks lower bounds on the mutual information within {SATURATION} nats of log N, N the "
            "test examples: the estimator gets no higher, and the truth may be anything above."
        )
    impossible = [
        (row, seed, found) for row in board.rows for seed, several in row.violations.items() for found in several
    ]
    if impossible:
        number = len(impossible)
        yield f"{IMPOSSIBLE} marks numbers that cannot be, whatever the model, and are never the best; these {number}:"
        yield from (f"{row.label}, seed {seed}, run {row.runs[seed]}: {found.text}" for row, seed, found in impossible)
    yield from finding_notes(board.rows)
    yield f"Runs: {_outcomes(board.outcomes)}."
    yield from (f"{unreadable_line(runs)}." for runs in [board.left_out] if runs)
    total = sum(board.outcomes.values())
    yield from (f"Machine ({count} of {total}): {_machine(environment)}." for environment, count in board.environments)
    if len(board.environments) > 1:
        yield "Seconds of runs on different machines, or with different versions, do not compare."


def _declined_notes(rows: Iterable[Row], columns: Sequence[BoardColumn]) -> Iterator[str]:
    found = [note for row in rows for note in _declined(row, columns)]
    if found:
        yield f"{DECLINED} marks cells whose metric has no number for the contender, and says why; these {len(found)}:"
    yield from found


def _declined(row: Row, columns: Iterable[BoardColumn]) -> Iterator[str]:
    """Yield a note for each reason, with the columns that it is for, and with the seeds if the others have numbers."""
    titles: dict[RowReason, list[str]] = {}
    for column in columns:
        for reason in row.declined.get(column.key, ()):
            titles.setdefault(reason, []).append(column.title)
    finished = len(row.seeds) - len(row.problems)
    for reason, own in titles.items():
        seeds = f", {_seeds(reason.seeds)}" if len(reason.seeds) < finished else ""
        yield f"{row.label}{seeds}, {', '.join(own)}: {reason.text}"


def finding_notes(rows: Iterable[Row]) -> Iterator[str]:
    """Yield a note for each distinct finding about the runs of a row."""
    found = [(row, finding) for row in rows for finding in row.findings]
    if found:
        yield f"{FINDING} marks contenders about whose runs there is something to know; these {len(found)}:"
    for row, finding in found:
        yield f"{row.label}, {_seeds(finding.seeds)}: {finding.text} ({finding.guard})"


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def _estimators(dialect: Dialect) -> str:
    texts = dialect.estimators.values()
    return "; ".join(f"{column.title}: {text}" for column, text in zip(dialect.columns, texts, strict=True))


def _problem(problem: Problem) -> str:
    run = f", run {problem.run_id}" if problem.run_id else ""
    message = f": {' '.join(problem.message.split())}" if problem.message else ""
    return f"{problem.outcome}{run}{message}"


def _outcomes(outcomes: Mapping[Outcome, int]) -> str:
    total = sum(outcomes.values())
    return f"{total} ({', '.join(f'{outcomes[o]} {o.value}' for o in Outcome if outcomes.get(o))})"


def _machine(environment: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in environment.items() if value is not None)
