r"""Mean ranks over tasks, whether they differ at all, and by how much two must differ to be told apart.

In each task contenders are ranked by their mean loss over seeds, the best with 1; equal contenders share the mean of
their ranks. A contender with a run without a result has the last rank of the task, as its mean is the worst.

The *task* is the unit of the tests, and not the task with a seed. Seeds of one task agree about who is better on it, so
they are no independent tests of who is better in general: with all of them as blocks \(N\) would grow by doing the same
again, and anything would become significant (Demšar 2006, "Statistical comparisons of classifiers over multiple data
sets", section 3.2.3, says the same of repetitions on one data set). How much seeds move a mean rank is in its bootstrap
interval, which does not speak of other tasks.

With few tasks and many contenders these tests can tell hardly anything: for 4 tasks and 30 contenders the critical
difference is 23 of at most 29 ranks. The approximation to \(\chi^2\) is meant for more than 10 tasks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from collapsebench.reporting.leaderboard.scoring import CONFIDENCE
from collapsebench.reporting.league.bootstrap import Bootstrap, Interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from collapsebench.reporting.league.losses import Losses

ALPHA = 1 - CONFIDENCE
"""The level of significance."""


class Friedman(NamedTuple):
    """The test of whether all contenders are alike."""

    statistic: float
    r"""\(\chi^2_F\), corrected for ties."""
    p_value: float
    """Its p-value, from the \\(\\chi^2\\) distribution."""
    f_statistic: float | None
    """The statistic of Iman and Davenport, which is less conservative; None for one task."""
    f_p_value: float | None
    """Its p-value, from the F distribution."""


@dataclass(frozen=True)
class Ranks:
    """The ranks of a league; 1 is the best."""

    means: Mapping[str, float]
    """The mean rank over tasks by contender, the best first."""
    intervals: Mapping[str, Interval | None]
    """The 95 % interval of the mean rank over seeds, by contender; None if every task has one seed."""
    by_task: Mapping[str, Mapping[str, float]]
    """The ranks by task and contender."""
    friedman: Friedman | None
    """None for one contender."""
    critical_difference: float | None
    """Contenders whose mean ranks are at least so far apart are told apart; None for one contender."""
    groups: tuple[tuple[str, ...], ...]
    """The largest groups of contenders none of which are told apart, the best first. Groups can overlap."""


def ranks(losses: Losses, bootstrap: Bootstrap | None = None) -> Ranks:
    """Rank the contenders of a league, with tests. Without a `bootstrap` there are 10,000 resamples of seeds."""
    chosen = bootstrap or Bootstrap()
    names, tasks = losses.contenders, [task.task for task in losses.tasks]
    table = _ranked([[task.means[name] for name in names] for task in losses.tasks])
    means = dict(sorted(zip(names, table.mean(axis=0).tolist(), strict=True), key=lambda item: item[1]))
    several = len(names) > 1
    difference = critical_difference(len(names), len(tasks)) if several else None
    return Ranks(
        means=means,
        intervals=_intervals(losses, chosen),
        by_task={task: dict(zip(names, row.tolist(), strict=True)) for task, row in zip(tasks, table, strict=True)},
        friedman=friedman(table) if several else None,
        critical_difference=difference,
        groups=groups(means, math.inf if difference is None else difference),
    )


def _ranked(values: list[list[float]] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank each row, the lowest value with 1, equal values with their mean rank."""
    import numpy as np
    from scipy.stats import rankdata

    return np.asarray(rankdata(values, axis=1))


def friedman(ranks: NDArray[np.float64]) -> Friedman:
    r"""Test whether contenders are alike, from their ranks of shape (tasks, contenders) with mean ranks for ties.

    \[
      \chi^2_F = \frac{(k - 1)\, N^2 \sum_j (R_j - \bar r)^2}{\sum_{ij} (r_{ij} - \bar r)^2}, \qquad
      F_F = \frac{(N - 1) \chi^2_F}{N (k - 1) - \chi^2_F}, \qquad \bar r = \frac{k + 1}{2},
    \]

    for \(N\) tasks, \(k\) contenders and mean ranks \(R_j\). Without ties the first is
    \(\frac{12 N}{k (k + 1)} [\sum_j R_j^2 - \frac{k (k + 1)^2}{4}]\), as printed by Demšar (2006, section 3.2.2);
    ties take away from what the ranks can vary, which is the usual correction. The second is that of Iman and Davenport
    (1980), with \(k - 1\) and \((k - 1)(N - 1)\) degrees of freedom, in the same section. If all ranks are equal, the
    statistics are 0 and the p-values 1.

    Raises ValueError for less than two contenders, as there is nothing to compare.
    """
    import numpy as np
    from scipy.special import chdtrc, fdtrc

    tasks, contenders = ranks.shape
    if contenders < 2:
        raise ValueError(f"the Friedman test needs two contenders or more, got {contenders}")
    deviations = ranks - (contenders + 1) / 2
    spread, freedom = float(np.sum(deviations**2)), contenders - 1
    moved = float(np.sum(deviations.mean(axis=0) ** 2))
    statistic = freedom * tasks**2 * moved / spread if spread else 0.0
    p_value = float(chdtrc(freedom, statistic))
    if tasks < 2:
        return Friedman(statistic, p_value, None, None)
    left = tasks * freedom - statistic
    ratio = (tasks - 1) * statistic / left if left > 1e-9 * tasks * freedom else math.inf
    return Friedman(statistic, p_value, ratio, float(fdtrc(freedom, freedom * (tasks - 1), ratio)))


def critical_difference(contenders: int, tasks: int, alpha: float = ALPHA) -> float:
    r"""Return the difference of mean ranks from which on two contenders are told apart, by Nemenyi's test.

    \(CD = q_\alpha \sqrt{k (k + 1) / (6 N)}\) for \(k\) contenders and \(N\) tasks, where \(q_\alpha\) is the
    quantile of the studentized range of \(k\) groups over \(\sqrt 2\) (Demšar 2006, section 3.2.2 and table 5). It
    holds for all pairs of contenders at once.

    >>> round(critical_difference(4, 14), 2)
    1.25
    """
    from scipy.stats import studentized_range

    quantile = float(studentized_range.ppf(1 - alpha, contenders, math.inf)) / math.sqrt(2)
    return quantile * math.sqrt(contenders * (contenders + 1) / (6 * tasks))


def groups(means: Mapping[str, float], difference: float) -> tuple[tuple[str, ...], ...]:
    """Return the largest groups whose mean ranks are all less than a difference apart, the best first.

    They are the bars of Demšar's diagrams (2006, section 3.2.4). Each contender is in one group or more. That two of
    them are in one group does not say that they are alike, but that these tasks cannot tell.
    """
    names = sorted(means, key=means.__getitem__)
    found: list[tuple[str, ...]] = []
    reached = 0
    for first, name in enumerate(names):
        last = max((n for n in range(first, len(names)) if means[names[n]] - means[name] < difference), default=first)
        if last + 1 > reached:
            found.append(tuple(names[first : last + 1]))
            reached = last + 1
    return tuple(found)


def _intervals(losses: Losses, bootstrap: Bootstrap) -> dict[str, Interval | None]:
    """Rank the contenders in each resample of seeds, and return the interval of each mean rank."""
    import numpy as np

    drawn = np.mean([_ranked(bootstrap.means(task, losses.contenders)) for task in losses.tasks], axis=0)
    return {name: bootstrap.interval(drawn[:, i], losses) for i, name in enumerate(losses.contenders)}
