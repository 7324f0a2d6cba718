"""The common parts of all figures: panels, colours, legends that cover no data, and equal bytes for equal figures.

Figures are drawn without pyplot, so that its state does not change. They follow a user's matplotlibrc.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from collapsebench.errors import UsageError
from collapsebench.reporting.escaping import figure_text

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METADATA: dict[str, dict[str, str | None]] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
"""The formats, with the metadata of each. The date is left out, because it would make equal figures differ."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""The colours of Okabe and Ito, Color Universal Design, 2008, without yellow, which is hard to see on white paper."""
MARKERS = "os^Dv<>P"
"""The markers. There is one more than there are colours, so that the pairs repeat only after 56."""
BAND: dict[str, Any] = {"alpha": 0.18, "linewidth": 0}
WIDTH, HEIGHT = 4.6, 3.4
"""The size of a panel, in inches."""
LETTERS = 11
"""The number of letters of a title in an inch."""
LARGEST = 1e100
"""Larger numbers are left out like those that are not finite: the axes cannot be computed with them."""
INTERVAL = "mean over seeds, 95 % interval"


class Look(NamedTuple):
    """The colour and the marker of one contender in all panels of a figure."""

    color: str
    marker: str


def looks(labels: Sequence[str]) -> dict[str, Look]:
    """Give each label a colour and a marker of its own."""
    return {
        label: Look(COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)])
        for place, label in enumerate(dict.fromkeys(labels))
    }


def check_matplotlib() -> None:
    """Raise UsageError if figures cannot be drawn here."""
    try:
        import matplotlib  # noqa: F401, ICN001
    except ImportError:
        raise UsageError("figures need matplotlib: pip install matplotlib") from None


def panels(
    number: int, title: str, *, share: bool = False, width: float = WIDTH, height: float = HEIGHT
) -> tuple[Figure, list[Axes]]:
    """Make a figure with a title and so many panels of one size, in inches. `share` gives the panels one x axis."""
    from matplotlib.figure import Figure

    columns = number if number <= 3 else math.ceil(math.sqrt(number))
    rows = math.ceil(number / columns)
    figure = Figure(figsize=(max(columns * width, 6.4), rows * height + 0.9), layout="constrained")
    axes = [figure.add_subplot(rows, columns, place + 1) for place in range(number)]
    for each in axes:
        each.grid(alpha=0.3)
        each.set_axisbelow(True)
        if share:
            each.sharex(axes[0])
    figure.suptitle(_wrapped(figure_text(title), figure), fontsize="medium")
    return figure, axes


def drawable(values: Iterable[float]) -> list[float]:
    """Return the values with NaN, a gap in the figure, in place of those that have no place on an axis."""
    return [value if abs(value) <= LARGEST else math.nan for value in values]


def show_intervals(panel: Axes, low: Iterable[float], high: Iterable[float]) -> None:
    """Extend the y axis from the means to the ends of their intervals, but on each side by half its height at most.

    A 95 % interval of two seeds is 12.7 standard errors wide on each side. The whole of it would hide the means.
    """
    bottom, top = panel.get_ylim()
    reach, margin = (top - bottom) / 2, (top - bottom) / 40
    lowest = min((end for end in low if abs(end) <= LARGEST), default=bottom) - margin
    highest = max((end for end in high if abs(end) <= LARGEST), default=top) + margin
    panel.set_ylim(max(min(bottom, lowest), bottom - reach), min(max(top, highest), top + reach))


def legend(figure: Figure, artists: Mapping[str, Artist], title: str, *, markers: float = 1.0) -> None:
    """Put one legend below the figure. Its title says how the figure was made. `markers` scales its markers."""
    widest = max(map(len, artists), default=0)
    columns = max(1, min(len(artists) or 1, int(figure.get_figwidth() / (0.7 + widest / LETTERS))))
    figure.legend(
        list(artists.values()),
        [_legend_text(text) for text in artists],
        loc="outside lower center",
        ncols=columns,
        title=_wrapped(figure_text(title), figure),
        markerscale=markers,
    )


def _legend_text(text: str) -> str:
    """Escape the text of an entry. matplotlib leaves out those that begin with an underscore."""
    escaped = figure_text(text)
    return f" {escaped}" if escaped.startswith("_") else escaped


def _wrapped(text: str, figure: Figure) -> str:
    return textwrap.fill(text, int(LETTERS * figure.get_figwidth()), break_long_words=False, break_on_hyphens=False)


def figure_bytes(figure: Figure, format_: str) -> bytes:
    """Write a figure in a format of METADATA. Equal figures give equal bytes: they have no dates or random ids."""
    from matplotlib import rc_context

    stream = io.BytesIO()
    with rc_context({"svg.hashsalt": "collapsebench", "pdf.fonttype": 42}):
        figure.savefig(stream, format=format_, dpi=150, metadata=METADATA[format_])
    return stream.getvalue()
