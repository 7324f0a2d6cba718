"""Leaderboards. Pure functions score runs and render boards. A board shows one protocol only."""

from collapsebench.reporting.leaderboard.dialects import DIALECTS, in_dialect
from collapsebench.reporting.leaderboard.presentation import Presentation, RowOrder, Shown
from collapsebench.reporting.leaderboard.reference import best_possible, likelihood_limits
from collapsebench.reporting.leaderboard.rendering import EXPORTS, FORMATS, page_pieces, pieces, render
from collapsebench.reporting.leaderboard.scoring import ENTRIES, Board, Limits, score
from collapsebench.reporting.leaderboard.trajectories import Cut, validated
from collapsebench.reporting.leaderboard.views import compare_with, keep, order, present, select

__all__ = [
    "DIALECTS",
    "ENTRIES",
    "EXPORTS",
    "FORMATS",
    "Board",
    "Cut",
    "Limits",
    "Presentation",
    "RowOrder",
    "Shown",
    "best_possible",
    "compare_with",
    "in_dialect",
    "keep",
    "likelihood_limits",
    "order",
    "page_pieces",
    "pieces",
    "present",
    "render",
    "score",
    "select",
    "validated",
]
