"""The common parts of all figures: panels, legends that cover no data, intervals, and equal bytes for equal figures.

Figures are drawn without pyplot, so that its state does not change. They follow a user's matplotlibrc.
"""

from __future__ import annotations

import io
import math
import re
import textwrap
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from collapsebench.errors import UsageError, unknown
from collapsebench.reporting.escaping import figure_text

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

    from collapsebench.reporting.colours import Look
    from collapsebench.reporting.leaderboard.scoring import SeedSample

METADATA: dict[str, dict[str, str | None]] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
"""The formats, with the metadata of each. The date is left out, because it would make equal figures differ."""
WIDTH, HEIGHT = 4.6, 3.4
"""The size of a panel, in inches."""
NARROWEST = 6.4
"""The width of a figure with one panel, in inches."""
COLUMN = 4.5
"""A figure that is to be narrower, in inches, goes into a column of a paper: its letters and lines are small."""
SMALL: dict[str, Any] = {
    "font.size": 7,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.0,
    "lines.markersize": 4,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.handlelength": 2.4,
    "legend.borderpad": 0.3,
}
"""The settings of matplotlib for a column of a paper."""
LETTERS = 110
"""The number of letters in an inch, times their size in points."""
MARKER = 0.45
"""The size of a marker, in sizes of letters."""
LINE = 1.3
"""The height of a line of text, in sizes of its letters."""
MOST_BELOW = 8
"""A legend with more lines stands to the right of the panels."""
PANELS = 2 / 3
"""About this share of the height of a figure is that of its panels."""
MOST_MARKERS = 12
"""A line has about so many markers at most."""
LARGEST = 1e100
"""Larger numbers are left out like those that are not finite: the axes cannot be computed with them."""
FEW = 2
"""An interval of so many seeds is 12.7 standard errors wide on each side. The whole of it would hide the means."""
MARKED = re.compile(r"(.+)( #[0-9a-f]{6})", re.DOTALL)
"""A contender, and the mark that tells it from another one of the same name."""
CROWD = 10
"""Bands of more contenders are fainter."""
NOT_NEGATIVE = frozenset({"kl", "active_units"})
"""The columns that have no values below 0, so that their intervals end there."""


