"""Stored protocols that differ in one setting, for figures over it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from collapsebench.components import discovery
from collapsebench.errors import StoreError, UsageError, unknown
from collapsebench.experiment import suites
from collapsebench.published import publication
from collapsebench.reporting.leaderboard import ENTRIES, Board, score
from collapsebench.reporting.leaderboard.comparison import Measured, compare
from collapsebench.reporting.selection import stored_id, suite_cells
from collapsebench.reporting.suite_boards import command_of, measured_cell

if TYPE_CHECKING:
    from collapsebench.experiment.suites import Suite
    from collapsebench.reporting.selection import Asked
    from collapsebench.reporting.suite_boards import Asked as AskedSuite
    from collapsebench.spec import Protocol
    from collapsebench.store import Store


class Printed(NamedTuple):
    """A published number and where it belongs."""

    label: str
    key: str
    """Of its column."""
    place: float
    value: float


class Sweep(NamedTuple):
    """The boards of protocols that differ in one setting, by its value."""

    boards: Mapping[float, Board]
    title: str
    printed: Sequence[Printed] = ()
    note: str = ""


def settings(protocol: Protocol) -> dict[str, Any]:
    """Everything that two protocols can differ in; what a track fixes by its path, as `--set` writes it."""
    dumped = protocol.model_dump(mode="json")
    setting = dumped.pop("setting")
    evaluation = setting["evaluation"]
    evaluation["metrics"] = {metric["name"]: metric for metric in evaluation["metrics"]}
    return _flat(dumped) | _flat(setting)


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Tables by dotted paths; the parameters of a component stand beside its name."""
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
    """Protocols by the value of one setting, together where they differ in nothing else; values in rising order.

    Protocols that do not have the setting are left out. Raises UsageError if none has it, or if it is no number.
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
    """In what protocols differ besides one setting."""
    every = [settings(protocol) for protocol in protocols]
    paths = dict.fromkeys(path for own in every for path in own if path != over)
    return [path for path in paths if any(own.get(path) != every[0].get(path) for own in every)]


def sweep(store: Store, asked: Asked, over: str) -> Sweep:
    """The protocols that are meant, as far as they have runs.

    Raises StoreError if there are none, and UsageError if they differ in more than this setting.
    """
    return _of_suite(store, asked, asked.suite, over) if asked.suite else _of_store(store, asked, over)


def _of_store(store: Store, asked: Asked, over: str) -> Sweep:
    family = _family(store, asked, over)
    boards = {
        place: score(store.observations(protocol=protocol.protocol_id, entries=ENTRIES))
        for place, protocol in family.items()
    }
    first = next(iter(family.values()))
    title = f"{first.dataset.name} · {first.track} · {first.budget} · over {over}"
    return Sweep({place: _rows(board, asked.contenders) for place, board in boards.items()}, title)


def _family(store: Store, asked: Asked, over: str) -> dict[float, Protocol]:
    """The only protocols that differ in this setting alone; those that one protocol belongs to if it is named."""
    named = None if asked.protocol is None else _protocol(store, stored_id(store, asked))
    dataset = asked.dataset if named is None else named.dataset.name
    stored = [_protocol(store, each.protocol_id) for each in store.protocols(dataset=dataset, track=asked.track)]
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


def _of_suite(store: Store, asked: Asked, suite: AskedSuite, over: str) -> Sweep:
    components, declared = discovery.load(suite.plugins), suites.suite(suite.suite)
    cells = [measured_cell(cell, store, components) for cell in suite_cells(asked, suite)]
    boards = {cell.cell.name: cell.board for cell in cells if cell.board is not None}
    if not boards:
        raise StoreError(f"nothing of the suite has run; to run it: {command_of(suite)}")
    places = _places(boards, over)
    wanted = {cell.cell.name: asked.contenders or tuple(cell.labels.values()) for cell in cells}
    drawn = {places[name]: _rows(board, wanted[name]) for name, board in boards.items()}
    title = " · ".join([suite.suite, suite.scale, *suite.variants, declared.source])
    return Sweep(
        dict(sorted(drawn.items())),
        title,
        _printed(declared, suite.scale, [cell for cell in cells if cell.board is not None], places),
        _note(declared, suite.scale),
    )


def _places(boards: Mapping[str, Board], over: str) -> dict[str, float]:
    """The value of the setting in each cell. Raises UsageError if the cells differ in more."""
    found = families((board.protocol for board in boards.values()), over)
    if len(found) > 1 or len(found[0]) < len(boards):
        more = ", ".join(differing((board.protocol for board in boards.values()), over))
        raise UsageError(f"the cells differ in more than {over}: {more}; choose with --dataset or --cell")
    of_protocol = {protocol.protocol_id: place for place, protocol in found[0].items()}
    return {name: of_protocol[board.protocol_id] for name, board in boards.items()}


def _printed(
    declared: Suite, scale: str, cells: Sequence[Measured], places: Mapping[str, float]
) -> tuple[Printed, ...]:
    if declared.published is None:
        return ()
    rows = publication(declared.published.publication).table(declared.published.table)
    return tuple(
        Printed(pair.contender, pair.column.key, places[pair.cell], pair.published.value)
        for pair in compare(declared.scale(scale), cells, rows)
        if not pair.against and pair.published is not None
    )


def _note(declared: Suite, scale: str) -> str:
    if declared.published is None:
        return ""
    departs = declared.scale(scale).departs
    note = f"Hollow: published, {declared.published.publication}, {declared.published.table}."
    return f"{note} The runs are of another setting: {departs}." if departs else note


def _protocol(store: Store, protocol_id: str) -> Protocol:
    return next(store.observations(protocol=protocol_id)).protocol


def _rows(board: Board, contenders: Collection[str]) -> Board:
    rows = tuple(row for row in board.rows if not contenders or row.contender in contenders)
    return replace(board, rows=rows)
