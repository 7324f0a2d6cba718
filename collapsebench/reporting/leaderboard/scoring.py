r"""Scoring turns the runs of one protocol into a board.

A cell is the mean over seeds with the half-width of its 95 % interval, \(t_{0.975,\,n-1}\, s / \sqrt n\).
Differences to the baseline, or to another contender, are first taken seed by seed, so that the effect of a seed on both
contenders cancels. A contender has means only if it has a finished run for each of its seeds. A mean over a part of the
seeds could be better than the contender is.
"""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

from collapsebench import plausibility
from collapsebench.estimates import Direction, Estimate
from collapsebench.metrics.dialects import Dialect
from collapsebench.observation import Observation, Unreadable
from collapsebench.plausibility import LikelihoodLimit, Violation, checker
from collapsebench.record import Outcome
from collapsebench.reporting.leaderboard.presentation import PLAIN, Presentation
from collapsebench.spec import Protocol
from collapsebench.syntax import BASELINE

CONFIDENCE = 0.95
LOWER_BOUND, SATURATED = "mi_lower", "mi_saturated"
"""The lower bound on the mutual information, and the entry that is 1 if the bound has reached log N."""
ENTRIES = (*plausibility.ENTRIES, SATURATED)
"""The entries of a run that boards read beside its columns."""
MISSING = "missing"
SOURCES = "sources"
"""The name of the guard that compares the code of the runs of a row."""
PARAMETERS = "parameters"


Limits = Callable[[Protocol], LikelihoodLimit | None]
"""Gives the likelihood that no model of a protocol can beat; None if it is not known."""


def _no_limit(protocol: Protocol) -> None:
    del protocol


class BoardColumn(NamedTuple):
    """A column of a board: a number of a metric, or a cost."""

    key: str
    """The name in the command line and in exports."""
    metric: str
    """The name of the metric; empty for costs, which are the parameters and the counters at the end of training."""
    title: str
    unit: str
    direction: Direction


@dataclass(frozen=True)
class SeedSample:
    """One number for each seed, and the standard errors of the estimators that have one."""

    seeds: Mapping[int, float]
    errors: Mapping[int, float]

    @cached_property
    def mean(self) -> float:
        """The mean over seeds. NaN and infinities follow the rules of arithmetic."""
        return mean(self.seeds.values())

    @cached_property
    def half_width(self) -> float | None:
        """Half the width of the 95 % interval of the mean; None for one seed, NaN if a value is not finite."""
        values = list(self.seeds.values())
        if len(values) < 2:
            return None
        if not all(map(math.isfinite, values)):
            return math.nan
        from scipy.special import stdtrit

        quantile = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2))
        return quantile * deviation(values) / math.sqrt(len(values))

    @property
    def uncertainty(self) -> float | None:
        """The uncertainty of the mean: its half-width, or the standard error of the estimator if there is one seed."""
        return self.half_width if len(self.seeds) > 1 else next(iter(self.errors.values()), None)

    def minus(self, other: SeedSample) -> SeedSample:
        """Subtract another sample, seed by seed, over the seeds that both have."""
        shared = [seed for seed in self.seeds if seed in other.seeds]
        with_error = [seed for seed in shared if seed in self.errors or seed in other.errors]
        errors = {seed: math.hypot(self.errors.get(seed, 0), other.errors.get(seed, 0)) for seed in with_error}
        return SeedSample(
            {seed: self.seeds[seed] - other.seeds[seed] for seed in shared},
            {seed: error for seed, error in errors.items() if error},
        )


class Problem(NamedTuple):
    """A seed without a result. The outcome is that of its run, or MISSING."""

    seed: int
    outcome: str
    run_id: str = ""
    message: str = ""


class RowFinding(NamedTuple):
    """Something that is to be known about a row, whatever its numbers are."""

    guard: str
    """The guard that found it, or SOURCES."""
    text: str
    seeds: tuple[int, ...]
    """The seeds of the runs that it is about."""


class RowReason(NamedTuple):
    """The reason why a column has no number in some runs of a row."""

    text: str
    seeds: tuple[int, ...]
    """The seeds of these runs."""


class Place(NamedTuple):
    """Where a tuned value lies in what was searched."""

    name: str
    """`method.field`, or `rate`."""
    share: float | None
    """The share of the range below it, from 0 to 1; None for one of some choices."""
    border: str
    """`low` if no trial had a smaller value, `high` if none had a larger one; empty for a value between others."""


