"""What the figures of the report draw: planes with a Pareto front, trajectories, and spectra of units."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import count, takewhile
from typing import Any, NamedTuple

from collapsebench.estimates import Direction
from collapsebench.observation import Observation, TrajectoryPoint
from collapsebench.record import Outcome
from collapsebench.reporting.leaderboard.layout import header
from collapsebench.reporting.leaderboard.scoring import Board, BoardColumn, Row
from collapsebench.reporting.leaderboard.trajectories import TRAJECTORY_COLUMNS
from collapsebench.reporting.report.plain import JsonNumber, short
from collapsebench.spec import Protocol, Unit

POINTS = 20
"""A trajectory has at most so many points on the page."""
OF_LINES, OF_UNITS = 5, 4
"""The significant digits of numbers that are only drawn: those of trajectories, and those of units."""
TRACKED = ("neg_elbo", "kl", "mi_lower", "active_units")
"""The columns whose trajectories are drawn."""


class Plane(NamedTuple):
    """A plane of two columns, with the direction in which each is better when the other one stays."""

    title: str
    x: str
    y: str
    better: tuple[Direction, Direction]
    note: str


PLANES = (
    Plane(
        "Rate and distortion",
        "kl",
        "reconstruction",
        (Direction.LOWER, Direction.LOWER),
        "On a grey line −ELBO is equal.",
    ),
    Plane(
        "Likelihood and information",
        "mi_lower",
        "iw_nll",
        (Direction.HIGHER, Direction.LOWER),
        "A collapsed model is at the left.",
    ),
)


def planes(board: Board) -> list[dict[str, Any]]:
    """Return the planes whose two columns the board has, with the contenders that have both numbers.

    A point is the place of its row, and both means with the half-widths of their intervals.
    """
    columns = {column.key: column for column in board.columns}
    found = []
    for plane in PLANES:
        if plane.x in columns and plane.y in columns:
            own = columns[plane.x], columns[plane.y]
            points = {place: point for place, row in enumerate(board.rows) if (point := _point(row, own))}
            if points:
                found.append(_plane(plane, own, board.rows, points))
    return found


def _plane(
    plane: Plane, columns: tuple[BoardColumn, BoardColumn], rows: Sequence[Row], points: Mapping[int, list[JsonNumber]]
) -> dict[str, Any]:
    possible = {
        place: (row.samples[columns[0].key].mean, row.samples[columns[1].key].mean)
        for place, row in enumerate(rows)
        if place in points and not any(row.impossible(column) for column in columns)
    }
    return {
        "title": plane.title,
        "note": plane.note,
        "x": header(columns[0]),
        "y": header(columns[1]),
        "equalSums": plane.better == (Direction.LOWER, Direction.LOWER),
        "points": [[place, *point] for place, point in points.items()],
        "front": front(possible, plane.better),
    }


def _point(row: Row, columns: tuple[BoardColumn, BoardColumn]) -> list[JsonNumber] | None:
    """Return both means of a contender, each with its half-width; None if one of them is missing or not finite."""
    numbers: list[JsonNumber] = []
    for column in columns:
        sample = row.sample(column.key)
        if sample is None or not math.isfinite(sample.mean):
            return None
        numbers += [short(sample.mean), short(sample.half_width)]
    return numbers


def front(points: Mapping[int, tuple[float, float]], better: tuple[Direction, Direction]) -> list[int]:
    """Return the points that no other point beats: better in one number, and at least as good in the other.

    They are in the order of their first number.

    >>> front({0: (1.0, 5.0), 1: (2.0, 3.0), 2: (3.0, 4.0)}, (Direction.LOWER, Direction.LOWER))
    [0, 1]
    """
    signs = [-1 if direction is Direction.HIGHER else 1 for direction in better]
    costs = {place: (signs[0] * x, signs[1] * y) for place, (x, y) in points.items()}
    kept: list[int] = []
    lowest = math.inf
    for cost in sorted(set(costs.values())):
        if cost[1] < lowest:
            lowest = cost[1]
            kept += [place for place, own in costs.items() if own == cost]
    return sorted(kept, key=lambda place: points[place])


def axes(protocol: Protocol) -> list[str]:
    """Return the counters that a trajectory can be drawn over, the unit of the budget first."""
    return list(dict.fromkeys(unit.value for unit in (protocol.budget.unit, Unit.STEPS, Unit.FLOPS, Unit.SECONDS)))


def heads() -> list[dict[str, str]]:
    """Return the heads of the columns whose trajectories are drawn."""
    columns = [TRAJECTORY_COLUMNS[name] for name in TRACKED]
    return [{"title": column.title, "unit": column.unit} for column in columns]


def trajectory(run: Observation, counters: Sequence[str]) -> list[list[JsonNumber]]:
    """Return the lines of a run: first its counters, then its values of TRACKED. Missing numbers are null."""
    points = thinned(run.points)
    lines = [[point.counters.get(name) for point in points] for name in counters]
    lines += [[point.values.get(name) for point in points] for name in TRACKED]
    if not any(point.values for point in points):
        return []
    return [[short(number, OF_LINES) for number in line] for line in lines]


def thinned(points: Sequence[TrajectoryPoint]) -> Sequence[TrajectoryPoint]:
    """Return at most POINTS points of a trajectory, evenly chosen, the first and the last among them."""
    if len(points) <= POINTS:
        return points
    last = len(points) - 1
    return [points[round(number * last / (POINTS - 1))] for number in range(POINTS)]


def unit_entries(protocol: Protocol) -> list[str]:
    """Return the entries with the KL of each unit that runs of a protocol can have."""
    return [f"kl[{unit}]" for unit in range(protocol.setting.latent_dim)]


def spectrum(run: Observation) -> list[JsonNumber]:
    """Return the KL of the units of a finished run in falling order; empty if there is no KL per unit."""
    if run.outcome is not Outcome.FINISHED:
        return []
    names = takewhile(lambda name: name in run.entries, (f"kl[{unit}]" for unit in count()))
    values = [run.entries[name].value for name in names]
    falling = sorted(values, key=lambda value: -math.inf if math.isnan(value) else value, reverse=True)
    return [short(value, OF_UNITS) for value in falling]


def shared(lines: Iterable[list[JsonNumber]], pool: dict[tuple[JsonNumber, ...], int]) -> list[int]:
    """Return the places of lines in a pool of distinct lines. New lines are put in."""
    return [pool.setdefault(tuple(line), len(pool)) for line in lines]
