r"""The stratified bootstrap: how far a statistic over tasks moves if the runs were others.

Runs are drawn again with replacement inside each task, which is a stratum, as many as there are (Agarwal et al. 2021,
"Deep reinforcement learning at the edge of the statistical precipice", section 4.1). The interval is between two
percentiles of the statistic over all resamples. Tasks are not drawn: an interval speaks of other seeds on these tasks,
and not of other tasks.

What is drawn is the *seed*, with the runs of all contenders. The published procedure draws the runs of each contender
on its own, which is right if they are independent. Ours are not: the runs of one seed start from the same weights and
see the same batches. Independent draws tear the pairs apart, and give the interval of an experiment that was not made:
mostly a wider one, as a seed that is hard for one contender is often hard for others. Drawing seeds is right whether
the pairs depend on each other or not, as the seeds themselves are independent. A statistic that compares runs with each
other must then not count pairs of one seed as pairs of independent runs (`improvement`). `Unit.RUNS` is the published
procedure, for comparison with other programs, and for runs that share no seed.

With few seeds these intervals are too short. Agarwal et al. find them good from about ten runs of a task, and too short
with three. If one contender wins all comparisons, the interval has no width: there was nothing else to draw.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from collapsebench.reporting.leaderboard.scoring import CONFIDENCE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from collapsebench.reporting.league.losses import Losses, TaskLosses


class Unit(StrEnum):
    """What is drawn again."""

    SEEDS = "seeds"
    """The seeds of a task, each with the runs of all contenders."""
    RUNS = "runs"
    """The runs of each contender on its own."""


class Interval(NamedTuple):
    """The two ends of a 95 % interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Bootstrap:
    """A number of resamples, all drawn from one seed. The same bootstrap gives the same draws in any order of calls."""

    resamples: int = 10_000
    seed: int = 0
    unit: Unit = Unit.SEEDS

    def __post_init__(self) -> None:
        if self.resamples < 1:
            raise ValueError(f"a bootstrap needs one resample or more, got {self.resamples}")
        if self.seed < 0:
            raise ValueError(f"a bootstrap needs a seed of 0 or more, got {self.seed}")

    def counts(self, task: TaskLosses, contender: str) -> NDArray[np.int64]:
        """Count how often each run of a contender is drawn in each resample: shape (resamples, seeds).

        The sum of each row is the number of seeds. Whole numbers keep statistics of equal contenders equal.
        """
        import numpy as np

        labels = (task.task,) if self.unit is Unit.SEEDS else (task.task, contender)
        seeds = len(task.seeds)
        return np.random.default_rng(self._entropy(*labels)).multinomial(seeds, [1 / seeds] * seeds, self.resamples)

    def _entropy(self, *labels: str) -> list[int]:
        """Make the seed of a purpose, so that no draw depends on what else is drawn."""
        return [self.seed, *(byte for label in labels for byte in (*label.encode(), 256))]

    def means(self, task: TaskLosses, contenders: Iterable[str]) -> NDArray[np.float64]:
        """Return the mean loss of each contender in each resample: shape (resamples, contenders).

        Each sum is taken on its own. A product of matrices could round equal contenders differently, and break their
        tie.
        """
        import numpy as np

        same = self.counts(task, "") if self.unit is Unit.SEEDS else None  # of no contender: drawn once for all
        drawn = ((name, self.counts(task, name) if same is None else same) for name in contenders)
        return np.stack([_mean(task.runs[name], counts) for name, counts in drawn], axis=1)

    def interval(self, statistics: NDArray[np.float64], *several: Losses) -> Interval | None:
        """Return the percentile interval of a statistic of some losses, from its value in each resample.

        Returns None if every task has one seed: all resamples are the same then, and say nothing.
        """
        import numpy as np

        if all(len(task.seeds) < 2 for losses in several for task in losses.tasks):
            return None
        tail = (1 - CONFIDENCE) / 2
        low, high = np.quantile(statistics, [tail, 1 - tail])
        return Interval(float(low), float(high))


def _mean(losses: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean in each resample; infinite if a run without a result was drawn, and not NaN if it was not."""
    import numpy as np

    with np.errstate(over="ignore"):  # a sum beyond all floats is infinite
        return np.asarray(np.sum(np.where(counts > 0, np.maximum(counts, 1) * losses, 0.0), axis=1) / len(losses))
