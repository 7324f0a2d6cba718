"""Colours of contenders: the same in every picture, and told apart by all."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from collapsebench.reporting.colours import COLOURS, DASHES, GREYS, MARKERS, colours, looks
from collapsebench.syntax import BASELINE

LABELS = st.lists(st.sampled_from([*GREYS, *(f"method-{number}" for number in range(40))]), unique=True)
WHITE, DARK = "#FFFFFF", "#181818"
SHIPPED = ("skip", "sa-vae", "skip+sa-vae", "kl-annealing", "free-bits", "beta-vae", "lagging", "vae-svi")

RED_BLIND = ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998))
GREEN_BLIND = ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881))
"""Machado, Oliveira and Fernandes 2009, severity 1, of linear red, green and blue."""
EVERY_CONE = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
TO_CONES = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
TO_OKLAB = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)
"""OKLab, Ottosson 2020, in which equal distances look equal."""


def linear(colour: str) -> list[float]:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    return [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]


def times(matrix, vector) -> list[float]:
    return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]


def seen(colour: str, sight) -> list[float]:
    cones = times(TO_CONES, [max(0.0, part) for part in times(sight, linear(colour))])
    return times(TO_OKLAB, [cone ** (1 / 3) for cone in cones])


def apart(one: str, other: str, sight) -> float:
    return sum((a - b) ** 2 for a, b in zip(seen(one, sight), seen(other, sight), strict=True)) ** 0.5


def contrast(one: str, other: str) -> float:
    """The ratio of WCAG 2."""
    bright = [
        0.05 + sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear(each), strict=True)) for each in (one, other)
    ]
    return max(bright) / min(bright)


@given(LABELS, st.data())
def test_a_contender_with_its_own_colour_keeps_it_in_every_smaller_picture(labels, data):
    part = data.draw(st.lists(st.sampled_from(labels), unique=True)) if labels else []
    whole, smaller = looks(labels), looks(part)
    own = [label for label in part if whole[label] == looks([label])[label]]
    assert [smaller[label] for label in own] == [whole[label] for label in own]


@given(LABELS)
def test_another_colour_than_its_own_is_had_only_where_a_shorter_or_earlier_name_has_it(labels):
    found = colours(labels)
    for label in labels:
        own = colours([label])[label]
        holders = [other for other in labels if found[other] == own]
        assert found[label] == own or any((len(other), other) < (len(label), label) for other in holders)


@given(LABELS, st.randoms())
def test_the_order_of_contenders_changes_nothing(labels, random):
    other = random.sample(labels, len(labels))
    assert looks(other) == looks(labels)
    assert list(looks(other)) == other


@given(LABELS)
@example(list(SHIPPED))
def test_colours_are_given_again_only_when_all_are_taken(labels):
    chromatic = [colour for label, colour in colours(labels).items() if label not in GREYS]
    assert len(set(chromatic)) == min(len(chromatic), len(COLOURS))


def test_contenders_of_one_colour_differ_in_markers_and_the_first_in_dashes():
    labels = [*GREYS, *map(str, range(len(COLOURS) * len(MARKERS)))]
    found = looks(labels)
    assert len({(look.colour, look.marker) for look in found.values()}) == len(labels)
    assert len({look.marker for look in looks(SHIPPED).values()}) == len(SHIPPED)
    few = looks(labels[: len(GREYS) + len(COLOURS) * len(DASHES)])
    assert len({(look.colour, look.dashes) for look in few.values()}) == len(few)


def test_more_contenders_than_looks_have_looks():
    assert len(looks(map(str, range(500)))) == 500


def test_shipped_methods_that_are_often_compared_have_their_own_colours():
    assert colours(SHIPPED) == {label: colours([label])[label] for label in SHIPPED}


@given(LABELS)
def test_only_the_baseline_and_the_contender_without_latent_variable_are_grey(labels):
    for label, colour in colours(labels).items():
        assert (len({colour[1:3], colour[3:5], colour[5:7]}) == 1) == (label in GREYS)
    assert BASELINE in GREYS


@pytest.mark.parametrize("colour", [*COLOURS, *GREYS.values()])
@pytest.mark.parametrize("page", [WHITE, DARK])
def test_colours_stand_out_from_a_white_and_from_a_dark_page(colour, page):
    assert contrast(colour, page) >= 2.9


@pytest.mark.parametrize("sight", [EVERY_CONE, RED_BLIND, GREEN_BLIND], ids=["all", "no red", "no green"])
def test_colours_are_told_apart_by_those_who_do_not_see_red_or_green(sight):
    assert min(apart(*pair, sight) for pair in combinations(COLOURS, 2)) > 0.07


def test_the_measure_of_distance_knows_what_the_blind_cannot_see():
    assert apart("#FF0000", "#669900", EVERY_CONE) > 4 * apart("#FF0000", "#669900", GREEN_BLIND)
    assert apart(WHITE, DARK, RED_BLIND) == pytest.approx(apart(WHITE, DARK, EVERY_CONE), abs=0.01)
