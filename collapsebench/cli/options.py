"""Options that mean the same in every command."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from collapsebench.errors import StoreError, no_store

DEFAULT_STORE = "results/collapsebench.sqlite"


def _present(context: click.Context, parameter: click.Parameter, store: str) -> str:
    """Refuse a missing file before what reads stores is imported, which takes many times as long as this."""
    del context, parameter
    file = Path(store).expanduser()
    if "://" not in store and not file.exists():
        raise StoreError(no_store(str(file)))
    return store


_store = partial(
    click.option,
    "--store",
    envvar="COLLAPSEBENCH_STORE",
    default=DEFAULT_STORE,
    show_default=True,
    help="Where runs are stored: a file, or any SQLAlchemy URL.",
)
store = _store()
stored = _store(callback=_present)
"""The same for commands that need one that is there."""
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
