"""Trajectories as curves. The line of a contender is the mean over its seeds, with its 95 % interval."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from collapsebench.observation import Observation
from collapsebench.record import Outcome
from collapsebench.reporting.leaderboard.scoring import SeedSample, by_contender
from collapsebench.reporting.leaderboard.trajectories import TRAJECTORY_COLUMNS, curve, value_at
from collapsebench.reporting.plotting.canvas import BAND, INTERVAL, drawable, legend, looks, panels, show_intervals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from collapsebench.reporting.leaderboard.trajectories import Curve
    from collapsebench.reporting.plotting.canvas import Look

UNITS = {"seconds": "s", "flops": "FLOP"}
"""The units of the counters. The other counters have no unit."""


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


def draw(by_column: Mapping[str, Sequence[Line]], counter: str, title: str) -> Figure:
    """Draw a panel for each column with its lines."""
    figure, axes = panels(len(by_column), title, share=True)
    look = looks([line.label for of_column in by_column.values() for line in of_column])
    artists: dict[str, Artist] = {}
    for panel, (column, of_column) in zip(axes, by_column.items(), strict=True):
        means = {line.label: _mean(panel, line, look[line.label]) for line in of_column}
        bounds = {line.label: _bounds(line) for line in of_column}
        show_intervals(panel, *(chain.from_iterable(ends) for ends in zip(*bounds.values(), strict=True)))
        for line in of_column:
            _interval(panel, line, bounds[line.label], look[line.label])
            artists.setdefault(f"{line.label} (n = {len(line.seeds)})", means[line.label])
        unit = UNITS.get(counter)
        panel.set_xlabel(counter.replace("_", " ") if unit is None else f"{counter} [{unit}]")
        panel.set_ylabel(f"{TRAJECTORY_COLUMNS[column].title} [{TRAJECTORY_COLUMNS[column].unit}]")
    legend(figure, artists, INTERVAL)
    return figure


def _mean(panel: Axes, line: Line, look: Look) -> Artist:
    (artist,) = panel.plot(drawable(line.x), drawable(line.mean), color=look.color, marker=look.marker, markersize=3)
    return artist


def _bounds(line: Line) -> tuple[list[float], list[float]]:
    """Return the lower and the upper ends of the intervals."""
    low, high = ([m + sign * h for m, h in zip(line.mean, line.half_width, strict=True)] for sign in (-1, 1))
    return drawable(low), drawable(high)


def _interval(panel: Axes, line: Line, bounds: tuple[list[float], list[float]], look: Look) -> None:
    if len(line.x) == 1:  # a band without width is not seen
        panel.vlines(drawable(line.x), *bounds, color=look.color)
    else:
        panel.fill_between(drawable(line.x), *bounds, color=look.color, **BAND)
