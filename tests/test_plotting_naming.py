"""Names stand near what they name, and upon nothing."""

from __future__ import annotations

import math
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapsebench.reporting.plotting.naming import Box, Place, free_box, line, spread

ROOM = Box(0.0, 0.0, 400.0, 300.0)
place = st.builds(Place, st.integers(0, 400).map(float), st.integers(0, 300).map(float))


@given(st.lists(st.integers(-5, 105), max_size=8), st.integers(1, 10))
def test_places_that_are_spread_keep_their_order_their_distance_and_the_range(places, gap):
    falling = sorted(map(float, places), reverse=True)
    found = spread(falling, gap, 0, 100)
    assert len(found) == len(falling)
    assert all(above - below >= gap - 1e-9 for above, below in pairwise(found))
    assert all(-1e-9 <= each <= 100 + 1e-9 for each in found)
    if all(0 <= each <= 100 for each in falling) and all(above - below >= gap for above, below in pairwise(falling)):
        assert found == falling


def test_places_that_do_not_fit_are_refused():
    assert spread([1.0, 1.0, 1.0], 5, 0, 10) == [10, 5, 0]
    with pytest.raises(ValueError, match="4 places with a gap of 5 do not fit between 0 and 10"):
        spread([1.0] * 4, 5, 0, 10)


@given(st.lists(st.tuples(place, st.integers(10, 120), st.integers(8, 20)), max_size=8), st.lists(place, max_size=8))
def test_no_name_is_upon_another_one_or_a_mark_or_outside(wanted, points):
    marks = [Box.around(point, 4.0) for point in (*points, *(point for point, *_ in wanted))]
    names: list[Box] = []
    for point, width, height in wanted:
        box = free_box((width, height), point, names, marks, ROOM)
        if box is None:
            continue
        assert (box.right - box.left, box.top - box.bottom) == (pytest.approx(width), pytest.approx(height))
        assert box.inside(ROOM)
        assert not any(box.overlaps(mark) for mark in marks)
        assert not any(name.holds(each) for name in names for each in line(box, point))
        names.append(box)
    assert not any(one.overlaps(other) for one, other in combinations(names, 2))


def test_a_name_stands_above_on_the_left_of_its_point_if_there_is_room():
    point = Place(200.0, 100.0)
    box = free_box((50.0, 10.0), point, [], [Box.around(point, 4.0)], ROOM)
    assert box.right < point.x
    assert box.bottom > point.y
    assert box.distance(point) < 10


def test_the_nearest_free_box_is_taken_and_none_if_there_is_none():
    point = Place(200.0, 100.0)
    near = free_box((50.0, 10.0), point, [], [], ROOM)
    other = free_box((50.0, 10.0), point, [near], [], ROOM)
    assert not other.overlaps(near)
    assert other.distance(point) >= near.distance(point) - 1e-9
    assert free_box((50.0, 10.0), point, [], [ROOM], ROOM) is None
    assert free_box((500.0, 10.0), point, [], [], ROOM) is None


@given(place, place)
def test_the_distance_from_a_box_is_that_of_its_nearest_place(corner, point):
    box = Box(corner.x, corner.y, corner.x + 30, corner.y + 10)
    sampled = min(
        math.dist((corner.x + dx, corner.y + dy), point) for dx in range(31) for dy in range(11)
    )  # points and corners are whole numbers
    assert box.distance(point) == pytest.approx(sampled)
    assert box.holds(point) <= (box.distance(point) == 0)
