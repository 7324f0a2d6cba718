"""`collapsebench runs`: list, show, export, import and delete stored runs."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from collapsebench.cli import options
from collapsebench.cli.files import destination
from collapsebench.errors import CollapsebenchError

if TYPE_CHECKING:
    from collapsebench.store import Filters, RunSummary

OUTCOMES = ("started", "finished", "diverged", "failed", "interrupted")
"""Named here, too, as their own module takes several times as long to import as click."""
SHOWN = ("run_id", "outcome", "dataset", "track", "budget", "contender", "seed", "started_at", "message")


@dataclass(frozen=True)
class RunOptions:
    """The runs that a command is about."""

    dataset: str | None
    track: str | None
    protocol: str | None
    contender: str | None
    outcome: str | None

    @property
    def filters(self) -> Filters:
        """The same, as the store takes them."""
        from collapsebench.record import Outcome

        return {
            "dataset": self.dataset,
            "track": self.track,
            "protocol": self.protocol,
            "contender": self.contender,
            "outcome": None if self.outcome is None else Outcome(self.outcome),
        }


run_options = options.gathered(
    RunOptions,
    options.dataset,
    options.track,
    options.protocol,
    click.option("--contender", default=None, help="Only runs of this contender, as in skip[sites=2]."),
    click.option("--outcome", type=click.Choice(OUTCOMES), default=None, help="Only runs that ended so."),
)


@click.group("runs")
def command() -> None:
    """List, show, export, import and delete stored runs."""


@command.command("list")
@run_options
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most this many.")
@click.option("--offset", type=click.IntRange(min=0), default=0, help="Leave out the newest ones.")
@options.as_json
@options.stored
def list_(chosen: RunOptions, store: str, limit: int, offset: int, as_json: bool) -> None:
    """List runs, the newest first."""
    from collapsebench.store import Store

    with Store.open(store, create=False) as opened:
        total = opened.count(**chosen.filters)
        found = opened.summaries(limit=limit, offset=offset, **chosen.filters)
    if as_json:
        click.echo(json.dumps([summary._asdict() for summary in found], default=str, indent=2))
    elif found:
        from tabulate import tabulate

        click.echo(tabulate(list(map(_line, found)), SHOWN, disable_numparse=True))
    click.echo(_page(offset, len(found), total), err=True)


@command.command("show")
@click.argument("run_id", metavar="ID")
@options.as_json
@options.stored
def show(store: str, run_id: str, as_json: bool) -> None:
    """Show one run, by its id or the first digits: spec, counters, every value, trajectory."""
    from collapsebench.reporting.run_page import run_json, run_text
    from collapsebench.store import Store

    with Store.open(store, create=False) as opened:
        record = opened.get(run_id)
        artifacts = opened.artifacts(record.run_id)
    click.echo(json.dumps(run_json(record, artifacts), indent=2) if as_json else run_text(record, artifacts))


@command.command("export")
@click.argument("file")
@run_options
@options.stored
def export(chosen: RunOptions, store: str, file: str) -> None:
    """Write runs to FILE (- for standard output) as JSON lines, one run a line."""
    from collapsebench.store import Store
    from collapsebench.store.interchange import write_line

    written = 0
    with Store.open(store, create=False) as opened, destination(file) as stream:
        for record in opened.find(**chosen.filters):
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
    from collapsebench.reporting.run_page import title
    from collapsebench.store import Store

    with Store.open(store, create=False) as opened:
        records = [opened.get(run_id) for run_id in dict.fromkeys(run_ids)]
        if not yes:
            for record in records:
                click.echo(title(record), err=True)
            click.confirm(f"Delete {len(records)} runs?", abort=True, err=True)
        deleted = opened.delete(record.run_id for record in records)
    for path in _files(store, [record.run_id for record in records]):
        _remove(path)
    click.echo(f"{deleted} runs deleted", err=True)


def _files(store: str, run_ids: Iterable[str]) -> list[Path]:
    """Find the files that runs have left beside their store."""
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
    """Open the file, or a copy of standard input."""
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
