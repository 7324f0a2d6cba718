"""The rate-distortion plane: the cost and the saving of a code (Alemi et al., Fixing a Broken ELBO, ICML 2018).

-ELBO = D + R, with the distortion D = E_q[-log p(x|z)] and the rate R = KL(q || p), both in nats per example. Models on
one line of slope -1 have the same bound. The bound does not show if a model uses z. The place on the line shows it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from collapsebench.reporting.leaderboard.pages import FINDING, IMPOSSIBLE
from collapsebench.reporting.leaderboard.scoring import Board, Row, SeedSample
from collapsebench.reporting.plotting.canvas import INTERVAL, drawable, legend, looks, panels

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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


def draw(points: Sequence[PlanePoint], title: str) -> Figure:
    """Draw the mean of each contender with both intervals, each seed as a small mark, and lines of equal -ELBO."""
    figure, (panel,) = panels(1, title, width=7.0, height=5.0)
    look = looks([each.label for each in points])
    artists: dict[str, Artist] = {}
    for each in points:
        own = look[each.label]
        seeds = sorted(each.rate.seeds)
        panel.scatter(
            drawable(each.rate.seeds[seed] for seed in seeds),
            drawable(each.distortion.seeds[seed] for seed in seeds),
            color=own.color,
            marker=own.marker,
            s=12,
            alpha=0.5,
            linewidths=0,
        )
        means = drawable([each.rate.mean, each.distortion.mean])
        (mean,) = panel.plot(*means, color=own.color, marker=own.marker, linestyle="")
        without = ", not finite" if any(map(math.isnan, means)) else ""
        artists[f"{each.label}{each.mark} (n = {len(seeds)}{without})"] = mean
    panel.margins(0.12)
    panel.set_xlim(panel.get_xlim())  # it fits the seeds; intervals of two seeds are so wide that they would hide them
    panel.set_ylim(panel.get_ylim())
    for each in points:
        x, y = drawable([each.rate.mean, each.distortion.mean])
        wide, high = drawable([each.rate.half_width or 0.0, each.distortion.half_width or 0.0])
        panel.errorbar(x, y, high, wide, fmt="none", color=look[each.label].color, elinewidth=1, capsize=3)
    _equal_bounds(panel)
    panel.set_xlabel("rate: KL [nats]")
    panel.set_ylabel("distortion: reconstruction [nats]")
    marks = f"; {IMPOSSIBLE}, {FINDING}: see the board" if any(each.mark for each in points) else ""
    legend(figure, artists, f"{INTERVAL}; small: each seed; grey: equal −ELBO{marks}")
    return figure


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
