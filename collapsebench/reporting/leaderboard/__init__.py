"""Leaderboards. Pure functions score runs and render boards. A board shows one protocol only."""

from collapsebench.reporting.leaderboard.dialects import DIALECTS, in_dialect
from collapsebench.reporting.leaderboard.reference import best_possible, likelihood_limits
from collapsebench.reporting.leaderboard.rendering import EXPORTS, FORMATS, page_pieces, pieces, render
from collapsebench.reporting.leaderboard.scoring import ENTRIES, Board, Limits, call, compare_with, order, score, select
from collapsebench.reporting.leaderboard.trajectories import Cut

__all__ = [
    "DIALECTS",
    "ENTRIES",
    "EXPORTS",
    "FORMATS",
    "Board",
    "Cut",
    "Limits",
    "best_possible",
    "call",
    "compare_with",
    "in_dialect",
    "likelihood_limits",
    "order",
    "page_pieces",
    "pieces",
    "render",
    "score",
    "select",
]
