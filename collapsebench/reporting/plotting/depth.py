"""Columns of boards over one setting, such as KL and MI over the layers of the decoder.

An example is Figure 1 (right) of Dieng et al. 2019: a VAE with a deeper decoder uses its latent variable less.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from collapsebench.reporting.escaping import figure_text
from collapsebench.reporting.families import PublishedPoint
from collapsebench.reporting.leaderboard.layout import header
from collapsebench.reporting.leaderboard.scoring import Board, BoardColumn, SeedSample
from collapsebench.reporting.plotting.canvas import INTERVAL, drawable, legend, looks, panels, show_intervals

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from collapsebench.reporting.plotting.canvas import Look

DEPTH = "decoder.layers"


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


def draw(by_column: Mapping[BoardColumn, Sequence[Series]], over: str, title: str, note: str = "") -> Figure:
    """Draw a panel for each column: means over seeds with their intervals, and published numbers as hollow markers."""
    figure, axes = panels(len(by_column), title)
    look = looks([each.label for of_column in by_column.values() for each in of_column])
    artists: dict[str, Artist] = {}
    for panel, (column, of_column) in zip(axes, by_column.items(), strict=True):
        for each in of_column:
            artists |= _points(panel, each, look[each.label])
        ends = [_ends(sample) for each in of_column for sample in each.measured.values()]
        show_intervals(panel, [low for low, _ in ends], [high for _, high in ends])
        for each in of_column:
            widths = drawable(sample.half_width or 0.0 for sample in each.measured.values())
            means = drawable(sample.mean for sample in each.measured.values())
            color = look[each.label].color
            panel.errorbar(list(each.measured), means, widths, fmt="none", color=color, capsize=4, elinewidth=1.2)
        panel.set_xticks(sorted({place for each in of_column for place in (*each.measured, *each.published)}))
        panel.set_xlabel("layers of the decoder" if over == DEPTH else figure_text(over))
        panel.set_ylabel(figure_text(header(column)))
    legend(figure, artists, f"{INTERVAL}. {note}" if note else INTERVAL)
    return figure


def _points(panel: Axes, each: Series, look: Look) -> dict[str, Artist]:
    means = drawable(sample.mean for sample in each.measured.values())
    (own,) = panel.plot(list(each.measured), means, color=look.color, marker=look.marker)
    numbers = sorted({len(sample.seeds) for sample in each.measured.values()})
    artists: dict[str, Artist] = {f"{each.label} (n = {' or '.join(map(str, numbers))})": own}
    if each.published:
        places = sorted(each.published)
        (theirs,) = panel.plot(
            places,
            [each.published[place] for place in places],
            color=look.color,
            marker=look.marker,
            markerfacecolor="white",
            markersize=7,
            linestyle=":",
            zorder=1.9,
        )
        artists[f"{each.label}, published"] = theirs
    return artists


def _ends(sample: SeedSample) -> tuple[float, float]:
    width = sample.half_width or 0.0
    return sample.mean - width, sample.mean + width
