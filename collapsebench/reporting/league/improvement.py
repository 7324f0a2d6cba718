r"""How probably a run of one contender is better than a run of another, on average over tasks.

\[
  P(X > Y) = \frac 1 M \sum_{m=1}^M P(X_m > Y_m), \qquad
  P(X_m > Y_m) = \frac 1 {N K} \sum_{i=1}^N \sum_{j=1}^K S(x_{m,i}, y_{m,j}),
\]

where \(S\) is 1 if \(x\) is better, 1/2 for a tie, and 0 if \(y\) is better: the Mann–Whitney \(U\) statistic of each
task over the number of its pairs (Agarwal et al. 2021, section 4.3 and equation A.2). All pairs of runs count, as
published, and not only those of one seed: the question is what happens to somebody who runs each of the two once. That
the runs of one seed are paired shows in the interval (`bootstrap`).

Runs without a result lose against all others, and tie with each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from collapsebench.reporting.league.bootstrap import Bootstrap, Interval

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
    wins = {task.task: _wins(task, contender, over) for task in losses.tasks}
    by_task = {task: float(np.mean(own)) for task, own in wins.items()}
    drawn = [
        _resampled(wins[task.task], chosen.counts(task, contender), chosen.counts(task, over)) for task in losses.tasks
    ]
    statistics = np.mean(drawn, axis=0)
    return Improvement(float(np.mean(list(by_task.values()))), chosen.interval(statistics, losses), by_task)


def _wins(task: TaskLosses, contender: str, over: str) -> NDArray[np.float64]:
    """Compare each run of a contender with each of the other: S of the equation, of shape (seeds, seeds)."""
    import numpy as np

    own, other = task.runs[contender][:, None], task.runs[over][None, :]
    return np.where(own < other, 1.0, np.where(own == other, 0.5, 0.0))


def _resampled(wins: NDArray[np.float64], own: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.float64]:
    """Compute the probability in each resample, from how often the runs of both are drawn: shape (resamples,)."""
    import numpy as np

    return np.asarray(np.sum((own @ wins) * other, axis=1) / wins.size)
