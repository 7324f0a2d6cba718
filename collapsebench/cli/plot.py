"""`collapsebench plot`: figures of the stored runs, one sub-command a figure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from collapsebench.cli import completing, options
from collapsebench.cli.files import destination
from collapsebench.cli.league import DIVISIONS
from collapsebench.errors import UsageError
from collapsebench.reporting.plotting.canvas import COLUMN, METADATA, FigureStyle, check_matplotlib, figure_bytes

if TYPE_CHECKING:
    from collapsebench.reporting.figures import DrawnFigure
    from collapsebench.reporting.queries import Query

COUNTERS = (
    "steps",
    "epochs",
    "examples",
    "seconds",
    "flops",
    "encoder_evaluations",
    "decoder_evaluations",
    "decoder_gradients",
)
TRAJECTORY_COLUMNS = ("neg_elbo", "kl", "mi_lower", "mi_upper", "active_units", "loss")
"""Named here, too, as their own modules take ten times as long to import as click."""


SMALLEST, LARGEST = 1.0, 60.0
"""The sizes of a figure, in inches."""


class Figures(click.Group):
    """The group of figures; `plot --dataset NAME` without a figure's name draws the trajectories."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put in the name that is left out."""
        named = not args or not args[0].startswith("-") or args[0] in ctx.help_option_names
        return super().parse_args(ctx, args if named else ["trajectories", *args])


@click.group("plot", cls=Figures)
def command() -> None:
    """Draw a figure of the stored runs to a PNG, SVG or PDF file. Without a figure's name: trajectories.

    What is drawn is chosen as elsewhere, by --dataset, --track and --protocol, or is what a --suite declares.
    """


@dataclass(frozen=True)
class CommonOptions:
    """The options that mean the same for every figure."""

    dataset: str | None
    track: str | None
    protocol: str | None
    suite: str | None
    scale: str
    variants: tuple[str, ...]
    cells: tuple[str, ...]
    contenders: tuple[str, ...]
    plugins: tuple[Path, ...]
    title: str | None
    size: tuple[float, float] | None
    output: Path
    store: str

    @property
    def style(self) -> FigureStyle:
        """The looks of the figure."""
        return FigureStyle(self.title, self.size)

    @property
    def format(self) -> str:
        """The format of the file by its ending. Raises UsageError for one that cannot be written."""
        format_ = self.output.suffix.removeprefix(".").lower()
        if format_ not in METADATA:
            raise UsageError(f"cannot write '{self.output}': its ending must be one of {', '.join(METADATA)}")
        return format_

    @property
    def query(self) -> Query:
        """The protocols to draw. Raises UsageError if none is named, and for options that do not go together."""
        from collapsebench.reporting.queries import ProtocolQuery, SuiteQuery

        if self.suite is not None:
            options.refuse_beside("suite", track=self.track, protocol=self.protocol)
            return SuiteQuery(self.suite, self.scale, self.variants, self.plugins, self.dataset, self.cells)
        if self.cells:
            raise UsageError("--cell is of a suite: give --suite")
        if self.dataset is None and self.protocol is None:
            raise UsageError("nothing to draw: give --dataset, --protocol or --suite")
        return ProtocolQuery(self.dataset, self.track, self.protocol)


@dataclass(frozen=True)
class FigureOptions(CommonOptions):
    """The options of a figure of contenders."""

    labels: Mapping[str, str]

    @property
    def style(self) -> FigureStyle:
        """The looks of the figure, with the labels of contenders."""
        return FigureStyle(self.title, self.size, self.labels)


@dataclass(frozen=True)
class LeagueFigureOptions(CommonOptions):
    """The options of a figure of a league."""

    division: str
    labels: tuple[str, ...]
    """The labels of models as they are written: the suite says which models there are."""


class Inches(click.ParamType):  # type: ignore[type-arg]
    """The width and the height of a figure, as in 3.3,2.5."""

    name = "inches"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        """Return both. Raises UsageError."""
        del param, ctx
        return value if isinstance(value, tuple) else inches(value)


def inches(text: str) -> tuple[float, float]:
    """Read a width and a height in inches. Raises UsageError."""
    found = re.fullmatch(r"\s*(\d+\.?\d*)\s*,\s*(\d+\.?\d*)\s*", text)
    width, height = (float(found[1]), float(found[2])) if found else (0.0, 0.0)
    if not (SMALLEST <= width <= LARGEST and SMALLEST <= height <= LARGEST):
        raise UsageError(f"--size '{text}' must be W,H in inches, each of {SMALLEST:g} to {LARGEST:g}, as in 3.3,2.5")
    return width, height


selection: tuple[options.Decorator, ...] = (
    options.dataset,
    options.track,
    options.protocol,
    click.option(
        "--suite",
        default=None,
        metavar="NAME",
        shell_complete=completing.suites,
        help="The runs of a suite (see `suite list`).",
    ),
    options.scale,
    options.variant,
    options.cell,
    click.option(
        "--contender",
        "contenders",
        multiple=True,
        metavar="NAME",
        shell_complete=completing.contenders,
        help="Only this contender, as in skip+sa-vae[steps=20]. May be repeated.",
    ),
    options.plugin,
)
looks: tuple[options.Decorator, ...] = (
    click.option("--title", default=None, help="The title; an empty text for none.  [default: what is drawn]"),
    click.option(
        "--size",
        type=Inches(),
        default=None,
        metavar="W,H",
        help="Width and height in inches, legend included, as in 3.3,2.5 for a column of a paper: below "
        f"{COLUMN:g} inches letters and lines are small.",
    ),
    click.option(
        "--output",
        type=options.FILE,
        default=Path("plot.png"),
        show_default=True,
        help=f"The file; its ending says how it is written: {', '.join(METADATA)}.",
    ),
    options.stored,
)
figure_options = options.gathered(FigureOptions, *selection, options.labels, *looks)
league_figure_options = options.gathered(
    LeagueFigureOptions,
    click.option(
        "--division",
        type=click.Choice(DIVISIONS),
        default=DIVISIONS[0],
        show_default=True,
        help="The defaults, or what a kind of rule has chosen of the trials.",
    ),
    *selection,
    options.model_labels,
    *looks,
)


