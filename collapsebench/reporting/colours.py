"""One colour a contender, everywhere: in figures, in the report, and in any part of them.

The baseline and the contender without a latent variable are grey, however a picture names them. Every other contender
has the colour that its name alone says, unless another one of the same picture, whose name is shorter or earlier in the
alphabet, has this colour already: then it has the next free one. When all colours are taken, they are given again, with
other dashes and markers.
So a contender that has its own colour, given once, keeps it in every smaller picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from hashlib import sha256
from typing import NamedTuple

from collapsebench.syntax import BASELINE

NO_LATENT = "no-latent"
"""The contender whose decoder has no latent variable."""
COLOURS = ("#0078B4", "#D25A00", "#00A578", "#B42D78", "#9678F0", "#875A3C", "#7896C3", "#F06978")
"""The colours of contenders. A search found them: each has a contrast of 2.9 or more to white and to a dark page, and
those who do not see red or green tell each two of them apart as well as possible."""
GREYS = {BASELINE: "#6F6F6F", NO_LATENT: "#909090"}
"""The colours of contenders that others are compared with, by the names that these have on boards."""
SALT = b"134083"
"""Comes before a name whose colour is computed. With it the contenders of most pictures have different colours."""


class Marker(StrEnum):
    """The shape of a point. The values are the letters of matplotlib."""

    CIRCLE = "o"
    SQUARE = "s"
    TRIANGLE = "^"
    DIAMOND = "D"
    TRIANGLE_DOWN = "v"
    PLUS = "P"
    CROSS = "X"
    STAR = "*"
    TRIANGLE_LEFT = "<"


MARKERS = tuple(marker for marker in Marker if marker is not Marker.CIRCLE)
"""The markers of contenders that have a colour. Grey ones are circles."""
DASHES: tuple[tuple[float, ...], ...] = ((), (5, 2), (1.5, 1.5), (6, 1.5, 1.5, 1.5))
"""The dashes of lines: lengths drawn and left out, in widths of the line. Empty for a whole line."""


class Look(NamedTuple):
    """How one contender is drawn."""

    colour: str
    """The colour, as in `#0078B4`."""
    marker: Marker
    dashes: tuple[float, ...]
    """One of DASHES."""


def colours(contenders: Iterable[str]) -> dict[str, str]:
    """Give each contender its colour, by its label.

    >>> colours(["vae", "skip"])["vae"]
    '#6F6F6F'
    >>> colours(["vae", "skip", "sa-vae"])["skip"] == colours(["skip"])["skip"]
    True
    """
    return {label: look.colour for label, look in looks(contenders).items()}


def looks(contenders: Iterable[str], grey: Iterable[str] = tuple(GREYS)) -> dict[str, Look]:
    """Give each contender a colour, a marker and dashes, by its label and in the order given.

    `grey` are the labels of the baseline and of the contender without a latent variable. No two of the first 66 have
    the same colour and the same marker.

    >>> looks(["VAE", "skip"], grey=("VAE", "no z"))["VAE"] == looks(["vae"])["vae"]
    True
    """
    labels = list(dict.fromkeys(contenders))
    greys = zip(grey, GREYS.values(), DASHES, strict=False)
    found = {label: Look(colour, Marker.CIRCLE, dashes) for label, colour, dashes in greys}
    left = sorted((label for label in labels if label not in found), key=lambda label: (len(label), label))
    turn = 0
    while left:
        found |= {label: _look(place, turn) for label, place in _places(left).items()}
        left = [label for label in left if label not in found]
        turn += 1
    return {label: found[label] for label in labels}


def _places(labels: Sequence[str]) -> dict[str, int]:
    """Give each colour to one label: to the first one whose own colour it is, or else to the next one without."""
    taken: dict[int, str] = {}
    for label in labels:
        taken.setdefault(_own_place(label), label)
    for label in labels:
        if label not in taken.values() and len(taken) < len(COLOURS):
            taken[_next_free(_own_place(label), taken)] = label
    return {label: place for place, label in taken.items()}


def _own_place(label: str) -> int:
    return int.from_bytes(sha256(SALT + label.encode()).digest()[:8]) % len(COLOURS)


def _next_free(place: int, taken: Iterable[int]) -> int:
    following = ((place + step) % len(COLOURS) for step in range(len(COLOURS)))
    return next(each for each in following if each not in taken)


def _look(place: int, turn: int) -> Look:
    """Return the look with a colour in this turn. Those of a turn, and turns of a colour, differ in markers."""
    return Look(COLOURS[place], MARKERS[(place + turn) % len(MARKERS)], DASHES[(place + turn) % len(DASHES)])
