"""In what two runs or two protocols differ: why their numbers are not on one board, or not the same."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from collapsebench.errors import StoreError, UsageError
from collapsebench.printable import printable
from collapsebench.reporting.families import settings
from collapsebench.reporting.selection import protocol_of

if TYPE_CHECKING:
    from collapsebench.record import RunRecord
    from collapsebench.store import Store

ABSENT = "—"
"""What stands in place of a field that one of the two does not have."""


class Side(NamedTuple):
    """One of the two: a run, or a protocol."""

    id: str
    title: str
    fields: Mapping[str, Any]
    """Everything in which two of its kind can differ, by the path of the field."""


class FieldDifference(NamedTuple):
    """A field in which the two differ. None stands for a field that one of them does not have."""

    field: str
    first: Any
    second: Any


class Differences(NamedTuple):
    """Two runs, or two protocols, and all fields in which they differ."""

    kind: str
    first: Side
    second: Side
    fields: tuple[FieldDifference, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the same as JSON."""
        return {
            "kind": self.kind,
            "first": self.first.id,
            "second": self.second.id,
            "differences": [difference._asdict() for difference in self.fields],
        }

    def as_text(self) -> str:
        """Write the two in a line each, and below them a line for each field, with both values."""
        from tabulate import tabulate

        lines = [printable(self.first.title), printable(self.second.title), ""]
        if not self.fields:
            return "\n".join([*lines, f"They do not differ: nothing that is stored of a {self.kind} is another."])
        rows = [[printable(each.field), _text(each.first), _text(each.second)] for each in self.fields]
        table = tabulate(rows, ("field", self.first.id, self.second.id), disable_numparse=True)
        return "\n".join([*lines, table])


def read_differences(store: Store, first: str, second: str) -> Differences:
    """Compare two runs or two protocols, by their ids or the first digits. A run beside a protocol stands for its own.

    Raises UsageError for an id that means nothing, or several things.
    """
    sides = [_found(store, text) for text in (first, second)]
    if all(record is not None for _, record in sides):
        return _of("run", *(_run(record) for _, record in sides if record is not None))
    return _of("protocol", *(_protocol(store, protocol) for protocol, _ in sides))


def _of(kind: str, first: Side, second: Side) -> Differences:
    paths = dict.fromkeys((*first.fields, *second.fields))
    fields = (FieldDifference(path, first.fields.get(path), second.fields.get(path)) for path in paths)
    return Differences(kind, first, second, tuple(each for each in fields if each.first != each.second))


def _found(store: Store, text: str) -> tuple[str, RunRecord | None]:
    """Return the protocol id that is meant, and the run if a run is meant. Protocols are looked for first."""
    protocols = store.protocols(protocol=text)
    if len(protocols) > 1:
        listed = ", ".join(f"{each.protocol_id} ({each.dataset} {each.track})" for each in protocols)
        raise UsageError(f"'{text}' means several protocols: {listed}")
    if protocols:
        return protocols[0].protocol_id, None
    try:
        record = store.get(text)
    except UsageError as error:
        raise UsageError(f"neither a protocol nor a run: {error}") from error
    return record.protocol_id, record


def _protocol(store: Store, protocol_id: str) -> Side:
    protocol = protocol_of(store, protocol_id)
    if protocol is None:
        raise StoreError(f"no run of protocol {protocol_id} can be read")
    title = f"{protocol_id}  {protocol.dataset.name} · {protocol.track_label} · {protocol.budget}"
    return Side(protocol_id, title, settings(protocol))


def _run(record: RunRecord) -> Side:
    from collapsebench.reporting.run_page import title

    return Side(record.run_id, title(record), dict(_fields(record)))


def _fields(record: RunRecord) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a run: what decides it, how it ended, and what computed it."""
    yield "contender", record.contender
    yield "rate", record.spec.contender.rate
    for method in record.spec.contender.methods:
        yield f"{method.name}.version", method.version
        yield from ((f"{method.name}.{name}", value) for name, value in method.params.items())
    yield "seed", record.spec.seed
    yield "protocol", record.protocol_id
    yield from settings(record.spec.protocol).items()
    yield "outcome", record.outcome.value
    yield "parameters", record.parameters
    yield from ((f"environment.{name}", value) for name, value in record.environment.items())
    yield from ((f"code of {component}", digest) for component, digest in record.code.items())


def _text(value: Any) -> str:
    if value is None:
        return ABSENT
    if isinstance(value, float) and float(f"{value:g}") == value:
        return f"{value:g}"  # 4e+11 and 200 in place of 400000000000.0 and 200.0
    return printable(value if isinstance(value, str) else json.dumps(value))
