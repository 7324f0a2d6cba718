"""Columns of boards over one setting, such as KL and MI over the layers of the decoder.

An example is Figure 1 (right) of Dieng et al. 2019: a VAE with a deeper decoder uses its latent variable less.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from collapsebench.reporting.colours import looks
from collapsebench.reporting.escaping import figure_text
from collapsebench.reporting.families import PublishedPoint
from collapsebench.reporting.leaderboard.layout import header
from collapsebench.reporting.leaderboard.scoring import Board, BoardColumn, SeedSample
from collapsebench.reporting.plotting.canvas import (
    AS_USUAL,
    FigureStyle,
    Interval,
    drawable,
    interval_note,
    legend,
    line_style,
    panels,
    show_intervals,
)

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from collapsebench.reporting.colours import Look

DEPTH = "decoder.layers"
ASIDE, MOST_ASIDE = 0.04, 0.3
"""Series stand aside by this share of the smallest distance between two values of the setting, all by at most that."""


class Series(NamedTuple):
    """The numbers of one contender in one panel, by the value of the setting."""

    label: str
    measured: Mapping[float, SeedSample]
    published: Mapping[float, float]


def series(boards: Mapping[float, Board], key: str, published: Iterable[PublishedPoint] = ()) -> list[Series]:
    """Collect the samples and the published numbers of one column by contender.

    The baseline is first. A sample counts only if every seed has the number. Contenders without a sample are left out.
    """
    of_label: dict[str, dict[float, SeedSample]] = {}
    for place, board in boards.items():
        for row in board.rows:
            sample = row.sample(key)
            if sample is not None:
                of_label.setdefault(row.label, {})[place] = sample
    numbers = [number for number in published if number.key == key]
    return [
        Series(label, samples, {number.place: number.value for number in numbers if number.label == label})
        for label, samples in of_label.items()
    ]


def draw(
    by_column: Mapping[BoardColumn, Sequence[Series]],
    over: str,
    title: str,
    note: str = "",
    style: FigureStyle = AS_USUAL,
) -> Figure:
    """Draw a panel for each column: means over seeds with their intervals, and published numbers as hollow markers."""
    figure, axes = panels(len(by_column), title, style)
    every = [each for of_column in by_column.values() for each in of_column]
    look = looks(each.label for each in every)
    seeds = [len(sample.seeds) for each in every for sample in each.measured.values()]
    artists: dict[str, Artist] = {}
    cut = False
    for panel, (column, of_column) in zip(axes, by_column.items(), strict=True):
        places = sorted({place for each in of_column for place in (*each.measured, *each.published)})
        for each, aside in zip(of_column, _asides(places, len(of_column)), strict=True):
            artists |= _points(panel, each, look[each.label], aside, style.called(each.label), seeds)
        samples = [sample for each in of_column for sample in each.measured.values()]
        cut |= show_intervals(panel, [Interval.of(sample, column.key) for sample in samples])
        for each, aside in zip(of_column, _asides(places, len(of_column)), strict=True):
            _draw_intervals(panel, each, column.key, look[each.label], aside)
        panel.set_xticks(places)
        panel.set_xlabel("layers of the decoder" if over == DEPTH else figure_text(over))
        panel.set_ylabel(figure_text(header(column)))
    said = interval_note(seeds, cut=cut)
    legend(figure, artists, f"{said}. {note}" if note else said, style)
    return figure


def _asides(places: Sequence[float], number: int) -> list[float]:
    """Return how far each of so many series stands aside, so that equal numbers do not hide each other."""
    gap = min((right - left for left, right in pairwise(places)), default=0.0)
    step = min(ASIDE * gap, MOST_ASIDE * gap / number) if number else 0.0
    return [step * (place - (number - 1) / 2) for place in range(number)]


def _points(
    panel: Axes, each: Series, look: Look, aside: float, name: str, seeds: Collection[int]
) -> dict[str, Artist]:
    means = drawable(sample.mean for sample in each.measured.values())
    (own,) = panel.plot([place + aside for place in each.measured], means, **line_style(look))
    numbers = sorted({len(sample.seeds) for sample in each.measured.values()})
    text = name if len(set(seeds)) == 1 else f"{name} (n = {' or '.join(map(str, numbers))})"
    artists: dict[str, Artist] = {text: own}
    if each.published:
        places = sorted(each.published)
        (theirs,) = panel.plot(
            [place + aside for place in places],
            [each.published[place] for place in places],
            **line_style(look) | {"linestyle": ":", "zorder": 1.9},
            markerfacecolor="white",
        )
        artists[f"{name}, published"] = theirs
    return artists


def _draw_intervals(panel: Axes, each: Series, column: str, look: Look, aside: float) -> None:
    intervals = [Interval.of(sample, column) for sample in each.measured.values()]
    places = [place + aside for place in each.measured]
    ends = zip(*(drawable(interval.lengths) for interval in intervals), strict=True)
    means = drawable(interval.mean for interval in intervals)
    panel.errorbar(places, means, list(ends), fmt="none", color=look.colour, capsize=3, elinewidth=1.2)
