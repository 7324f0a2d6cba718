r"""How much two orders of the same contenders agree: the order by two numbers, or in two divisions.

In each task it is Kendall's coefficient of rank correlation for orders with ties, between the mean losses of the
contenders,

\[
  \tau_b = \frac{\sum_{i<j} s_{ij}\, t_{ij}}{\sqrt{\sum_{i<j} s_{ij}^2 \; \sum_{i<j} t_{ij}^2}},
\]

where \(s_{ij}\) is 1 if contender \(i\) has the larger loss in the first order, -1 if \(j\) has it and 0 for a tie, and
\(t_{ij}\) is the same of the second order (Kendall 1945, "The treatment of ties in ranking problems", Biometrika 33).
It is 1 for equal orders, -1 for reversed ones, and 0 on average for orders that know nothing of each other. If all
contenders are equal in one of the two, there is no order to agree with, and no \(\tau\).

Contenders with a run without a result have the worst mean, and tie with each other.

Seeds take from the agreement. With 30 contenders, 5 seeds and contenders that differ as much as the runs of one do, two
orders that are the same but have other seeds agree by 0.6. So a coefficient below 1 does not say that orders differ.
Resamples have that noise twice, so the interval lies too low: there it is from 0.44 to 0.58, below its coefficient.
Where both numbers are of the same runs, the noise is mostly the same in both, and does hardly any harm. The interval
says how far seeds move the coefficient, and is no test.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from collapsebench.reporting.league.bootstrap import Bootstrap, Interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from collapsebench.reporting.league.losses import Losses, TaskLosses

FIRST = 3
"""So many contenders of each order are its first ones."""
ROWS = 500
"""So many resamples are compared at once."""


@dataclass(frozen=True)
class Agreement:
    """How much two orders agree."""

    contenders: tuple[str, ...]
    """The contenders that both orders have."""
    taus: Mapping[str, float | None]
    """The coefficient by task, between -1 and 1; None if all contenders are equal in one of the orders."""
    mean: float | None
    """The mean over the tasks that have a coefficient; None if there is none."""
    interval: Interval | None
    """The 95 % interval of the mean over seeds; None if every task has one seed, or if there is no mean."""
    shared_first: Mapping[str, tuple[str, ...]]
    """The contenders with fewer than FIRST better ones in both orders, by task; more than FIRST only for ties.

    One with a run without a result is never among them.
    """


def agreement(first: Losses, second: Losses, bootstrap: Bootstrap | None = None) -> Agreement:
    """Compare two orders of the contenders that both have, task by task.

    Seeds are drawn once for both orders of a task if it has the same seeds in both, so that runs of one seed stay
    together. If not, they are drawn for each on its own. Without a `bootstrap` there are 10,000 resamples. A resample
    in which no task has a coefficient does not count.

    Raises ValueError if the two do not have the same tasks, or have fewer than two contenders in common.
    """
    import numpy as np

    shared = tuple(name for name in first.contenders if name in second.contenders)
    if len(shared) < 2:
        raise ValueError(f"orders that agree need two contenders or more in common, got {len(shared)}")
    pairs, chosen = _pairs(first, second), bootstrap or Bootstrap()
    taus = {one.task: float(_taus(_means(one, shared), _means(other, shared))[0]) for one, other in pairs}
    mean = float(_mean_of_known(np.array([[tau] for tau in taus.values()]))[0])
    drawn = _mean_of_known(np.stack([_resampled(one, other, shared, chosen) for one, other in pairs]))
    counted = drawn[~np.isnan(drawn)]
    return Agreement(
        contenders=shared,
        taus={task: None if math.isnan(tau) else tau for task, tau in taus.items()},
        mean=None if math.isnan(mean) else mean,
        interval=None if math.isnan(mean) or not counted.size else chosen.interval(counted, first, second),
        shared_first={one.task: _shared_first(one, other, shared) for one, other in pairs},
    )


def _pairs(first: Losses, second: Losses) -> list[tuple[TaskLosses, TaskLosses]]:
    """Return each task of the first order with that of the second."""
    known = {task.task: task for task in second.tasks}
    if known.keys() != {task.task for task in first.tasks}:
        raise ValueError(f"two orders need the same tasks, got {sorted(known)} for the second")
    return [(task, known[task.task]) for task in first.tasks]


def _means(task: TaskLosses, contenders: Sequence[str]) -> NDArray[np.float64]:
    """Return the mean losses: shape (1, contenders)."""
    import numpy as np

    return np.array([[task.means[name] for name in contenders]])


def _resampled(
    one: TaskLosses, other: TaskLosses, contenders: Sequence[str], bootstrap: Bootstrap
) -> NDArray[np.float64]:
    """Return the coefficient of a task in each resample: shape (resamples,)."""
    apart = bootstrap if one.seeds == other.seeds else replace(bootstrap, seed=bootstrap.seed + 1)
    return _taus(bootstrap.means(one, contenders), apart.means(other, contenders))


def _taus(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the coefficient of each row of two tables of shape (rows, contenders); NaN without an order.

    Pairs of contenders are many: those of all resamples at once would need gigabytes.
    """
    import numpy as np

    starts = range(0, len(first), ROWS)
    return np.concatenate([_few_taus(first[at : at + ROWS], second[at : at + ROWS]) for at in starts])


def _few_taus(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    one, other = _signs(first), _signs(second)
    pairs = np.sqrt(np.sum(one != 0, axis=1) * np.sum(other != 0, axis=1))
    return np.asarray(np.divide(np.sum(one * other, axis=1), pairs, out=np.full(len(first), math.nan), where=pairs > 0))


def _signs(values: NDArray[np.float64]) -> NDArray[np.int8]:
    """Compare each two contenders: 1, 0 or -1, of shape (rows, pairs). Infinite values tie."""
    import numpy as np

    left, right = np.triu_indices(values.shape[1], k=1)
    larger, smaller = values[:, left] > values[:, right], values[:, left] < values[:, right]
    return larger.astype(np.int8) - smaller.astype(np.int8)


def _mean_of_known(taus: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over tasks that have a coefficient, of shape (columns,); NaN where none has one."""
    import numpy as np

    known = ~np.isnan(taus)
    total, number = np.sum(np.where(known, taus, 0.0), axis=0), np.sum(known, axis=0)
    return np.asarray(np.divide(total, number, out=np.full(taus.shape[1], math.nan), where=number > 0))


def _shared_first(one: TaskLosses, other: TaskLosses, contenders: Sequence[str]) -> tuple[str, ...]:
    of_both = _first(one, contenders) & _first(other, contenders)
    return tuple(name for name in contenders if name in of_both)


def _first(task: TaskLosses, contenders: Sequence[str]) -> set[str]:
    """Return the contenders that have a result for each seed, and fewer than FIRST better ones."""
    known = {name: task.means[name] for name in contenders if math.isfinite(task.means[name])}
    return {name for name, own in known.items() if sum(other < own for other in known.values()) < FIRST}
