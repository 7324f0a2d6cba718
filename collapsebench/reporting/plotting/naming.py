"""Where names stand in a figure, beside what they name and not upon each other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

NEAR = 6.0
"""The distance of a name from its point if there is room, in pixels."""
FARTHEST = 30
"""Names are looked for at so many distances."""
DIRECTIONS = ((-1, 1), (-1, 0), (0, 1), (-2, 1), (-1, 2), (1, 1), (1, 0), (-1, -1), (0, -1), (1, -1))
"""Where a name is looked for first: up and to the left, where a front has no points."""
SAMPLES = 24
"""A line from a name to its point is looked at in so many places."""


class Place(NamedTuple):
    """A point of the figure, in pixels."""

    x: float
    y: float


class Box(NamedTuple):
    """A part of the figure, in pixels."""

    left: float
    bottom: float
    right: float
    top: float

    def overlaps(self, other: Box) -> bool:
        """Return True if the two have more than an edge in common."""
        return (
            self.left < other.right and other.left < self.right and self.bottom < other.top and other.bottom < self.top
        )

    def inside(self, other: Box) -> bool:
        """Return True if no part of this box is out of another one."""
        return (
            self.left >= other.left
            and self.right <= other.right
            and self.bottom >= other.bottom
            and self.top <= other.top
        )

    def holds(self, place: Place) -> bool:
        """Return True if a point is in the box, and not on its edge."""
        return self.left < place.x < self.right and self.bottom < place.y < self.top

    def nearest(self, place: Place) -> Place:
        """Return the place of the box that is nearest to a point."""
        return Place(min(max(place.x, self.left), self.right), min(max(place.y, self.bottom), self.top))

    def distance(self, place: Place) -> float:
        """Return the distance of a point from the box; 0 inside."""
        return math.dist(self.nearest(place), place)

    @classmethod
    def around(cls, place: Place, radius: float) -> Box:
        """Return the square around a point."""
        return cls(place.x - radius, place.y - radius, place.x + radius, place.y + radius)


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move falling places apart, so that each is at least a gap below the one before, and all are in a range.

    Returns them in the same order. Raises ValueError if the range has no room for them.

    >>> spread([10, 10, 2], 1, 0, 10)
    [10, 9, 2]
    """
    if gap * (len(places) - 1) > high - low:
        raise ValueError(f"{len(places)} places with a gap of {gap:g} do not fit between {low:g} and {high:g}")
    found: list[float] = []
    for place in places:
        found.append(min(place, found[-1] - gap if found else high))
    for number in reversed(range(len(found))):
        found[number] = max(found[number], found[number + 1] + gap if number + 1 < len(found) else low)
    return found


def free_box(
    size: tuple[float, float], point: Place, names: Sequence[Box], marks: Sequence[Box], room: Box
) -> Box | None:
    """Return the nearest box of a size beside a point that overlaps no name and no mark; None if the room has none.

    The line from the box to its point crosses no name.
    """
    taken = (*names, *marks)
    for box in _boxes(size, point):
        free = box.inside(room) and not any(box.overlaps(other) for other in taken)
        if free and not any(other.holds(place) for other in names for place in line(box, point)):
            return box
    return None


def _boxes(size: tuple[float, float], point: Place) -> Iterator[Box]:
    width, height = size
    for number in range(1, FARTHEST):
        for right, up in DIRECTIONS:
            length = NEAR * number / math.hypot(right, up)
            left = point.x + length * right - width * _before(right)
            bottom = point.y + length * up - height * _before(up)
            yield Box(left, bottom, left + width, bottom + height)


def _before(direction: int) -> float:
    """Return which share of a box lies before its point: all of it, none, or half."""
    return 0.5 - 0.5 * ((direction > 0) - (direction < 0))


def line(box: Box, point: Place) -> list[Place]:
    """Return places on the line from a box to a point."""
    start = box.nearest(point)
    shares = [number / SAMPLES for number in range(1, SAMPLES)]
    return [Place(start.x + share * (point.x - start.x), start.y + share * (point.y - start.y)) for share in shares]