class Tuned(NamedTuple):
    """What is known of a row whose setting was a trial of a tuning, on the validation split."""

    family: str
    """The contender without what was searched."""
    rules: tuple[str, ...]
    """The rules that choose this setting of all trials of the family; empty if none does."""
    trials: int
    """The number of settings that were tried, with a result or without."""
    flops: float
    """What all these trials have cost."""
    places: tuple[Place, ...]


@dataclass(frozen=True)
class Row:
    """One contender with its numbers, by the key of the column, over the seeds that finished."""

    contender: str
    label: str
    """The contender, with a mark if the board also shows another version of it."""
    runs: Mapping[int, str]
    """The ids of its stored runs, by seed."""
    samples: Mapping[str, SeedSample]
    differences: Mapping[str, SeedSample]
    """The differences to the compared contender, over the seeds that both finished; empty in its own row."""
    seeds: tuple[int, ...]
    """All seeds that it should have: its own seeds, and those of the other contenders."""
    problems: tuple[Problem, ...]
    violations: Mapping[int, tuple[Violation, ...]]
    """The impossible numbers, by seed."""
    saturated: tuple[int, ...]
    """The seeds whose lower bound on the mutual information has reached the limit log N of the estimator."""
    findings: tuple[RowFinding, ...] = ()
    """What guards found in its runs, each distinct finding once."""
    code: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    """The hashes of foreign code by seed, of the runs that have any."""
    declined: Mapping[str, tuple[RowReason, ...]] = field(default_factory=dict)
    """Why the metric of a column has no number for the contender, by the key of the column."""
    contender_id: str = ""
    """The identity of the contender."""
    tuned: Tuned | None = None
    """How the setting was found; None if it was no trial."""

    @property
    def unfinished(self) -> bool:
        """True if a run ended without a result. The finished runs are then only a selection."""
        return any(problem.outcome != MISSING for problem in self.problems)

    def sample(self, key: str) -> SeedSample | None:
        """Return the sample of a column; None if a seed does not have the number."""
        sample = self.samples.get(key)
        return sample if sample is not None and len(sample.seeds) == len(self.seeds) else None

    def impossible(self, column: BoardColumn) -> dict[int, list[str]]:
        """Return what makes the cell of a column impossible, by seed; empty if it is possible."""
        name = column.key.removeprefix(f"{column.metric}.")
        found = {
            seed: [each.text for each in several if each.column == name] for seed, several in self.violations.items()
        }
        return {seed: texts for seed, texts in found.items() if texts}

    def saturates(self, column: BoardColumn) -> bool:
        """Return True if the cell of a column is computed from a number at the limit of its estimator."""
        return column.key.removeprefix(f"{column.metric}.") == LOWER_BOUND and len(self.saturated) > 0

    def applies(self, key: str) -> bool:
        """Return True if this contender can have numbers in the column. A run without a result could have had them."""
        return key in self.samples or len(self.problems) > 0


@dataclass(frozen=True)
class Board:
    """The contenders of one protocol, one in each row. The others are compared with the contender of the first row."""

    protocol_id: str
    protocol: Protocol
    columns: tuple[BoardColumn, ...]
    rows: tuple[Row, ...]
    outcomes: Mapping[Outcome, int]
    """The number of runs by their outcome."""
    environments: tuple[tuple[Mapping[str, Any], int], ...]
    """The environments, each with the number of runs that ran in it."""
    at: str = ""
    """The cut through the trajectories, as in `flops=1e+13`, with numbers of the validation split; empty if none."""
    dialect: Dialect | None = None
    """The dialect whose columns replace those of the metrics; None if the columns are those of the metrics."""
    reference: Mapping[str, Estimate] = field(default_factory=dict)
    """The known scores of the best possible model on the test split, by the key of the column."""
    against: str = BASELINE
    """The label of the contender that is subtracted from the others."""
    left_out: tuple[Unreadable, ...] = ()
    """The stored runs that cannot be read."""
    presentation: Presentation = PLAIN
    """How the board is shown to people."""

    @property
    def labelled(self) -> Board:
        """The board for people: each row has the label that the presentation gives it."""
        of_label = {row.label: self._label(row) for row in self.rows}
        rows = tuple(replace(row, label=of_label[row.label]) for row in self.rows)
        return replace(self, rows=rows, against=of_label.get(self.against, self.against))

    def _label(self, row: Row) -> str:
        label = self.presentation.labels.get(row.contender)
        return row.label if label is None else f"{label}{row.label.removeprefix(row.contender)}"

    @property
    def compared(self) -> Row | None:
        """The row that the others are compared with; None if its contender is missing."""
        return next((row for row in self.rows if row.label == self.against), None)

    def difference(self, row: Row, key: str) -> SeedSample | None:
        """Return the paired difference of a row to `compared`; None if a run of one of them ended without a result."""
        unfinished = row.unfinished or (self.compared is not None and self.compared.unfinished)
        return None if unfinished else row.differences.get(key)

    def best(self, column: BoardColumn) -> set[str]:
        """Return the labels of the rows with the best finite and possible mean; empty if there is no direction."""
        if column.direction is Direction.NONE:
            return set()
        better = min if column.direction is Direction.LOWER else max
        possible = (row for row in self.rows if not row.impossible(column))
        scores = {row.label: sample.mean for row in possible if (sample := row.sample(column.key)) is not None}
        finite = {label: mean for label, mean in scores.items() if math.isfinite(mean)}
        top = better(finite.values(), default=None)
        return {label for label, mean in finite.items() if mean == top}