@dataclass(frozen=True)
class FigureStyle:
    """The wishes of a user for the looks of a figure."""

    title: str | None = None
    """The title; None for the one that says what is drawn, and an empty text for none."""
    size: tuple[float, float] | None = None
    """The width and the height in inches, legend and title included; None if both follow from what is drawn."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """What people read in place of a contender, by contender."""

    def called(self, label: str) -> str:
        """Return what people read in place of the label of a contender. A mark behind the contender stays."""
        if label in self.labels:
            return self.labels[label]
        marked = MARKED.fullmatch(label)
        return label if marked is None else f"{self.labels.get(marked[1], marked[1])}{marked[2]}"

    def check(self, contenders: Iterable[str]) -> None:
        """Raise UsageError for a label of none of these contenders, and if two of them would be called the same."""
        known = sorted(set(contenders))
        for contender in self.labels:
            if contender not in known:
                raise UsageError(unknown("contender", contender, known))
        twice = [name for name, number in Counter(map(self.called, known)).items() if number > 1]
        if twice:
            raise UsageError(f"two contenders of a figure cannot both be called '{twice[0]}'")

    @contextmanager
    def settings(self) -> Iterator[None]:
        """Let matplotlib draw in the block with letters and lines that fit the size."""
        from matplotlib import rc_context

        small: Any = SMALL if self.size is not None and self.size[0] < COLUMN else {}
        with rc_context(small):
            yield


AS_USUAL = FigureStyle()


class Interval(NamedTuple):
    """The mean of a sample, and the ends of its 95 % interval."""

    mean: float
    low: float
    high: float
    seeds: int

    @classmethod
    def of(cls, sample: SeedSample, column: str = "") -> Interval:
        """Return the interval of a sample of this column."""
        return cls.around(sample.mean, sample.half_width or 0.0, len(sample.seeds), column)

    @classmethod
    def around(cls, mean: float, half_width: float, seeds: int, column: str = "") -> Interval:
        """Return the interval of this half width. It ends at 0 where the column has no values below."""
        low = mean - half_width
        return cls(mean, max(0.0, low) if column in NOT_NEGATIVE and mean >= 0 else low, mean + half_width, seeds)

    @property
    def lengths(self) -> tuple[float, float]:
        """The distances from the mean to both ends."""
        return self.mean - self.low, self.high - self.mean


def check_matplotlib() -> None:
    """Raise UsageError if figures cannot be drawn here."""
    try:
        import matplotlib  # noqa: F401, ICN001
    except ImportError:
        raise UsageError("figures need matplotlib: pip install matplotlib") from None


def panels(
    number: int,
    title: str,
    style: FigureStyle = AS_USUAL,
    *,
    share: bool = False,
    width: float = WIDTH,
    height: float = HEIGHT,
) -> tuple[Figure, list[Axes]]:
    """Make a figure with a title and so many panels of one size, in inches. `share` gives the panels one x axis."""
    from matplotlib.figure import Figure

    columns = _columns(number, style, width / height)
    rows = math.ceil(number / columns)
    size = style.size or (max(columns * width, NARROWEST), rows * height)
    figure = Figure(figsize=size, layout="constrained")
    axes = [figure.add_subplot(rows, columns, place + 1) for place in range(number)]
    for each in axes:
        each.grid(alpha=0.3, linewidth=0.6)
        each.set_axisbelow(True)
        if share:
            each.sharex(axes[0])
    shown = _wrapped(figure_text(title if style.title is None else style.title), figure)
    if shown:
        figure.suptitle(shown, fontsize="medium")
        if style.size is None:
            figure.set_figheight(size[1] + _inches(shown))
    return figure, axes


def _columns(number: int, style: FigureStyle, shape: float) -> int:
    """Return in how many columns panels stand: if the size is fixed, so that they come near to their usual shape."""
    if style.size is None:
        return number if number <= 3 else math.ceil(math.sqrt(number))
    width, height = style.size[0], style.size[1] * PANELS
    shapes = {each: (width / each) / (height / math.ceil(number / each)) for each in range(1, number + 1)}
    return min(shapes, key=lambda each: abs(math.log(shapes[each] / shape)))


def logarithmic(panel: Axes, places: Collection[float]) -> None:
    """Give a panel, and those that share its axis, a logarithmic x axis for points at these places, all above 0.

    It has numbers at decades. Where there are fewer than two of them, numbers stand between them, too, as far apart as
    a narrow panel needs.
    """
    from matplotlib.ticker import LogFormatterSciNotation, NullFormatter

    low, high = math.log10(min(places)), math.log10(max(places))
    decades = math.floor(high) - math.ceil(low) + 1
    panel.set_xscale("log", nonpositive="mask", subs=(3,) if decades == 1 and high - low >= 1 else (2, 5))
    between = LogFormatterSciNotation(labelOnlyBase=False, minor_thresholds=(math.inf, math.inf))
    panel.xaxis.set_minor_formatter(between if decades < 2 else NullFormatter())


def drawable(values: Iterable[float]) -> list[float]:
    """Return the values with NaN, a gap in the figure, in place of those that have no place on an axis."""
    return [value if abs(value) <= LARGEST else math.nan for value in values]


def line_style(look: Look, place: int = 0, number: int = 0) -> dict[str, Any]:
    """Return how a line of so many points is drawn, the one at this `place` among the lines.

    A dashed line lets another one be seen below it. Markers of a long line stand at other points than those of others.
    """
    every = math.ceil(number / MOST_MARKERS)
    return {
        "color": look.colour,
        "marker": str(look.marker),
        "markersize": MARKER * _font_size(),
        "markevery": (place % every, every) if every > 1 else None,
        "linestyle": (0, look.dashes) if look.dashes else "-",
        "zorder": 2.1 if look.dashes else 2,
    }


def band_style(look: Look, contenders: int) -> dict[str, Any]:
    """Return how the band of an interval is drawn, one of so many."""
    return {"color": look.colour, "alpha": 0.18 if contenders <= CROWD else 0.06, "linewidth": 0}


def show_intervals(panel: Axes, intervals: Iterable[Interval]) -> bool:
    """Extend the y axis from the means to the ends of their intervals. Return whether any of two seeds is cut off.

    Those of two seeds extend it by half its height at most on each side.
    """
    bottom, top = panel.get_ylim()
    reach, margin = (top - bottom) / 2, (top - bottom) / 40
    lowest, highest, cut = bottom, top, False
    for each in intervals:
        low, high = drawable([each.low - margin, each.high + margin])
        if each.seeds <= FEW:
            cut = cut or low < bottom - reach or high > top + reach
            low, high = max(low, bottom - reach), min(high, top + reach)
        lowest = min(lowest, low)
        highest = max(highest, high)
    panel.set_ylim(lowest, highest)
    return cut


CUT = "; intervals of two seeds go on beyond the edge"


def mean_over(seeds: Collection[int]) -> str:
    """Say over how many seeds means are, of contenders with so many each."""
    numbers = set(seeds)
    if len(numbers) != 1:
        return "mean over seeds"
    (number,) = numbers
    return "one seed" if number == 1 else f"mean over {number} seeds"


def interval_note(seeds: Collection[int], *, cut: bool = False) -> str:
    """Say what lines and intervals are, of contenders with so many seeds each; `cut` as `show_intervals` says."""
    return f"{mean_over(seeds)}{', 95 % interval' if max(seeds, default=0) > 1 else ''}{CUT if cut else ''}"


def legend_entry(name: str, seeds: int, others: Collection[int]) -> str:
    """Return the entry of a contender in a legend. It has the number of its seeds if others have another number."""
    return name if len(set(others)) == 1 else f"{name} (n = {seeds})"


class Side(Enum):
    """Where a legend stands, as matplotlib calls it."""

    BELOW = "outside lower center"
    RIGHT = "outside right upper"


def legend(
    figure: Figure, artists: Mapping[str, Artist], title: str, style: FigureStyle = AS_USUAL, *, markers: float = 1.0
) -> None:
    """Put one legend below the panels, or to their right if it is long. Its title says how the figure was made.

    The figure grows by it, unless its size is fixed. `markers` scales the markers. Raises UsageError if the legend
    leaves too little of a figure of fixed size.
    """
    if style.size is None:
        side = _side(figure, artists)
        _grow(figure, side, *_extent(figure, _legend(figure, artists, title, side, markers)))
        return
    for side in Side:
        made = _legend(figure, artists, title, side, markers)
        extent = _extent(figure, made)
        if _fits(side, extent, style.size):
            if side is Side.RIGHT:
                _move_title(figure, style.size[0] - extent[0])
            return
        made.remove()
    width, height = style.size
    raise UsageError(
        f"the legend of {len(artists)} entries does not fit {width:g} × {height:g} inches: choose a larger "
        "--size, short names with --label, or fewer contenders"
    )


def _fits(side: Side, extent: tuple[float, float], size: tuple[float, float]) -> bool:
    """Say if a legend leaves half of a figure to its panels."""
    width, height = extent[0] / size[0], extent[1] / size[1]
    return width <= 1 and height <= 0.5 if side is Side.BELOW else width <= 0.5 and height <= 1


def _side(figure: Figure, artists: Mapping[str, Artist]) -> Side:
    rows = math.ceil(len(artists) / _legend_columns(figure, artists))
    return Side.BELOW if rows <= MOST_BELOW else Side.RIGHT


def _legend_columns(figure: Figure, artists: Mapping[str, Artist]) -> int:
    widest = max(map(len, artists), default=0)
    per_inch = LETTERS / _font_size()
    most = max(1, min(len(artists), int(figure.get_figwidth() / (7 / per_inch + widest / per_inch))))
    return math.ceil(len(artists) / math.ceil(len(artists) / most)) if artists else 1


def _legend(figure: Figure, artists: Mapping[str, Artist], title: str, side: Side, markers: float) -> Legend:
    columns, letters = _legend_columns(figure, artists), None
    if side is Side.RIGHT:
        rows = max(1, int(figure.get_figheight() / _inches("one line")) - 3)
        columns = math.ceil(len(artists) / rows)
        letters = columns * (max(map(len, artists), default=0) + 6)
    return figure.legend(
        list(artists.values()),
        [_legend_text(text) for text in artists],
        loc=side.value,
        ncols=columns,
        title=_wrapped(figure_text(title), figure, letters),
        markerscale=markers,
        fontsize="medium",
        title_fontsize="medium",
    )


def _extent(figure: Figure, made: Legend) -> tuple[float, float]:
    """Return the width and the height of a legend, in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    box = made.get_window_extent(FigureCanvasAgg(figure).get_renderer())  # type: ignore[no-untyped-call]
    return box.width / figure.dpi, box.height / figure.dpi


