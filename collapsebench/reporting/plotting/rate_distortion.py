"""The rate-distortion plane: the cost and the saving of a code (Alemi et al., Fixing a Broken ELBO, ICML 2018).

-ELBO = D + R, with the distortion D = E_q[-log p(x|z)] and the rate R = KL(q || p), both in nats per example. Models on
one line of slope -1 have the same bound. The bound does not show if a model uses z. The place on the line shows it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from collapsebench.reporting.colours import looks
from collapsebench.reporting.leaderboard.pages import FINDING, IMPOSSIBLE
from collapsebench.reporting.leaderboard.scoring import Board, Row, SeedSample
from collapsebench.reporting.plotting.canvas import (
    AS_USUAL,
    FEW,
    FigureStyle,
    Interval,
    drawable,
    interval_note,
    legend,
    legend_entry,
    panels,
)

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from collapsebench.reporting.colours import Look

RATE, DISTORTION = "kl", "reconstruction"
"""The columns of rate and distortion."""


class PlanePoint(NamedTuple):
    """One contender in the plane. Both samples have the same seeds."""

    label: str
    rate: SeedSample
    distortion: SeedSample
    mark: str = ""
    """The marks of its row on the board."""


def places(board: Board) -> list[PlanePoint]:
    """Return the contenders that have both numbers for every seed, the baseline first."""
    found = []
    for row in board.rows:
        rate, distortion = row.sample(RATE), row.sample(DISTORTION)
        if rate is not None and distortion is not None:
            found.append(PlanePoint(row.label, rate, distortion, _mark(row, board)))
    return found


def _mark(row: Row, board: Board) -> str:
    columns = [column for column in board.columns if column.key in {RATE, DISTORTION}]
    impossible = f" {IMPOSSIBLE}" if any(row.impossible(column) for column in columns) else ""
    return f"{f' {FINDING}' if row.findings else ''}{impossible}"


def draw(points: Sequence[PlanePoint], title: str, style: FigureStyle = AS_USUAL) -> Figure:
    """Draw the mean of each contender with both intervals, each seed as a small mark, and lines of equal -ELBO.

    Means are half transparent, so that equal ones are seen below each other.
    """
    figure, (panel,) = panels(1, title, style, width=7.0, height=4.6)
    panel.grid(visible=False)  # the lines of equal bounds are enough
    look = looks(each.label for each in points)
    number = [len(each.rate.seeds) for each in points]
    artists: dict[str, Artist] = {}
    for each in points:
        own, seeds = look[each.label], sorted(each.rate.seeds)
        places = [drawable(sample.seeds[seed] for seed in seeds) for sample in (each.rate, each.distortion)]
        panel.scatter(places[0], places[1], color=own.colour, marker=str(own.marker), s=8, alpha=0.5, linewidths=0)
        means = drawable([each.rate.mean, each.distortion.mean])
        (mean,) = panel.plot(*means, **_mean_style(own))
        without = " (not finite)" if any(map(math.isnan, means)) else ""
        artists[legend_entry(f"{style.called(each.label)}{each.mark}{without}", len(seeds), number)] = mean
    panel.margins(0.08)
    cut = _show_intervals(panel, points)
    for each in points:
        rate, distortion = Interval.of(each.rate, RATE), Interval.of(each.distortion, DISTORTION)
        x, y = drawable([rate.mean, distortion.mean])
        wide, high = ([[length] for length in drawable(interval.lengths)] for interval in (rate, distortion))
        panel.errorbar(x, y, high, wide, fmt="none", color=look[each.label].colour, elinewidth=1, capsize=2)
    _equal_bounds(panel)
    panel.set_xlabel("rate: KL [nats]")
    panel.set_ylabel("distortion: reconstruction [nats]")
    marks = f"; {IMPOSSIBLE}, {FINDING}: see the board" if any(each.mark for each in points) else ""
    legend(figure, artists, f"{interval_note(number, cut=cut)}; small: each seed; grey: equal −ELBO{marks}", style)
    return figure


def _mean_style(look: Look) -> dict[str, Any]:
    from matplotlib.colors import to_rgba

    return {
        "color": look.colour,
        "marker": str(look.marker),
        "markerfacecolor": to_rgba(look.colour, 0.5),
        "linestyle": "",
        "zorder": 3,
    }


def _show_intervals(panel: Axes, points: Sequence[PlanePoint]) -> bool:
    """Extend the axes to the ends of the intervals, but of two seeds. Return whether there are such ones."""
    panel.set_xlim(panel.get_xlim())  # they fit the seeds
    panel.set_ylim(panel.get_ylim())
    enough = [each for each in points if len(each.rate.seeds) > FEW]
    corners = [
        drawable(ends)
        for each in enough
        for rate, distortion in [(Interval.of(each.rate, RATE), Interval.of(each.distortion, DISTORTION))]
        for ends in ((rate.low, distortion.low), (rate.high, distortion.high))
    ]
    known = [corner for corner in corners if all(map(math.isfinite, corner))]
    if known:
        panel.update_datalim(known)
        panel.autoscale()
        panel.set_xlim(panel.get_xlim())
        panel.set_ylim(panel.get_ylim())
    return any(len(each.rate.seeds) == FEW for each in points)


def _equal_bounds(panel: Axes) -> None:
    """Draw lines of equal D + R at round numbers. The value of a line is at the place where it enters the panel."""
    from matplotlib.ticker import MaxNLocator

    (left, right), (bottom, top) = panel.get_xlim(), panel.get_ylim()
    for bound in MaxNLocator(8, prune="both").tick_values(left + bottom, right + top):
        if left + bottom < bound < right + top:
            panel.axline((left, bound - left), slope=-1, color="0.75", linewidth=0.8, zorder=0.5)
            x, y = (left, bound - left) if bound - left < top else (bound - top, top)
            if y - bottom > (top - bottom) / 20 and right - x > (right - left) / 20:  # no text over the edge
                at = panel.annotate(f"{bound:g}", (x, y), (3, -3), textcoords="offset points", va="top")
                at.set(fontsize="x-small", color="0.45")
