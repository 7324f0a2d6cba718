"""Trajectories as curves. The line of a contender is the mean over its seeds, with its 95 % interval."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from collapsebench.observation import Observation
from collapsebench.record import Outcome
from collapsebench.reporting.colours import looks
from collapsebench.reporting.leaderboard.scoring import SeedSample, by_contender
from collapsebench.reporting.leaderboard.trajectories import TRAJECTORY_COLUMNS, curve, value_at
from collapsebench.reporting.plotting.canvas import (
    AS_USUAL,
    LARGEST,
    FigureStyle,
    Interval,
    band_style,
    drawable,
    interval_note,
    legend,
    legend_entry,
    line_style,
    logarithmic,
    panels,
    show_intervals,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from collapsebench.reporting.colours import Look
    from collapsebench.reporting.leaderboard.trajectories import Curve

UNITS = {"seconds": "s", "flops": "FLOP"}
"""The units of the counters. The other counters have no unit."""
LOGARITHMIC = frozenset({"flops"})
"""The counters whose axis is logarithmic: methods differ in them by factors."""


class Line(NamedTuple):
    """The curve of one contender."""

    label: str
    x: tuple[float, ...]
    mean: tuple[float, ...]
    half_width: tuple[float, ...]
    """Half the width of the 95 % Student-t interval; zero for one seed."""
    seeds: tuple[int, ...]


def lines(observations: Iterable[Observation], counter: str, column: str) -> list[Line]:
    """Average the finished runs of one protocol by contender, the baseline first.

    If seeds were evaluated at different places, they are interpolated linearly. A line ends where the first seed ends.
    Runs without the counter are left out.
    """
    finished = [run for run in observations if run.outcome is Outcome.FINISHED]
    found = []
    for label, runs in by_contender(finished).items():
        curves = {run.seed: curve(run.points, counter, column) for run in runs}
        counted = {seed: values for seed, values in curves.items() if values}
        if counted:
            found.append(_line(label, counted))
    return found


def _line(label: str, curves: Mapping[int, Curve]) -> Line:
    places = sorted({x for values in curves.values() for x, _ in values})
    samples = {x: _sample(curves, x) for x in places}
    shared = {x: sample for x, sample in samples.items() if len(sample.seeds) == len(curves)}
    return Line(
        label,
        tuple(shared),
        tuple(sample.mean for sample in shared.values()),
        tuple(sample.half_width or 0.0 for sample in shared.values()),
        tuple(sorted(curves)),
    )


def _sample(curves: Mapping[int, Curve], x: float) -> SeedSample:
    at = {seed: value_at(values, x) for seed, values in curves.items()}
    return SeedSample({seed: value for seed, value in at.items() if value is not None}, {})


def draw(by_column: Mapping[str, Sequence[Line]], counter: str, title: str, style: FigureStyle = AS_USUAL) -> Figure:
    """Draw a panel for each column with its lines. The axis of FLOPs is logarithmic."""
    figure, axes = panels(len(by_column), title, style, share=True)
    look = looks(line.label for of_column in by_column.values() for line in of_column)
    artists: dict[str, Artist] = {}
    seeds = [len(line.seeds) for of_column in by_column.values() for line in of_column]
    cut = False
    places = {x for of_column in by_column.values() for line in of_column for x in line.x if 0 < x <= LARGEST}
    if counter in LOGARITHMIC and len(places) > 1:
        logarithmic(axes[0], places)
    for panel, (column, of_column) in zip(axes, by_column.items(), strict=True):
        for place, line in enumerate(of_column):
            mean = _mean(panel, line, look[line.label], place)
            artists.setdefault(legend_entry(style.called(line.label), len(line.seeds), seeds), mean)
        intervals = {line.label: _intervals(line, column) for line in of_column}
        cut |= show_intervals(panel, chain.from_iterable(intervals.values()))
        for line in of_column:
            _draw_intervals(panel, line, intervals[line.label], band_style(look[line.label], len(of_column)))
        unit = UNITS.get(counter)
        panel.set_xlabel(counter.replace("_", " ") if unit is None else f"{counter} [{unit}]")
        panel.set_ylabel(f"{TRAJECTORY_COLUMNS[column].title} [{TRAJECTORY_COLUMNS[column].unit}]")
    legend(figure, artists, interval_note(seeds, cut=cut), style)
    return figure


def _mean(panel: Axes, line: Line, look: Look, place: int) -> Artist:
    style = line_style(look, place, len(line.x))
    (artist,) = panel.plot(drawable(line.x), drawable(line.mean), **style)
    return artist


def _intervals(line: Line, column: str) -> list[Interval]:
    ends = zip(line.mean, line.half_width, strict=True)
    return [Interval.around(mean, half_width, len(line.seeds), column) for mean, half_width in ends]


def _draw_intervals(panel: Axes, line: Line, intervals: Sequence[Interval], style: Mapping[str, Any]) -> None:
    low, high = drawable(each.low for each in intervals), drawable(each.high for each in intervals)
    if len(line.x) == 1:  # a band without width is not seen
        panel.vlines(drawable(line.x), low, high, color=style["color"])
    else:
        panel.fill_between(drawable(line.x), low, high, **style)
