r"""How large a part of its runs a contender has within a regret of the best, over all tasks.

The regret of a run is its loss minus the mean loss of the task's best contender. Tasks have different scales, so the
regret is given in units of what a latent variable brings there:

\[ \rho_{m,n} = \frac{x_{m,n} - b_m}{r_m - b_m}, \]

with the mean losses \(b_m\) of the best contender and \(r_m\) of the baseline without z. So 0 is as good as the best
contender of the task, 1 is as good as a model without z, and above 1 it would have been better to leave z away. A
lucky run can be below 0. The profile is the share of runs with a regret of at most \(\tau\),

\[ \hat F(\tau) = \frac 1 M \sum_{m=1}^M \frac 1 N \sum_{n=1}^N [\rho_{m,n} \le \tau], \]

which is the run-score distribution of Agarwal et al. (2021, section 4.2) with the score \(-\rho\), and a performance
profile of Dolan and Moré (2002, "Benchmarking optimization software with performance profiles", section 2) with a
difference in place of their ratio: a ratio of likelihoods would depend on the unit in which data are measured, and
would count the entropy of the data, which no model can take away. Runs without a result have an infinite regret.

A task on which no contender is better than the baseline without z has no such unit. It is left out of the profile, and
named. Where z brings little, the unit is small and regrets are large: the units are given in nats for that reason.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collapsebench.reporting.league.bootstrap import Bootstrap, Interval
from collapsebench.reporting.league.losses import Losses, TaskLosses

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Regrets:
    """The regrets of all runs, in units of their task."""

    losses: Losses
    """The tasks that have a unit, with regrets as losses."""
    units: Mapping[str, float]
    """The mean loss of the baseline without z minus that of the best contender, by task, in the unit of the scores."""
    left_out: tuple[str, ...]
    """The tasks without a unit: no contender is better than the baseline without z, or this one has no result."""


@dataclass(frozen=True)
class Profile:
    """The share of the runs of each contender with a regret of at most a threshold."""

    thresholds: tuple[float, ...]
    shares: Mapping[str, tuple[float, ...]]
    """The shares by contender, in the order of the thresholds."""
    intervals: Mapping[str, tuple[Interval | None, ...]]
    """The 95 % interval of each share over seeds, each on its own. Best contenders and units stay as they are."""


def regrets(losses: Losses, reference: str) -> Regrets:
    """Compute the regrets to the best contender of each task, in units of the distance from it to the reference.

    `reference` is the baseline without z. Raises ValueError if it is not in the league.
    """
    losses.require(reference)
    units = {task.task: _unit(task, reference) for task in losses.tasks}
    known = {task: unit for task, unit in units.items() if unit is not None}
    tasks = tuple(_in_units(task, known[task.task]) for task in losses.tasks if task.task in known)
    left_out = tuple(task for task in units if task not in known)
    return Regrets(Losses(losses.contenders, tasks, losses.shortfalls), known, left_out)


def _unit(task: TaskLosses, reference: str) -> float | None:
    """Return the distance from the best contender to the reference; None if it is not positive and finite."""
    distance = task.means[reference] - task.best  # NaN if nobody has a result
    return distance if 0 < distance < math.inf else None


def _in_units(task: TaskLosses, unit: float) -> TaskLosses:
    import numpy as np

    with np.errstate(over="ignore"):  # a regret beyond all floats is infinite
        runs = {name: (runs - task.best) / unit for name, runs in task.runs.items()}
    return TaskLosses(task.task, task.seeds, runs)


def profile(regrets: Regrets, thresholds: Sequence[float], bootstrap: Bootstrap | None = None) -> Profile:
    """Compute the profile of each contender. It never falls, and its steps are at the regrets of runs.

    Without a `bootstrap` there are 10,000 resamples of seeds. Raises ValueError if no task has a unit.
    """
    if not regrets.losses.tasks:
        raise ValueError("a profile needs a task on which some contender is better than the baseline without z")
    chosen, names = bootstrap or Bootstrap(), regrets.losses.contenders
    return Profile(
        tuple(thresholds),
        {name: tuple(shares(regrets.losses, name, thresholds).tolist()) for name in names},
        {name: _intervals(regrets.losses, name, thresholds, chosen) for name in names},
    )


def shares(losses: Losses, contender: str, thresholds: Sequence[float]) -> NDArray[np.float64]:
    """Return the share of runs of a contender at or below each threshold, as a mean over tasks: shape (thresholds,)."""
    import numpy as np

    return np.asarray(np.mean([_within(task, contender, thresholds).mean(axis=0) for task in losses.tasks], axis=0))


def _within(task: TaskLosses, contender: str, thresholds: Sequence[float]) -> NDArray[np.bool_]:
    """Say which runs are at or below each threshold: shape (seeds, thresholds)."""
    import numpy as np

    return task.runs[contender][:, None] <= np.asarray(thresholds, dtype=np.float64)


def _intervals(
    losses: Losses, contender: str, thresholds: Sequence[float], bootstrap: Bootstrap
) -> tuple[Interval | None, ...]:
    import numpy as np

    drawn = np.mean([_resampled(task, contender, thresholds, bootstrap) for task in losses.tasks], axis=0)
    return tuple(bootstrap.interval(column, losses) for column in drawn.T)


def _resampled(
    task: TaskLosses, contender: str, thresholds: Sequence[float], bootstrap: Bootstrap
) -> NDArray[np.float64]:
    """Return the share of runs at or below each threshold in each resample: shape (resamples, thresholds)."""
    within = _within(task, contender, thresholds)
    return bootstrap.counts(task, contender) @ within / len(within)
