"""What the guards did about each trial of a suite: its unfair contenders, and their honest twins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from collapsebench.experiment import suites
from collapsebench.printable import printable
from collapsebench.record import Outcome
from collapsebench.reporting import escaping
from collapsebench.reporting.selection import labels, stored_protocol

if TYPE_CHECKING:
    from collapsebench.components.catalog import Catalog
    from collapsebench.experiment.suites import Cell, Trial
    from collapsebench.record import RunRecord
    from collapsebench.reporting.queries import SuiteQuery
    from collapsebench.store import Store

UNFAIR, HONEST = "unfair", "honest"
"""The models of a trial."""

FULL = 0.95
"""An unfair contender that is charged with this share of its twin's FLOPs has hidden nothing."""


class Verdict(StrEnum):
    """What became of a contender."""

    REFUSED = "refused"
    """Each of its runs failed, with the reason."""
    MARKED = "marked"
    """Boards mark it: at least one of its runs has a finding."""
    COUNTED = "counted"
    """Its runs are charged with at least as many FLOPs as those of its honest twin."""
    WITHOUT_EFFECT = "without effect"
    """Its runs have the values of its honest twin, to the last bit."""
    UNDETECTED = "undetected"
    """It stands on boards like any other."""
    MISSING = "not run"


STOPPED = frozenset({Verdict.REFUSED, Verdict.MARKED})
GAINLESS = frozenset({Verdict.COUNTED, Verdict.WITHOUT_EFFECT})
"""The verdicts on contenders that stand on boards and have gained nothing by what they tried."""


class Judgement(NamedTuple):
    """A verdict with its reason: an error, a mark, or nothing."""

    verdict: Verdict
    reason: str = ""


class TrialResult(NamedTuple):
    """One trial, and what became of both of its contenders."""

    cell: str
    trial: Trial
    unfair: Judgement
    honest: Judgement

    @property
    def expected(self) -> bool:
        """True if the guards did what they should: the unfair is caught or says why not, the honest stands."""
        caught = _caught(self.unfair) or bool(self.trial.reason)
        return caught and self.honest.verdict is Verdict.UNDETECTED


def trial_results(store: Store, query: SuiteQuery) -> tuple[TrialResult, ...]:
    """Read what became of the trials of a suite. Raises UsageError for a suite, scale or cell that does not exist."""
    suite = suites.suite(query.suite)
    components = suite.catalog(query.plugins)
    cells = suite.cells(query.scale, query.variants, query.cells)
    return tuple(
        TrialResult(cell.name, suite.trials[cell.name], *_judged(store, cell, components))
        for cell in cells
        if cell.name in suite.trials
    )


def trials_text(results: Sequence[TrialResult], format_: str = "plain") -> str:
    """Write a table of trials, in a format of `tabulate`."""
    from tabulate import tabulate

    written = escaping.markdown if format_ == "pipe" else printable
    rows = [
        (
            written(result.trial.kind),
            written(result.trial.tries),
            written(_said(result.unfair, result.trial.reason)),
            written(_twin(result.honest)),
        )
        for result in results
    ]
    heads = ("kind", "what the unfair contender tries", "what happens", "its honest twin")
    widths = None if format_ == "pipe" else (18, 36, 60, 12)
    table = tabulate(rows, headers=heads, tablefmt=format_, maxcolwidths=widths, disable_numparse=True)
    return table if format_ == "pipe" else f"{table}\n\n{_summary(results)}"


def _summary(results: Sequence[TrialResult]) -> str:
    """Count the kinds of which every trial is refused or marked, and those in which the others gain nothing."""
    kinds = [list(group) for _, group in groupby(results, key=lambda result: result.trial.kind)]
    stopped = sum(all(result.unfair.verdict in STOPPED for result in group) for group in kinds)
    idle = sum(all(_caught(result.unfair) for result in group) for group in kinds) - stopped
    twins = sum(result.honest.verdict in STOPPED for result in results)
    return (
        f"{stopped} of {len(kinds)} kinds are refused or marked, {idle} more gain nothing; "
        f"{twins} honest twins are refused or marked."
    )


def _caught(judgement: Judgement) -> bool:
    return judgement.verdict in STOPPED | GAINLESS


def _said(judgement: Judgement, reason: str) -> str:
    texts = [judgement.reason, reason if judgement.verdict not in STOPPED else ""]
    return printable(": ".join([judgement.verdict.value, *filter(None, ["; ".join(filter(None, texts))])]))


def _twin(judgement: Judgement) -> str:
    return "stands" if judgement.verdict is Verdict.UNDETECTED else _said(judgement, "")


def _judged(store: Store, cell: Cell, components: Catalog) -> tuple[Judgement, Judgement]:
    protocol = stored_protocol(store, cell, components)
    names = labels(cell, components)
    runs = {model: [] if protocol is None else _runs(store, protocol, names[model]) for model in (UNFAIR, HONEST)}
    unfair, honest = judge(runs[UNFAIR]), judge(runs[HONEST])
    if unfair.verdict is Verdict.UNDETECTED and (share := _charged(runs[UNFAIR], runs[HONEST])) >= FULL:
        if _equal(runs[UNFAIR], runs[HONEST]):
            unfair = Judgement(Verdict.WITHOUT_EFFECT, "every value and the FLOPs are those of its twin")
        else:
            unfair = Judgement(Verdict.COUNTED, f"it is charged with {share:.0%} of the FLOPs of its twin")
    return unfair, honest


def _runs(store: Store, protocol: str, contender: str) -> list[RunRecord]:
    return list(store.find(protocol=protocol, contender=contender))


def judge(runs: Iterable[RunRecord]) -> Judgement:
    """Judge a contender by its runs."""
    ended = [run for run in runs if run.outcome in {Outcome.FINISHED, Outcome.DIVERGED, Outcome.FAILED}]
    if not ended:
        return Judgement(Verdict.MISSING)
    if all(run.outcome is Outcome.FAILED for run in ended):
        return Judgement(Verdict.REFUSED, ended[0].message)
    findings = list(dict.fromkeys(finding.text for run in ended for finding in run.findings))
    return Judgement(Verdict.MARKED, "; ".join(findings)) if findings else Judgement(Verdict.UNDETECTED)


def _charged(unfair: Sequence[RunRecord], honest: Sequence[RunRecord]) -> float:
    """Return the FLOPs of an unfair contender in the seeds of its twin, as a share of the twin's."""
    flops = [{run.spec.seed: run.counters.get("flops", 0.0) for run in runs} for runs in (unfair, honest)]
    seeds = flops[0].keys() & flops[1].keys()
    twin = sum(flops[1][seed] for seed in seeds)
    return sum(flops[0][seed] for seed in seeds) / twin if twin else 0.0


def _equal(left: Sequence[RunRecord], right: Sequence[RunRecord]) -> bool:
    """Return whether two contenders have the same values in every seed."""
    values = [{run.spec.seed: run.values for run in runs} for runs in (left, right)]
    return values[0] == values[1]
