"""`collapsebench data`: the datasets, their cards, and whether their files are here and right."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from collapsebench.cli import completing, options
from collapsebench.errors import DataError

names_argument = click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=completing.datasets)


@click.group("data")
def command() -> None:
    """List, show, add, fetch and verify datasets."""


@command.command("list")
@options.plugin
@options.data_dir
@options.as_json
def list_(plugins: tuple[Path, ...], data_dir: Path | None, *, as_json: bool) -> None:
    """List the datasets, and whether their files are here."""
    from collapsebench.data.cards import DatasetLine, list_datasets

    found = list_datasets(plugins, data_dir)
    if as_json:
        click.echo(json.dumps([line._asdict() for line in found], indent=2))
    else:
        _print_table(DatasetLine._fields, found)


@command.command("show")
@click.argument("name", metavar="NAME[KEY=VALUE]", shell_complete=completing.datasets)
@options.plugin
@options.data_dir
@options.as_json
def show(name: str, plugins: tuple[Path, ...], data_dir: Path | None, *, as_json: bool) -> None:
    """Show a dataset's card: licence, comparability, parameters, splits, files, tracks, and the truth if known."""
    from collapsebench.data.cards import dataset_card

    card = dataset_card(name, plugins, data_dir)
    click.echo(json.dumps(card.as_json(), indent=2) if as_json else card.as_text())


@command.command("add")
@click.argument("name")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=options.GIVEN)
@click.option("--text", is_flag=True, help="The files are texts, one document a line.")
@click.option("--images", is_flag=True, help="They are IDX, npy or npz files, or a folder of IDX or PNG files.")
@click.option("--split", "shares", default=None, metavar="SHARES", help="Divide one file, as in 0.8,0.1,0.1.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Draws the division.")
@click.option(
    "--labels",
    type=click.Choice(["first-column", "none"]),
    default=None,
    help="Where the labels of a text stand: before the first tab of every line, or nowhere.  [default: found out]",
)
@click.option("--replace", is_flag=True, help="Replace a dataset of this name that was added before.")
@options.data_dir
@options.as_json
def add(*, name: str, data_dir: Path | None, as_json: bool, **given: Any) -> None:
    """Add texts or pictures of your own to the data folder, as the dataset NAME.

    Three files are train, valid and test. Two are train and test, and one is all: --split divides them.
    """
    from collapsebench.data.adding import Addition
    from collapsebench.data.cards import dataset_card

    command = Addition.of(name, **given).store(data_dir)
    card = dataset_card(name, (), data_dir)
    click.echo(json.dumps(card.as_json(), indent=2) if as_json else f"{card.found_text()}\nnext: {command}")


@command.command("fetch")
@names_argument
@options.plugin
@options.data_dir
@options.as_json
def fetch(names: tuple[str, ...], plugins: tuple[Path, ...], data_dir: Path | None, *, as_json: bool) -> None:
    """Download the files of datasets that are not here yet, and check them.

    A download that breaks off goes on where it was when the command is given again.
    """
    from rich.console import Console

    from collapsebench.data.fetching import fetch_datasets

    fetched, errors = {}, []
    for each in fetch_datasets(names, plugins, data_dir, Console(stderr=True)):
        if each.error is not None:
            errors.append(each.error)
        else:
            fetched[each.name] = list(map(str, each.files))
            click.echo(each.text, err=as_json)
    if as_json:
        click.echo(json.dumps(fetched, indent=2))
    if errors:
        raise DataError("; ".join(errors))


@command.command("verify")
@names_argument
@options.plugin
@options.data_dir
@options.as_json
def verify(names: tuple[str, ...], plugins: tuple[Path, ...], data_dir: Path | None, *, as_json: bool) -> None:
    """Check the files that are here, and the splits made of them, against the cards' checksums; all by default."""
    from collapsebench.data.checking import check_datasets

    checks = check_datasets(names, plugins, data_dir)
    if as_json:
        click.echo(json.dumps([check._asdict() for check in checks], indent=2))
    else:
        _print_table(("dataset", "what", "result"), [check[:3] for check in checks])
    wrong = sum(check.right is False for check in checks)
    if wrong:
        raise DataError(f"{wrong} of {len(checks)} checks failed")


def _print_table(headers: Sequence[str], rows: Iterable[Iterable[str]]) -> None:
    """Print a table: in colours on a terminal, plain elsewhere."""
    from rich.console import Console

    console = Console()
    if console.is_terminal:
        from rich.table import Table

        table = Table(*headers)
        for row in rows:
            table.add_row(*row)
        console.print(table)
        return
    from tabulate import tabulate

    click.echo(tabulate(rows, headers=headers, disable_numparse=True))
