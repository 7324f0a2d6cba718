"""`collapsebench data`: the datasets, their cards, and whether their files are here and right."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import click

from collapsebench.cli import options
from collapsebench.errors import CollapsebenchError, DataError, UsageError

if TYPE_CHECKING:
    from collapsebench.components.catalog import Catalog
    from collapsebench.components.interfaces import Dataset
    from collapsebench.data.base import Generated
    from collapsebench.facts import DatasetFacts

Truth: TypeAlias = dict[str, dict[str, float | None]] | str
"""The value and its standard error by column, or why they are not known."""

names_argument = click.argument("names", nargs=-1, metavar="[NAME]...")


class DatasetHere(NamedTuple):
    """A dataset with its facts and the folder of its files."""

    dataset: Dataset
    facts: DatasetFacts
    folder: Path
    components: Catalog


@click.group("data")
def command() -> None:
    """List, show, fetch and verify datasets."""


@command.command("list")
@options.plugin
@options.data_dir
@options.as_json
def list_(plugins: tuple[Path, ...], data_dir: Path | None, *, as_json: bool) -> None:
    """List the datasets, and whether their files are here."""
    from collapsebench.data.files import available

    found = _find_datasets((), plugins, data_dir)
    rows = [
        {
            "name": facts.name,
            "kind": facts.card.kind,
            "examples": " / ".join(f"{split.examples:,}" for split in facts.splits.values() if split.examples),
            "available": "embedded" if facts.embedded else "yes" if available(facts, folder) else "no",
            "title": facts.card.title,
        }
        for facts, folder in ((each.facts, each.folder) for each in found)
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        _print_table(list(rows[0]), [list(row.values()) for row in rows])


@command.command("show")
@click.argument("name", metavar="NAME[KEY=VALUE]")
@options.plugin
@options.data_dir
@options.as_json
def show(name: str, plugins: tuple[Path, ...], data_dir: Path | None, *, as_json: bool) -> None:
    """Show a dataset's card: licence, comparability, parameters, splits, files, tracks, and the truth if known."""
    (here,) = _find_datasets([name], plugins, data_dir)
    card = _card(here)
    click.echo(json.dumps(card, indent=2) if as_json else "\n".join(_lines(card)))


@command.command("fetch")
@names_argument
@options.plugin
@options.data_dir
@options.as_json
def fetch(names: tuple[str, ...], plugins: tuple[Path, ...], data_dir: Path | None, *, as_json: bool) -> None:
    """Download the files of datasets that are not here yet, and check them."""
    from rich.console import Console

    from collapsebench.data import fetching

    if not names:
        raise UsageError("name the datasets to fetch; 'collapsebench data list' shows them")
    fetched: dict[str, list[str]] = {}
    failures = []
    for here in _find_datasets(names, plugins, data_dir):
        facts = here.facts
        try:
            fetched[facts.name] = list(map(str, fetching.fetch(facts, here.folder, Console(stderr=True))))
        except DataError as error:
            failures.append(str(error))
        else:
            nothing = "needs no files" if facts.embedded else "all files are here"
            click.echo(f"{facts.name}: {', '.join(fetched[facts.name]) or nothing}", err=as_json)
    if as_json:
        click.echo(json.dumps(fetched, indent=2))
    if failures:
        raise DataError("; ".join(failures))


@command.command("verify")
@names_argument
@options.plugin
@options.data_dir
@options.as_json
def verify(names: tuple[str, ...], plugins: tuple[Path, ...], data_dir: Path | None, *, as_json: bool) -> None:
    """Check the files that are here, and the splits made of them, against the cards' checksums; all by default."""
    rows = [row for here in _find_datasets(names, plugins, data_dir) for row in _checks(here)]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        _print_table(["dataset", "what", "result"], [[row["dataset"], row["what"], row["result"]] for row in rows])
    wrong = sum(not row["right"] for row in rows)
    if wrong:
        raise DataError(f"{wrong} of {len(rows)} checks failed")


def _find_datasets(names: Sequence[str], plugins: tuple[Path, ...], data_dir: Path | None) -> list[DatasetHere]:
    """Find datasets by name, written `name[key=value]`; all of them without a name."""
    from collapsebench.components import discovery
    from collapsebench.components.interfaces import Dataset
    from collapsebench.data.files import data_folder, facts_of
    from collapsebench.spec import Choice
    from collapsebench.syntax import parse_composition

    components = discovery.load(plugins)
    found = []
    for text in names or components.names("dataset"):
        call, *others = parse_composition(text)
        if others:
            raise UsageError(f"'{text}' names several datasets: they cannot be combined")
        dataset = components.create(Dataset, Choice(name=call.name, params=call.params))
        found.append(DatasetHere(dataset, facts_of(dataset), data_folder(data_dir), components))
    return found


