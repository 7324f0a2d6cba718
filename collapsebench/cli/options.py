"""Options that mean the same in every command, and how a command gets many of them as one value."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from collapsebench.cli import completing
from collapsebench.errors import StoreError, UsageError, no_store
from collapsebench.files import DEFAULT_STORE, expanded
from collapsebench.syntax import BASELINE, labels_of, parse_label

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from collapsebench.observation import Unreadable

Decorator: TypeAlias = Callable[[Callable[..., None]], Callable[..., None]]
"""A decorator that adds an option to the function of a command."""


class ExpandedPath(click.Path):
    """A path in which a leading `~` is the home folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Expand the path, and check it as click does. Raises UsageError for a home that is not known."""
        return super().convert(expanded(value), param, ctx)


PATH = ExpandedPath(path_type=Path)
GIVEN = ExpandedPath(path_type=Path, exists=True)
FILE = ExpandedPath(path_type=Path, dir_okay=False)


def _present(context: click.Context, parameter: click.Parameter, store: str) -> str:
    del context, parameter
    check_present(store)
    return store


def check_present(store: str) -> None:
    """Refuse a missing file at once, as it takes long to import what reads stores. Raises StoreError."""
    file = Path(store) if ":" in store else expanded(store)
    if ":" not in store and not file.exists():
        raise StoreError(no_store(str(file)))


def _by_contender(context: click.Context, parameter: click.Parameter, written: tuple[str, ...]) -> Mapping[str, str]:
    del context, parameter
    return labels_of(written, parse_label)


_store = partial(
    click.option,
    "--store",
    envvar="COLLAPSEBENCH_STORE",
    default=DEFAULT_STORE,
    show_default=True,
    help="Where runs are stored: a file, or postgresql://USER@HOST/DATABASE.",
)
store = _store()
stored = _store(callback=_present)
"""The same option for commands that need a store that exists."""
data_dir = click.option(
    "--data-dir",
    envvar="COLLAPSEBENCH_DATA",
    type=PATH,
    default=None,
    help="The folder of original data files; default: the user's cache directory.",
)
plugin = click.option(
    "--plugin",
    "plugins",
    multiple=True,
    type=PATH,
    help="Load a plugin from a Python file; may be repeated.",
)
work_dir = click.option(
    "--work-dir",
    type=PATH,
    default=None,
    metavar="FOLDER",
    help="The --work-dir of the grid that made the runs.  [default: beside the store]",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
output = click.option("--output", type=FILE, default=None, help="Write to a file instead.")
dataset = click.option("--dataset", "-d", default=None, shell_complete=completing.datasets, help="Only this dataset.")
track = click.option(
    "--track",
    default=None,
    shell_complete=completing.tracks,
    help="Only this track; a bare name includes its overrides.",
)
protocol = click.option(
    "--protocol", default=None, metavar="ID", help="Only this protocol: its id or the first digits."
)
against = click.option(
    "--against",
    default=None,
    metavar="CONTENDER",
    shell_complete=completing.contenders,
    help=f"Paired differences to this contender, as in --method of `run`.  [default: {BASELINE}]",
)
suite = click.option(
    "--suite",
    default=None,
    metavar="NAME",
    shell_complete=completing.suites,
    help="A suite beside the published numbers of its paper.",
)
scale = click.option("--scale", default="small", show_default=True, help="A scale of the suite: small, paper.")
variant = click.option(
    "--variant",
    "variants",
    multiple=True,
    metavar="NAME",
    help="Another reading of the paper by the suite (see `suite show`). May be repeated.",
)
cell = click.option(
    "--cell",
    "cells",
    multiple=True,
    metavar="NAME",
    shell_complete=completing.cells,
    help="Only this cell of the suite (see `suite show`). May be repeated.",
)
labels = click.option(
    "--label",
    "labels",
    multiple=True,
    callback=_by_contender,
    metavar="CONTENDER=TEXT",
    help='How a contender is called, as in skip="Skip-VAE". May be repeated.',
)
"""The value is a mapping from canonical contenders to their labels."""
model_labels = click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="MODEL=TEXT",
    shell_complete=completing.models,
    help="How a model of the suite is called, as in 'β-VAE=Beta-VAE': its name as the figure and `suite show` have it. "
    "May be repeated.",
)
"""The value has the labels as they are written, as the suite says which names there are."""


def gathered(kind: type[DataclassInstance], *added: Decorator) -> Decorator:
    """Add options to a command, in the order of `--help`, and hand it a frozen value as the first of its arguments.

    The value takes all options that are called as its fields, those that are added elsewhere, too; the others stay
    arguments of their own. Of several such values the innermost is the first argument.
    """
    names = [field.name for field in fields(kind)]

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @wraps(function)
        def command(*values: Any, **given: Any) -> None:
            own = {name: given.pop(name) for name in names}
            function(kind(**own), *values, **given)

        decorated: Callable[..., None] = command
        for option in reversed(added):
            decorated = option(decorated)
        return decorated

    return decorate


def tell_unreadable(runs: Sequence[Unreadable]) -> None:
    """Name the runs that could not be read, in one line on standard error, if there are any."""
    if runs:
        from collapsebench.observation import unreadable_line

        click.echo(unreadable_line(runs), err=True)


def terminal_width() -> int | None:
    """Return the width of the terminal, None if standard output is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def page_width(output: Path | None) -> int | None:
    """Return the width of the terminal that a page is for, None if it goes to a file."""
    return terminal_width() if output is None else None


def refuse_beside(option: str, **others: object) -> None:
    """Raise UsageError if an option is given together with any of those that mean nothing beside it."""
    found = [f"--{name}" for name, value in others.items() if value is not None]
    if found:
        raise UsageError(f"--{option} does not go with {', '.join(found)}")


def names(text: str) -> tuple[str, ...]:
    """Split a list of names, as in `kl, neg_elbo`."""
    return tuple(name.strip() for name in text.split(","))
