r"""What a board decides. Two contenders are told apart if the 95 % interval of their paired difference has no zero.

The interval is that of Student's \(t\) over the seeds that both finished, as for every other difference of a board.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable
from typing import NamedTuple

from collapsebench.estimates import Direction
from collapsebench.reporting.leaderboard.scoring import CONFIDENCE, Board, BoardColumn, Row, SeedSample, deviation

LIKELIHOODS = ("perplexity", "iw_nll", "neg_elbo")
"""The columns that decide, the first that a board has. Only boards of text have perplexities."""
MOST_PAIRS = 1000
"""No larger number of pairs is looked at. Whoever needs more has no difference to speak of."""


class Verdict(NamedTuple):
    """What a column says of a contender beside the one that it is compared with."""

    label: str
    difference: SeedSample
    told: bool | None
    """True if the interval has no zero; None for one pair, which has no interval."""
    better: bool
    pairs: int | None
    """The number of pairs that would tell; None if it is told, or if no number up to MOST_PAIRS would."""
    marked: bool
    """True if there is something to know about the runs of the contender, or of the one that it is compared with."""


def deciding(columns: Iterable[BoardColumn]) -> BoardColumn | None:
    """Return the column that decides: the likelihood, or else the first that has a direction; None if none has one."""
    directed = [column for column in columns if column.direction is not Direction.NONE]
    likelihoods = (column for key in LIKELIHOODS for column in directed if column.key == key)
    return next(likelihoods, next(iter(directed), None))


def told(difference: SeedSample) -> bool | None:
    """Return True if the interval of a paired difference has no zero; None if there is no finite interval."""
    half_width = difference.half_width
    if half_width is None or not math.isfinite(half_width):
        return None
    return abs(difference.mean) > half_width


def pairs_to_tell(difference: SeedSample) -> int | None:
    r"""Return the number of pairs that would tell a difference from zero, if it stays as large and as variable.

    It is the smallest \(n\) with \(t_{0.975,\,n-1}\, s / \sqrt n < |d|\), where \(d\) is the mean of the observed pairs
    and \(s\) their deviation. Both are estimates, so this is an order of magnitude: with exactly so many pairs the
    interval has no zero in about half of all cases. Returns None if there is no finite interval, and if MOST_PAIRS
    would not tell either.

    >>> pairs_to_tell(SeedSample({1: -1.0, 2: 2.0, 3: 3.5}, {}))
    12
    """
    if told(difference) is None:
        return None
    from scipy.special import stdtrit

    spread, observed = deviation(difference.seeds.values()), abs(difference.mean)

    def tells(pairs: int) -> bool:
        return float(stdtrit(pairs - 1, (1 + CONFIDENCE) / 2)) * spread / math.sqrt(pairs) < observed

    enough = 2 + bisect_left(range(2, MOST_PAIRS + 1), True, key=tells)
    return enough if enough <= MOST_PAIRS else None


def leaders(board: Board, column: BoardColumn) -> set[str]:
    """Return the labels of the rows that cannot be told from the best one, with the best one.

    The set is empty if the column has no direction, and if the best row has one seed: then nothing can be told.
    """
    best = board.best(column)
    top = next((sample for row in board.rows if row.label in best and (sample := row.sample(column.key))), None)
    if top is None or len(top.seeds) < 2:
        return set()
    return best | {row.label for row in board.rows if _is_near(row, column, top)}


def _is_near(row: Row, column: BoardColumn, top: SeedSample) -> bool:
    sample = row.sample(column.key)
    if sample is None or not math.isfinite(sample.mean) or row.impossible(column):
        return False
    return not told(sample.minus(top))


def differs(board: Board, row: Row, column: BoardColumn) -> bool:
    """Return True if the paired difference of a row to the compared one has an interval without zero."""
    difference = _possible_difference(board, row, column)
    return difference is not None and bool(told(difference))


def _possible_difference(board: Board, row: Row, column: BoardColumn) -> SeedSample | None:
    """Return the paired difference of a row; None if there is none, or if a number of the two cannot be."""
    impossible = any(each.impossible(column) for each in _both(board, row))
    return None if impossible else board.difference(row, column.key)


def _both(board: Board, row: Row) -> list[Row]:
    return [row] if board.compared is None else [row, board.compared]


def verdicts(board: Board, column: BoardColumn) -> list[Verdict]:
    """Return what a column says of each contender that has a paired difference, the best one first.

    A number that cannot be says nothing, be it of the contender or of the one that it is compared with.
    """
    found = []
    sign = -1 if column.direction is Direction.HIGHER else 1
    for row in board.rows:
        difference = _possible_difference(board, row, column)
        if difference is not None and math.isfinite(difference.mean):
            decided = told(difference)
            pairs = pairs_to_tell(difference) if decided is False else None
            marked = any(each.findings for each in _both(board, row))
            found.append(Verdict(row.label, difference, decided, sign * difference.mean < 0, pairs, marked))
    return sorted(found, key=lambda verdict: sign * verdict.difference.mean)