def _grow(figure: Figure, side: Side, width: float, height: float) -> None:
    """Make room for a legend, so that panels keep their size."""
    gap = 0.15
    if side is Side.BELOW:
        figure.set_size_inches(max(figure.get_figwidth(), width + gap), figure.get_figheight() + height + gap)
        return
    before = figure.get_figwidth()
    figure.set_size_inches(before + width + gap, max(figure.get_figheight(), height + 2 * gap))
    _move_title(figure, before)


def _move_title(figure: Figure, width: float) -> None:
    """Put the title into the middle of the first inches of a figure, beside the legend."""
    shown = " ".join(figure.get_suptitle().split())
    if shown:
        text = _wrapped(shown, figure, letters_in(width))
        figure.suptitle(text, fontsize="medium", x=width / 2 / figure.get_figwidth())


def letters_in(width: float) -> int:
    """Return how many letters a line of so many inches has, at least one."""
    return max(1, int(LETTERS / _font_size() * width))


def _font_size() -> float:
    from matplotlib import rcParams

    return float(rcParams["font.size"])


def _inches(text: str) -> float:
    """Return the height of a text of some lines, in inches."""
    return (text.count("\n") + 1) * LINE * _font_size() / 72


def _legend_text(text: str) -> str:
    """Escape the text of an entry. matplotlib leaves out those that begin with an underscore."""
    escaped = figure_text(text)
    return f" {escaped}" if escaped.startswith("_") else escaped


