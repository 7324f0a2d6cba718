"""A league as a page of text: its standings, its tasks, and what is to be known about them."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from collapsebench.reporting.leaderboard.numbers import BLANK, rounded
from collapsebench.reporting.leaderboard.pages import FINDING, Page, TableCell, TextTable
from collapsebench.reporting.league.bootstrap import Unit
from collapsebench.reporting.league.ranks import ALPHA

if TYPE_CHECKING:
    from collapsebench.reporting.league.bootstrap import Interval
    from collapsebench.reporting.league.losses import Shortfall
    from collapsebench.reporting.league.ranks import Friedman
    from collapsebench.reporting.league.standings import League

FEW_TASKS = 10
"""With at most so many tasks the p-value of Friedman's test is a rough approximation (Demšar 2006, section 3.2.2)."""


class Known(NamedTuple):
    """What is known of a league beside its statistics."""

    explained: bool = False
    """True if another page says what the columns are."""
    about: tuple[str, ...] = ()
    """The notes that come first."""
    marked: Collection[str] = ()
    """The contenders about whose runs there is something to know."""
    unchosen: Mapping[str, Collection[str]] = MappingProxyType({})
    """The contenders by task that have no setting there. That they count as the worst is said elsewhere."""
    tables: tuple[TextTable, ...] = ()
    """The tables that come last."""
    notes: tuple[str, ...] = ()
    """The notes that come last."""


NOTHING = Known()


def league_page(league: League, title: str, command: str, known: Known = NOTHING) -> Page:
    """Lay a league out: a table of contenders, the best mean rank first, how near they come, and a table of tasks."""
    tables = (_standings(league, known.marked), *_regrets(league, known.marked), _tasks(league), *known.tables)
    return Page(title, tables, (*known.about, *_notes(league, known), *known.notes), command)


def listed(names: Iterable[str]) -> str:
    """Write names that may have commas."""
    return "; ".join(names)


def _marked(name: str, marked: Collection[str]) -> str:
    return f"{name} {FINDING}" if name in marked else name


def _standings(league: League, marked: Collection[str]) -> TextTable:
    headers = ("contender", f"better than {league.baseline}", "mean rank", "share of area", "no result")
    rows = ((TableCell(_marked(name, marked)), *map(TableCell, _standing(league, name))) for name in league.ranks.means)
    return TextTable("Standings", headers, tuple(rows))


def _standing(league: League, name: str) -> Iterator[str]:
    own = league.improvements.get(name)
    yield BLANK if own is None else _with_interval(own.probability, own.interval, 2)
    yield _with_interval(league.ranks.means[name], league.ranks.intervals[name], 1)
    yield BLANK if (share := league.share_of_area(name)) is None else f"{share:.2f}"
    yield str(sum(league.losses.shortfall(name)) or "")


def _with_interval(number: float, interval: Interval | None, digits: int) -> str:
    text = f"{number:.{digits}f}"
    return text if interval is None else f"{text} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"


def _regrets(league: League, marked: Collection[str]) -> Iterator[TextTable]:
    """Yield the table of regrets, if a task has a unit. Contenders stand in the order of the standings."""
    if league.profile is not None:
        shares = league.profile.shares
        rows = ((_marked(name, marked), *(f"{share:.2f}" for share in shares[name])) for name in league.ranks.means)
        headers = ("contender", *(f"≤ {threshold:g}" for threshold in league.profile.thresholds))
        yield TextTable("Share of runs with a regret", headers, tuple(tuple(map(TableCell, row)) for row in rows))


def _tasks(league: League) -> TextTable:
    headers = ("task", "seeds", "best", "its IW-NLL", "without z", "unit", "area")
    rows = (tuple(map(TableCell, _task(league, number))) for number in range(len(league.fronts)))
    return TextTable("Tasks", headers, tuple(rows))


def _task(league: League, number: int) -> Iterator[str]:
    task, front = league.losses.tasks[number], league.fronts[number]
    yield task.task
    yield str(len(task.seeds))
    yield listed(name for name, loss in task.means.items() if loss == task.best and math.isfinite(loss)) or BLANK
    yield _finite(task.best)
    yield _finite(task.means[league.reference])
    yield _finite(league.regrets.units.get(task.task, math.nan))
    yield rounded(front.area, None)


def _finite(number: float) -> str:
    return rounded(number, None) if math.isfinite(number) else BLANK


