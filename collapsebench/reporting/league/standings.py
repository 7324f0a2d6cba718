"""All statistics of a league as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from collapsebench.estimates import Direction
from collapsebench.reporting.leaderboard.scoring import mean
from collapsebench.reporting.league.bootstrap import Bootstrap
from collapsebench.reporting.league.fronts import Front, fronts
from collapsebench.reporting.league.improvement import Improvement, improvement
from collapsebench.reporting.league.interactions import Effect, effects
from collapsebench.reporting.league.losses import Losses, Scores, losses
from collapsebench.reporting.league.profiles import Profile, Regrets, profile, regrets
from collapsebench.reporting.league.ranks import Ranks, ranks

THRESHOLDS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""The regrets at which a table shows profiles: from the best contender of a task to the baseline without z."""


@dataclass(frozen=True, eq=False)
class League:
    """The statistics of some contenders over some tasks."""

    losses: Losses
    """The IW-NLL of all runs, and which have none."""
    baseline: str
    """The contender that others are compared with."""
    reference: str
    """The baseline without z."""
    bootstrap: Bootstrap
    improvements: Mapping[str, Improvement]
    """How probably each contender but the baseline is better than the baseline."""
    effects: Mapping[str, Mapping[str, Effect]]
    """By how much, by task and contender."""
    ranks: Ranks
    regrets: Regrets
    profile: Profile | None
    """None if no task has a contender that is better than the baseline without z."""
    fronts: tuple[Front, ...]

    def share_of_area(self, contender: str) -> float | None:
        """Return the mean share of a contender over the tasks that have an area; None if no task has one.

        A contender without a point has the share 0.
        """
        shares = [front.shares.get(contender, 0.0) for front in self.fronts if front.shares]
        return mean(shares) if shares else None


def league(
    nlls: Scores, informations: Scores, *, baseline: str, reference: str, bootstrap: Bootstrap | None = None
) -> League:
    """Compute all statistics of a league, from the IW-NLL and the lower bound on MI of each run.

    Both are `scores[task][contender][seed]`. `baseline` is the contender that others are compared with, and `reference`
    is the baseline without z, whose MI need not be given. Contenders that are not to be ranked, as those of a trial of
    the guards, are left away by the caller: their best numbers would be in every regret.

    Raises ValueError if one of the two is not among the contenders, or if the scores are not of the same tasks.
    """
    own = losses(nlls, Direction.LOWER)
    own.require(baseline)
    chosen = bootstrap or Bootstrap()
    found = regrets(own, reference)
    return League(
        losses=own,
        baseline=baseline,
        reference=reference,
        bootstrap=chosen,
        improvements={name: improvement(own, name, baseline, chosen) for name in own.contenders if name != baseline},
        effects=effects(own, baseline),
        ranks=ranks(own, chosen),
        regrets=found,
        profile=profile(found, THRESHOLDS, chosen) if found.units else None,
        fronts=fronts(own, losses(informations, Direction.HIGHER), reference),
    )