def score(observations: Iterable[Observation], limits: Limits = _no_limit) -> Board:
    """Score runs of one protocol, in any order. `limits` knows the likelihood that no model of a protocol can beat.

    Raises ValueError without runs, and for runs of several protocols.
    """
    by_label = by_contender(observations)
    runs = [run for own in by_label.values() for run in own]
    protocols = {run.protocol_id for run in runs}
    if len(protocols) != 1:
        raise ValueError(f"a board needs runs of exactly one protocol, got {sorted(protocols)}")
    columns = _columns(runs)
    samples = {label: _samples(own, columns) for label, own in by_label.items()}
    settled = {run.seed for run in runs if run.outcome.settled}
    baseline, check = samples.get(BASELINE, {}), checker(runs[0].protocol, limits(runs[0].protocol))
    rows = (
        replace(
            _row(label, own, samples[label], {} if label == BASELINE else baseline, settled, check),
            declined=_declined(own, columns),
        )
        for label, own in by_label.items()
    )
    environments = Counter(run.environment for run in runs)
    return Board(
        protocol_id=runs[0].protocol_id,
        protocol=min(runs, key=lambda run: (len(run.track), run.track)).protocol,
        columns=tuple(columns.values()),
        rows=tuple(rows),
        outcomes=Counter(run.outcome for run in runs),
        environments=tuple((json.loads(text), count) for text, count in sorted(environments.items())),
    )


def by_contender(observations: Iterable[Observation]) -> dict[str, list[Observation]]:
    """Group runs by the label of their contender, the baseline first.

    Runs of one contender with several labels have the one that says most: that of a sweep names a default, too. If
    contenders of different versions or defaults have equal labels, each label gets a mark.
    """
    runs = list(observations)
    names: dict[str, str] = {}
    for run in runs:
        names[run.contender_id] = max(
            names.get(run.contender_id, ""), run.contender, key=lambda name: (len(name), name)
        )
    named = [run._replace(contender=names[run.contender_id]) for run in runs]
    by_contender: dict[tuple[str, str], list[Observation]] = {}
    for run in sorted(named, key=lambda run: (run.contender != BASELINE, run.contender, run.seed, run.run_id)):
        by_contender.setdefault((run.contender, run.contender_id), []).append(run)
    labels = Counter(label for label, _ in by_contender)
    return {
        label if labels[label] == 1 else f"{label} #{digest[:6]}": own for (label, digest), own in by_contender.items()
    }


def _numbers(run: Observation) -> Iterator[tuple[tuple[str, str], float, float | None]]:
    """Yield the numbers of a run: metric (empty for costs) and name, value, standard error."""
    for head, value, error in run.values:
        yield head[:2], value, error
    yield ("", PARAMETERS), float(run.parameters), None
    for name, count in run.counters.items():
        yield ("", name), count, None


def _columns(runs: Sequence[Observation]) -> dict[tuple[str, str], BoardColumn]:
    """Return the columns by metric and name, metrics before costs. A key is `metric.name` if metrics share a name."""
    heads = {value.head[:2]: value.head for run in runs for value in run.values}
    costs = dict.fromkeys(("", name) for run in runs for name in (PARAMETERS, *run.counters))
    names = Counter(name for _, name in (*heads, *costs))
    metrics = {
        (metric, name): BoardColumn(
            key=name if names[name] == 1 else f"{metric}.{name}",
            metric=metric,
            title=head.title or name,
            unit=head.unit,
            direction=head.direction,
        )
        for (metric, name), head in heads.items()
    }
    return metrics | {cost: BoardColumn(cost[1], "", cost[1].replace("_", " "), "", Direction.NONE) for cost in costs}


def _samples(runs: Iterable[Observation], columns: Mapping[tuple[str, str], BoardColumn]) -> dict[str, SeedSample]:
    values: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    errors: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    for run in runs:
        if run.outcome is Outcome.FINISHED:
            seed = run.seed
            for name, value, error in _numbers(run):
                values[name][seed] = value
                if error is not None:
                    errors[name][seed] = error
    return {columns[name].key: SeedSample(seeds, errors.get(name, {})) for name, seeds in values.items()}