def _card(here: DatasetHere) -> dict[str, Any]:
    """The card of a dataset, as JSON."""
    from collapsebench.data.files import find

    dataset, facts, folder, _ = here
    fields = type(dataset).model_fields
    card = facts.model_dump(mode="json", exclude_none=True)
    for file, entry in zip(facts.files, card["files"], strict=True):
        entry["found"] = str(find(facts, file, folder) or "") or None
    values = dataset.model_dump(mode="json")
    return card | {
        "citation": dataset.citation,
        "data_folder": str(folder / facts.folder),
        "parameters": {key: {"value": value, "description": fields[key].description} for key, value in values.items()},
        "truth": _truths(here),
    }


def _truths(here: DatasetHere) -> dict[str, Truth]:
    """The best possible numbers of this dataset and of the data of each of its tracks; empty if they are not known."""
    from collapsebench.data.base import Generated
    from collapsebench.spec import Choice
    from collapsebench.syntax import print_call

    if not isinstance(here.dataset, Generated):
        return {}
    name, passed = here.dataset.name, here.dataset.model_dump(exclude_defaults=True)
    choices = [passed] if passed else [{}, *(track.get("data", {}) for track in here.facts.tracks.values())]
    datasets = [here.components.create(Generated, Choice(name=name, params=params)) for params in choices]
    return {
        print_call(name, dataset.model_dump(mode="json", exclude_defaults=True)): _truth(dataset)
        for dataset in datasets
    }


def _truth(dataset: Generated) -> Truth:
    try:
        return {column: estimate._asdict() for column, estimate in dataset.truth().items()}
    except CollapsebenchError as error:
        return str(error)


def _lines(card: dict[str, Any]) -> Iterator[str]:
    """Write the card for a reader."""
    about = card["card"]
    yield f"{card['name']}: {about['title']}"
    for key in ("description", "comparability", "licence"):
        yield textwrap.fill(f"{key}: {about[key]}", 100, initial_indent="  ", subsequent_indent="    ")
    yield f"  citation: {card['citation'] or 'none'}"
    yield "parameters:"
    for key, parameter in card["parameters"].items():
        yield f"  {key} = {json.dumps(parameter['value'])}: {parameter['description']}"
    yield "splits (at the default parameters):"
    for name, split in card["splits"].items():
        yield f"  {name}: {split.get('examples')} examples, sha256 {split.get('sha256', 'not known')}"
    yield f"files in {card['data_folder']}:" if card["files"] else "files: none needed"
    for file in card["files"]:
        yield f"  {file['name']}: {file['found'] or 'not here'}{'; optional' if file['optional'] else ''}"
        yield f"    {_checksum(file)}{'; ' + file['url'] if 'url' in file else ''}"
    if about["source"]:
        yield f"  by hand: {about['source']}"
    yield "tracks:"
    for name, track in card["tracks"].items():
        yield f"  {name} ({track['budget']}): {track['description']}"
    for label, truth in card["truth"].items():
        yield f"truth of {label}, in nats per example: {_print_truth(truth)}"


def _checksum(file: dict[str, Any]) -> str:
    kind = next((kind for kind in ("sha256", "md5", "git_blob") if kind in file), None)
    return "checksum not known" if kind is None else f"{kind} {file[kind]}"


def _print_truth(truth: Truth) -> str:
    if isinstance(truth, str):
        return truth
    errors = {column: estimate["standard_error"] for column, estimate in truth.items()}
    return ", ".join(
        f"{column} {estimate['value']:.4f}" + ("" if errors[column] is None else f" ± {errors[column]:.4f}")
        for column, estimate in truth.items()
    )


def _checks(here: DatasetHere) -> Iterator[dict[str, Any]]:
    """Check each file that is here, and then the splits at default parameters if all files are right."""
    from collapsebench.data.files import available, verify

    _, facts, folder, _ = here

    def row(what: str, result: str, right: bool) -> dict[str, Any]:
        return {"dataset": facts.name, "what": what, "result": result, "right": right}

    checks = list(verify(facts, folder))
    for file, path, error in checks:
        yield row(file.name, f"right: {path}" if error is None else str(error), error is None)
    if not available(facts, folder):
        yield row("splits", "files are missing", True)
    elif all(error is None for *_, error in checks):
        yield row("splits", *_check_splits(here))


def _check_splits(here: DatasetHere) -> tuple[str, bool]:
    """Compare the splits at default parameters with the card: the result in words, and whether it is right."""
    try:
        got = type(here.dataset)().load(here.folder).hashes()
    except DataError as error:
        return str(error), False
    expected = {name: split.sha256 for name, split in here.facts.splits.items() if split.sha256}
    wrong = [f"{name} has sha256 {got[name]}" for name in expected if got[name] != expected[name]]
    return "; ".join(wrong) or ("right" if expected else "no hashes known"), not wrong


def _print_table(headers: list[str], rows: list[list[str]]) -> None:
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
