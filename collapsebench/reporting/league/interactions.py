r"""What does a method change, and does it still help when another one is on? Differences of losses, paired by seed.

For the losses \(x\) of one task and one seed, with parts \(A\) and \(B\) and the baseline \(0\), the effect of \(A\) is
\(x_A - x_0\) on its own and \(x_{AB} - x_B\) beside \(B\). The interaction is the difference of the two,

\[ (x_{AB} - x_B) - (x_A - x_0), \]

which is also that of the effects of \(B\). It is the contrast of the interaction in an analysis of variance of two
factors with two levels, repeated on each seed (Fisher 1935, "The Design of Experiments", chapter VI). Without one,
effects add up. As losses are better if they are lower, a negative effect helps. A positive interaction of two methods
that help says that they help less together than the sum of both, and may do the same thing twice.

Each is a mean over the seeds of paired runs, with the interval of Student's \(t\) that boards have. An interaction has
four runs a seed, and so about twice the variance of an effect: seeds that tell an effect may not tell an interaction of
the same size. An effect is known only if all its contenders have a result for each seed of the task, as a mean over the
seeds that a method survives would flatter it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from collapsebench.reporting.leaderboard.decisions import pairs_to_tell, told
from collapsebench.reporting.leaderboard.scoring import SeedSample

if TYPE_CHECKING:
    from collapsebench.reporting.league.losses import Losses, Shortfall, TaskLosses


class Factorial(NamedTuple):
    """The names of the contenders of one composition of two parts."""

    first: str
    """The method whose effect is asked for."""
    second: str
    """The method beside which it is asked for."""
    both: str
    """The composition of the two."""


@dataclass(frozen=True)
class Effect:
    """A difference of losses; negative is better."""

    difference: SeedSample | None
    """The difference by seed, in the unit of the scores; None if a contender has no result for one of the seeds."""
    lacking: Mapping[str, Shortfall]
    """The runs without a result of its contenders in this task, by contender, where there are any."""

    @property
    def told(self) -> bool | None:
        """True if the interval has no zero; None if there is none, as for one seed."""
        return None if self.difference is None else told(self.difference)

    @cached_property
    def pairs(self) -> int | None:
        """The number of seeds that would tell the effect from zero, where it is not told; None if it is not known."""
        return None if self.difference is None or self.told else pairs_to_tell(self.difference)


@dataclass(frozen=True)
class Interaction:
    """What one composition does in one task."""

    task: str
    factorial: Factorial
    first: Effect
    """That of the first method over the baseline."""
    second: Effect
    """That of the second method over the baseline."""
    first_beside_second: Effect
    """That of the composition over the second method: what the first one does where the second one is on."""
    interaction: Effect
    """The effect of the first method beside the second one, minus that on its own."""


def interactions(losses: Losses, baseline: str, factorials: Iterable[Factorial]) -> tuple[Interaction, ...]:
    """Compute the effects of each composition in each task, the tasks of one composition one after the other.

    Raises ValueError for contenders that are not in the league.
    """
    losses.require(baseline)
    wanted = list(factorials)
    for name in (name for each in wanted for name in each):
        losses.require(name)
    return tuple(_interaction(losses, task, baseline, each) for each in wanted for task in losses.tasks)


def effects(losses: Losses, baseline: str) -> dict[str, dict[str, Effect]]:
    """Return what each other contender changes of the losses of the baseline, by task and contender.

    Raises ValueError for a baseline that is not in the league.
    """
    losses.require(baseline)
    others = [name for name in losses.contenders if name != baseline]
    return {task.task: {name: _over(losses, task, name, baseline) for name in others} for task in losses.tasks}


def _interaction(losses: Losses, task: TaskLosses, baseline: str, factorial: Factorial) -> Interaction:
    first, second, both = factorial
    samples = {name: _sample(task, name) for name in (baseline, *factorial)}
    alone, beside = samples[first].minus(samples[baseline]), samples[both].minus(samples[second])
    return Interaction(
        task=task.task,
        factorial=factorial,
        first=_over(losses, task, first, baseline),
        second=_over(losses, task, second, baseline),
        first_beside_second=_over(losses, task, both, second),
        interaction=_effect(losses, task, beside.minus(alone), (baseline, *factorial)),
    )


def _over(losses: Losses, task: TaskLosses, contender: str, other: str) -> Effect:
    difference = _sample(task, contender).minus(_sample(task, other))
    return _effect(losses, task, difference, (contender, other))


def _effect(losses: Losses, task: TaskLosses, difference: SeedSample, contenders: Iterable[str]) -> Effect:
    lacking = _lacking(losses, task, contenders)
    return Effect(None if lacking else difference, lacking)


def _sample(task: TaskLosses, contender: str) -> SeedSample:
    return SeedSample(dict(zip(task.seeds, task.runs[contender].tolist(), strict=True)), {})


def _lacking(losses: Losses, task: TaskLosses, contenders: Iterable[str]) -> dict[str, Shortfall]:
    """Return the runs without a result of some contenders in a task."""
    found = {name: losses.shortfalls.get(name, {}).get(task.task) for name in contenders}
    return {name: each for name, each in found.items() if each is not None}