def _row(
    label: str,
    runs: Sequence[Observation],
    samples: Mapping[str, SeedSample],
    baseline: Mapping[str, SeedSample],
    seeds: set[int],
    check: Callable[[Observation], tuple[Violation, ...]],
) -> Row:
    own = {run.seed: run for run in runs}
    wanted = sorted(seeds | own.keys())
    return Row(
        contender=runs[0].contender,
        label=label,
        runs={seed: run.run_id for seed, run in own.items()},
        samples=samples,
        differences=differences_of(samples, baseline),
        seeds=tuple(wanted),
        problems=tuple(_problem(seed, own.get(seed)) for seed in wanted if not _finished(own.get(seed))),
        violations={seed: found for seed, run in sorted(own.items()) if _finished(run) and (found := check(run))},
        saturated=tuple(seed for seed, run in sorted(own.items()) if _finished(run) and _saturated(run)),
        findings=(*_findings(own), *_mixed_sources(own)),
        code={seed: run.code for seed, run in sorted(own.items()) if run.code},
        contender_id=runs[0].contender_id,
    )


def _findings(runs: Mapping[int, Observation]) -> Iterator[RowFinding]:
    seeds: dict[tuple[str, str], list[int]] = {}
    for seed, run in sorted(runs.items()):
        for finding in dict.fromkeys((each.guard.value, each.text) for each in run.findings):
            seeds.setdefault(finding, []).append(seed)
    yield from (RowFinding(*finding, tuple(found)) for finding, found in seeds.items())


def _mixed_sources(runs: Mapping[int, Observation]) -> Iterator[RowFinding]:
    versions = {tuple(sorted(run.code.items())) for run in runs.values() if run.outcome.settled}
    if len(versions) > 1:
        text = f"the runs of this row were made by {len(versions)} versions of its code"
        yield RowFinding(SOURCES, text, tuple(sorted(runs)))


def _declined(
    runs: Iterable[Observation], columns: Mapping[tuple[str, str], BoardColumn]
) -> dict[str, tuple[RowReason, ...]]:
    """Return the reasons that finished runs give for columns of the board. Other columns are blank for everybody."""
    seeds: dict[tuple[str, str], list[int]] = {}
    for run in runs:
        for each in run.declined if _finished(run) else ():
            if (each.metric, each.column) in columns:
                seeds.setdefault((columns[each.metric, each.column].key, each.reason), []).append(run.seed)
    found: dict[str, tuple[RowReason, ...]] = {}
    for (key, reason), own in seeds.items():
        found[key] = (*found.get(key, ()), RowReason(reason, tuple(own)))
    return found


def differences_of(samples: Mapping[str, SeedSample], others: Mapping[str, SeedSample]) -> dict[str, SeedSample]:
    """Return the differences by the key of the column, over the seeds that both contenders have."""
    found = {key: sample.minus(others[key]) for key, sample in samples.items() if key in others}
    return {key: sample for key, sample in found.items() if sample.seeds}


def _finished(run: Observation | None) -> bool:
    return run is not None and run.outcome is Outcome.FINISHED


def _saturated(run: Observation) -> bool:
    return SATURATED in run.entries and run.entries[SATURATED].value == 1


def _problem(seed: int, run: Observation | None) -> Problem:
    return Problem(seed, MISSING) if run is None else Problem(seed, run.outcome.value, run.run_id, run.message)


def mean(values: Collection[float]) -> float:
    """Return the mean of one or more numbers, within 2.3e-16 relative. NaN and infinities follow arithmetic.

    The mean of equal numbers is exactly this number. Otherwise round-off would give it an interval, which could decide
    a comparison.
    """
    if len(set(values)) == 1:
        return next(iter(values))
    try:
        return statistics.fmean(values)
    except (OverflowError, ValueError):  # the sum is too large, or it has infinities of both signs
        return statistics.mean(values)


def deviation(values: Collection[float]) -> float:
    r"""Return \(s = \sqrt{\sum (x - \bar x)^2 / (n - 1)}\) of two or more finite numbers, within some 1e-15 relative.

    The computed mean has a round-off error, which is the mean of the differences to it. This error is subtracted from
    the differences. Without that, it would be most of the deviation of numbers that differ only in their last digits.
    """
    center = mean(values)
    differences = [value - center for value in values]
    return math.dist(differences, [mean(differences)] * len(differences)) / math.sqrt(len(differences) - 1)
