r"""How probably a run of one contender is better than a run of another, on average over tasks.

\[
  P(X > Y) = \frac 1 M \sum_{m=1}^M P(X_m > Y_m), \qquad
  P(X_m > Y_m) = \frac 1 {N K} \sum_{i=1}^N \sum_{j=1}^K S(x_{m,i}, y_{m,j}),
\]

where \(S\) is 1 if \(x\) is better, 1/2 for a tie, and 0 if \(y\) is better: the Mann–Whitney \(U\) statistic of each
task over the number of its pairs (Agarwal et al. 2021, section 4.3 and equation A.2).

The question is what happens to somebody who runs each of the two once. The published formula takes all pairs, as all
runs are independent. Here the runs of one seed are paired, so that the better contender wins these pairs too often: if
runs of one seed are alike, the smallest difference decides each of them. So with `Unit.SEEDS` only the
\(N (N - 1)\) pairs of different seeds count, in the estimate as in each resample. With one seed there is nothing else
than its pair. `Unit.RUNS` is the published formula. For independent runs both estimate the same.

This matters. For normal runs with 4 tasks, 5 seeds and a correlation of 0.9 between the runs of a seed, where the
probability is 0.69, all pairs give 0.74 on average, and with all pairs the 95 % interval of drawn seeds would hold the
truth in half of all cases. Pairs of different seeds give 0.69, and their interval holds it in 97 of 100. That of the
published procedure does so, too, but is a third wider, and twice as wide for contenders that are alike.

Runs without a result lose against all others, and tie with each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from collapsebench.reporting.league.bootstrap import Bootstrap, Interval, Unit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from collapsebench.reporting.league.losses import Losses, TaskLosses


class Improvement(NamedTuple):
    """The probability that one contender is better than another."""

    probability: float
    """The mean over tasks, between 0 and 1; 1/2 for contenders that are alike."""
    interval: Interval | None
    """The 95 % interval over seeds; None if every task has one seed."""
    by_task: Mapping[str, float]


def improvement(losses: Losses, contender: str, over: str, bootstrap: Bootstrap | None = None) -> Improvement:
    """Estimate the probability that a contender is better than another one, with its bootstrap interval.

    Without a `bootstrap` there are 10,000 resamples of seeds. Raises ValueError for contenders that are not there.
    """
    import numpy as np

    losses.require(contender)
    losses.require(over)
    chosen = bootstrap or Bootstrap()
    by_task, drawn = {}, []
    for task in losses.tasks:
        wins, compared = _wins(task, contender, over), _compared(len(task.seeds), chosen.unit)
        once = np.ones((1, len(task.seeds)), dtype=np.int64)
        by_task[task.task] = float(_won(wins, compared, once, once)[0])
        drawn.append(_won(wins, compared, chosen.counts(task, contender), chosen.counts(task, over)))
    interval = chosen.interval(np.mean(drawn, axis=0), losses)
    return Improvement(float(np.mean(list(by_task.values()))), interval, by_task)


def _wins(task: TaskLosses, contender: str, over: str) -> NDArray[np.float64]:
    """Compare each run of a contender with each of the other: S of the equation, of shape (seeds, seeds)."""
    import numpy as np

    own, other = task.runs[contender][:, None], task.runs[over][None, :]
    return np.where(own < other, 1.0, np.where(own == other, 0.5, 0.0))


def _compared(seeds: int, unit: Unit) -> NDArray[np.float64]:
    """Say which pairs of runs count, with 1 or 0: shape (seeds, seeds)."""
    import numpy as np

    every = np.ones((seeds, seeds))
    return every - np.eye(seeds) if unit is Unit.SEEDS else every


def _won(
    wins: NDArray[np.float64], compared: NDArray[np.float64], own: NDArray[np.int64], other: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the share of won pairs, where `own` and `other` say how often the runs of both are there, in each row.

    A row in which no pair counts has one seed only. Then the pair of this seed is all there is.
    """
    import numpy as np

    number = _summed(compared, own, other)
    all_pairs = _summed(wins, own, other) / wins.size
    return np.where(number > 0, _summed(wins * compared, own, other) / np.maximum(number, 1), all_pairs)


def _summed(table: NDArray[np.float64], own: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sum a table of pairs over the runs that are there: shape (rows,)."""
    import numpy as np

    return np.asarray(np.sum((own @ table) * other, axis=1))
