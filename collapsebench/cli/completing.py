"""What a shell offers after a Tab: the names of methods, datasets, tracks, suites, columns and stored runs.

Click calls these functions while a command is typed. They load no torch. A file of --plugin is read and not run, since
nobody has said yet that it should run. What cannot be found out is not offered: a command that is half typed is no
place for an error.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import click
from click.shell_completion import CompletionItem

from collapsebench.errors import CollapsebenchError
from collapsebench.syntax import BASELINE, parse_composition

if TYPE_CHECKING:
    from collapsebench.components.catalog import Catalog
    from collapsebench.components.interfaces import Dataset
    from collapsebench.experiment.suites import Cell

Completer: TypeAlias = "Callable[[click.Context, click.Parameter, str], list[CompletionItem]]"
"""What click asks for the words that may stand at the cursor, in the place of a part of a word."""

NEWEST_RUNS = 200
"""As many runs are offered: more are no help on a screen."""


def _quietly(offer: Callable[[click.Context, str], Iterable[CompletionItem]]) -> Completer:
    """Offer the words that begin like the one at the cursor, and none if they cannot be found out."""

    @wraps(offer)
    def completer(context: click.Context, parameter: click.Parameter, word: str) -> list[CompletionItem]:
        del parameter
        try:
            return [item for item in offer(context, word) if str(item.value).startswith(word)]
        except (CollapsebenchError, OSError, SyntaxError, ValueError):
            return []

    return completer


def _or_file(completer: Completer) -> Completer:
    """Offer files where no name begins like the word at the cursor."""

    @wraps(completer)
    def names_or_files(context: click.Context, parameter: click.Parameter, word: str) -> list[CompletionItem]:
        return completer(context, parameter, word) or [CompletionItem(word, type="file")]

    return names_or_files


@_quietly
def methods(context: click.Context, word: str) -> Iterator[CompletionItem]:
    """Offer the methods with what each is."""
    del word
    yield from _methods(context)


@_quietly
def contenders(context: click.Context, word: str) -> Iterator[CompletionItem]:
    """Offer the baseline and the methods, or after the last `+` those that the composition does not have yet."""
    before, plus, _ = word.rpartition("+")
    used = {call.name for call in parse_composition(before)} if plus else set()
    if not plus:
        yield CompletionItem(BASELINE, help="the plain VAE, the baseline")
    for method in _methods(context):
        if method.value not in used:
            yield CompletionItem(f"{before}{plus}{method.value}", help=method.help)


@_quietly
def datasets(context: click.Context, word: str) -> Iterator[CompletionItem]:
    """Offer the datasets: the shipped ones, those of plugins, and those that the user added."""
    del word
    yield from map(CompletionItem, _catalog(context).names("dataset"))
    yield from map(CompletionItem, _written(context, {"Dataset", "Text", "Images"}))


@_or_file
@_quietly
def tracks(context: click.Context, word: str) -> Iterator[CompletionItem]:
    """Offer the tracks of the dataset that is named before the cursor."""
    del word
    from collapsebench.facts import dataset_facts

    name = context.params.get("dataset")
    if name is not None:
        component: type[Dataset] = _catalog(context).entry("dataset", name).component  # type: ignore[assignment]
        facts = dataset_facts(component.facts or name)
        yield from (CompletionItem(track, help=table.get("description", "")) for track, table in facts.tracks.items())


@_or_file
@_quietly
def components(context: click.Context, word: str) -> Iterator[CompletionItem]:
    """Offer the components of all kinds, or of the kind that is named before the cursor."""
    del word
    from collapsebench.components.discovery import load

    kind = context.params.get("kind")
    entries = sorted((name, found) for found, name in load().entries if kind in {None, found})
    yield from (CompletionItem(name, help=found) for name, found in entries)


@_quietly
def kinds(context: click.Context, word: str) -> Iterator[CompletionItem]:
    """Offer the kinds of components."""
    del context, word
    from collapsebench.components.discovery import load

    yield from map(CompletionItem, load().kinds)


@_quietly
def templates(context: click.Context, word: str) -> Iterator[CompletionItem]:
    """Offer the kinds of components for which there is a template."""
    del context, word
    from collapsebench.templates import Template

    yield from map(CompletionItem, Template)


@_or_file
@_quietly
def suites(context: click.Context, word: str) -> Iterator[CompletionItem]:
    """Offer the suites of the registry."""
    del context, word
    from collapsebench.experiment.suites import suite_names

    yield from map(CompletionItem, suite_names())


@_quietly
def cells(context: click.Context, word: str) -> Iterator[CompletionItem]:
    """Offer the cells of the suite that is named before the cursor."""
    del word
    yield from (CompletionItem(cell.name, help=cell.dataset) for cell in _cells(context))


@_quietly
def models(context: click.Context, word: str) -> Iterator[CompletionItem]:
    """Offer the models of all cells of the suite that is named before the cursor, with the contender of each."""
    del word
    found = {model: contender for cell in _cells(context) for model, contender in cell.contenders.items()}
    yield from (CompletionItem(model, help=contender) for model, contender in found.items())


@_quietly
def columns(context: click.Context, word: str) -> Iterator[CompletionItem]:
    """Offer the columns of boards, as the next one of a list with commas."""
    del context
    from collapsebench.components.discovery import load
    from collapsebench.experiment.counters import COUNTERS

    entries = load((), {"metric"}).entries.items()
    titles = {
        column.name: column.title
        for (kind, _), entry in entries
        if kind == "metric"
        for column in entry.component.columns  # type: ignore[attr-defined]
    }
    before, comma, _ = word.rpartition(",")
    for name in (*titles, "parameters", *COUNTERS):
        yield CompletionItem(f"{before}{comma}{name}", help=titles.get(name))


@_quietly
def runs(context: click.Context, word: str) -> Iterator[CompletionItem]:
    """Offer the ids of the newest runs of a store that is a file. A server would let the user wait."""
    del word
    from collapsebench.store import Store

    store = context.params.get("store") or ""
    if "://" in store and not store.startswith("sqlite:"):
        return

    with Store.reading(store, timeout=1.0) as opened:
        for run in opened.summaries(limit=NEWEST_RUNS):
            yield CompletionItem(run.run_id, help=f"{run.dataset} {run.contender} seed {run.seed}")


def _methods(context: click.Context) -> Iterator[CompletionItem]:
    """The installed methods, and those of the files of --plugin."""
    from collapsebench.components.descriptions import describe_methods

    yield from (CompletionItem(method.name, help=method.summary) for method in describe_methods())
    yield from map(CompletionItem, _written(context, {"Method"}))


def _cells(context: click.Context) -> Sequence[Cell]:
    """The cells of the suite that is named before the cursor; none if there is no name yet."""
    from collapsebench.experiment.suites import suite

    named = context.params.get("suite") or next(iter(context.args), None)  # click gives no argument its name yet
    if named is None:
        return ()
    return suite(named).cells(context.params.get("scale") or "small", context.params.get("variants") or ())


def _catalog(context: click.Context) -> Catalog:
    """The installed datasets, and those of the data folder that is named before the cursor."""
    from collapsebench.components.discovery import load
    from collapsebench.data.files import data_folder
    from collapsebench.data.own import with_own

    return with_own(load((), {"dataset"}), data_folder(context.params.get("data_dir")))


def _written(context: click.Context, bases: set[str]) -> Iterator[str]:
    """The names of the classes with one of these bases that stand in the files of --plugin."""
    for path in context.params.get("plugins") or ():
        for node in ast.walk(ast.parse(Path(path).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and bases & {
                base.id for base in node.bases if isinstance(base, ast.Name)
            }:
                yield from filter(None, map(_name, node.body))


def _name(statement: ast.stmt) -> str:
    """The name that a statement of a class gives to a component; empty if it is another statement."""
    match statement:
        case (
            ast.AnnAssign(target=ast.Name(id="name"), value=ast.Constant(value=str(name)))
            | ast.Assign(targets=[ast.Name(id="name")], value=ast.Constant(value=str(name)))
        ):
            return name
    return ""