def _notes(league: League, known: Known) -> Iterator[str]:
    yield from _of_results(league, known.unchosen)
    if not known.explained:
        yield from _of_columns(league)
    yield from (f"Front of {front.task}: {listed(front.members)}." for front in league.fronts if front.members)
    yield from _of_ranks(league)
    yield from _of_points(league)
    if league.regrets.left_out:
        yield (
            f"Left out of regrets, as no contender is better than {league.reference} there, or this one has no result: "
            f"{listed(league.regrets.left_out)}."
        )


def _of_points(league: League) -> Iterator[str]:
    """Say who has no point, and which tasks have no area."""
    for task, front in zip(league.losses.tasks, league.fronts, strict=True):
        names = [name for name, loss in task.means.items() if math.isfinite(loss) and name not in front.points]
        if names:
            yield f"{task.task}, without a point, as a run has no bound on MI: {listed(names)}"
    idle = [front.task for front in league.fronts if not front.area]
    if idle and len(idle) < len(league.fronts):
        yield f"Left out of shares of area, as nobody with MI is better than {league.reference} there: {listed(idle)}."


def _of_results(league: League, unchosen: Mapping[str, Collection[str]]) -> Iterator[str]:
    """Yield the runs without a result, a line for each task and what is lacking there."""
    if not league.losses.shortfalls:
        yield "Every run has a result."
        return
    lacking: dict[tuple[str, Shortfall], list[str]] = {}
    for task in league.losses.tasks:
        for name in league.losses.contenders:
            lost = league.losses.shortfalls.get(name, {}).get(task.task)
            if lost is not None and name not in unchosen.get(task.task, ()):
                lacking.setdefault((task.task, lost), []).append(name)
    yield f"Runs without a result count as the worst of their task{'; these:' if lacking else '.'}"
    for (name, lost), contenders in lacking.items():
        yield f"{name}, {_counted(lost)} each: {listed(contenders)}"


def _counted(lost: Shortfall) -> str:
    counts = {"missing": lost.missing, "diverged or impossible": lost.diverged}
    return ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)


def _of_columns(league: League) -> Iterator[str]:
    bootstrap = league.bootstrap
    of_other = " with another seed" if bootstrap.unit is Unit.SEEDS else ""
    yield (
        f"In brackets: 95 % intervals of the stratified bootstrap over {bootstrap.unit}, {bootstrap.resamples:,} "
        f"resamples from seed {bootstrap.seed}. They speak of other seeds on these tasks, not of other tasks."
    )
    yield f"Without z: the IW-NLL of {league.reference}. Numbers of tasks are means over seeds, in nats per example."
    yield (
        f"Better than {league.baseline}: the probability that a run of the contender has a lower IW-NLL than one of "
        f"{league.baseline}{of_other}, a tie being half, mean over tasks."
    )
    if league.profile is not None:
        yield (
            "Regret: IW-NLL minus the mean of the best contender of the task, in units of what separates this one "
            f"from {league.reference} (in nats, as the unit of the task)."
        )
    yield (
        f"Area: what mean IW-NLL and mean lower bound on MI dominate above {league.reference} with MI 0, in nats²; its "
        "share is of the area of all contenders together, mean over tasks."
    )


def _of_ranks(league: League) -> Iterator[str]:
    found, tasks = league.ranks, len(league.losses.tasks)
    if found.friedman is None or found.critical_difference is None:
        return
    rough = f", roughly, as there are {tasks} tasks" if tasks <= FEW_TASKS else ""
    if tasks > 1:
        yield f"Test of all contenders being alike: {_alike(found.friedman)}{rough}."
    widest, least = len(found.means) - 1, f"{found.critical_difference:.1f}"
    if found.critical_difference > widest:
        yield (
            f"So few tasks tell no contenders apart by mean ranks: these differ by {widest} at most, and would have to "
            f"by {least} (Nemenyi, {ALPHA:.0%})."
        )
        return
    yield (
        f"Over tasks, contenders are told apart whose mean ranks differ by at least {least} (Nemenyi, {ALPHA:.0%}); "
        f"not told apart: {'; '.join(map(_group, found.groups))}."
    )


def _alike(test: Friedman) -> str:
    """Write the p-value of the less conservative test; of the other one if all tasks agree, as the first is 0 then."""
    if test.f_p_value is None or test.f_statistic == math.inf:
        return f"p = {test.p_value:.2g} by Friedman"
    return f"p = {test.f_p_value:.2g} by Friedman, Iman and Davenport"


def _group(names: Sequence[str]) -> str:
    """Name a group by its ends, as its members stand one below the other."""
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
