"""The content of the report as one JSON value. What runs share stands in it once: a page may hold hundreds of runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any

from collapsebench.observation import Observation
from collapsebench.record import Outcome
from collapsebench.reporting.colours import looks
from collapsebench.reporting.leaderboard.decisions import deciding
from collapsebench.reporting.leaderboard.layout import header, usual_columns
from collapsebench.reporting.leaderboard.notes import decisions, notes
from collapsebench.reporting.leaderboard.numbers import with_error
from collapsebench.reporting.leaderboard.provenance import places, whole_command
from collapsebench.reporting.leaderboard.scoring import Board, BoardColumn
from collapsebench.reporting.leaderboard.views import ordered
from collapsebench.reporting.report import figures, paper
from collapsebench.reporting.report.evidence import Pools, rows
from collapsebench.reporting.report.measures import measures
from collapsebench.reporting.report.plain import short, visible
from collapsebench.reporting.report.specimens import shown_samples
from collapsebench.reporting.suite_boards import suite_page
from collapsebench.syntax import print_value

if TYPE_CHECKING:
    from collapsebench.reporting.running import RunningRun
    from collapsebench.reporting.samples import Samples
    from collapsebench.reporting.suite_boards import SuiteBoards
    from collapsebench.spec import Protocol
    from collapsebench.store import Store


def content(
    store: Store,
    boards: Iterable[Board],
    suite: SuiteBoards | None = None,
    samples: Sequence[Samples] = (),
    running: Iterable[RunningRun] = (),
) -> dict[str, Any]:
    """Return the content of the page. The runs of one board are in memory at a time.

    The boards of a suite have the published numbers of its paper beside theirs. `samples` are of runs of the boards,
    and `running` are the runs that are still going on.
    """
    pools = Pools({run.run_id: run.progress for run in running})
    shown = [
        _board(store, board.labelled, pools) | _of_suite(board, suite) | _sampled(board, samples) for board in boards
    ]
    found = looks(row["label"] for board in shown for row in board["rows"])
    return {
        "title": "collapsebench report" if suite is None else visible(suite.suite.title),
        "version": metadata.version("collapsebench"),
        "looks": {label: [look.colour, look.marker.value, list(look.dashes)] for label, look in found.items()},
        "environments": [visible(json.loads(text)) for text in pools.environments],
        "lines": [list(line) for line in pools.lines],
        "tracked": figures.heads(),
        "boards": shown,
        "measures": measures(column["metric"] for board in shown for column in board["columns"]),
        "paper": None if suite is None or not suite.pairs else visible(paper.tables(suite_page(suite))),
    }


def _board(store: Store, board: Board, pools: Pools) -> dict[str, Any]:
    protocol, usual = board.protocol, usual_columns(board)
    metrics = [column for column in board.columns if column.metric]
    decisive = deciding(usual or metrics)
    board = board if decisive is None else ordered(board, decisive.key)
    runs = _observed(store, board)
    counters = figures.axes(protocol)
    found = {
        "id": board.protocol_id,
        "title": f"{protocol.dataset.name} · {protocol.file_name or protocol.track} · {protocol.budget}",
        "overrides": [f"{key} {print_value(value)}" for key, value in protocol.overrides.items()],
        "setting": f"protocol {board.protocol_id} (version {protocol.version})",
        "against": "" if board.compared is None else board.against,
        "columns": [_column(column, protocol, usual or metrics) for column in board.columns],
        "rows": rows(board, {run.run_id: run for run in runs}, counters, pools),
        "counters": counters,
        "planes": figures.planes(board),
        "outcomes": {outcome.value: board.outcomes[outcome] for outcome in Outcome if board.outcomes.get(outcome)},
        "environments": sorted({pools.environments[run.environment] for run in runs}),
        "decisions": list(decisions(board, usual or metrics)),
        "notes": [*notes(board, metrics), *places(board)],
        "command": whole_command(board),
        "reference": _reference(board),
    }
    return {key: visible(value) for key, value in found.items()}


def _of_suite(board: Board, suite: SuiteBoards | None) -> dict[str, Any]:
    """Return the cells of a suite that a board is of, and the published numbers beside its own."""
    if suite is None:
        return {}
    cells = [cell.cell.name for cell in suite.cells if cell.board and cell.board.protocol_id == board.protocol_id]
    source = f"{suite.published[0].publication}, {suite.published[0].table}" if suite.published else ""
    return {
        "cells": visible(", ".join(cells)),
        "published": visible(paper.published(board, suite.pairs, source)),
    }


def _sampled(board: Board, samples: Iterable[Samples]) -> dict[str, Any]:
    """Return the samples of the runs of a board."""
    own = {run_id for row in board.rows for run_id in row.runs.values()}
    found = [visible(shown_samples(each)) for each in samples if each.run_id in own]
    return {"samples": found} if found else {}


def _observed(store: Store, board: Board) -> Sequence[Observation]:
    """Read the runs of a board, with trajectories and the KL of each unit."""
    entries = figures.unit_entries(board.protocol)
    known = {run_id for row in board.rows for run_id in row.runs.values()}
    found = store.observations(protocol=board.protocol_id, trajectories=True, entries=entries)
    return [run for run in found if run.run_id in known]


def _column(column: BoardColumn, protocol: Protocol, usual: Sequence[BoardColumn]) -> dict[str, Any]:
    """Return the head of a column, with the estimator of its metric as the protocol sets it.

    The page shows the usual columns at first; the reader picks others.
    """
    metrics = protocol.setting.evaluation.metrics
    params = next((metric.params for metric in metrics if metric.name == column.metric), {})
    return {
        "key": column.key,
        "metric": column.metric,
        "head": header(column),
        "title": column.title,
        "unit": column.unit,
        "direction": column.direction.value,
        "shown": column in usual,
        "estimator": ", ".join(f"{name} {print_value(value)}" for name, value in params.items()),
    }


def _reference(board: Board) -> dict[str, list[Any]]:
    """Return the best possible numbers, by the place of their column: text, value, standard error."""
    places = {column.key: str(place) for place, column in enumerate(board.columns)}
    return {
        places[key]: [with_error(best), short(best.value), short(best.standard_error, 3)]
        for key, best in board.reference.items()
        if key in places
    }
