"""A suite as a league: its divisions with their statistics, and how much their orders agree."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

from collapsebench.errors import StoreError, UsageError, unknown
from collapsebench.estimates import Direction
from collapsebench.experiment import suites
from collapsebench.reporting.divisions import BOUND, INFORMATION, NLL, UNITS, USE, Division, Entry, Task, stored_tasks
from collapsebench.reporting.league import (
    Agreement,
    Bootstrap,
    Factorial,
    Interaction,
    League,
    Losses,
    Scores,
    agreement,
    interactions,
    league,
    losses,
)
from collapsebench.syntax import parse_contender, print_call

if TYPE_CHECKING:
    from collapsebench.experiment.suites import Cell, LeagueFacts, Suite
    from collapsebench.reporting.divisions import TaskRuns
    from collapsebench.reporting.queries import SuiteQuery
    from collapsebench.store import Store

DIRECTIONS = {
    NLL: Direction.LOWER,
    INFORMATION: Direction.HIGHER,
    BOUND: Direction.LOWER,
    UNITS: Direction.HIGHER,
    USE: Direction.HIGHER,
}
TITLES = {NLL: "IW-NLL", BOUND: "−ELBO", UNITS: "active units", USE: "Δ shuffle"}
PAIRS = ((BOUND, NLL), (UNITS, USE))
"""The columns whose orders are compared in each division."""
CONTROL = "a control of boards and guards"


class Outsider(NamedTuple):
    """A model in a task, outside of the ranking."""

    task: str
    entry: Entry
    reason: str
    """Why it is not ranked."""


@dataclass(frozen=True)
class Ranking:
    """One division with its statistics."""

    division: Division
    facts: LeagueFacts
    """The models whose seeds count."""
    tasks: tuple[Task, ...]
    """The tasks that have results."""
    without: tuple[str, ...]
    """The names of the others."""
    outsiders: tuple[Outsider, ...]
    league: League
    interactions: tuple[Interaction, ...]
    """Of the compositions whose parts are ranked, too."""

    @property
    def models(self) -> tuple[str, ...]:
        """The ranked models."""
        return self.league.losses.contenders

    def entry(self, task: str, model: str) -> Entry:
        """Return a model in a task."""
        return next(each.entries[model] for each in self.tasks if each.name == task)

    def but_for(self, other: Ranking) -> Ranking:
        """Return the ranking without the tasks that have the runs of another one: these would agree with themselves."""
        known = {task.board.protocol_id for task in other.tasks}
        return replace(self, tasks=tuple(task for task in self.tasks if task.board.protocol_id not in known))

    def losses(self, key: str, tasks: Collection[str]) -> Losses:
        """Return a column of the ranked models in some tasks as losses."""
        chosen = [task for task in self.tasks if task.name in tasks]
        return losses(_scores(chosen, self.models, key, self.facts), DIRECTIONS[key])


class Comparison(NamedTuple):
    """How two orders of the same models agree."""

    title: str
    found: Mapping[str, Agreement]
    """By division; what is compared once has the name of the two orders."""

    @property
    def alone(self) -> Agreement | None:
        """The agreement of orders of different runs; None for two columns of the same runs."""
        return None if self.found.keys() <= set(Division) else next(iter(self.found.values()))


class FoundLeague(NamedTuple):
    """A suite as a league."""

    query: SuiteQuery
    suite: Suite
    facts: LeagueFacts
    rankings: tuple[Ranking, ...]
    """Those of the divisions that have results."""
    empty: tuple[Division, ...]
    """The other divisions that were asked for."""
    comparisons: tuple[Comparison, ...]
    seeds: int | None = None
    """Only runs of seeds 1 to this one count; None if all do."""


class LeagueView(NamedTuple):
    """The choices that say how a league is read."""

    divisions: Collection[Division] = ()
    """All for which there is a rule if empty."""
    bootstrap: Bootstrap | None = None
    """10,000 resamples of seeds if None."""
    beside: str | None = None
    """A variant of the suite, or another league with cells of the same names: are the defaults in the same order?"""
    seeds: int | None = None
    """Only runs of seeds 1 to this one count; None if all do."""
    against: str | None = None
    """The model that others are compared with; the baseline of the league if None."""


EVERYTHING = LeagueView()
"""All divisions, compared with the baseline."""


def read_league(store: Store, query: SuiteQuery, view: LeagueView = EVERYTHING) -> FoundLeague:
    """Read the divisions of a suite with their statistics.

    Raises UsageError for a suite that is no league and for names that do not exist, and StoreError without results.
    """
    suite = suites.suite(query.suite)
    facts, drawn = _facts(suite), view.bootstrap or Bootstrap()
    stored = stored_tasks(store, query, view.seeds)
    cells = [each.cell for each in stored]
    compared = _compared_with(cells, view.against or facts.baseline)
    asked = _asked(cells, view.divisions)
    found = {division: _ranking(stored, division, facts, drawn, compared) for division in asked}
    rankings = [ranking for ranking in found.values() if ranking is not None]
    if not rankings:
        raise StoreError(f"no run of the league has a result; to run it: {query.command}")
    comparisons = [*_between_divisions(rankings, drawn), *_between_columns(rankings, drawn)]
    if view.beside is not None:
        own = found.get(Division.DEFAULT) or _ranking(stored, Division.DEFAULT, facts, drawn)
        other = _defaults(store, query, view.beside, drawn, view.seeds)
        comparisons.append(_beside(own, other, query.suite, view.beside, drawn))
    empty = tuple(division for division, ranking in found.items() if ranking is None)
    return FoundLeague(query, suite, facts, tuple(rankings), empty, tuple(comparisons), view.seeds)


def _compared_with(cells: Sequence[Cell], model: str) -> str:
    """Return a model that is ranked. Raises UsageError for another one."""
    if model not in ranked(cells):
        raise UsageError(f"nobody is compared with it: {unknown('model', model, ranked(cells))}")
    return model


def _asked(cells: Sequence[Cell], divisions: Collection[Division]) -> list[Division]:
    """Return the named divisions, or all for which a cell has a rule. Raises UsageError for one without any rule."""
    kinds = {rule.name for cell in cells for rule in cell.rules}
    known = [each for each in Division if each.criterion is None or each.criterion in kinds]
    for division in divisions:
        if division not in known:
            raise UsageError(f"no cell has a rule for it: {unknown('division', division, known)}")
    return [division for division in known if not divisions or division in divisions]


def one_ranking(store: Store, query: SuiteQuery, division: Division, bootstrap: Bootstrap | None = None) -> Ranking:
    """Read one division of a suite. Raises as `read_league` does."""
    facts = _facts(suites.suite(query.suite))
    stored = stored_tasks(store, query)
    (asked,) = _asked([each.cell for each in stored], [division])
    found = _ranking(stored, asked, facts, bootstrap or Bootstrap())
    if found is None:
        raise StoreError(f"no run of the division {division} has a result; to run it: {query.command}")
    return found


def _facts(suite: Suite) -> LeagueFacts:
    if suite.league is None:
        raise UsageError(f"suite '{suite.name}' is no league: it does not say what its models are compared with")
    return suite.league


def ranked(cells: Sequence[Cell]) -> list[str]:
    """Return the models that every cell has, but for controls."""
    first, *others = cells
    found = [model for model in first.contenders if all(model in cell.contenders for cell in others)]
    return [model for model in found if not any(model in cell.controls for cell in cells)]


def _ranking(
    stored: Sequence[TaskRuns],
    division: Division,
    facts: LeagueFacts,
    bootstrap: Bootstrap,
    against: str | None = None,
) -> Ranking | None:
    """Return a division with its statistics; None if it has no results. Others are compared with `against`."""
    models = ranked([each.cell for each in stored])
    every = [task for each in stored if (task := each.task(division, facts.reference)) is not None]
    tasks = [task for task in every if task.seeds(facts)]
    if not tasks:
        return None
    nlls, informations = (_scores(tasks, models, key, facts) for key in (NLL, INFORMATION))
    compared = against or facts.baseline
    found = league(nlls, informations, baseline=compared, reference=facts.reference, bootstrap=bootstrap)
    cells, named = [task.cell for task in tasks], [task.name for task in tasks]
    return Ranking(
        division,
        facts,
        tuple(tasks),
        tuple(each.cell.name for each in stored if each.cell.name not in named),
        tuple(_outsiders(tasks, models, [each.cell for each in stored])),
        found,
        interactions(found.losses, facts.baseline, factorials(cells, models, facts.baseline)),
    )


def _scores(tasks: Iterable[Task], models: Sequence[str], key: str, facts: LeagueFacts) -> Scores:
    """Return a column by task, model and seed, of the seeds that count."""
    return {task.name: {model: _counted(task, model, key, facts) for model in models} for task in tasks}


def _counted(task: Task, model: str, key: str, facts: LeagueFacts) -> dict[int, float | None]:
    seeds = task.seeds(facts)
    return {seed: score for seed, score in task.entries[model].scores(key).items() if seed in seeds}


def _outsiders(tasks: Iterable[Task], models: Collection[str], cells: Sequence[Cell]) -> Iterator[Outsider]:
    for task in tasks:
        for model, entry in task.entries.items():
            if model not in models:
                lacking = [cell.name for cell in cells if model not in cell.contenders]
                reason = CONTROL if model in task.cell.controls else f"not in {', '.join(lacking)}"
                yield Outsider(task.name, entry, reason)


def factorials(cells: Sequence[Cell], models: Sequence[str], baseline: str) -> list[Factorial]:
    """Return the compositions of two models that are models, too, in every one of the cells.

    The parts stand in the order of the composition. There are none if the baseline has methods itself.
    """
    by_cell = [set(_factorials(cell, models)) for cell in cells if not cell.methods(baseline)]
    everywhere = set.intersection(*by_cell) if len(by_cell) == len(cells) else set[Factorial]()
    return sorted(everywhere, key=lambda each: (models.index(each.both), models.index(each.first)))


def _factorials(cell: Cell, models: Sequence[str]) -> Iterator[Factorial]:
    methods = {model: cell.methods(model) for model in models}
    parts = [model for model in models if methods[model]]
    for both in parts:
        order = [print_call(*call) for call in parse_contender(cell.contenders[both])[0]]
        for pair in combinations(parts, 2):
            first, second = pair if order and order[0] in methods[pair[0]] else pair[::-1]
            if methods[first] | methods[second] == methods[both] and not methods[first] & methods[second]:
                yield Factorial(first, second, both)


def _between_divisions(rankings: Iterable[Ranking], bootstrap: Bootstrap) -> Iterator[Comparison]:
    found = {ranking.division: ranking for ranking in rankings}
    if Division.DEFAULT in found and Division.TUNED in found:
        both = found[Division.DEFAULT], found[Division.TUNED]
        title = f"{Division.DEFAULT} and {Division.TUNED}"
        yield from _compared(f"{TITLES[NLL]}, {title}", {title: _agreement(*both, NLL, NLL, bootstrap)})


def _between_columns(rankings: Sequence[Ranking], bootstrap: Bootstrap) -> Iterator[Comparison]:
    for one, other in PAIRS:
        found = {str(each.division): _agreement(each, each, one, other, bootstrap) for each in rankings}
        yield from _compared(f"{TITLES[one]} and {TITLES[other]}", found)


def _defaults(store: Store, query: SuiteQuery, beside: str, bootstrap: Bootstrap, seeds: int | None) -> Ranking | None:
    """Read the defaults of a variant of the suite, or else of another league; None if these have no results."""
    is_variant = beside in suites.suite(query.suite).known_variants(query.scale)
    other = (
        query._replace(variants=(*query.variants, beside)) if is_variant else query._replace(suite=beside, variants=())
    )
    facts = _facts(suites.suite(other.suite))
    return _ranking(stored_tasks(store, other, seeds), Division.DEFAULT, facts, bootstrap)


def _beside(own: Ranking | None, other: Ranking | None, name: str, beside: str, bootstrap: Bootstrap) -> Comparison:
    found = None if own is None or other is None else _agreement(own, other.but_for(own), NLL, NLL, bootstrap)
    if found is None:
        raise StoreError(
            f"'{name}' and '{beside}' have no task in which defaults of both have results, each with runs of its own"
        )
    title = f"{name} and {beside}"
    return Comparison(f"{TITLES[NLL]} of defaults, {title}", {title: found})


def _compared(title: str, found: Mapping[str, Agreement | None]) -> Iterator[Comparison]:
    known = {name: each for name, each in found.items() if each is not None}
    if known:
        yield Comparison(title, known)


def _agreement(one: Ranking, other: Ranking, key: str, beside: str, bootstrap: Bootstrap) -> Agreement | None:
    """Compare the orders by two columns in the tasks that both have; None if there is none, or one model alone."""
    shared = [task.name for task in one.tasks if task.name in {each.name for each in other.tasks}]
    if not shared or len(set(one.models) & set(other.models)) < 2:
        return None
    return agreement(one.losses(key, shared), other.losses(beside, shared), bootstrap)
