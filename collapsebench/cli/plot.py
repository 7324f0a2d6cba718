"""`collapsebench plot`: figures of the stored runs, one sub-command a figure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from collapsebench.cli import options
from collapsebench.cli.files import destination
from collapsebench.errors import StoreError, UsageError, unknown
from collapsebench.experiment.meter import COUNTERS
from collapsebench.reporting.families import sweep
from collapsebench.reporting.leaderboard.trajectories import QUANTITIES, check_counter
from collapsebench.reporting.plotting.canvas import METADATA, check_matplotlib, written
from collapsebench.reporting.plotting.depth import DEPTH
from collapsebench.reporting.selection import Asked, kept_codes, one_protocol

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from collapsebench.store import Store

Command = TypeVar("Command", bound=Callable[..., Any])
TRAJECTORIES = "neg_elbo,kl,mi_lower,active_units"


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


def chosen(function: Command) -> Command:
    """The options of every figure, in the order of `--help`."""
    for option in reversed(
        [
            click.option("--dataset", "-d", default=None, help="Only this dataset."),
            click.option("--track", default=None, help="Only this track; a bare name includes its overrides."),
            click.option("--protocol", default=None, metavar="ID", help="Only this protocol: its first digits."),
            click.option("--suite", default=None, metavar="NAME", help="The runs of a suite (see `suite list`)."),
            options.scale,
            options.variant,
            click.option("--cell", "cells", multiple=True, metavar="NAME", help="Only this cell of the suite."),
            click.option(
                "--contender",
                "contenders",
                multiple=True,
                metavar="NAME",
                help="Only this contender, as in skip+sa-vae[steps=20]. May be repeated.",
            ),
            options.plugin,
            click.option(
                "--output",
                type=click.Path(path_type=Path, dir_okay=False),
                default=Path("plot.png"),
                show_default=True,
                help=f"The file; its ending says how it is written: {', '.join(METADATA)}.",
            ),
            options.stored,
        ]
    ):
        function = option(function)
    return function


@command.command("trajectories", short_help="Validation values over steps, seconds or FLOPs.")
@click.option("--x", default="steps", show_default=True, metavar="COUNTER", help=f"One of {', '.join(COUNTERS)}.")
@click.option(
    "--y",
    default=TRAJECTORIES,
    show_default=True,
    metavar="A,B,…",
    help=f"A panel for each, of {', '.join(QUANTITIES)}; those that no run has are left out.",
)
@chosen
def trajectories(x: str, y: str, output: Path, **given: Any) -> None:
    """Values of the validation split over what the runs had spent, a line a contender."""
    from collapsebench.reporting.plotting.trajectories import draw, lines

    check_counter(x)
    quantities = _known("value", y, QUANTITIES)
    with _drawing(output, given) as store:
        selected = one_protocol(store, Asked.of(given), trajectories=True)
    drawn = {quantity: found for quantity in quantities if (found := lines(selected.runs, x, quantity))}
    if not drawn:
        raise StoreError(f"no run of protocol {selected.protocol_id} has finished and has counted {x}")
    number = max(sum(len(line.seeds) for line in found) for found in drawn.values())
    left_out = len(selected.runs) - number
    note = f"; left out {left_out} that did not finish or did not count {x}" if left_out else ""
    _write(draw(drawn, x, selected.title), output, f"{', '.join(drawn)} over {x} of {number} runs{note}")


@command.command("depth", short_help="KL and MI over decoder layers, or another setting.")
@click.option("--over", default=DEPTH, show_default=True, metavar="SETTING", help="As --set writes it.")
@click.option(
    "--columns", default="kl,mi_lower", show_default=True, metavar="A,B,…", help="A panel for each column of the board."
)
@chosen
def depth(over: str, columns: str, output: Path, **given: Any) -> None:
    """KL and MI over the layers of the decoder, or others over another setting (Dieng et al. 2019, Figure 1, right).

    Drawn from protocols that differ in nothing but this setting. With a suite the numbers of its paper are hollow.
    """
    from collapsebench.reporting.plotting.depth import draw, series

    asked = Asked.of(given)
    with _drawing(output, given) as store:
        swept = sweep(store, asked, over)
    known = {column.key: column for board in swept.boards.values() for column in board.columns}
    keys = _known("column", columns, known)
    drawn = {known[key]: series(swept.boards, key, swept.printed) for key in keys}
    if not any(drawn.values()):
        raise StoreError("no contender has finished all its seeds: `collapsebench leaderboard` shows what there is")
    figure = draw(drawn, over, swept.title, swept.note)
    _write(figure, output, f"{', '.join(keys)} over {over} at {', '.join(f'{place:g}' for place in swept.boards)}")


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
@chosen
def codes(seed: int | None, examples: int, output: Path, **given: Any) -> None:
    """t-SNE of the posterior means of the test split, coloured by label (Dieng et al. 2019, Figure 2).

    Of runs that were made with --keep-codes; a panel for each contender.
    """
    from collapsebench.reporting.plotting.codes import draw, embeddings, made

    asked = Asked.of(given)
    with _drawing(output, given) as store:
        selected = one_protocol(store, asked)
        number, kept = kept_codes(store, selected, seed)
    total = len(next(iter(kept.values())).mean)
    drawn = embeddings(kept, examples, number)
    shown = min(examples, total)
    figure = draw(drawn, selected.title, made(shown, total, number))
    _write(figure, output, f"codes of {', '.join(drawn)}, seed {number}, {shown} of {total} examples")


@command.command("rate-distortion", short_help="KL against reconstruction.")
@chosen
def rate_distortion(output: Path, **given: Any) -> None:
    """The plane of rate (KL) and distortion (reconstruction): contenders of equal −ELBO are on one grey line."""
    from collapsebench.reporting.leaderboard import ENTRIES, score
    from collapsebench.reporting.plotting.rate_distortion import draw, places

    asked = Asked.of(given)
    with _drawing(output, given) as store:
        selected = one_protocol(store, asked, entries=ENTRIES)
    drawn = places(score(selected.runs))
    if not drawn:
        raise StoreError(
            f"no contender of protocol {selected.protocol_id} has KL and reconstruction for all its seeds: "
            "they are of the metrics 'kl' and 'neg-elbo', at the end of a run"
        )
    _write(draw(drawn, selected.title), output, f"rate and distortion of {', '.join(each.label for each in drawn)}")


@command.command("spectrum", short_help="Variances of the units in falling order.")
@chosen
def spectrum(output: Path, **given: Any) -> None:
    """The variance of each unit's posterior mean, in falling order: what a count of active units does not show."""
    from collapsebench.reporting.plotting.spectrum import draw, entries, spectra, threshold

    asked = Asked.of(given)
    with _drawing(output, given) as store:
        protocol = one_protocol(store, asked).runs[0].protocol
        selected = one_protocol(store, asked, entries=entries(protocol))
    drawn = spectra(selected.runs)
    if not drawn:
        raise StoreError(
            f"no run of protocol {selected.protocol_id} has finished with variances of its units: they are of the "
            "metric 'active-units'"
        )
    figure = draw(drawn, threshold(protocol), selected.title)
    _write(figure, output, f"variances of the units of {', '.join(each.label for each in drawn)}")


@contextmanager
def _drawing(output: Path, given: Mapping[str, Any]) -> Iterator[Store]:
    """The store, after a look at whether a figure can be drawn and written at all. Raises UsageError if not."""
    check_matplotlib()
    _format(output)
    from collapsebench.store import Store

    with Store.open(given["store"], create=False) as store:
        yield store


def _format(output: Path) -> str:
    format_ = output.suffix.removeprefix(".").lower()
    if format_ not in METADATA:
        raise UsageError(f"cannot write '{output}': its ending must be one of {', '.join(METADATA)}")
    return format_


def _write(figure: Figure, output: Path, what: str) -> None:
    """Write the file and say what is in it."""
    content = written(figure, _format(output))
    with destination(output) as stream:
        stream.buffer.write(content)
    click.echo(f"wrote {output}: {what}")


def _known(what: str, names: str, known: Collection[str]) -> list[str]:
    """The names of a list `a,b`. Raises UsageError for one that is not known."""
    wanted = [name.strip() for name in names.split(",")]
    for name in wanted:
        if name not in known:
            raise UsageError(unknown(what, name, known))
    return list(dict.fromkeys(wanted))
