r"""The performance profiles of a league: the share of runs whose regret is at most a threshold, as steps.

The regret of a run is its distance to the best contender of its task, in units of the distance from there to the
baseline without z (`collapsebench.reporting.league.profiles`). A line that lies above another one has more runs within
each regret. Of many contenders, those are named whose lines are the highest on average between the regrets 0 and 1:
the area below a line there is its mean height.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from collapsebench.errors import UsageError
from collapsebench.reporting.colours import looks
from collapsebench.reporting.escaping import figure_text
from collapsebench.reporting.league import League, shares
from collapsebench.reporting.plotting.canvas import (
    AS_USUAL,
    LINE,
    MOST_MARKERS,
    FigureStyle,
    lay_out,
    legend,
    line_style,
    panels,
)
from collapsebench.reporting.plotting.naming import spread

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation

    from collapsebench.reporting.colours import Look

NAMED = 8
"""So many contenders are named, beside the baseline and the one without z."""
FURTHEST = (-1.0, 1.5)
"""The panel shows no regrets out of this range. Runs there count, and lines go on."""
AT_LEAST = (0.0, 1.25)
"""It shows this range, whatever the regrets are."""
MARGIN = 0.03
"""The panel reaches so far beyond shares of 0 and 1, so that lines there are seen."""
OTHERS: dict[str, Any] = {"color": "0.82", "linewidth": 0.8, "zorder": 1.5}
"""How the lines of contenders without names are drawn."""
HOOK, GAP = 13.0, 20.0
"""A line goes on to its name outside the panel. It ends after so many points; the name begins a bit later."""


def draw(league: League, title: str, style: FigureStyle = AS_USUAL) -> Figure:
    """Draw the profile of each contender, with the names of the best ones at the ends of their lines.

    Raises ValueError for a league without a profile, and UsageError if a figure of fixed size has no room for names.
    """
    if league.profile is None:
        raise ValueError("a profile needs a task on which some contender is better than the baseline without z")
    figure, (panel,) = panels(1, title, style, width=7.0, height=4.6)
    named = best(league)
    look = looks(named, grey=(league.baseline, league.reference))
    left, right = _range(league)
    ends: dict[str, float] = {}
    others: list[Artist] = []
    for name in league.losses.contenders:
        x, y = _steps(league, name, left, right)
        if name in look:
            ends[name] = y[-1]
            panel.plot(x, y, drawstyle="steps-post", **_line(look[name], named.index(name), len(x)))
        else:
            others += panel.plot(x, y, drawstyle="steps-post", **OTHERS)
    panel.set_xlim(left, right)
    panel.set_ylim(-MARGIN, 1 + MARGIN)
    for place in (0, 1):
        panel.axvline(place, color="0.45", linewidth=0.8, linestyle=":", zorder=1.2)
    panel.set_xlabel(figure_text(f"regret (0: best of a task, 1: {style.called(league.reference)})"))
    panel.set_ylabel("share of runs within it")
    rest = {"another contender" if len(others) == 1 else f"{len(others)} other contenders": each for each in others[:1]}
    legend(figure, rest, _note(league, left, right), style)
    _names(figure, panel, {name: ends[name] for name in named}, look, style)
    return figure


def best(league: League) -> list[str]:
    """Return the contenders to name, the one with the largest area first, the baseline and that without z included."""
    areas = {name: area(league, name) for name in league.losses.contenders}
    order = sorted(areas, key=lambda name: -areas[name])
    always = {league.baseline, league.reference}
    chosen = {name for name in order if name not in always}
    first = [name for name in order if name in chosen][:NAMED]
    return [name for name in order if name in always or name in first]


def area(league: League, contender: str) -> float:
    r"""Return the area below a profile between the regrets 0 and 1, its mean height there.

    It is the mean of \(\min(1, \max(0, 1 - \rho))\).
    """
    import numpy as np

    tasks = league.regrets.losses.tasks
    return float(np.mean([np.mean(np.clip(1 - task.runs[contender], 0, 1)) for task in tasks]))


def _range(league: League) -> tuple[float, float]:
    """Return the regrets at the edges of the panel."""
    shown = [loss for loss in _every(league) if FURTHEST[0] <= loss <= FURTHEST[1]]
    low, high = min((*shown, AT_LEAST[0])), max((*shown, AT_LEAST[1]))
    margin = MARGIN * (high - low)
    return max(FURTHEST[0], low - margin), min(FURTHEST[1], high + margin)


def _every(league: League) -> Iterator[float]:
    """Yield the regret of each run."""
    for task in league.regrets.losses.tasks:
        for own in task.runs.values():
            yield from own.tolist()


def _steps(league: League, contender: str, left: float, right: float) -> tuple[list[float], list[float]]:
    """Return where the line of a contender rises, from one edge of the panel to the other, and to which shares."""
    regrets = {loss for task in league.regrets.losses.tasks for loss in task.runs[contender].tolist()}
    x = [left, *sorted(loss for loss in regrets if left < loss < right), right]
    return x, shares(league.regrets.losses, contender, x).tolist()


def _line(look: Look, place: int, number: int) -> dict[str, Any]:
    """Return how a line of so many points is drawn. Those at the edges of the panel are no steps: without a marker."""
    every = math.ceil(number / MOST_MARKERS)
    return line_style(look) | {"markevery": slice(1 + place % every, number - 1, every)}


def _note(league: League, left: float, right: float) -> str:
    tasks = league.regrets.losses.tasks
    runs = sum(len(task.seeds) for task in tasks)
    beyond = "; lines go on beyond the edge" if any(not left <= loss <= right for loss in _every(league)) else ""
    places = "1 task" if len(tasks) == 1 else f"{len(tasks)} tasks"
    if league.regrets.left_out:
        places += f" (no regret on {len(league.regrets.left_out)})"
    return f"{runs} runs a contender on {places}{_choice(league)}{beyond}"


def _choice(league: League) -> str:
    """Say which contenders are named; nothing if all are."""
    coloured = set(best(league)) - {league.baseline, league.reference}
    if len(best(league)) == len(league.losses.contenders):
        return ""
    return f"; in colour: the {len(coloured)} whose lines are the highest on average between regret 0 and 1"


def _names(
    figure: Figure, panel: Axes, ends: Mapping[str, float], look: Mapping[str, Look], style: FigureStyle
) -> None:
    """Put each name beside the end of its line, outside the panel, the higher end above. Lines go on to their names."""
    order = sorted(ends, key=lambda name: -ends[name])
    texts = [_name(panel, style.called(name)) for name in order]
    _make_room(figure, texts, style)
    lay_out(figure)
    width, height = panel.get_window_extent().size
    starts = [(ends[name] + MARGIN) / (1 + 2 * MARGIN) for name in order]
    places = _places(starts, LINE * float(texts[0].get_fontsize()) * figure.dpi / 72 / height)
    hook = HOOK * figure.dpi / 72 / width
    for name, text, start, place in zip(order, texts, starts, places, strict=True):
        text.xy = (1, place)
        own = line_style(look[name]) | {"markevery": [1], "clip_on": False}
        panel.plot([1, 1 + hook], [start, place], transform=panel.transAxes, **own)


def _name(panel: Axes, name: str) -> Annotation:
    """Write a name to the right of the panel, at a height that is not known before the panel has its size."""
    return panel.annotate(
        figure_text(name), (1, 0.5), (GAP, 0), "axes fraction", "offset points", va="center", annotation_clip=False
    )


def _places(starts: Sequence[float], line: float) -> list[float]:
    """Return the heights of names for these ends of lines, as shares of the panel's height like that of a line."""
    try:
        return spread(starts, line, line / 2, 1 - line / 2)
    except ValueError:
        raise UsageError(f"the names of {len(starts)} contenders do not fit: choose a larger --size") from None


def _make_room(figure: Figure, texts: Sequence[Annotation], style: FigureStyle) -> None:
    """Make a figure wider by its names; one of fixed size must leave half of its width to the panel."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    width = max(text.get_window_extent(renderer).width for text in texts) / figure.dpi
    if style.size is None:
        figure.set_figwidth(figure.get_figwidth() + width)
    elif width > style.size[0] / 2:
        raise UsageError("the names of contenders do not fit: give short ones with --label, or a larger --size")
