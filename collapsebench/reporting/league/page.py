"""A league as a page of text: its standings, its tasks, and what is to be known about them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from collapsebench.reporting.leaderboard.numbers import BLANK, rounded
from collapsebench.reporting.leaderboard.pages import Page, TableCell, TextTable
from collapsebench.reporting.league.bootstrap import Unit
from collapsebench.reporting.league.ranks import ALPHA

if TYPE_CHECKING:
    from collapsebench.reporting.league.bootstrap import Interval
    from collapsebench.reporting.league.fronts import Front
    from collapsebench.reporting.league.standings import League

FEW_TASKS = 10
"""With at most so many tasks the p-value of Friedman's test is a rough approximation (Demšar 2006, section 3.2.2)."""


def league_page(league: League, title: str, command: str) -> Page:
    """Lay a league out: a table of contenders, the best mean rank first, and a table of tasks."""
    return Page(title, (_standings(league), _tasks(league)), tuple(_notes(league)), command)


def _standings(league: League) -> TextTable:
    thresholds = () if league.profile is None else league.profile.thresholds
    headers = (
        "contender",
        f"better than {league.baseline}",
        "mean rank",
        *(f"regret ≤ {threshold:g}" for threshold in thresholds),
        "share of area",
        "no result",
    )
    rows = (tuple(map(TableCell, _standing(league, name))) for name in league.ranks.means)
    return TextTable("Standings", headers, tuple(rows))


def _standing(league: League, name: str) -> Iterator[str]:
    own = league.improvements.get(name)
    yield name
    yield BLANK if own is None else _with_interval(own.probability, own.interval, 2)
    yield _with_interval(league.ranks.means[name], league.ranks.intervals[name], 1)
    if league.profile is not None:
        yield from (f"{share:.2f}" for share in league.profile.shares[name])
    yield _area(league.fronts, name)
    yield str(sum(league.losses.shortfall(name)) or "")


def _with_interval(number: float, interval: Interval | None, digits: int) -> str:
    text = f"{number:.{digits}f}"
    return text if interval is None else f"{text} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"


def _area(fronts: Iterable[Front], name: str) -> str:
    """Write the mean share of a contender over the tasks that have an area; a contender without a point has 0."""
    shares = [front.shares.get(name, 0.0) for front in fronts if front.shares]
    return f"{sum(shares) / len(shares):.2f}" if shares else BLANK


def _tasks(league: League) -> TextTable:
    headers = ("task", "seeds", "best", "its IW-NLL", f"that of {league.reference}", "unit", "area", "front")
    rows = (tuple(map(TableCell, _task(league, number))) for number in range(len(league.fronts)))
    return TextTable("Tasks", headers, tuple(rows))


def _task(league: League, number: int) -> Iterator[str]:
    task, front = league.losses.tasks[number], league.fronts[number]
    yield task.task
    yield str(len(task.seeds))
    yield ", ".join(name for name, loss in task.means.items() if loss == task.best and math.isfinite(loss)) or BLANK
    yield _finite(task.best)
    yield _finite(task.means[league.reference])
    yield _finite(league.regrets.units.get(task.task, math.nan))
    yield rounded(front.area, None)
    yield ", ".join(front.members)


def _finite(number: float) -> str:
    return rounded(number, None) if math.isfinite(number) else BLANK


def _notes(league: League) -> Iterator[str]:
    yield from _of_results(league)
    yield from _of_columns(league)
    yield from _of_ranks(league)
    if league.regrets.left_out:
        yield (
            f"Left out of regrets, as no contender is better than {league.reference} there: "
            f"{', '.join(league.regrets.left_out)}."
        )


def _of_results(league: League) -> Iterator[str]:
    if not league.losses.shortfalls:
        yield "Every run has a result."
        return
    yield "Runs without a result count as the worst of their task; these:"
    for name, by_task in league.losses.shortfalls.items():
        for task, lost in by_task.items():
            counts = {"missing": lost.missing, "diverged": lost.diverged}
            yield f"{name}, {task}: {', '.join(f'{count} {kind}' for kind, count in counts.items() if count)}"


def _of_columns(league: League) -> Iterator[str]:
    bootstrap = league.bootstrap
    of_other = " with another seed" if bootstrap.unit is Unit.SEEDS else ""
    yield (
        f"In brackets: 95 % intervals of the stratified bootstrap over {bootstrap.unit}, {bootstrap.resamples:,} "
        f"resamples from seed {bootstrap.seed}. They speak of other seeds on these tasks, not of other tasks."
    )
    yield (
        f"Better than {league.baseline}: the probability that a run of the contender has a lower IW-NLL than one of "
        f"{league.baseline}{of_other}, a tie being half, mean over tasks."
    )
    if league.profile is not None:
        yield (
            "Regret: IW-NLL minus the mean of the best contender of the task, in units of what separates this one "
            f"from {league.reference} (nats, table below). The columns have the share of runs within it."
        )
    yield (
        f"Area: what mean IW-NLL and mean lower bound on MI dominate above {league.reference} with MI 0, in nats²; its "
        "share is of the area of all contenders together, mean over tasks."
    )


def _of_ranks(league: League) -> Iterator[str]:
    found, tasks = league.ranks, len(league.losses.tasks)
    if found.friedman is None or found.critical_difference is None:
        return
    if found.friedman.f_p_value is not None:
        rough = f", roughly, as there are {tasks} tasks" if tasks <= FEW_TASKS else ""
        yield f"All contenders are alike: p = {found.friedman.f_p_value:.2g} by Friedman, Iman and Davenport{rough}."
    yield (
        f"Over tasks, contenders are told apart whose mean ranks differ by at least {found.critical_difference:.1f} "
        f"(Nemenyi, {ALPHA:.0%}); not told apart: {'; '.join(map(_group, found.groups))}."
    )


def _group(names: Sequence[str]) -> str:
    """Name a group by its ends, as its members stand one below the other."""
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
