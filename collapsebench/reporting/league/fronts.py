r"""Who is on the Pareto front of likelihood and use of z, and how much of the plane each contender dominates.

A contender is a point: its mean IW-NLL (lower is better) and the mean of its lower bound on the mutual information
(higher is better). One point dominates another if it is at least as good in both and better in one. The front are the
points that no other one dominates.

The hypervolume of points, an area here, is that of the part of the plane which they dominate and which dominates a
reference point (Zitzler and Thiele 1999, "Multiobjective evolutionary algorithms: a comparative case study and the
strength Pareto approach", section 3.1, where it is the size of the space covered). The reference is fixed for each
task: the baseline without z, with its IW-NLL and the MI 0. So a contender has an area only if it is better than a model
without z, and uses z. The unit is nats².

Areas of tasks are not comparable. What goes over tasks is the share of a contender in the area of all contenders
together, between 0 and 1.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collapsebench.reporting.league.losses import Losses, TaskLosses


class Point(NamedTuple):
    """What a contender reaches in one task, in nats."""

    nll: float
    """The IW-NLL; lower is better."""
    information: float
    """The lower bound on the mutual information; higher is better."""

    def dominates(self, other: Point) -> bool:
        """Return True if this point is at least as good as another in both numbers, and better in one."""
        return self != other and self.nll <= other.nll and self.information >= other.information


@dataclass(frozen=True)
class Front:
    """The front of one task."""

    task: str
    reference: Point
    """The baseline without z."""
    points: Mapping[str, Point]
    """The points by contender. A contender with a run without one of the two numbers has none."""
    members: tuple[str, ...]
    """The contenders on the front, with falling likelihood and rising information."""
    area: float
    """The area of all contenders together, in nats²."""
    shares: Mapping[str, float]
    """The area of each contender on its own over that of all; empty if no contender has an area."""
    exclusive: Mapping[str, float]
    """The part of the area that would be lost without a contender, over that of all; empty if there is no area."""


def front(points: Mapping[str, Point]) -> tuple[str, ...]:
    """Return the names of the points that no other point dominates, in order of rising IW-NLL.

    Equal points do not dominate each other. Points that are not finite are on no front.

    >>> front({"a": Point(99, 2), "b": Point(98, 1), "c": Point(99, 1)})
    ('b', 'a')
    """
    found: list[str] = []
    finite = {name: point for name, point in points.items() if all(map(math.isfinite, point))}
    for name, point in sorted(finite.items(), key=lambda item: (item[1].nll, -item[1].information)):
        if not found or not finite[found[-1]].dominates(point):
            found.append(name)
    return tuple(found)


def area(points: Iterable[Point], reference: Point) -> float:
    r"""Return the area that points dominate above a reference, exactly but for rounding.

    \(\sum_i (r_x - x_i)(y_i - y_{i-1})\) over the front in order of rising IW-NLL \(x\) and information \(y\), with
    \(y_0 = r_y\). Points that do not dominate the reference strictly in both numbers add nothing.

    >>> area([Point(98, 1), Point(99, 2)], Point(100, 0))
    3.0
    """
    inside = [point for point in points if point.nll < reference.nll and point.information > reference.information]
    found, reached = 0.0, reference.information
    for point in sorted(inside, key=lambda point: (point.nll, -point.information)):
        found += (reference.nll - point.nll) * max(0.0, point.information - reached)
        reached = max(reached, point.information)
    return found


def fronts(nlls: Losses, informations: Losses, reference: str) -> tuple[Front, ...]:
    """Return the front of each task, from the losses of both numbers: IW-NLL, and MI with `Direction.HIGHER`.

    `reference` is the baseline without z. Its MI is 0 by definition, whatever was measured. A task in which it has no
    IW-NLL for each seed has an infinite reference, and no area. Raises ValueError if the reference is not in the
    league, or if the two do not have the same tasks.
    """
    nlls.require(reference)
    known = {task.task: task for task in informations.tasks}
    if known.keys() != {task.task for task in nlls.tasks}:
        raise ValueError(f"the two numbers of a front need the same tasks, got {sorted(known)} for the second")
    return tuple(_front(task, known[task.task], reference) for task in nlls.tasks)


def _front(nlls: TaskLosses, informations: TaskLosses, reference: str) -> Front:
    origin = Point(nlls.means[reference], 0.0)
    found = {name: Point(nll, -informations.means.get(name, math.inf)) for name, nll in nlls.means.items()} | {
        reference: origin
    }
    points = {name: point for name, point in found.items() if all(map(math.isfinite, point))}
    whole = area(points.values(), origin) if math.isfinite(origin.nll) else 0.0
    return Front(
        nlls.task,
        origin,
        points,
        front(points),
        whole,
        {name: _share([point], origin, whole) for name, point in points.items()} if whole else {},
        {name: 1 - _share(_without(points, name), origin, whole) for name in points} if whole else {},
    )


def _without(points: Mapping[str, Point], name: str) -> list[Point]:
    return [point for other, point in points.items() if other != name]


def _share(points: Collection[Point], reference: Point, whole: float) -> float:
    return area(points, reference) / whole
