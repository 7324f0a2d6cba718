"""The scores of a league as losses: lower is better, and a run without a result has the worst loss there is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from collapsebench.estimates import Direction
from collapsebench.reporting.leaderboard.scoring import mean

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Scores: TypeAlias = Mapping[str, Mapping[str, Mapping[int, float | None]]]
"""`scores[task][contender][seed]`: None for a run that is missing, NaN or an infinity for one that diverged."""

WORST = math.inf
"""The loss of a run without a result. It loses against every result, and ties with every other such run."""


class Shortfall(NamedTuple):
    """The number of runs without a result."""

    missing: int = 0
    diverged: int = 0


@dataclass(frozen=True, eq=False)
class TaskLosses:
    """The losses of one task. Runs of one seed are paired: they have equal batches, and equal first values."""

    task: str
    seeds: tuple[int, ...]
    """All seeds that any contender has in this task, in rising order."""
    runs: Mapping[str, NDArray[np.float64]]
    """The losses by contender, in the order of the seeds: shape (seeds,)."""

    @cached_property
    def means(self) -> dict[str, float]:
        """The mean loss over seeds by contender; WORST if one of its runs has no result."""
        return {contender: mean(values.tolist()) for contender, values in self.runs.items()}

    @property
    def best(self) -> float:
        """The lowest mean loss of a contender; WORST if none has a result for each seed."""
        return min(self.means.values())


@dataclass(frozen=True, eq=False)
class Losses:
    """The losses of a league. Every task has the same contenders."""

    contenders: tuple[str, ...]
    tasks: tuple[TaskLosses, ...]
    shortfalls: Mapping[str, Mapping[str, Shortfall]]
    """The number of runs without a result by contender and task, where there are any."""

    def shortfall(self, contender: str) -> Shortfall:
        """Count the runs without a result of a contender over all tasks."""
        own = self.shortfalls.get(contender, {}).values()
        return Shortfall(sum(each.missing for each in own), sum(each.diverged for each in own))

    def require(self, contender: str) -> None:
        """Raise ValueError for a contender that is not in the league."""
        if contender not in self.contenders:
            raise ValueError(f"contender {contender!r} is not in the league, which has {', '.join(self.contenders)}")


def losses(scores: Scores, direction: Direction) -> Losses:
    """Turn scores into losses: as they are if lower is better, negative if higher is better.

    A contender should have a run for each seed that any contender has in the task. One that is missing has the loss
    WORST, and so has one that diverged. A contender that is in one task only has lost all others. A mean over what is
    left would flatter a method that fails.

    Raises ValueError without tasks, for a task without runs, and for numbers without a direction.
    """
    if direction is Direction.NONE:
        raise ValueError("a league needs numbers with a direction, got Direction.NONE")
    contenders = tuple(dict.fromkeys(contender for task in scores.values() for contender in task))
    wanted = {task: _seeds(task, own) for task, own in scores.items()}
    if not wanted:
        raise ValueError("a league needs one task or more, got none")
    return Losses(
        contenders,
        tuple(_task(task, seeds, contenders, scores[task], direction) for task, seeds in wanted.items()),
        {name: found for name in contenders if (found := _shortfalls(name, scores, wanted))},
    )


def _seeds(task: str, own: Mapping[str, Mapping[int, float | None]]) -> tuple[int, ...]:
    seeds = sorted({seed for runs in own.values() for seed in runs})
    if not seeds:
        raise ValueError(f"task {task!r} has no runs")
    return tuple(seeds)


def _task(
    task: str,
    seeds: tuple[int, ...],
    contenders: Iterable[str],
    scores: Mapping[str, Mapping[int, float | None]],
    direction: Direction,
) -> TaskLosses:
    import numpy as np

    runs = {
        name: np.array([_loss(scores.get(name, {}).get(seed), direction) for seed in seeds], dtype=np.float64)
        for name in contenders
    }
    return TaskLosses(task, seeds, runs)


def _loss(score: float | None, direction: Direction) -> float:
    if score is None or not math.isfinite(score):
        return WORST
    return score if direction is Direction.LOWER else -score


def _shortfalls(contender: str, scores: Scores, wanted: Mapping[str, tuple[int, ...]]) -> dict[str, Shortfall]:
    found = {task: _shortfall(scores[task].get(contender, {}), seeds) for task, seeds in wanted.items()}
    return {task: each for task, each in found.items() if any(each)}


def _shortfall(runs: Mapping[int, float | None], seeds: tuple[int, ...]) -> Shortfall:
    numbers = [runs.get(seed) for seed in seeds]
    missing = numbers.count(None)
    return Shortfall(missing, sum(number is not None and not math.isfinite(number) for number in numbers))
