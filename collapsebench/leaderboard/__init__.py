"""Leaderboards: scoring, pure functions over records, and rendering. One board a protocol, never mixed."""

from collapsebench.leaderboard.rendering import FORMATS, render
from collapsebench.leaderboard.scoring import Board, order, score, select
from collapsebench.leaderboard.trajectories import Cut

__all__ = ["FORMATS", "Board", "Cut", "order", "render", "score", "select"]
