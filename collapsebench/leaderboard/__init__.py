"""Leaderboards: scoring, pure functions over what is read of runs, and rendering. One board a protocol, never mixed."""

from collapsebench.leaderboard.dialects import DIALECTS, in_dialect
from collapsebench.leaderboard.reference import best_possible
from collapsebench.leaderboard.rendering import EXPORTS, FORMATS, pieces, render, written
from collapsebench.leaderboard.scoring import ENTRIES, Board, compare_with, order, score, select
from collapsebench.leaderboard.trajectories import Cut

__all__ = [
    "DIALECTS",
    "ENTRIES",
    "EXPORTS",
    "FORMATS",
    "Board",
    "Cut",
    "best_possible",
    "compare_with",
    "in_dialect",
    "order",
    "pieces",
    "render",
    "score",
    "select",
    "written",
]
