"""The measured numbers of a suite beside those of its paper, and the reasons why two of them cannot be compared."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from collapsebench.errors import UsageError, unknown
from collapsebench.estimates import SATURATION, Direction
from collapsebench.experiment.suites import BaseSetting, Cell, Scale
from collapsebench.plausibility import published_scores, violations
from collapsebench.published import PublishedRow, PublishedValue
from collapsebench.reporting.leaderboard.scoring import Board, BoardColumn, Row, SeedSample

INFORMATION = "mi_lower"


class MeasuredCell(NamedTuple):
    """One cell of a suite, with the board of its stored runs."""

    cell: Cell
    labels: Mapping[str, str]
    """The labels of the rows, by the names of the models in the published table."""
    examples: int | None
    """The number of test examples; None if it is not declared."""
    board: Board | None
    """The board of its protocol; None if the cell has no runs."""


@dataclass(frozen=True)
class Pair:
    """One number of one model, as measured and as published. Each of the two may be missing."""

    cell: str
    model: str
    against: str
    """The model that is subtracted; empty if the numbers are the model's own."""
    contender: str
    protocol_id: str
    against_protocol_id: str
    """The protocol of the subtracted model, which may be in another cell; empty if no model is subtracted."""
    since: str
    """The cell whose difference is subtracted, if the numbers are the growth of a difference; otherwise empty."""
    column: BoardColumn
    measured: SeedSample | None
    published: PublishedValue | None
    reasons: tuple[str, ...]
    """The reasons why the two cannot be compared; empty if they can."""
    impossible: tuple[str, ...] = ()
    """What makes the measured number impossible."""
    findings: tuple[str, ...] = ()
    """What guards found in the runs of the models."""
    declined: tuple[str, ...] = ()
    """Why the metric has no number for a model."""

    @property
    def difference(self) -> float | None:
        """The measured number minus the published one; None if one of them is missing."""
        if self.measured is None or self.published is None:
            return None
        return self.measured.mean - self.published.value

    @property
    def comparable(self) -> bool | None:
        """True if the two numbers can be compared, False if not, and None if one of them is missing."""
        return None if self.difference is None else not self.reasons


def compare(
    scale: Scale, measured: Iterable[MeasuredCell], published: Sequence[PublishedRow], columns: Iterable[str] = ()
) -> tuple[Pair, ...]:
    """Pair measured and published numbers of every model of every cell, column by column.

    `columns` are the keys of the columns; if empty, these are the columns that the paper prints. Cells without runs
    have published numbers only, and models that the paper does not have have measured numbers only.

    After the numbers of a column come differences. A model that adds methods to another model of its cell is compared
    with it, as skip+sa-vae with sa-vae, skip and vae. A cell that is `against` another cell is compared with the models
    of that cell. Last comes the growth of each difference, from the first cell of a dataset, track and budget to the
    last. Raises UsageError for a column that is neither published nor measured.
    """
    cells = list(measured)
    by_key = {column.key: column for cell in cells if cell.board is not None for column in cell.board.columns}
    published_keys = dict.fromkeys(key for row in published for key in row.values)
    for key in columns:
        if key not in by_key and key not in published_keys:
            raise UsageError(unknown("column", key, {*by_key, *published_keys}))
    keys = dict.fromkeys(columns) or published_keys
    board_columns = (by_key.get(key, BoardColumn(key, "", key, "", Direction.NONE)) for key in keys)
    return tuple(pair for column in board_columns for pair in _of_column(scale, cells, column, published))


def _of_column(
    scale: Scale, cells: Sequence[MeasuredCell], column: BoardColumn, published: Sequence[PublishedRow]
) -> Iterator[Pair]:
    own = {
        cell.cell.name: [_pair(scale, cell, model, column, published) for model in cell.cell.contenders]
        for cell in cells
    }
    gains = {cell.cell.name: list(_gains(cell.cell, own)) for cell in cells}
    for cell in cells:
        yield from (*own[cell.cell.name], *gains[cell.cell.name])
    yield from _growths((cell.cell.base, gain) for cell in cells for gain in gains[cell.cell.name])


def _gains(cell: Cell, own: Mapping[str, Sequence[Pair]]) -> Iterator[Pair]:
    """Yield each model of a cell minus other models.

    These are the models of the cell that have a part of its methods, and all models of the cell that it is against.
    """
    pairs = own[cell.name]
    for pair in pairs:
        parts = (other for other in pairs if cell.methods(other.model) < cell.methods(pair.model))
        yield from (_gain(pair, other) for other in (*parts, *own.get(cell.against, ())))


def _growths(gains: Iterable[tuple[BaseSetting, Pair]]) -> Iterator[Pair]:
    """Yield each difference in the last cell minus the same difference in the first, seed by seed.

    Cells are grouped by dataset, track and budget. If two cells or more were measured, the first and the last measured
    cells are taken, because a part of a grid may have no runs.
    """
    of_models: dict[tuple[BaseSetting, str, str], list[Pair]] = {}
    for base, gain in gains:
        of_models.setdefault((base, gain.model, gain.against), []).append(gain)
    for found in of_models.values():
        measured = [gain for gain in found if gain.measured is not None]
        first, *others = measured if len(measured) > 1 else found
        if others:
            yield replace(_minus(others[-1], first), since=first.cell)


