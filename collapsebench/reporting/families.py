"""Families of protocols. The protocols of a family differ in one setting only. Their boards are in its order."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from collapsebench.errors import StoreError, UsageError, unknown
from collapsebench.reporting.leaderboard import ENTRIES, Board, score
from collapsebench.reporting.queries import ProtocolQuery, SuiteQuery, compared_protocols
from collapsebench.reporting.selection import protocol_of, stored_id
from collapsebench.reporting.suite_boards import SuiteBoards, suite_boards

if TYPE_CHECKING:
    from collapsebench.reporting.queries import Query
    from collapsebench.spec import Protocol
    from collapsebench.store import Store


class PublishedPoint(NamedTuple):
    """A published number, with the value of the setting at which it was measured."""

    label: str
    key: str
    """The key of the column of this number."""
    place: float
    value: float


class Sweep(NamedTuple):
    """The boards of protocols that differ in one setting, by the value of this setting."""

    boards: Mapping[float, Board]
    title: str
    published: Sequence[PublishedPoint] = ()
    note: str = ""


def settings(protocol: Protocol) -> dict[str, Any]:
    """Return everything in which two protocols can differ. The name of a setting is its path, as in `--set`."""
    dumped = protocol.model_dump(mode="json")
    setting = dumped.pop("setting")
    evaluation = setting["evaluation"]
    evaluation["metrics"] = {metric["name"]: metric for metric in evaluation["metrics"]}
    return _flat(dumped) | _flat(setting)


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten tables to dotted paths. The parameters of a component stand beside its name."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        if key == "params":
            found |= _flat(value, prefix)
        elif isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def families(protocols: Iterable[Protocol], over: str) -> list[dict[float, Protocol]]:
    """Group protocols that differ in one setting only. A group has them by the value of the setting, in rising order.

    Protocols without the setting are left out. Raises UsageError if no protocol has it, or if it is not a number.
    """
    every = [(settings(protocol), protocol) for protocol in protocols]
    found: dict[str, dict[float, Protocol]] = {}
    for own, protocol in every:
        if over in own:
            value = own.pop(over)
            if not _is_number(value):
                raise UsageError(f"'{over}' is no number to draw over, got {value!r}")
            found.setdefault(json.dumps(own, sort_keys=True), {})[value] = protocol
    if not found:
        raise UsageError(unknown("setting", over, {path for own, _ in every for path in own if _is_number(own[path])}))
    return [dict(sorted(family.items())) for family in found.values()]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def differing(protocols: Iterable[Protocol], over: str) -> list[str]:
    """Return the names of the settings in which protocols differ, without the setting `over`."""
    every = [settings(protocol) for protocol in protocols]
    paths = dict.fromkeys(path for own in every for path in own if path != over)
    return [path for path in paths if any(own.get(path) != every[0].get(path) for own in every)]


def sweep(store: Store, query: Query, over: str, contenders: Collection[str] = ()) -> Sweep:
    """Read the boards of the selected protocols. `contenders` are the canonical labels of the rows; all rows if empty.

    Raises StoreError if there are no runs, and UsageError if the protocols differ in more than this setting.
    """
    if isinstance(query, SuiteQuery):
        return _of_suite(store, query, over, contenders)
    return _of_store(store, query, over, contenders)


def _of_store(store: Store, query: ProtocolQuery, over: str, contenders: Collection[str]) -> Sweep:
    family = _family(store, query, over)
    boards = {
        place: score(store.observations(protocol=protocol.protocol_id, entries=ENTRIES))
        for place, protocol in family.items()
    }
    first = next(iter(family.values()))
    title = f"{first.dataset.name} · {first.file_name or first.track} · {first.budget} · over {over}"
    return Sweep({place: _rows(board, contenders) for place, board in boards.items()}, title)


def _family(store: Store, query: ProtocolQuery, over: str) -> dict[float, Protocol]:
    """Find the only family over this setting, or the family of the named protocol."""
    named = None if query.protocol is None else protocol_of(store, stored_id(store, query))
    dataset = query.dataset if named is None else named.dataset.name
    summaries = compared_protocols(store, ProtocolQuery(dataset, query.track))
    stored = [each for each in (protocol_of(store, each.protocol_id) for each in summaries) if each is not None]
    if not stored:
        raise StoreError(f"no such runs of '{dataset}'; `collapsebench runs list` shows what there is")
    found = [
        family for family in families(stored, over) if (len(family) > 1 if named is None else named in family.values())
    ]
    if not found:
        raise StoreError(
            f"no stored protocols of '{dataset}' differ in {over} alone; "
            f"make some: collapsebench run --dataset {dataset} --set {over}=…"
        )
    if len(found) > 1:
        first = [next(iter(family.values())) for family in found]
        listed = ", ".join(f"{each.protocol_id} ({each.track_label}, {each.budget})" for each in first)
        more = ", ".join(differing(first, over))
        raise UsageError(f"these differ in more than {over}: {more}; choose one with --protocol: {listed}")
    return found[0]


def _of_suite(store: Store, query: SuiteQuery, over: str, contenders: Collection[str]) -> Sweep:
    found = suite_boards(store, query)
    ran = [(cell, cell.board) for cell in found.cells if cell.board is not None]
    places = _places({cell.cell.name: board for cell, board in ran}, over)
    boards = {places[cell.cell.name]: _rows(board, contenders or tuple(cell.labels.values())) for cell, board in ran}
    title = " · ".join([query.suite, query.scale, *query.variants, found.suite.source])
    return Sweep(dict(sorted(boards.items())), title, _published_points(found, places), _note(found))


def _places(boards: Mapping[str, Board], over: str) -> dict[str, float]:
    """Return the value of the setting in each cell. Raises UsageError if the cells differ in other settings, too."""
    found = families((board.protocol for board in boards.values()), over)
    if len(found) > 1 or len(found[0]) < len(boards):
        more = ", ".join(differing((board.protocol for board in boards.values()), over))
        raise UsageError(f"the cells differ in more than {over}: {more}; choose with --dataset or --cell")
    of_protocol = {protocol.protocol_id: place for place, protocol in found[0].items()}
    return {name: of_protocol[board.protocol_id] for name, board in boards.items()}


def _published_points(found: SuiteBoards, places: Mapping[str, float]) -> tuple[PublishedPoint, ...]:
    """Return the published numbers of the models of the cells that have runs."""
    return tuple(
        PublishedPoint(pair.contender, pair.column.key, places[pair.cell], pair.published.value)
        for pair in found.pairs
        if pair.cell in places and not pair.against and pair.published is not None
    )


def _note(found: SuiteBoards) -> str:
    published = found.suite.published
    if published is None:
        return ""
    departs = found.suite.scale(found.query.scale).departs
    note = f"Hollow: published, {published.publication}, {published.table}."
    return f"{note} The runs are of another setting: {departs}." if departs else note


def _rows(board: Board, contenders: Collection[str]) -> Board:
    rows = tuple(row for row in board.rows if not contenders or row.contender in contenders)
    return replace(board, rows=rows)
