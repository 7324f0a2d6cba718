"""`collapsebench leaderboard`: its options. What makes boards is imported when one is asked for, not for `--help`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import click

from collapsebench.cli import options
from collapsebench.cli.files import destination
from collapsebench.syntax import BASELINE

FORMATS = ("table", "markdown", "latex", "html", "csv", "json")
DIALECTS = ("dieng2019", "skip-vae-released", "he2019", "li2019")
"""Named here as well as where they are made, which takes ten times as long to import as click."""


@click.command("leaderboard")
@click.option("--dataset", "-d", default=None, help="Only this dataset.")
@click.option("--track", default=None, help="Only this track; a bare name includes its overrides.")
@click.option("--protocol", default=None, metavar="ID", help="Only this protocol: its id or the first digits.")
@click.option("--format", "format_", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option(
    "--sort",
    default=None,
    metavar="COLUMN",
    help="Rows by this column, the best (or lowest) first, below the contender that they are compared with.",
)
@click.option(
    "--against",
    default=None,
    metavar="CONTENDER",
    help=f"Paired differences to this contender, as in --method of `run`.  [default: {BASELINE}]",
)
@click.option(
    "--at",
    default=None,
    metavar="COUNTER=AMOUNT",
    help="Validation numbers where the runs had spent so much, as in flops=1e13 or seconds=60.",
)
@click.option(
    "--dialect",
    type=click.Choice(DIALECTS),
    help="KL, MI and AU as this paper or program would have scored them.",
)
@click.option("--columns", default=None, metavar="A,B,…", help="Only these columns, in this order.  [default: all]")
@click.option("--suite", default=None, metavar="NAME", help="A suite beside the published numbers of its paper.")
@options.scale
@options.variant
@options.plugin
@options.output
@options.stored
def command(output: Path | None, store: str, **given: Any) -> None:
    """Render one leaderboard for each protocol; runs of different protocols never share one.

    Results are means over seeds with 95 % intervals, and paired differences to the baseline 'vae' or, with --against,
    to another contender: with `--against sa-vae` the row of skip+sa-vae says what skip adds. Formats csv and json hold
    every seed's value in full precision. Where the data were generated, the best possible numbers stand below the
    contenders, with each one's regret and its share of the true information.

    With --dialect: the same runs as Dieng et al., their released program, He et al. or Li et al. would have scored
    them, to be read beside their tables.

    With --suite: what is stored of a suite (with --scale, --variant, --plugin) beside what its paper printed, the
    differences, and which of the numbers are comparable at all; by default the columns that the paper prints.
    """
    from collapsebench.reporting.boards import texts

    width = shutil.get_terminal_size().columns if output is None and sys.stdout.isatty() else None
    text = texts(store, width, given)
    with destination(output) as stream:
        stream.writelines(text)