def _pair(scale: Scale, cell: MeasuredCell, model: str, column: BoardColumn, published: Sequence[PublishedRow]) -> Pair:
    rows = () if cell.board is None else cell.board.rows
    label = cell.labels[model]
    own = next((row for row in rows if row.label == label), None)
    row = _published_row(cell.cell, model, published)
    return Pair(
        cell=cell.cell.name,
        model=model,
        against="",
        contender=label,
        protocol_id="" if cell.board is None else cell.board.protocol_id,
        against_protocol_id="",
        since="",
        column=column,
        measured=None if own is None else own.sample(column.key),
        published=None if row is None else row.values.get(column.key),
        reasons=() if row is None else (*reasons(scale, cell, column, row), *_measured_wrongly(own, column)),
        impossible=_impossible_numbers(own, column),
        findings=() if own is None else tuple(f"{label}: {finding.text}" for finding in own.findings),
        declined=() if own is None else tuple(f"{label}: {each.text}" for each in own.declined.get(column.key, ())),
    )


def _impossible_numbers(row: Row | None, column: BoardColumn) -> tuple[str, ...]:
    found = {} if row is None else row.impossible(column)
    return tuple(f"seed {seed}: {text}" for seed, texts in found.items() for text in texts)


def _measured_wrongly(row: Row | None, column: BoardColumn) -> Iterator[str]:
    found = _impossible_numbers(row, column)
    if found:
        yield f"impossible as measured: {'; '.join(found)}"


def _gain(pair: Pair, other: Pair) -> Pair:
    """Subtract one model from another."""
    return replace(_minus(pair, other), against=other.model, against_protocol_id=other.protocol_id)


def _minus(pair: Pair, other: Pair) -> Pair:
    """Subtract one number from another, seed by seed if both were measured."""
    measured, published = None, None
    if pair.measured is not None and other.measured is not None:
        measured = pair.measured.minus(other.measured)
    if pair.published is not None and other.published is not None:
        rounding = pair.published.rounding + other.published.rounding
        published = PublishedValue("", pair.published.value - other.published.value, rounding)
    return replace(
        pair,
        measured=measured,
        published=published,
        reasons=_both(pair.reasons, other.reasons),
        impossible=_both(pair.impossible, other.impossible),
        findings=_both(pair.findings, other.findings),
        declined=_both(pair.declined, other.declined),
    )


def _both(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*one, *other)))


def _published_row(cell: Cell, model: str, published: Sequence[PublishedRow]) -> PublishedRow | None:
    if cell.published is None:
        return None
    wanted = cell.published.items()
    return next((row for row in published if row.label == model and wanted <= row.setting.items()), None)


def reasons(scale: Scale, cell: MeasuredCell, column: BoardColumn, row: PublishedRow) -> tuple[str, ...]:
    """Return the known reasons why a column of a cell cannot be compared with a published row; empty if it can.

    The published number has another setting, dataset or estimator, or it is impossible.
    """
    found = (
        _setting(scale),
        _dataset(cell, row),
        _estimator(cell, column, row),
        _information(cell, column, row),
        _impossible(column, row),
    )
    return tuple(reason for reason in found if reason)


def _setting(scale: Scale) -> str:
    return f"another setting: {scale.departs}" if scale.departs else ""


def _dataset(cell: MeasuredCell, row: PublishedRow) -> str:
    theirs = row.setting.get("dataset", cell.cell.dataset)
    return "" if theirs == cell.cell.dataset else f"another dataset: {cell.cell.dataset}, published on {theirs}"


def _estimator(cell: MeasuredCell, column: BoardColumn, row: PublishedRow) -> str:
    metrics = () if cell.board is None else cell.board.protocol.setting.evaluation.metrics
    ours = next((metric.params for metric in metrics if metric.name == column.metric), None)
    theirs = row.parameters.get(column.key, {}) if ours is not None else {}
    other = [
        f"{name} {ours[name]}, published with {value:g}"
        for name, value in theirs.items()
        if ours is not None and ours[name] != value
    ]
    return f"another estimator: {', '.join(other)}" if other else ""


def _information(cell: MeasuredCell, column: BoardColumn, row: PublishedRow) -> str:
    """Return the reason why two estimates of MI cannot be compared; empty if they can.

    The published estimate has reached log N, or the two have another N.
    """
    if column.key != INFORMATION or column.key not in row.values or row.mixture is None:
        return ""
    limit = math.log(row.mixture)
    if row.values[column.key].value > limit - SATURATION:
        return f"at its limit: an estimate of MI with N {row.mixture:,} cannot pass ln N = {limit:.2f}"
    if row.mixture != cell.examples:
        return f"MI with another N: {cell.examples or 'unknown'}, published with {row.mixture}"
    return ""


def _impossible(column: BoardColumn, row: PublishedRow) -> str:
    found = [violation.text for violation in violations(published_scores(row)) if violation.column == column.key]
    return f"impossible as printed: {'; '.join(found)}" if found else ""
