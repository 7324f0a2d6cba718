"""The options of commands that name contenders and a protocol."""

from __future__ import annotations

from dataclasses import dataclass

import click

from collapsebench.cli import completing, options
from collapsebench.syntax import BASELINE


@dataclass(frozen=True)
class RequestOptions:
    """The contenders and the protocol that a user asks for."""

    methods: tuple[str, ...]
    dataset: str
    track: str
    budget: str | None
    settings: tuple[str, ...]
    no_baseline: bool


request_options = options.gathered(
    RequestOptions,
    click.option(
        "--method",
        "-m",
        "methods",
        multiple=True,
        metavar="A+B[KEY=VALUE]@rate=R",
        shell_complete=completing.contenders,
        help="A contender: methods joined by +, parameters in brackets, and a factor of the track's learning rate "
        "behind @rate; 'a[key=1|2]' and 'a@rate=1|2' are one for each value. May be repeated.",
    ),
    click.option(
        "--dataset",
        "-d",
        required=True,
        shell_complete=completing.datasets,
        help="The dataset (see `collapsebench data list`).",
    ),
    click.option(
        "--track",
        default="quick",
        show_default=True,
        metavar="NAME|FILE",
        shell_complete=completing.tracks,
        help="The dataset's setting, or a file with another one, as in mine.toml.",
    ),
    click.option(
        "--budget",
        default=None,
        metavar="AMOUNT UNIT",
        help="Instead of the track's, in steps, epochs, examples, seconds or flops, as in 350steps or 5e13flops.",
    ),
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="KEY=VALUE",
        help="Override a track, as in decoder.layers=3 and decoder=mlp[layers=3,hidden=64]. May be repeated.",
    ),
    click.option("--no-baseline", is_flag=True, help=f"Leave out the baseline '{BASELINE}' beside the contenders."),
)
