"""The evidence behind the numbers of a board: its rows and their runs, as the page shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from collapsebench.observation import Observation
from collapsebench.record import Outcome
from collapsebench.reporting.leaderboard import reference
from collapsebench.reporting.leaderboard.decisions import differs, leaders
from collapsebench.reporting.leaderboard.layout import difference_text, marked_label, score_text
from collapsebench.reporting.leaderboard.numbers import cost, with_interval
from collapsebench.reporting.leaderboard.provenance import whole_command
from collapsebench.reporting.leaderboard.scoring import Board, BoardColumn, Row
from collapsebench.reporting.report import figures
from collapsebench.reporting.report.plain import JsonNumber, short


@dataclass
class Pools:
    """What several boards share: what is known of their runs, and values that runs refer to by their place."""

    progress: Mapping[str, str]
    """How far runs are that are still going on, by the id of the run."""
    environments: dict[str, int] = field(default_factory=dict)
    """The environments as JSON, each once."""
    lines: dict[tuple[JsonNumber, ...], int] = field(default_factory=dict)
    """The lines of trajectories, each once."""


def rows(board: Board, runs: Mapping[str, Observation], counters: Sequence[str], pools: Pools) -> list[dict[str, Any]]:
    """Return the rows of a board. `runs` are its runs by id, with their trajectories and the KL of their units."""
    best = {column.key: leaders(board, column) for column in board.columns}
    return [
        _row(board, row, best) | {"runs": _runs(row, board.columns, runs, counters, pools)} | _methods(row, runs)
        for row in board.rows
    ]


def _row(board: Board, row: Row, best: Mapping[str, set[str]]) -> dict[str, Any]:
    found = {
        "label": row.label,
        "shown": marked_label(row),
        "command": whole_command(replace(board, rows=(row,))),
        "seeds": list(map(str, row.seeds)),
        "cells": [_cell(board, row, column, best[column.key]) for column in board.columns],
        "findings": [[each.guard, each.text, list(map(str, each.seeds))] for each in row.findings],
        "saturated": list(map(str, row.saturated)),
        "reasons": _by_column(board, _reasons(board, row)),
        "impossible": _by_column(board, _impossible(board, row)),
        "distances": _distances(board, row),
        "missing": [str(problem.seed) for problem in row.problems if not problem.run_id],
        "code": _code(row),
    }
    return {key: value for key, value in found.items() if value}


def _cell(board: Board, row: Row, column: BoardColumn, best: set[str]) -> list[JsonNumber | int]:
    """Return text, mean, half-width, 1 if it is bold, and of the difference its text, mean and 1 if it is decided."""
    sample, difference = row.sample(column.key), board.difference(row, column.key)
    if column.metric:
        texts = [score_text(board, row, column), "" if row is board.compared else difference_text(board, row, column)]
    else:
        texts = [cost(sample), "" if difference is None else cost(difference, signed=True)]
    return [
        texts[0],
        None if sample is None else short(sample.mean),
        None if sample is None else short(sample.half_width),
        int(row.label in best),
        texts[1],
        None if difference is None else short(difference.mean),
        int(differs(board, row, column)),
    ]


def _reasons(board: Board, row: Row) -> dict[str, list[str]]:
    return {
        column.key: [f"seed {', '.join(map(str, reason.seeds))}: {reason.text}" for reason in row.declined[column.key]]
        for column in board.columns
        if column.key in row.declined
    }


def _impossible(board: Board, row: Row) -> dict[str, list[str]]:
    return {
        column.key: [f"seed {seed}: {text}" for seed, texts in row.impossible(column).items() for text in texts]
        for column in board.columns
    }


def _by_column(board: Board, texts: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Name columns by their place. Columns without texts are left out."""
    places = {column.key: str(place) for place, column in enumerate(board.columns)}
    return {places[key]: found for key, found in texts.items() if found}


def _distances(board: Board, row: Row) -> dict[str, str]:
    """Return how far the row is from the best possible, by the place of the column; empty if that is not known."""
    texts = {
        reference.LIKELIHOOD: (reference.regret(board, row), "regret {} nats"),
        reference.INFORMATION: (reference.share(board, row), "{} % of I(x; z)"),
    }
    return {
        str(place): texts[column.key][1].format(with_interval(sample))
        for place, column in enumerate(board.columns)
        if column.key in texts and (sample := texts[column.key][0]) is not None
    }


def _code(row: Row) -> list[list[str | list[str]]]:
    """Return the hashes of foreign code: component, hash, seeds."""
    seeds: dict[tuple[str, str], list[str]] = {}
    for seed, hashes in row.code.items():
        for component, digest in hashes.items():
            seeds.setdefault((component, digest), []).append(str(seed))
    return [[component, digest, own] for (component, digest), own in seeds.items()]


def _methods(row: Row, runs: Mapping[str, Observation]) -> dict[str, Any]:
    """Return the methods of the contender with all their parameters: what it has and the baseline has not."""
    first = next((runs[run_id] for run_id in row.runs.values() if run_id in runs), None)
    methods = () if first is None else first.methods
    return {"methods": [[each.name, each.version, each.params] for each in methods]} if methods else {}


def _runs(
    row: Row,
    columns: Sequence[BoardColumn],
    runs: Mapping[str, Observation],
    counters: Sequence[str],
    pools: Pools,
) -> list[dict[str, Any]]:
    own = ((seed, runs[run_id]) for seed, run_id in sorted(row.runs.items()) if run_id in runs)
    return [_run(row, seed, run, columns, counters, pools) for seed, run in own]


def _run(
    row: Row, seed: int, run: Observation, columns: Sequence[BoardColumn], counters: Sequence[str], pools: Pools
) -> dict[str, Any]:
    samples = [row.samples.get(column.key) for column in columns]
    errors = {
        str(place): short(sample.errors[seed], 3)
        for place, sample in enumerate(samples)
        if sample is not None and seed in sample.errors
    }
    found = {
        "id": run.run_id,
        "seed": str(seed),
        "outcome": "" if run.outcome is Outcome.FINISHED else run.outcome.value,
        "progress": pools.progress.get(run.run_id, ""),
        "message": " ".join(run.message.split()),
        "started": run.started_at.strftime("%Y-%m-%d %H:%M UTC"),
        "environment": pools.environments.setdefault(run.environment, len(pools.environments)),
        "values": [None if sample is None else short(sample.seeds.get(seed)) for sample in samples],
        "errors": errors,
        "units": figures.spectrum(run),
        "lines": figures.shared(figures.trajectory(run, counters), pools.lines),
    }
    return {key: value for key, value in found.items() if value not in ("", [], {})}
