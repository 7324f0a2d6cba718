"""The divisions of a league: which setting of each model counts in each cell of a suite.

In the first it is that of its card. In each other one it is what the rule of this kind chooses of the trials that the
cell asks for, on the validation split. Numbers of the test split choose nothing.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import chain, combinations
from typing import TYPE_CHECKING

from collapsebench.errors import UsageError
from collapsebench.experiment import suites
from collapsebench.experiment.tuning import tuned_contenders
from collapsebench.record import Outcome
from collapsebench.reporting.selection import declared_cells
from collapsebench.reporting.suite_boards import measured_cell
from collapsebench.reporting.tuning import Selected, Tunings, choices
from collapsebench.spec import Criterion, identity

if TYPE_CHECKING:
    from collapsebench.components.catalog import Catalog
    from collapsebench.experiment.suites import Cell, LeagueFacts
    from collapsebench.record import RunRecord
    from collapsebench.reporting.leaderboard import Board
    from collapsebench.reporting.leaderboard.scoring import Row
    from collapsebench.reporting.queries import SuiteQuery
    from collapsebench.spec import Contender, Protocol
    from collapsebench.store import Store

NLL, INFORMATION = "iw_nll", "mi_lower"
"""The columns of a front. The first one is what ranks."""
BOUND, RATE, UNITS, USE = "neg_elbo", "kl", "active_units", "delta_shuffle"
"""Further columns: they choose and rank nothing."""


class Division(StrEnum):
    """Which setting of a model counts."""

    DEFAULT = "default"
    """That of its card."""
    TUNED = "tuned"
    """That of the lowest validation -ELBO."""
    CURED = "cured"
    """That of the lowest validation -ELBO with so much mutual information."""
    ISO_KL = "iso-kl"
    """That of the KL nearest to a given one."""

    @property
    def criterion(self) -> Criterion | None:
        """The kind of the rule that chooses; None for the first division."""
        return CRITERIA.get(self)


CRITERIA = {
    Division.TUNED: Criterion.ELBO,
    Division.CURED: Criterion.CURED,
    Division.ISO_KL: Criterion.ISO_KL,
}


@dataclass(frozen=True)
class Entry:
    """One model in one task of a division."""

    model: str
    row: Row | None
    """Its row of the board; None if it has no run."""
    choice: Selected | None = None
    """What the rule chooses; None in the first division."""

    @property
    def chosen(self) -> bool:
        """True unless no trial is what the rule asks for."""
        return self.choice is None or self.choice.chosen is not None

    @property
    def setting(self) -> str:
        """The label of its contender; empty if there is none."""
        if self.choice is not None:
            return "" if self.choice.chosen is None else self.choice.chosen.contender.label
        return "" if self.row is None else self.row.contender

    @property
    def borders(self) -> tuple[str, ...]:
        """What of the setting lies at the border of all trials, as in `rate high`."""
        return () if self.choice is None else self.choice.borders

    def scores(self, key: str) -> dict[int, float | None]:
        """Return a column by seed: NaN for a run without a result or an impossible number, None for no number."""
        return {} if self.row is None else {seed: _score(self.row, key, seed) for seed in self.row.runs}


def _score(row: Row, key: str, seed: int) -> float | None:
    ended = next((Outcome(problem.outcome) for problem in row.problems if problem.seed == seed), Outcome.FINISHED)
    if ended is not Outcome.FINISHED:
        return math.nan if ended.settled else None
    if any(violation.column == key for violation in row.violations.get(seed, ())):
        return math.nan
    return row.samples[key].seeds.get(seed) if key in row.samples else None


def _results(entry: Entry) -> frozenset[int]:
    """Return the seeds whose run has ended with a number, or has diverged."""
    return frozenset(seed for seed, score in entry.scores(NLL).items() if score is not None)


@dataclass(frozen=True)
class Task:
    """One cell of a suite in a division."""

    cell: Cell
    board: Board
    entries: Mapping[str, Entry]
    """By the name of the model."""

    @property
    def name(self) -> str:
        """The name of the cell."""
        return self.cell.name

    def seeds(self, facts: LeagueFacts) -> frozenset[int]:
        """Return the seeds that count: those of which runs of the baseline and of the reference have come to their end.

        One more seed of another model is no reason to miss it elsewhere. A baseline for which no trial is what the rule
        asks for has no seeds, and is the worst: those of the reference count then.
        """
        entries = (self.entries[name] for name in (facts.baseline, facts.reference))
        results = [_results(entry) for entry in entries if entry.chosen]
        return frozenset.intersection(*results) if results else frozenset()

    def further(self, facts: LeagueFacts) -> dict[str, list[int]]:
        """Return the seeds that do not count, by the models that have them."""
        counted = self.seeds(facts)
        found = {model: sorted(_results(entry) - counted) for model, entry in self.entries.items()}
        return {model: seeds for model, seeds in found.items() if seeds}


@dataclass(frozen=True)
class TaskRuns:
    """What is stored of one cell, for all divisions."""

    cell: Cell
    board: Board | None
    """None if the cell has no runs."""
    contenders: Mapping[str, str]
    """The identity of the contender by model."""
    choices: Mapping[Criterion, Mapping[str, Selected]]
    """What the rule of a kind chooses, by model."""

    def task(self, division: Division, reference: str) -> Task | None:
        """Return the cell in a division; None if it has no runs, or no rule of this kind.

        `reference` is the model without a latent variable. As it has neither MI nor KL, a rule that asks for some takes
        its trial of the lowest validation -ELBO.
        """
        if self.board is None:
            return None
        rows = {row.contender_id: row for row in self.board.rows}
        if division.criterion is None:
            found = {model: Entry(model, rows.get(own)) for model, own in self.contenders.items()}
            return Task(self.cell, self.board, found)
        if division.criterion not in self.choices:
            return None
        chosen = dict(self.choices[division.criterion])
        if division is Division.CURED and reference in chosen:
            chosen[reference] = self.choices[Criterion.ELBO][reference]
        return Task(self.cell, self.board, {model: Entry(model, _row(rows, own), own) for model, own in chosen.items()})


def _row(rows: Mapping[str, Row], choice: Selected) -> Row | None:
    return None if choice.chosen is None else rows.get(identity(choice.chosen.contender))


def stored_tasks(store: Store, query: SuiteQuery, seeds: int | None = None) -> list[TaskRuns]:
    """Read what is stored of the cells of a suite, of all seeds or of those from 1 to `seeds`.

    Raises UsageError for names that do not exist, and for two cells with the same runs: the task would count twice, and
    its seeds would be drawn twice as if they were others.
    """
    suite = suites.suite(query.suite)
    components = suite.catalog(query.plugins)
    tunings = Tunings(store, (*query.plugins, *suite.plugin_files))
    found = [_stored(store, cell, components, tunings, seeds) for cell in declared_cells(query)]
    for one, other in combinations(found, 2):
        if one.board is not None and other.board is not None and one.board.protocol_id == other.board.protocol_id:
            raise UsageError(f"cells '{one.cell.name}' and '{other.cell.name}' are one task: they have the same runs")
    return found


def _stored(store: Store, cell: Cell, components: Catalog, tunings: Tunings, seeds: int | None) -> TaskRuns:
    found = measured_cell(store, cell, components, seeds).board
    board = None if found is None else _of_metrics(found)
    own = {model: identity(components.contender(text)[0]) for model, text in cell.contenders.items()}
    chosen = {} if board is None else dict(_choices(cell, board, components, tunings))
    return TaskRuns(cell, board, own, chosen)


def _of_metrics(board: Board) -> Board:
    """Call the numbers of metrics as metrics do, whatever a run has counted or measured under the same name.

    A board writes the metric before the name that two columns share. So one run could take the numbers of all others
    from a league. If several metrics have a column, it is that of the metric which the protocol asks for.
    """
    asked = {metric.name for metric in board.protocol.setting.evaluation.metrics}
    found: dict[str, dict[str, str]] = {}
    for column in board.columns:
        if column.metric:
            found.setdefault(column.key.removeprefix(f"{column.metric}."), {})[column.metric] = column.key
    keys = {name: key for name, by_metric in found.items() if (key := _only(by_metric, asked)) is not None}
    rows = (
        replace(row, samples={name: row.samples[key] for name, key in keys.items() if key in row.samples})
        for row in board.rows
    )
    return replace(board, rows=tuple(rows))


def _only(by_metric: Mapping[str, str], asked: Collection[str]) -> str | None:
    """Return the key of the only metric that has a column, or of the only one that is asked for; None without one."""
    keys = list(by_metric.values())
    if len(keys) > 1:
        keys = [key for metric, key in by_metric.items() if metric in asked]
    return keys[0] if len(keys) == 1 else None


def drawn_settings(cell: Cell, components: Catalog) -> dict[str, tuple[Contender, ...]]:
    """Return the settings that the cell asks to be tried, by model."""
    return {
        model: contender.trials(cell.trials or 0, components)
        for model, text in cell.tuned.items()
        for contender in tuned_contenders(text, components)
    }


def stored_trials(cell: Cell, protocol: Protocol, tunings: Tunings) -> list[RunRecord]:
    """Return the trials of which the rules of the cell choose, and that were trained as its protocol says."""
    tried = (
        trials
        for trials in tunings.trials(protocol)
        if set(trials[0].spec.protocol.setting.evaluation.selection) == set(cell.rules)
    )
    return list(chain.from_iterable(tried))


def _choices(
    cell: Cell, board: Board, components: Catalog, tunings: Tunings
) -> Iterator[tuple[Criterion, dict[str, Selected]]]:
    """Yield what each rule of a cell chooses of the trials that the cell asks for, as `suite run` does."""
    drawn = drawn_settings(cell, components)
    found = choices(drawn, stored_trials(cell, board.protocol, tunings), cell.rules, components)
    for rule in cell.rules:
        yield rule.name, {each.contender: each for each in found if each.rule == rule}
