"""Statistics over tasks: several protocols side by side, whose numbers are never mixed.

Pure functions of plain values. A task is one protocol. Contenders are compared inside each task, and only what a
comparison says (who wins, a rank, a regret in units of the task, a share of an area) goes over tasks.
"""

from collapsebench.reporting.league.agreement import FIRST, Agreement, agreement
from collapsebench.reporting.league.bootstrap import Bootstrap, Interval, Unit
from collapsebench.reporting.league.fronts import Front, Point, area, front, fronts
from collapsebench.reporting.league.improvement import Improvement, improvement
from collapsebench.reporting.league.interactions import Effect, Factorial, Interaction, effects, interactions
from collapsebench.reporting.league.losses import Losses, Scores, Shortfall, TaskLosses, losses
from collapsebench.reporting.league.page import Known, league_page, listed
from collapsebench.reporting.league.profiles import Profile, Regrets, profile, regrets, shares
from collapsebench.reporting.league.ranks import Friedman, Ranks, critical_difference, friedman, groups, ranks
from collapsebench.reporting.league.standings import League, league

__all__ = [
    "FIRST",
    "Agreement",
    "Bootstrap",
    "Effect",
    "Factorial",
    "Friedman",
    "Front",
    "Improvement",
    "Interaction",
    "Interval",
    "Known",
    "League",
    "Losses",
    "Point",
    "Profile",
    "Ranks",
    "Regrets",
    "Scores",
    "Shortfall",
    "TaskLosses",
    "Unit",
    "agreement",
    "area",
    "critical_difference",
    "effects",
    "friedman",
    "front",
    "fronts",
    "groups",
    "improvement",
    "interactions",
    "league",
    "league_page",
    "listed",
    "losses",
    "profile",
    "ranks",
    "regrets",
    "shares",
]
