r"""The Pareto fronts of a league: the IW-NLL and the lower bound on MI of each contender, one panel a task.

The best place is above on the left: a low IW-NLL, and much information in z. The steps are the edge of what the front
dominates. What of it is better than the baseline without z is shaded: the area of
`collapsebench.reporting.league.fronts`. Members of the front and the baseline are named.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from collapsebench.estimates import Direction
from collapsebench.reporting.colours import looks
from collapsebench.reporting.escaping import figure_text
from collapsebench.reporting.leaderboard.layout import ARROWS
from collapsebench.reporting.league import Front, League, Point
from collapsebench.reporting.plotting.canvas import (
    AS_USUAL,
    LARGEST,
    FigureStyle,
    lay_out,
    legend,
    letters_in,
    mean_over,
    panels,
)
from collapsebench.reporting.plotting.naming import NEAR, Box, Place, free_box, line

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation

    from collapsebench.reporting.colours import Look

REACH = 0.5
"""A panel goes on for others by at most this share of the range of the front and the baselines."""
LEFT, RIGHT, BOTTOM, TOP = 0.3, 0.08, 0.08, 0.15
"""The room around what a panel shows, in shares of its range. Names stand above on the left, where no points are."""
OTHERS: dict[str, Any] = {"color": "0.72", "marker": "o", "linestyle": "", "markersize": 3.5, "zorder": 1.8}
"""How contenders without a name are drawn."""
STEPS: dict[str, Any] = {"color": "0.3", "linewidth": 1.0, "zorder": 1.6}
SHADE: dict[str, Any] = {"color": "0.93", "linewidth": 0, "zorder": 0.5}
REFERENCE: dict[str, Any] = {"marker": "x", "markeredgewidth": 2, "linestyle": "", "markersize": 7, "zorder": 3}
HOOK: dict[str, Any] = {"color": "0.5", "linewidth": 0.7, "zorder": 1.7}
"""How the line from a name to a point that is not near is drawn."""
RADIUS = 4.0
"""Names keep so far from the middle of a point, in points of a printer."""
EDGE = 4.0
"""They keep so far from the edges of the panel, in pixels."""


class View(NamedTuple):
    """The part of the plane that a panel shows, in nats."""

    left: float
    right: float
    bottom: float
    top: float

    def at_edge(self, point: Point) -> Point:
        """Return where a point is drawn: itself, or the nearest place of the edge if it is beyond."""
        return Point(min(max(point.nll, self.left), self.right), min(max(point.information, self.bottom), self.top))


@dataclass(frozen=True)
class Scene:
    """What a panel shows of a front. Points without a place on axes are left out."""

    task: str
    reference: Point | None
    """The baseline without z; None if it has no place."""
    members: tuple[Point, ...]
    """The front, in order of rising IW-NLL and information."""
    named: Mapping[str, Point]
    """The members and the baseline, but for the one without z, which has its own mark."""
    others: tuple[Point, ...]
    view: View
    lost: int
    """The number of contenders without a point: a run has no result, or no metric can estimate their MI."""

    @property
    def beyond(self) -> int:
        """The number of contenders beyond the edges."""
        return sum(self.view.at_edge(point) != point for point in (*self.named.values(), *self.others))


def scene(front: Front, league: League) -> Scene:
    """Collect what a panel shows.

    It shows the front as far as contenders are better than without z, the baselines, and others that are not too far.
    """
    points = placed(front)
    members = tuple(points[name] for name in front.members if name in points)
    wanted = [name for name in (*front.members, league.baseline) if name in points and name != league.reference]
    named = {name: points[name] for name in wanted}
    others = tuple(points[name] for name in points if name not in named and name != league.reference)
    reference = front.reference if _has_place(front.reference) else None
    baselines = [reference] if reference else []
    baselines += [points[league.baseline]] if league.baseline in points else []
    view = _view(members, baselines, reference, points.values())
    lost = len(league.losses.contenders) - len(points)
    return Scene(front.task, reference, members, named, others, view, lost)


def placed(front: Front) -> dict[str, Point]:
    """Return the points that have a place on axes, by contender."""
    return {name: point for name, point in front.points.items() if _has_place(point)}


def _has_place(point: Point) -> bool:
    return all(abs(number) <= LARGEST for number in point)


def _view(
    members: Sequence[Point], baselines: Sequence[Point], reference: Point | None, points: Iterable[Point]
) -> View:
    every = list(points)
    better = [point for point in members if reference is None or point.nll <= reference.nll]
    left, right = _extent([point.nll for point in (*better, *baselines)], [point.nll for point in every])
    bottom, top = _extent([point.information for point in (*members, *baselines)], [p.information for p in every])
    width, height = right - left, top - bottom
    return View(left - LEFT * width, right + RIGHT * width, bottom - BOTTOM * height, top + TOP * height)


def _extent(core: Sequence[float], every: Sequence[float]) -> tuple[float, float]:
    """Return the range of some numbers, and of all that are not too far. It is never empty."""
    low, high = min(core, default=0.0), max(core, default=0.0)
    reach = REACH * ((high - low) or max(1.0, abs(high)))
    near = [low, high, *(number for number in every if low - reach <= number <= high + reach)]
    low, high = min(near), max(near)
    return (low, high) if high > low else (low - reach, high + reach)


def draw(league: League, title: str, style: FigureStyle = AS_USUAL) -> Figure:
    """Draw the points of contenders, means over seeds, with the front and the reference of each task.

    A panel says how many contenders are beyond its edge, how many have no point, and for how many names it has no room.
    Raises UsageError if a figure of fixed size has no room for its panels.
    """
    figure, axes = panels(len(league.fronts), title, style, width=5.6, height=4.4)
    letters = letters_in(figure.get_figwidth() * axes[0].get_position().width)
    scenes = [scene(front, league) for front in league.fronts]
    named = {name for each in scenes for name in each.named}
    shown = [name for name in league.losses.contenders if name in named]
    look = looks((*shown, league.reference), grey=(league.baseline, league.reference))
    artists: dict[str, Artist] = {}
    for panel, each in zip(axes, scenes, strict=True):
        artists |= _draw_front(panel, each, style.called(league.reference), look[league.reference])
        artists |= _draw_points(panel, each, look)
        _frame(panel, each, letters)
    seeds = [len(task.seeds) for task in league.losses.tasks]
    legend(figure, artists, f"{mean_over(seeds)}; shaded: the area of the front", style)
    lay_out(figure)  # names are put where the panels have their size
    for panel, each in zip(axes, scenes, strict=True):
        unnamed = _draw_names(panel, each, style, figure.dpi)
        _set_title(panel, each, unnamed, letters)
    return figure


def _frame(panel: Axes, shown: Scene, letters: int) -> None:
    panel.set_xlim(shown.view.left, shown.view.right)
    panel.set_ylim(shown.view.bottom, shown.view.top)
    panel.set_xlabel(f"IW-NLL [nats]{ARROWS[Direction.LOWER]}")
    panel.set_ylabel(f"MI ≥ [nats]{ARROWS[Direction.HIGHER]}")
    _set_title(panel, shown, 0, letters)


def _set_title(panel: Axes, shown: Scene, unnamed: int, letters: int) -> None:
    """Write the task, and below it what the panel does not show, in lines of so many letters.

    That has always as many lines as if no name had room, so that panels keep their size.
    """
    notes, most = (_notes(shown, number, letters) for number in (unnamed, len(shown.named)))
    lines = [*notes, *[" "] * (len(most) - len(notes))]
    panel.set_title("\n".join([figure_text(shown.task), *lines]), fontsize="medium")


def _notes(shown: Scene, unnamed: int, letters: int) -> list[str]:
    """Return the lines that say what a panel does not show, one at least."""
    counted = {"beyond the edge": shown.beyond, "without a point": shown.lost, "without name": unnamed}
    text = ", ".join(f"{number} {what}" for what, number in counted.items() if number)
    return textwrap.wrap(text, letters) or [" "]


def _draw_front(panel: Axes, shown: Scene, reference: str, look: Look) -> dict[str, Artist]:
    """Draw the front and the reference. Return the entries of the legend."""
    artists: dict[str, Artist] = {}
    if shown.members:
        (artists["front"],) = panel.plot(*_corners(shown), **STEPS)
    if shown.reference:
        _shade(panel, shown.members, shown.reference)
        panel.axvline(shown.reference.nll, color="0.45", linewidth=0.8, linestyle=":", zorder=1.2)
        (artists[f"{reference}, with MI 0"],) = panel.plot(*shown.reference, color=look.colour, **REFERENCE)
    return artists


def _corners(shown: Scene) -> tuple[list[float], list[float]]:
    """Return the corners of the edge of what the front dominates, from the bottom of the panel to its right."""
    x, y = [shown.members[0].nll], [shown.view.bottom]
    for point in shown.members:
        x += [point.nll, point.nll]
        y += [y[-1], point.information]
    return [*x, max(x[-1], shown.view.right)], [*y, y[-1]]


def _shade(panel: Axes, members: Iterable[Point], reference: Point) -> None:
    """Shade what the front dominates above the reference."""
    inside = [point for point in members if point.nll < reference.nll and point.information > reference.information]
    if inside:
        x = [*(point.nll for point in inside), reference.nll]
        tops = [*(point.information for point in inside), inside[-1].information]
        panel.fill_between(x, reference.information, tops, step="post", **SHADE)


def _draw_points(panel: Axes, shown: Scene, look: Mapping[str, Look]) -> dict[str, Artist]:
    """Draw the contenders. Return the entries of the legend."""
    artists: dict[str, Artist] = {}
    if shown.others:
        (artists["other contenders"],) = panel.plot(*zip(*shown.others, strict=True), **OTHERS)
    for name, point in shown.named.items():
        own = look[name]
        (mark,) = panel.plot(*shown.view.at_edge(point), color=own.colour, marker=str(own.marker), linestyle="")
        mark.set(zorder=2.5, clip_on=False)
    return artists


def _draw_names(panel: Axes, shown: Scene, style: FigureStyle, dpi: float) -> int:
    """Write each name where it covers no other one, no point, and no step of the front.

    Return for how many there is no room.
    """
    marks = list(_marks(panel, shown, dpi))
    names: list[Box] = []
    for name, point in shown.named.items():
        at = shown.view.at_edge(point)
        far = "" if at == point else f" ({point.nll:.4g}, {point.information:.3g})"
        text = panel.annotate(figure_text(f"{style.called(name)}{far}"), at, (0, 0), textcoords="offset points")
        text.set(fontsize="small", va="bottom")
        box = free_box(_size(text), _pixel(panel, at), names, marks, _room(panel))
        if box is None:
            text.remove()
        else:
            names.append(box)
            marks += (Box.around(place, 1) for place in line(box, _pixel(panel, at)))
            _put(panel, text, box, at, dpi)
    return len(shown.named) - len(names)


def _marks(panel: Axes, shown: Scene, dpi: float) -> Iterator[Box]:
    """Yield what names may not cover: points, and the steps of the front."""
    radius = RADIUS * dpi / 72
    reference = [shown.reference] if shown.reference else []
    for point in (*shown.others, *map(shown.view.at_edge, shown.named.values()), *reference):
        yield Box.around(_pixel(panel, point), radius)
    if shown.members:
        for start, end in pairwise(map(Point, *_corners(shown))):
            (left, bottom), (right, top) = _pixel(panel, start), _pixel(panel, end)
            yield Box(left - 1, bottom - 1, right + 1, top + 1)


def _put(panel: Axes, text: Annotation, box: Box, at: Point, dpi: float) -> None:
    """Put a name into its box, with a line to its point if it is not near."""
    place = _pixel(panel, at)
    text.set(position=((box.left - place.x) * 72 / dpi, (box.bottom - place.y) * 72 / dpi))
    if box.distance(place) > 2 * NEAR:
        corner = panel.transData.inverted().transform(box.nearest(place))
        panel.plot([corner[0], at.nll], [corner[1], at.information], **HOOK)


def _pixel(panel: Axes, point: Point) -> Place:
    x, y = panel.transData.transform(point)
    return Place(float(x), float(y))


def _room(panel: Axes) -> Box:
    left, bottom, right, top = map(float, panel.get_window_extent().extents)
    return Box(left + EDGE, bottom + EDGE, right - EDGE, top - EDGE)


def _size(text: Annotation) -> tuple[float, float]:
    box = text.get_window_extent()
    return float(box.width), float(box.height)