def _wrapped(text: str, figure: Figure, letters: int | None = None) -> str:
    """Break a text into lines of so many letters, or of as many as the figure is wide."""
    width = letters or letters_in(figure.get_figwidth())
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)


@contextmanager
def _room_for_panels(figure: Figure) -> Iterator[None]:
    """Raise UsageError if matplotlib lays out a figure in the block and has no room for its panels.

    It would warn and draw them over each other.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "constrained_layout not applied", UserWarning)
        try:
            yield
        except UserWarning:
            width, height = figure.get_size_inches()
            raise UsageError(f"the panels do not fit {width:g} × {height:g} inches: choose a larger --size") from None


def lay_out(figure: Figure) -> None:
    """Give panels their places, so that others can be put beside them. Raises UsageError if they have no room."""
    with _room_for_panels(figure):
        figure.draw_without_rendering()


def figure_bytes(figure: Figure, format_: str) -> bytes:
    """Write a figure in a format of METADATA. Equal figures give equal bytes: they have no dates or random ids.

    Raises UsageError if the figure has no room for its panels.
    """
    from matplotlib import rc_context

    stream = io.BytesIO()
    with rc_context({"svg.hashsalt": "collapsebench", "pdf.fonttype": 42}), _room_for_panels(figure):
        figure.savefig(stream, format=format_, dpi=150, metadata=METADATA[format_])
    return stream.getvalue()