@command.command("trajectories", short_help="Validation values over steps, seconds or FLOPs.")
@click.option("--x", default="steps", show_default=True, metavar="COUNTER", help=f"One of {', '.join(COUNTERS)}.")
@click.option(
    "--y",
    default="neg_elbo,kl,mi_lower,active_units",
    show_default=True,
    metavar="A,B,…",
    help=f"A panel for each, of {', '.join(TRAJECTORY_COLUMNS)}; those that no run has are left out.",
)
@figure_options
def trajectories(given: FigureOptions, x: str, y: str) -> None:
    """Values of the validation split over what the runs had spent, a line a contender."""
    from collapsebench.reporting.figures import draw_trajectories

    _draw(given, partial(draw_trajectories, x=x, y=options.names(y)))


@command.command("depth", short_help="KL and MI over decoder layers, or another setting.")
@click.option("--over", default="decoder.layers", show_default=True, metavar="SETTING", help="As --set writes it.")
@click.option(
    "--columns",
    default="kl,mi_lower",
    show_default=True,
    metavar="A,B,…",
    shell_complete=completing.columns,
    help="A panel for each column of the board.",
)
@figure_options
def depth(given: FigureOptions, over: str, columns: str) -> None:
    """KL and MI over the layers of the decoder, or others over another setting (Dieng et al. 2019, Figure 1, right).

    Drawn from protocols that differ in nothing but this setting. With a suite the numbers of its paper are hollow.
    """
    from collapsebench.reporting.figures import draw_depth

    _draw(given, partial(draw_depth, over=over, columns=options.names(columns)))


@command.command("codes", short_help="t-SNE of posterior means, coloured by label.")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=None,
    help="The runs of this seed, and that of the embedding.  [default: the first of which all have codes]",
)
@click.option(
    "--examples", type=click.IntRange(min=4), default=2000, show_default=True, help="At most so many, drawn at random."
)
@options.data_dir
@options.work_dir
@figure_options
def codes(given: FigureOptions, seed: int | None, examples: int, data_dir: Path | None, work_dir: Path | None) -> None:
    """t-SNE of the posterior means of the test split, coloured by label (Dieng et al. 2019, Figure 2).

    A panel for each contender. Runs that were made without --keep-codes have their codes computed from their weights.
    """
    from collapsebench.experiment.trained import Models
    from collapsebench.reporting.figures import draw_codes

    models = Models.installed(given.store, work_dir, given.plugins, data_dir)
    _draw(given, partial(draw_codes, seed=seed, examples=examples, models=models))


@command.command("rate-distortion", short_help="KL against reconstruction.")
@figure_options
def rate_distortion(given: FigureOptions) -> None:
    """The plane of rate (KL) and distortion (reconstruction): contenders of equal −ELBO are on one grey line."""
    from collapsebench.reporting.figures import draw_rate_distortion

    _draw(given, draw_rate_distortion)


@command.command("spectrum", short_help="Variances of the units in falling order.")
@figure_options
def spectrum(given: FigureOptions) -> None:
    """The variance of each unit's posterior mean, in falling order: what a count of active units does not show."""
    from collapsebench.reporting.figures import draw_spectrum

    _draw(given, draw_spectrum)


@command.command("league-profile", short_help="How near runs come to the best of each task of a league.")
@league_figure_options
def league_profile(given: LeagueFigureOptions) -> None:
    """The share of runs of a league (--suite) over their regret: 0 is the best of a task, 1 a model without z."""
    from collapsebench.reporting.divisions import Division
    from collapsebench.reporting.figures import draw_league_profile

    _draw(given, partial(draw_league_profile, division=Division(given.division), labels=given.labels))


@command.command("league-fronts", short_help="Likelihood and information in each task of a league.")
@league_figure_options
def league_fronts(given: LeagueFigureOptions) -> None:
    """IW-NLL and mutual information of a league (--suite), a panel for each task, with its front named."""
    from collapsebench.reporting.divisions import Division
    from collapsebench.reporting.figures import draw_league_fronts

    _draw(given, partial(draw_league_fronts, division=Division(given.division), labels=given.labels))


def _draw(given: CommonOptions, draw: Callable[..., DrawnFigure]) -> None:
    """Draw one figure to its file, and say what is in it."""
    from collapsebench.store import Store
    from collapsebench.syntax import canonical

    query, contenders = given.query, tuple(map(canonical, given.contenders))
    check_matplotlib()
    format_ = given.format
    with Store.reading(given.store) as store:
        drawn = draw(store, query, contenders, given.style)
        options.tell_unreadable(store.unreadable)
    content = figure_bytes(drawn.figure, format_)
    with destination(given.output) as stream:
        stream.buffer.write(content)
    click.echo(f"wrote {given.output}: {drawn.what}")
