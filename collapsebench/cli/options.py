"""Options that mean the same in every command."""

from __future__ import annotations

from pathlib import Path

import click

DEFAULT_STORE = "results/collapsebench.sqlite"

store = click.option(
    "--store",
    envvar="COLLAPSEBENCH_STORE",
    default=DEFAULT_STORE,
    show_default=True,
    help="Where runs are stored: a file, or any SQLAlchemy URL.",
)
data_dir = click.option(
    "--data-dir",
    envvar="COLLAPSEBENCH_DATA",
    type=click.Path(path_type=Path),
    default=None,
    help="The folder of original data files; default: the user's cache directory.",
)
plugin = click.option(
    "--plugin",
    "plugins",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Load a plugin from a Python file; may be repeated.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
output = click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), default=None, help="Write to a file instead."
)
scale = click.option("--scale", default="small", show_default=True, help="A scale of the suite: small, paper.")
variant = click.option(
    "--variant",
    "variants",
    multiple=True,
    metavar="NAME",
    help="Another reading of the paper by the suite (see `suite show`). May be repeated.",
)
