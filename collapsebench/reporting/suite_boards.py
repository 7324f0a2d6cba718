"""`collapsebench leaderboard --suite`: what is stored of a suite beside what its paper printed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from collapsebench.components import discovery
from collapsebench.components.interfaces import Dataset
from collapsebench.data.files import facts_of
from collapsebench.errors import StoreError
from collapsebench.experiment import suites
from collapsebench.experiment.planning import asks_for
from collapsebench.facts import SplitFacts
from collapsebench.published import publication
from collapsebench.reporting.leaderboard import ENTRIES, EXPORTS, pieces, score, written
from collapsebench.reporting.leaderboard.comparison import Measured, Pair, compare
from collapsebench.reporting.leaderboard.comparison_page import comparison_csv, comparison_json, comparison_page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collapsebench.components.catalog import Catalog
    from collapsebench.experiment.suites import Cell, Suite
    from collapsebench.published import PublishedRow
    from collapsebench.store import Store


class Asked(NamedTuple):
    """A suite as a user names it."""

    suite: str
    scale: str
    variants: tuple[str, ...]
    plugins: tuple[Path, ...]


def suite_pieces(
    asked: Asked, store: Store, columns: Sequence[str], format_: str, *, width: int | None
) -> Iterator[str]:
    """The comparison in one of FORMATS; the boards alone of a suite whose paper prints no numbers.

    Raises UsageError for a suite, variant or column that is not there, and StoreError if nothing of the suite has run.
    """
    suite = suites.suite(asked.suite)
    cells = suite.cells(asked.scale, asked.variants)
    components = discovery.load(asked.plugins)
    measured = [measured_cell(cell, store, components) for cell in cells]
    if all(cell.board is None for cell in measured):
        raise StoreError(f"nothing of the suite has run; to run it: {command_of(asked)}")
    if suite.published is None:
        boards = {cell.board.protocol_id: cell.board for cell in measured if cell.board is not None}
        return pieces(boards.values(), format_, width=width)
    published = publication(suite.published.publication).table(suite.published.table)
    pairs = compare(suite.scale(asked.scale), measured, published, columns)
    return _formatted(asked, suite, pairs, published, format_, width)


def measured_cell(cell: Cell, store: Store, components: Catalog) -> Measured:
    """The cell with the board of its protocol, if there are runs of it."""
    dataset = components.entry("dataset", cell.dataset).component
    test = facts_of(dataset).splits.get("test", SplitFacts()) if issubclass(dataset, Dataset) else SplitFacts()
    protocol = stored_protocol(cell, store, components)
    board = None if protocol is None else score(store.observations(protocol=protocol, entries=ENTRIES))
    return Measured(cell, labels(cell, components), test.examples, board)


def stored_protocol(cell: Cell, store: Store, components: Catalog) -> str | None:
    """The id of a cell's protocol, if there are runs of it."""
    request = cell.request(())
    for protocol in store.protocols(dataset=cell.dataset, track=cell.track):
        stored = next(store.observations(protocol=protocol.protocol_id)).protocol
        if asks_for(request, stored, components):
            return protocol.protocol_id
    return None


def labels(cell: Cell, components: Catalog) -> dict[str, str]:
    """From the names of a cell's models in the published table to the labels of their rows."""
    return {model: components.contender(text)[0].label for model, text in cell.contenders.items()}


def _formatted(
    asked: Asked,
    suite: Suite,
    pairs: Sequence[Pair],
    published: Sequence[PublishedRow],
    format_: str,
    width: int | None,
) -> Iterator[str]:
    if format_ in EXPORTS:
        export = {"csv": comparison_csv, "json": comparison_json}[format_]
        return iter([export(suite.name, asked.scale, pairs)])
    scale = suite.scale(asked.scale)
    notes = [f"This suite follows: {suite.follows}", f"Scale {asked.scale}: {scale.description}."]
    notes += [f"Variant {name}: {suite.known_variants(asked.scale)[name].description}." for name in asked.variants]
    notes += list(_protocols_apart(suite.cells(asked.scale, asked.variants)))
    notes += [f"Comparable, says the table: {text}" for text in dict.fromkeys(row.comparable for row in published)]
    title = " · ".join([suite.name, asked.scale, *asked.variants, suite.source])
    return written([comparison_page(title, pairs, notes, command_of(asked))], format_, width=width)


def _protocols_apart(cells: Sequence[Cell]) -> Iterator[str]:
    """In what the protocols of two cells differ whose models are subtracted from each other."""
    named = {cell.name: cell for cell in cells}
    for cell in cells:
        own, other = set(cell.settings), set(named.get(cell.against, cell).settings)
        if own != other:
            sides = (("the first", own - other), ("the second", other - own))
            only = [f"only {side} has {', '.join(sorted(settings))}" for side, settings in sides if settings]
            yield f"{cell.name} against {cell.against}: two protocols, {'; '.join(only)}."


def command_of(asked: Asked) -> str:
    """What runs it."""
    variants = "".join(f" --variant {name}" for name in asked.variants)
    return f"collapsebench suite run {asked.suite} --scale {asked.scale}{variants}"
