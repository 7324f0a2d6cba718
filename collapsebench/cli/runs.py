"""`collapsebench runs`: list, show, export, import and delete stored runs."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from collapsebench.cli import options
from collapsebench.cli.files import destination
from collapsebench.errors import CollapsebenchError
from collapsebench.observation import Observation
from collapsebench.plausibility import Violation, checker
from collapsebench.record import Number, Outcome, RunRecord, Value

if TYPE_CHECKING:
    from collapsebench.store import Artifact, RunSummary

FILTERS = (
    click.option("--dataset", "-d", default=None, help="Only runs on this dataset."),
    click.option("--track", default=None, help="Only runs of this track; a bare name includes its overrides."),
    click.option("--protocol", default=None, help="Only runs of this protocol: its id or the first digits."),
    click.option("--contender", default=None, help="Only runs of this contender, as in skip[sites=2]."),
    click.option(
        "--outcome",
        type=click.Choice([outcome.value for outcome in Outcome]),
        default=None,
        help="Only runs that ended so.",
    ),
)
SHOWN = ("run_id", "outcome", "dataset", "track", "budget", "contender", "seed", "started_at", "message")


def filters(command: Any) -> Any:
    """Add the options that choose runs."""
    for option in reversed(FILTERS):
        command = option(command)
    return command


@click.group("runs")
def command() -> None:
    """List, show, export, import and delete stored runs."""


@command.command("list")
@filters
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most this many.")
@click.option("--offset", type=click.IntRange(min=0), default=0, help="Leave out the newest ones.")
@options.as_json
@options.stored
def list_(store: str, limit: int, offset: int, as_json: bool, **chosen: Any) -> None:
    """List runs, the newest first."""
    from collapsebench.store import Store

    with Store.open(store, create=False) as opened:
        total = opened.count(**chosen)
        found = opened.summaries(limit=limit, offset=offset, **chosen)
    if as_json:
        click.echo(json.dumps([summary._asdict() for summary in found], default=str, indent=2))
    elif found:
        click.echo(_table(SHOWN, (_line(summary) for summary in found)))
    click.echo(_page(offset, len(found), total), err=True)


@command.command("show")
@click.argument("run_id", metavar="ID")
@options.as_json
@options.stored
def show(store: str, run_id: str, as_json: bool) -> None:
    """Show one run, by its id or the first digits: spec, counters, every value, trajectory."""
    from collapsebench.store import Store
    from collapsebench.store.mapping import to_json

    with Store.open(store, create=False) as opened:
        record = opened.get(run_id)
        artifacts = opened.artifacts(record.run_id)
    if as_json:
        content = to_json(record) | {"artifacts": [artifact._asdict() for artifact in artifacts]}
        content |= {"impossible": [violation.text for violation in _impossible(record)]}
        click.echo(json.dumps(content, indent=2))
    else:
        click.echo("\n\n".join(_sections(record, artifacts)))


@command.command("export")
@click.argument("file")
@filters
@options.stored
def export(store: str, file: str, **chosen: Any) -> None:
    """Write runs to FILE (- for standard output) as JSON lines, one run a line."""
    from collapsebench.store import Store
    from collapsebench.store.interchange import write_line

    written = 0
    with Store.open(store, create=False) as opened, destination(file) as stream:
        for record in opened.find(**chosen):
            stream.write(f"{write_line(record)}\n")
            written += 1
    click.echo(f"{written} runs exported", err=True)


@command.command("import")
@click.argument("file")
@options.store
def import_(store: str, file: str) -> None:
    """Read runs from FILE (- for standard input), all or none.

    Every line is checked before the first is written. Runs that the store has are skipped; a run that it has with
    another result is an error.
    """
    from collapsebench.store import Store
    from collapsebench.store.interchange import read_lines

    with _twice_readable(file) as lines:
        for _ in read_lines(lines, file):
            pass
        lines.seek(0)
        with Store.open(store) as opened:
            added = opened.add(read_lines(lines, file))
    click.echo(f"{added.written} runs imported, {added.skipped} skipped", err=True)


@command.command("delete")
@click.argument("run_ids", metavar="ID...", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.stored
def delete(store: str, run_ids: tuple[str, ...], yes: bool) -> None:
    """Delete runs, by their ids or the first digits, with all that belongs to them: codes and checkpoints, too."""
    from collapsebench.store import Store

    with Store.open(store, create=False) as opened:
        records = [opened.get(run_id) for run_id in dict.fromkeys(run_ids)]
        if not yes:
            for record in records:
                click.echo(_title(record), err=True)
            click.confirm(f"Delete {len(records)} runs?", abort=True, err=True)
        deleted = opened.delete(record.run_id for record in records)
    for path in _files(store, [record.run_id for record in records]):
        _remove(path)
    click.echo(f"{deleted} runs deleted", err=True)


def _files(store: str, run_ids: Iterable[str]) -> list[Path]:
    """What runs have left beside their store."""
    from collapsebench.store import connection

    folders = [connection.companion(connection.store_url(store), what) for what in ("codes", "checkpoints")]
    return [path for run_id in run_ids for folder in folders for path in folder.glob(f"{run_id}.*")]


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise CollapsebenchError(f"cannot delete '{path}': {error.strerror}") from error


@contextmanager
def _twice_readable(file: str) -> Iterator[IO[bytes]]:
    """The file opened, or a copy of standard input."""
    try:
        if file == "-":
            with tempfile.SpooledTemporaryFile(max_size=2**24) as copy:
                shutil.copyfileobj(sys.stdin.buffer, copy)
                copy.seek(0)
                yield copy
        else:
            with Path(file).open("rb") as stream:
                yield stream
    except OSError as error:
        raise CollapsebenchError(f"cannot read '{file}': {error.strerror}") from error


def _table(headers: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    from tabulate import tabulate

    return tabulate([list(row) for row in rows], list(headers), disable_numparse=True)


def _line(summary: RunSummary) -> list[str]:
    row = summary._asdict() | {
        "started_at": f"{summary.started_at:%Y-%m-%d %H:%M:%S}Z",
        "message": " ".join(summary.message.split())[:60],
    }
    return [str(row[column]) for column in SHOWN]


def _page(offset: int, shown: int, total: int) -> str:
    if not shown:
        return f"no runs ({total} before this page)" if total else "no runs"
    rest = f"; more with --offset {offset + shown}" if offset + shown < total else ""
    return f"runs {offset + 1} to {offset + shown} of {total}{rest}"


def _title(record: RunRecord) -> str:
    protocol = record.spec.protocol
    return (
        f"{record.run_id}  {record.outcome}  {record.contender}  seed {record.spec.seed}  "
        f"{protocol.dataset.name} · {record.track} · {protocol.budget} · protocol {record.protocol_id}"
    )


def _sections(record: RunRecord, artifacts: list[Artifact]) -> Iterator[str]:
    yield _title(record)
    yield _table(("fact", "value"), _facts(record))
    yield _table(("spec", "value"), _flat(record.spec.model_dump(mode="json")))
    if record.counters:
        yield _table(("counter", "at the end"), ((name, _number(count)) for name, count in record.counters.items()))
    if record.values:
        yield _table(("metric", "column", "value", "standard error", "unit"), map(_value, record.values))
    if impossible := _impossible(record):
        yield "\n".join(("What cannot be, whatever the model:", *(violation.text for violation in impossible)))
    if record.points:
        yield _trajectory(record)
    if artifacts:
        yield _table(("artifact", "location", "SHA-256", "bytes"), artifacts)
    if record.traceback:
        yield record.traceback.rstrip()


def _facts(record: RunRecord) -> Iterator[tuple[str, object]]:
    yield "started", record.started_at
    yield "finished", record.finished_at or "no"
    yield "parameters", record.parameters
    if record.message:
        yield "message", record.message
    yield from record.environment.items()


def _impossible(record: RunRecord) -> tuple[Violation, ...]:
    """What cannot be in any of its numbers, those of boards and the others."""
    run = Observation.of(record, {value.column for value in record.values})
    return checker(run.protocol)(run)


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every leaf of nested JSON with its dotted path."""
    if isinstance(value, dict | list) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, json.dumps(value)


def _value(value: Value) -> tuple[str, ...]:
    error = "" if value.standard_error is None else _number(value.standard_error)
    return value.metric, value.column, _number(value.estimate), error, value.unit


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
