"""Which of its trials a rule chooses for each contender. Numbers of the test split are never looked at."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, assert_never

from collapsebench.components import discovery
from collapsebench.experiment.planning import tuned
from collapsebench.experiment.tuning import SEED, family_of, ranges_of
from collapsebench.printable import printable
from collapsebench.record import Outcome
from collapsebench.reporting.leaderboard.numbers import BLANK
from collapsebench.reporting.leaderboard.reference import trial_violations
from collapsebench.reporting.leaderboard.scoring import Place, Tuned
from collapsebench.spec import Criterion, identity
from collapsebench.syntax import RATE

if TYPE_CHECKING:
    from collapsebench.components.catalog import Catalog
    from collapsebench.components.search import SearchRange
    from collapsebench.experiment.work import GridSetup
    from collapsebench.plausibility import Violation
    from collapsebench.record import RunRecord
    from collapsebench.reporting.leaderboard import Board
    from collapsebench.spec import Contender, Protocol, Rule
    from collapsebench.store import Store


class Trial(NamedTuple):
    """One setting of a contender, by the numbers of the validation split at its selected parameters.

    They are NaN if its run has no result, or an infinite one, or one that cannot be.
    """

    contender: Contender
    neg_elbo: float
    kl: float
    mi: float
    """The lower bound of the mutual information."""
    flops: float
    """What its run has cost."""
    impossible: tuple[str, ...] = ()
    """What of the numbers cannot be, whatever the model: no rule chooses such a trial."""


class Selected(NamedTuple):
    """What a rule chooses of the trials of a contender."""

    contender: str
    rule: Rule
    chosen: Trial | None
    """None if no trial is what the rule asks for."""
    borders: tuple[str, ...]
    """What lies at the border of the trials: no other has a larger value (`rate high`), or none a smaller one."""
    trials: int
    """The number of trials that have a result."""
    drawn: int
    """The number of settings that were drawn."""
    flops: float
    """What all trials have cost together."""
    impossible: tuple[str, ...] = ()
    """What cannot be in numbers of trials, which no rule chooses."""


def stored_choices(store: Store, setup: GridSetup) -> list[Selected]:
    """Read the trials of a tuning as far as they are stored, and choose by the rules of its protocol."""
    plan, catalog = setup.plan, setup.catalog
    (request,) = setup.requests
    drawn = {each.name: each.trials(request.trials or 0, catalog) for each in tuned(request, catalog)}
    stored = store.outcomes([spec.run_id for spec in plan.specs])
    rules = plan.specs[0].protocol.setting.evaluation.selection
    return choices(drawn, map(store.get, stored), rules, catalog)


def trials_of(records: Iterable[RunRecord], components: Catalog) -> dict[str, Trial]:
    """Return the trials that records are, by the identity of the contender: its labels can differ.

    A run of another seed is none, or who runs some settings more often would choose otherwise than the others.
    """
    check = trial_violations(components)
    own = (record for record in records if record.spec.seed == SEED)
    return {identity(record.spec.contender): _trial(record, check(record)) for record in own}


def chosen(trials: Iterable[Trial], rule: Rule) -> Trial | None:
    """Return the trial that a rule chooses; None if none is what it asks for. The first label wins between equals."""
    fitting = [trial for trial in trials if not math.isnan(_score(trial, rule))]
    return min(fitting, key=lambda trial: (_score(trial, rule), trial.neg_elbo, trial.contender.label), default=None)


def choices(
    drawn: Mapping[str, Sequence[Contender]], records: Iterable[RunRecord], rules: Sequence[Rule], components: Catalog
) -> list[Selected]:
    """Return what each rule chooses for each contender.

    `drawn` has the settings that were drawn for each contender.
    """
    known = trials_of(records, components)
    found = []
    for contender, settings in drawn.items():
        own = [known[each] for each in map(identity, settings) if each in known]
        usable = sum(not math.isnan(trial.neg_elbo) for trial in own)
        cost = _total(trial.flops for trial in own)
        broken = tuple(f"{trial.contender.label}: {'; '.join(trial.impossible)}" for trial in own if trial.impossible)
        for rule in rules:
            best = chosen(own, rule)
            at_end = () if best is None else tuple(borders(best.contender, settings))
            found.append(Selected(contender, rule, best, at_end, usable, len(settings), cost, broken))
    return found


def borders(contender: Contender, drawn: Sequence[Contender]) -> Iterator[str]:
    """Yield what of a setting is the largest or the smallest of all that were drawn, as in `rate high`."""
    yield from (f"{place.name} {place.border}" for place in places(contender, drawn, {}) if place.border)


def places(contender: Contender, drawn: Sequence[Contender], ranges: Mapping[str, SearchRange]) -> Iterator[Place]:
    """Yield where the numbers of a setting lie among those that were drawn, and in the ranges.

    Numbers that are the same in all of them are left out. Of two values, each would be at the border: none is.
    """
    yield from _places(contender, _tried(drawn), ranges)


class _Tried(NamedTuple):
    """The values of one number that were drawn."""

    low: float
    high: float
    different: int

    def border(self, own: float) -> str:
        if self.different < 3:
            return ""
        return "low" if own == self.low else "high" if own == self.high else ""


def _tried(drawn: Iterable[Contender]) -> dict[str, _Tried]:
    values: dict[str, set[float]] = {}
    for name, value in chain.from_iterable(map(_numbers, drawn)):
        values.setdefault(name, set()).add(value)
    return {name: _Tried(min(own), max(own), len(own)) for name, own in values.items()}


def _places(contender: Contender, tried: Mapping[str, _Tried], ranges: Mapping[str, SearchRange]) -> Iterator[Place]:
    for name, own in _numbers(contender):
        if name in tried and tried[name].different > 1:
            yield Place(name, ranges[name].share(own) if name in ranges else None, tried[name].border(own))


class Tunings:
    """The trials of a store, by what was trained. They are read when a board that they belong to is made."""

    def __init__(self, store: Store, plugins: Sequence[Path] = ()) -> None:
        self._store, self._plugins = store, plugins
        self._protocols: dict[str, Mapping[str, Sequence[str]]] = {}
        self._trials: dict[str, Sequence[Sequence[RunRecord]]] = {}
        self._settings: dict[str, Mapping[str, Tuned]] = {}

    def on(self, board: Board) -> Board:
        """Return a board whose rows know of the trials of their contenders, if these were trained as the board says."""
        known = self._known(board.protocol)
        rows = (replace(row, tuned=known.get(row.contender_id)) for row in board.rows)
        return replace(board, rows=tuple(rows)) if known else board

    def trials(self, protocol: Protocol) -> Sequence[Sequence[RunRecord]]:
        """Return the trials that were trained as a protocol says, those of each of their own protocols together."""
        training = protocol.training_id
        if training not in self._trials:
            own = self._of_dataset(protocol.dataset.name).get(training, ())
            self._trials[training] = [list(self._store.find(protocol=each)) for each in own]
        return self._trials[training]

    def _known(self, protocol: Protocol) -> Mapping[str, Tuned]:
        """Return what is known of each setting that was tried. Plugins are only looked for if there is any."""
        training, trials = protocol.training_id, self.trials(protocol)
        if training not in self._settings:
            self._settings[training] = tuned_settings(trials, discovery.load(self._plugins)) if trials else {}
        return self._settings[training]

    def _of_dataset(self, dataset: str) -> Mapping[str, Sequence[str]]:
        """Return the protocols of all trials on a dataset, by what was trained."""
        if dataset not in self._protocols:
            self._protocols[dataset] = self._by_training(dataset)
        return self._protocols[dataset]

    def _by_training(self, dataset: str) -> Mapping[str, Sequence[str]]:
        found: dict[str, list[str]] = {}
        for each in self._store.protocols(dataset=dataset):
            first = next(self._store.find(protocol=each.protocol_id), None) if each.of_trials else None
            if first is not None:
                found.setdefault(first.spec.protocol.training_id, []).append(each.protocol_id)
        return found


def tuned_settings(tunings: Iterable[Sequence[RunRecord]], catalog: Catalog) -> dict[str, Tuned]:
    """Return what is known of each setting that was tried, by the identity of its contender.

    Each of `tunings` has the trials of one protocol. Rules choose among the trials of their own protocol, of all that
    share a family, whoever asked for them.
    """
    settings: dict[str, list[Trial]] = {}
    chosen_by: dict[str, dict[str, None]] = {}
    for records in tunings:
        by_family: dict[str, list[Trial]] = {}
        for trial in trials_of(records, catalog).values():
            by_family.setdefault(family_of(trial.contender, catalog), []).append(trial)
        for family, trials in by_family.items():
            settings.setdefault(family, []).extend(trials)
            for rule in records[0].spec.protocol.setting.evaluation.selection:
                best = chosen(trials, rule)
                if best is not None:
                    chosen_by.setdefault(identity(best.contender), {})[str(rule)] = None
    return {
        tried: Tuned(family, tuple(chosen_by.get(tried, ())), *known)
        for family, trials in settings.items()
        for tried, known in _known(trials, catalog)
    }


def _known(trials: Sequence[Trial], catalog: Catalog) -> Iterator[tuple[str, tuple[int, float, tuple[Place, ...]]]]:
    """Yield each setting of a family by its identity, with the number of all, what they cost, and where it lies."""
    settings = {identity(trial.contender): trial.contender for trial in trials}
    flops = _total(trial.flops for trial in trials)
    tried = _tried(settings.values())
    for setting, contender in settings.items():
        yield setting, (len(settings), flops, tuple(_places(contender, tried, ranges_of(contender, catalog))))


def _numbers(contender: Contender) -> Iterator[tuple[str, float]]:
    """Yield the rate and the parameters that are numbers, by name."""
    yield RATE, contender.rate
    for method in contender.methods:
        for name, value in method.params.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                yield f"{method.name}.{name}", value


def tuning_text(found: Iterable[Selected]) -> str:
    """Write the choices as a table, with the numbers of the validation split."""
    from tabulate import tabulate

    choices = list(found)
    head = ("contender", "rule", "chosen", "at the border", "−ELBO", "KL", "MI ≥", "trials", "FLOPs")
    table = tabulate(map(_row, choices), head, disable_numparse=True)
    broken = dict.fromkeys(chain.from_iterable(choice.impossible for choice in choices))
    notes = (f"No rule chooses {printable(text)}." for text in broken)
    return "\n".join((table, "", "−ELBO, KL and MI are of the validation split.", *notes))


def _row(choice: Selected) -> tuple[str, ...]:
    trial = choice.chosen
    label = "no trial fits" if trial is None else printable(trial.contender.label)
    numbers = (BLANK,) * 3 if trial is None else tuple(f"{each:.4g}" for each in (trial.neg_elbo, trial.kl, trial.mi))
    counted = f"{choice.trials}/{choice.drawn}"
    ends = ", ".join(choice.borders)
    return (printable(choice.contender), str(choice.rule), label, ends, *numbers, counted, f"{choice.flops:.3g}")


def _trial(run: RunRecord, violations: Iterable[Violation]) -> Trial:
    impossible = tuple(violation.text for violation in violations)
    neg_elbo, kl, mi = (math.nan if impossible else _selected(run, name) for name in ("neg_elbo", "kl", "mi_lower"))
    return Trial(run.spec.contender, neg_elbo, kl, mi, run.counters.get("flops", 0.0), impossible)


def _total(costs: Iterable[float]) -> float:
    """Sum costs, in any order. The sum is infinite if it is beyond all floats."""
    try:
        return math.fsum(costs)
    except OverflowError:
        return math.inf


def _selected(run: RunRecord, name: str) -> float:
    """Return a number at the selected parameters; NaN if the run has none that is finite."""
    point = next((point for point in run.points if point.selected), None)
    if run.outcome is not Outcome.FINISHED or point is None or name not in point.values:
        return math.nan
    value = float(point.values[name])
    return value if math.isfinite(value) else math.nan


def _score(trial: Trial, rule: Rule) -> float:
    """Return what a rule wants to be small; NaN for a trial that is not what it asks for, or that has no result."""
    if math.isnan(trial.neg_elbo):
        return math.nan
    nats = 0.0 if rule.nats is None else rule.nats
    match rule.name:
        case Criterion.ELBO:
            return trial.neg_elbo
        case Criterion.CURED:
            return trial.neg_elbo if trial.mi >= nats else math.nan
        case Criterion.ISO_KL:
            return abs(trial.kl - nats)
        case _:
            assert_never(rule.name)
