"""Boards for programs: CSV and JSON with the values of all seeds in full precision."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from collapsebench.record import json_number
from collapsebench.reporting import escaping
from collapsebench.reporting.leaderboard import reference
from collapsebench.reporting.leaderboard.numbers import place_text
from collapsebench.reporting.leaderboard.provenance import command
from collapsebench.reporting.leaderboard.scoring import Board, BoardColumn, Row, SeedSample


class Mark(NamedTuple):
    """A column of marks, which an export has if a row has any."""

    name: str
    texts: Callable[[Row, BoardColumn], list[str]]


def _impossible(row: Row, column: BoardColumn) -> list[str]:
    return [f"seed {seed} {text}" for seed, texts in row.impossible(column).items() for text in texts]


def _findings(row: Row, column: BoardColumn) -> list[str]:
    del column
    return [f"seed {', '.join(map(str, finding.seeds))} {finding.text}" for finding in row.findings]


def _declined(row: Row, column: BoardColumn) -> list[str]:
    reasons = row.declined.get(column.key, ())
    return [f"seed {', '.join(map(str, reason.seeds))} {reason.text}" for reason in reasons]


def _tuned(row: Row, column: BoardColumn) -> list[str]:
    del column
    if row.tuned is None:
        return []
    rules = ", ".join(row.tuned.rules) or "no rule"
    return [f"chosen by {rules}", f"{row.tuned.trials} trials", *map(place_text, row.tuned.places)]


MARKS = (
    Mark("impossible", _impossible),
    Mark("findings", _findings),
    Mark("declined", _declined),
    Mark("tuning", _tuned),
)


def to_csv(boards: Iterable[Board]) -> Iterator[str]:
    """Write one line for each contender and column, and the best possible after them. `seed 3` is the value of seed 3.
    The last column has the ids of the runs.

    All boards are in memory at once, because the header names the seeds of all boards.
    """
    boards = list(boards)
    seeds = sorted({seed for board in boards for row in board.rows for seed in row.seeds})
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    fields = ("protocol_id", "dataset", "track", "budget", "contender", "column", "metric", "unit", "direction")
    statistics = ("n", "mean", "half_width", "best")
    paired = ("difference_n", "difference", "difference_half_width", "problems")
    cells = [(row, column) for board in boards for row in board.rows for column in board.columns]
    marks = [mark for mark in MARKS if any(mark.texts(*cell) for cell in cells)]
    names = (*fields, *statistics, *paired, *(mark.name for mark in marks))
    writer.writerow((*names, *(f"seed {seed}" for seed in seeds), "runs"))
    for board in boards:
        place = head(board)
        for row in board.rows:
            for column in board.columns:
                own, difference = row.sample(column.key), board.difference(row, column.key)
                values = row.samples[column.key].seeds if column.key in row.samples else {}
                writer.writerow(
                    _texts(place, row.label, column)
                    + [*_statistics(own), int(row.label in board.best(column)), *_statistics(difference)]
                    + ["; ".join(f"seed {problem.seed} {problem.outcome}" for problem in row.problems)]
                    + [escaping.csv("; ".join(mark.texts(row, column))) for mark in marks]
                    + [repr(values[seed]) if seed in values else "" for seed in seeds]
                    + ["; ".join(f"seed {seed} {run_id}" for seed, run_id in row.runs.items())]
                )
        for column in board.columns:
            if column.key in board.reference:
                best = board.reference[column.key]
                writer.writerow(
                    [
                        *_texts(place, reference.LABEL, column),
                        "",
                        repr(best.value),
                        *([""] * (7 + len(marks) + len(seeds))),
                    ]
                )
    yield out.getvalue()


def _texts(place: Mapping[str, str], label: str, column: BoardColumn) -> list[str]:
    places = (place[field] for field in ("protocol_id", "dataset", "track", "budget"))
    texts = (*places, label, column.key, column.metric, column.unit, column.direction.value)
    return list(map(escaping.csv, texts))


def _statistics(sample: SeedSample | None) -> list[str]:
    if sample is None:
        return ["", "", ""]
    half_width = "" if sample.half_width is None else repr(sample.half_width)
    return [str(len(sample.seeds)), repr(sample.mean), half_width]


def to_json(boards: Iterable[Board]) -> Iterator[str]:
    """Write one object. Numbers that are not finite are the texts `nan`, `+inf` and `-inf`; a blank cell is null."""
    yield '{\n  "boards": ['
    for number, board in enumerate(boards):
        text = escaping.to_json(_board(board))
        yield ("," if number else "") + f"\n{text}".replace("\n", "\n    ")
    yield "\n  ]\n}\n"


def head(board: Board) -> dict[str, str]:
    """Return what a board is of."""
    protocol = board.protocol
    return {
        "protocol_id": board.protocol_id,
        "dataset": protocol.dataset.name,
        "track": protocol.track_label,
        "budget": str(protocol.budget),
        "version": protocol.version,
        "at": board.at,
        "dialect": board.dialect.name if board.dialect else "",
    }


def _board(board: Board) -> dict[str, Any]:
    return head(board) | {
        "columns": [column._asdict() for column in board.columns],
        "against": board.against,
        "rows": [_row(board, row) for row in board.rows],
        "best_possible": {
            column.key: board.reference[column.key]._asdict()
            for column in board.columns
            if column.key in board.reference
        },
        "runs": {outcome.value: count for outcome, count in board.outcomes.items()},
        "environments": [{"environment": dict(where), "runs": count} for where, count in board.environments],
        "command": command(board),
    }


def _row(board: Board, row: Row) -> dict[str, Any]:
    return {
        "contender": row.label,
        "runs": {str(seed): run_id for seed, run_id in row.runs.items()},
        "seeds": list(row.seeds),
        "scores": {
            column.key: {
                "aggregate": aggregate(row.sample(column.key)),
                "best": row.label in board.best(column),
                "difference": aggregate(board.difference(row, column.key)),
                "seeds": _seeds(row.samples.get(column.key)),
            }
            for column in board.columns
        },
        "regret": aggregate(reference.regret(board, row)),
        "information_percent": aggregate(reference.share(board, row)),
        "problems": [problem._asdict() for problem in row.problems],
        "saturated": list(row.saturated),
        "impossible": {str(seed): [violation.text for violation in found] for seed, found in row.violations.items()},
        **_known(board, row),
    }


def _known(board: Board, row: Row) -> dict[str, Any]:
    """Return what is known of a row beside its numbers. Rows of which nothing is known have no such fields."""
    found = {
        "findings": [finding._asdict() for finding in row.findings],
        "code": {str(seed): dict(hashes) for seed, hashes in row.code.items()},
        "declined": {
            column.key: [reason._asdict() for reason in row.declined[column.key]]
            for column in board.columns
            if column.key in row.declined
        },
        "tuning": row.tuned and row.tuned._asdict() | {"places": [place._asdict() for place in row.tuned.places]},
    }
    return {key: value for key, value in found.items() if value}


def aggregate(sample: SeedSample | None) -> dict[str, Any] | None:
    """Return the number of seeds, the mean and the half-width of a sample; None without a sample."""
    if sample is None:
        return None
    return {"n": len(sample.seeds), "mean": json_number(sample.mean), "half_width": json_number(sample.half_width)}


def _seeds(sample: SeedSample | None) -> dict[str, Any]:
    if sample is None:
        return {}
    return {
        str(seed): {"value": json_number(value), "standard_error": json_number(sample.errors.get(seed))}
        for seed, value in sample.seeds.items()
    }
