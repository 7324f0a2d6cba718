"""One stored run as text and as JSON: its spec, counters, values, trajectory and files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from collapsebench.components import discovery
from collapsebench.observation import Observation, Unreadable
from collapsebench.plausibility import Violation, checker
from collapsebench.printable import printable, printable_lines
from collapsebench.record import Number, RunRecord, Value
from collapsebench.reporting.leaderboard import likelihood_limits
from collapsebench.store.mapping import to_json

if TYPE_CHECKING:
    from collapsebench.store import Artifact, Store


class RunPage(NamedTuple):
    """A stored run and its files."""

    record: RunRecord
    artifacts: list[Artifact]
    impossible: tuple[Violation, ...]
    """Its numbers that cannot be."""

    def as_json(self) -> dict[str, Any]:
        """Return the record as JSON, with its files and its impossible numbers."""
        return to_json(self.record) | {
            "artifacts": [artifact._asdict() for artifact in self.artifacts],
            "impossible": [violation.text for violation in self.impossible],
        }

    def as_text(self) -> str:
        """Return the record as tables, with empty lines between them."""
        return "\n\n".join(_sections(self))


def read_run_page(store: Store, run_id: str) -> RunPage:
    """Read one run, by its id or the first digits. Raises UsageError if there is none, or if several are meant."""
    record = store.get(run_id)
    return RunPage(record, store.artifacts(record.run_id), _impossible(record))


def title(record: RunRecord | Unreadable) -> str:
    """Write a run in one line."""
    if isinstance(record, Unreadable):
        return f"{record.run_id}  cannot be read: {record.reason}"
    protocol = record.spec.protocol
    return printable(
        f"{record.run_id}  {record.outcome}  {record.contender}  seed {record.spec.seed}  "
        f"{protocol.dataset.name} · {record.track} · {protocol.budget} · protocol {record.protocol_id}"
    )


def _sections(page: RunPage) -> Iterator[str]:
    """Yield what people look for first: the numbers, the costs, and what is to be known of both."""
    record = page.record
    yield title(record)
    if record.message:
        yield printable(" ".join(record.message.split()))
    yield from _values("metric", (value for value in record.values if value.board))
    yield _table(("cost", "at the end"), _costs(record))
    yield from _marks(page)
    yield _table(("fact", "value"), _facts(record))
    yield _table(("spec", "value"), _flat(record.spec.model_dump(mode="json")))
    yield from _values("entry of", (value for value in record.values if not value.board))
    if record.points:
        yield _trajectory(record)
    if page.artifacts:
        yield _table(("artifact", "location", "SHA-256", "bytes"), page.artifacts)
    if record.traceback:
        yield printable_lines(record.traceback.rstrip())


def _values(head: str, values: Iterable[Value]) -> Iterator[str]:
    """Yield a table of values, if there are any."""
    rows = list(map(_value, values))
    if rows:
        yield _table((head, "column", "value", "standard error", "unit"), rows)


def _costs(record: RunRecord) -> Iterator[tuple[str, str]]:
    yield "parameters", str(record.parameters)
    yield from ((name.replace("_", " "), _number(count)) for name, count in record.counters.items())


def _marks(page: RunPage) -> Iterator[str]:
    """Yield what boards mark: what has no number, what cannot be, and what the guards found."""
    record = page.record
    if record.declined:
        yield "\n".join(("What has no number, and why:", *map(printable, _reasons(record))))
    if page.impossible:
        yield "\n".join(("What cannot be, whatever the model:", *(printable(found.text) for found in page.impossible)))
    if record.findings:
        yield "\n".join(("What the guards found:", *(printable(f"{f.text} ({f.guard})") for f in record.findings)))


def _facts(record: RunRecord) -> Iterator[tuple[str, object]]:
    yield "started", record.started_at
    yield "finished", record.finished_at or "no"
    yield from _selected(record)
    yield from record.environment.items()
    yield from ((f"code of {component}", digest) for component, digest in record.code.items())


def _selected(record: RunRecord) -> Iterator[tuple[str, str]]:
    """Yield where the selected parameters are from. The KL there may be far from the one that a method ends with."""
    budget, selected = record.spec.protocol.budget, next((each for each in record.points if each.selected), None)
    if selected is None or budget.unit not in selected.counters:
        return
    yield "selected at", f"{selected.counters[budget.unit] / budget.amount:.0%} of the budget"
    if "kl" in selected.values:
        there, end = (_number(each.values["kl"]) for each in (selected, record.points[-1]))
        yield "valid kl", f"{there} where selected, {end} at the end"


def _impossible(record: RunRecord) -> tuple[Violation, ...]:
    """Return the violations of all its numbers, of those that boards show and of the others."""
    run = Observation.of(record, {value.column for value in record.values})
    limits = likelihood_limits(discovery.load(kinds={"dataset"}))
    return checker(run.protocol, limits(run.protocol))(run)


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield every leaf of nested JSON, with its dotted path."""
    if isinstance(value, dict | list) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, json.dumps(value)


def _value(value: Value) -> tuple[str, ...]:
    error = "" if value.standard_error is None else _number(value.standard_error)
    return value.metric, value.column, _number(value.estimate), error, value.unit


def _reasons(record: RunRecord) -> Iterator[str]:
    """Yield the reasons of each metric, with the columns that they are for."""
    columns: dict[tuple[str, str], list[str]] = {}
    for each in record.declined:
        columns.setdefault((each.metric, each.reason), []).append(each.column)
    yield from (f"{', '.join(own)}: {reason} ({metric})" for (metric, reason), own in columns.items())


def _trajectory(record: RunRecord) -> str:
    counters = list(dict.fromkeys(name for point in record.points for name in point.counters))
    values = list(dict.fromkeys(name for point in record.points for name in point.values))
    rows = (
        [
            *(_number(point.counters[name]) if name in point.counters else "" for name in counters),
            *(_number(point.values[name]) if name in point.values else "" for name in values),
            "selected" if point.selected else "",
        ]
        for point in record.points
    )
    return _table((*counters, *(f"valid {name}" for name in values), ""), rows)


def _number(number: Number | float) -> str:
    return f"{float(number):.10g}"


def _table(headers: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    from tabulate import tabulate

    cells = [[printable(str(cell)) for cell in row] for row in rows]
    return tabulate(cells, [*map(printable, headers)], disable_numparse=True)
