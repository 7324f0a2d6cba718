"""Suites beside the tables they are about: what was measured, what was printed, and whether the two can be compared."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from collapsebench.errors import UsageError, unknown
from collapsebench.estimates import SATURATION, Direction
from collapsebench.experiment.suites import Base, Cell, Scale
from collapsebench.plausibility import published_scores, violations
from collapsebench.published import PublishedRow, PublishedValue
from collapsebench.reporting.leaderboard.scoring import Board, BoardColumn, SeedSample

INFORMATION = "mi_lower"


class MeasuredCell(NamedTuple):
    """One cell of a suite with what is stored of it."""

    cell: Cell
    labels: Mapping[str, str]
    """From the name of a model in the published table to the label of its row."""
    examples: int | None
    """Of the test split, where that is declared."""
    board: Board | None
    """None if nothing of it has run."""


@dataclass(frozen=True)
class Pair:
    """One number of one model, measured and published: either may be missing."""

    cell: str
    model: str
    against: str
    """The model that the numbers are differences to; empty where they are the model's own."""
    contender: str
    protocol_id: str
    against_protocol_id: str
    """That of the other model, which is another one if its cell is; empty where there is none."""
    since: str
    """The cell whose difference is taken off, so that what is left is its growth; empty where nothing is."""
    column: BoardColumn
    measured: SeedSample | None
    published: PublishedValue | None
    reasons: tuple[str, ...]
    """Why the two cannot be compared; none if they can."""

    @property
    def difference(self) -> float | None:
        """Measured minus published, if there are both."""
        if self.measured is None or self.published is None:
            return None
        return self.measured.mean - self.published.value

    @property
    def comparable(self) -> bool | None:
        """Whether the difference means something, None if there is none."""
        return None if self.difference is None else not self.reasons


def compare(
    scale: Scale, measured: Iterable[MeasuredCell], published: Sequence[PublishedRow], columns: Iterable[str] = ()
) -> tuple[Pair, ...]:
    """Some columns, or those that the paper prints, one after the other, for every model of every cell.

    Published numbers of what has not run are there; so are models that the paper does not have, without a number of it.
    A model that adds methods to another one of its cell is there as the difference to it, too, as skip+sa-vae to
    sa-vae, skip and vae; what is in a cell against another one, as differences to the models of that; and each
    difference as it grows from the first cell of a dataset, track and budget that has it to the last. Raises
    UsageError for a column that is neither printed nor measured.
    """
    cells = list(measured)
    known = {column.key: column for cell in cells if cell.board is not None for column in cell.board.columns}
    printed = dict.fromkeys(key for row in published for key in row.values)
    for key in columns:
        if key not in known and key not in printed:
            raise UsageError(unknown("column", key, {*known, *printed}))
    keys = dict.fromkeys(columns) or printed
    shown = (known.get(key, BoardColumn(key, "", key, "", Direction.NONE)) for key in keys)
    return tuple(pair for column in shown for pair in _of_column(scale, cells, column, published))


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
    """The models of a cell minus those that have a part of their methods, and minus those of the cell it is against."""
    pairs = own[cell.name]
    for pair in pairs:
        parts = (other for other in pairs if cell.methods(other.model) < cell.methods(pair.model))
        yield from (_gain(pair, other) for other in (*parts, *own.get(cell.against, ())))


def _growths(gains: Iterable[tuple[Base, Pair]]) -> Iterator[Pair]:
    """Of each difference the last of one dataset, track and budget minus the first, seed by seed.

    The last and the first that were measured, if two were: a grid may have been run in part.
    """
    of_models: dict[tuple[Base, str, str], list[Pair]] = {}
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
    row = _printed(cell.cell, model, published)
    return Pair(
        cell=cell.cell.name,
        model=model,
        against="",
        contender=label,
        protocol_id="" if cell.board is None else cell.board.protocol_id,
        against_protocol_id="",
        since="",
        column=column,
        measured=next((row.sample(column.key) for row in rows if row.label == label), None),
        published=None if row is None else row.values.get(column.key),
        reasons=() if row is None else reasons(scale, cell, column, row),
    )


def _gain(pair: Pair, other: Pair) -> Pair:
    """The difference of one model to another."""
    return replace(_minus(pair, other), against=other.model, against_protocol_id=other.protocol_id)


def _minus(pair: Pair, other: Pair) -> Pair:
    """One number minus another, seed by seed where they were measured."""
    measured, published = None, None
    if pair.measured is not None and other.measured is not None:
        measured = pair.measured.minus(other.measured)
    if pair.published is not None and other.published is not None:
        rounding = pair.published.rounding + other.published.rounding
        published = PublishedValue("", pair.published.value - other.published.value, rounding)
    both = tuple(dict.fromkeys((*pair.reasons, *other.reasons)))
    return replace(pair, measured=measured, published=published, reasons=both)


def _printed(cell: Cell, model: str, published: Sequence[PublishedRow]) -> PublishedRow | None:
    if cell.published is None:
        return None
    wanted = cell.published.items()
    return next((row for row in published if row.label == model and wanted <= row.setting.items()), None)


def reasons(scale: Scale, cell: MeasuredCell, column: BoardColumn, row: PublishedRow) -> tuple[str, ...]:
    """In what setting, dataset or estimator of a column are not those of the published row, as far as that is known.

    And that its number cannot be.
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
    """What estimates of MI can be compared with: those of the same N that are not at its logarithm."""
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
