"""`collapsebench runs`: list, show, export, import, stop and delete stored runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from gzip import GzipFile
from importlib.util import find_spec
from io import TextIOWrapper
from typing import IO, TYPE_CHECKING, TextIO, TypeAlias

import click

from collapsebench.cli import completing, options
from collapsebench.cli.files import destination
from collapsebench.cli.watching import runs_option, watch_runs
from collapsebench.errors import UsageError
from collapsebench.files import expanded

if TYPE_CHECKING:
    from pathlib import Path

    from collapsebench.observation import Unreadable
    from collapsebench.record import RunRecord
    from collapsebench.reporting.job_states import StateReader
    from collapsebench.reporting.run_list import RunList
    from collapsebench.store import Filters, Store

    Writer: TypeAlias = Callable[[Store, TextIO, Filters], int]

OUTCOMES = ("started", "finished", "diverged", "failed", "interrupted")
"""Named here, too, as their own module takes several times as long to import as click."""

EXPORTS = ("jsonl", "parquet")


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


RUN_OPTIONS = (
    options.dataset,
    options.track,
    options.protocol,
    click.option(
        "--contender",
        default=None,
        shell_complete=completing.contenders,
        help="Only runs of this contender, as in skip[sites=2].",
    ),
    click.option("--outcome", type=click.Choice(OUTCOMES), default=None, help="Only runs that ended so."),
)
run_options = options.gathered(RunOptions, *RUN_OPTIONS)


@dataclass(frozen=True)
class ListOptions(RunOptions):
    """What is listed, and how."""

    limit: int
    offset: int
    watch: float | None
    as_json: bool
    plugins: tuple[Path, ...]
    work_dir: Path | None
    store: str

    @property
    def states(self) -> StateReader:
        """What tells of the runs of the store that are not over."""
        from collapsebench.reporting.job_states import StateReader

        return StateReader(self.store, self.work_dir, self.plugins)

    def page(self, files: Sequence[str]) -> RunList:
        """Read the runs, of the store or of exported files."""
        from collapsebench.reporting.run_list import read_run_list

        with _opened(self.store, files) as opened:
            states = None if files else self.states
            return read_run_list(opened, limit=self.limit, offset=self.offset, states=states, **self.filters)

    def look_on(self, files: Sequence[str], seconds: float) -> None:
        """Draw the list again and again. Raises UsageError for what does not go with that."""
        if files:
            raise UsageError("--watch is for the runs of a store, not for exported files")
        options.refuse_beside("watch", json=self.as_json or None, offset=self.offset or None)
        options.check_present(self.store)
        from collapsebench.reporting.run_watch import RunWatch

        watch_runs(self.store, RunWatch(self.states, self.filters, self.limit), seconds=seconds)


@click.group("runs")
def command() -> None:
    """List, show, export, import, stop and delete stored runs."""


@command.command("list")
@click.argument("files", metavar="[FILE]...", nargs=-1)
@options.gathered(
    ListOptions,
    *RUN_OPTIONS,
    click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most this many."),
    click.option("--offset", type=click.IntRange(min=0), default=0, help="Leave out the newest ones."),
    runs_option,
    options.as_json,
    options.plugin,
    options.work_dir,
    options.store,
)
def list_(given: ListOptions, files: tuple[str, ...]) -> None:
    """List runs, the newest first: those of the store, or those of each exported FILE, plain or gzipped.

    Runs of the store that are not over stand in a table of their own: whether they run or wait, where, and how far they
    are. With --watch the command looks on until nothing runs. A scheduler that is not installed needs its --plugin.
    """
    if given.watch is not None:
        given.look_on(files, given.watch)
        return
    page = given.page(files)
    if given.as_json:
        click.echo(json.dumps(page.as_json(), indent=2))
    elif page.runs:
        click.echo(page.as_text(options.terminal_width()))
    click.echo(page.position, err=True)
    options.tell_unreadable(page.left_out)


@command.command("show")
@click.argument("run_id", metavar="ID", shell_complete=completing.runs)
@options.as_json
@options.stored
def show(store: str, run_id: str, as_json: bool) -> None:
    """Show one run, by its id or the first digits: spec, counters, every value, trajectory."""
    from collapsebench.reporting.run_page import read_run_page
    from collapsebench.store import Store

    with Store.reading(store) as opened:
        page = read_run_page(opened, run_id)
    click.echo(json.dumps(page.as_json(), indent=2) if as_json else page.as_text())


@command.command("export")
@click.argument("file")
@run_options
@click.option(
    "--format",
    "format_",
    type=click.Choice(EXPORTS),
    default=None,
    help="JSON lines, or a table for data frames.  [default: parquet if FILE ends in .parquet, otherwise jsonl]",
)
@click.option("--weights", type=options.PATH, default=None, metavar="FOLDER", help="Copy their trained weights, too.")
@options.work_dir
@options.stored
def export(
    chosen: RunOptions, store: str, file: str, format_: str | None, weights: Path | None, work_dir: Path | None
) -> None:
    """Write runs to FILE (- for standard output) as JSON lines, or as a Parquet file. One run is one line, or one row.

    `runs import` reads JSON lines. They are gzipped if FILE ends in .gz. Data frames read Parquet, for which
    collapsebench[parquet] must be installed.

    With --weights, the files of their weights are copied to a folder, from where `runs import --weights` takes them.
    """
    write = _writer(file, format_)
    from collapsebench.store import Store

    with Store.reading(store) as opened, destination(file) as stream:
        written = write(opened, stream, chosen.filters)
    click.echo(f"{written} runs exported", err=True)
    options.tell_unreadable(opened.unreadable)
    if weights is not None:
        _export_weights(chosen, store, weights, work_dir)


def _writer(file: str, format_: str | None) -> Writer:
    """Return a function that writes runs to a stream, in the format that is asked for, or that the file's name says."""
    if format_ == "parquet" or (format_ is None and file.endswith(".parquet")):
        return _parquet_writer(file)
    return _write_gzipped if file.endswith(".gz") else _write_lines


def _write_lines(store: Store, stream: TextIO, filters: Filters) -> int:
    from collapsebench.store.interchange import export_runs

    return export_runs(store.find(**filters), stream)


def _write_gzipped(store: Store, stream: TextIO, filters: Filters) -> int:
    """Write the same lines, compressed. Equal lines give equal bytes: neither a time nor a name stands in the file."""
    with GzipFile("", "wb", 9, stream.buffer, 0) as packed, TextIOWrapper(packed, encoding="utf-8") as lines:
        return _write_lines(store, lines, filters)


def _parquet_writer(file: str) -> Writer:
    """Return a function that writes runs to a stream. Raises UsageError without pyarrow, and for a terminal."""
    if find_spec("pyarrow") is None:
        raise UsageError("a Parquet file needs pyarrow: pip install 'collapsebench[parquet]'")
    if file == "-" and sys.stdout.isatty():
        raise UsageError("a Parquet file cannot be shown on a terminal: name a file in place of -")
    from collapsebench.reporting.parquet import export_parquet

    return lambda store, stream, filters: export_parquet(store, stream.buffer, **filters)


def _export_weights(chosen: RunOptions, store: str, folder: Path, work_dir: Path | None) -> None:
    from collapsebench.experiment.exchange import export_weights
    from collapsebench.store import Store

    with Store.reading(store) as opened:
        run_ids = [run.run_id for run in opened.summaries(**chosen.filters)]
    copied = export_weights(store, run_ids, folder, work_dir)
    click.echo(f"weights of {copied} runs in '{folder}'", err=True)


@command.command("import")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option(
    "--weights", type=options.GIVEN, default=None, metavar="FOLDER", help="Take their weights from here, too."
)
@options.work_dir
@options.store
def import_(store: str, files: tuple[str, ...], weights: Path | None, work_dir: Path | None) -> None:
    """Read runs from each FILE (- for standard input), plain or gzipped, all or none.

    Every line is checked before the first is written, for all that boards compute. Runs that the store has are skipped;
    a run that it has with another result is an error. A record is data: importing it runs no code.
    """
    from collapsebench.store.interchange import import_runs

    added = import_runs(store, _sources(files))
    nothing = "" if any(added) else ": what was given has no runs"
    click.echo(f"{added.written} runs imported, {added.skipped} skipped{nothing}", err=True)
    if weights is not None:
        from collapsebench.experiment.exchange import import_weights

        click.echo(f"weights of {import_weights(store, weights, work_dir)} runs imported", err=True)


@command.command("stop")
@click.argument("run_ids", metavar="[ID]...", nargs=-1, shell_complete=completing.runs)
@click.option("--all", "every", is_flag=True, help="All runs that schedulers have.")
@options.plugin
@options.work_dir
@options.stored
def stop(store: str, run_ids: tuple[str, ...], every: bool, work_dir: Path | None, plugins: tuple[Path, ...]) -> None:
    """Stop runs that were handed to a scheduler, by their ids or the first digits. Nothing is lost.

    A run that is stopped writes a checkpoint, and the command that made it goes on from there. Runs of a command that
    computes by itself are stopped by ending that. A scheduler that is not installed needs its --plugin.
    """
    from collapsebench.experiment.stopping import stop_runs

    if bool(run_ids) == every:
        raise UsageError("say which runs: their ids, or --all")
    stopped = stop_runs(store, None if every else run_ids, work_dir, plugins)
    click.echo("".join(f"error: {line}\n" for line in stopped.refused) + stopped.text, err=True)
    if stopped.refused:
        raise click.exceptions.Exit(1)


@command.command("delete")
@click.argument("run_ids", metavar="ID...", nargs=-1, shell_complete=completing.runs)
@click.option("--unreadable", is_flag=True, help="All runs that cannot be read.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.work_dir
@options.stored
def delete(store: str, run_ids: tuple[str, ...], unreadable: bool, yes: bool, work_dir: Path | None) -> None:
    """Delete runs, by their ids or the first digits, with all that belongs to them: codes, weights and checkpoints."""
    from collapsebench.store.deletion import delete_runs, delete_unreadable

    if bool(run_ids) == unreadable:
        raise UsageError("say which runs: their ids, or --unreadable")
    confirm = None if yes else _ask
    if unreadable:
        deleted = delete_unreadable(store, confirm, work_dir)
    else:
        deleted = delete_runs(store, run_ids, confirm, work_dir)
    click.echo(f"{deleted} runs deleted", err=True)


def _opened(store: str, files: Sequence[str]) -> AbstractContextManager[Store]:
    """Open the store, or the exports in its place if there are any."""
    if not files:
        options.check_present(store)
    from collapsebench.store import Store
    from collapsebench.store.interchange import read_exports

    return read_exports(_sources(files)) if files else Store.reading(store)


def _sources(files: Sequence[str]) -> dict[str, Path | IO[bytes]]:
    """Return the files, and standard input for -, by the names that messages call them."""
    return {file: sys.stdin.buffer if file == "-" else expanded(file) for file in files}


def _ask(runs: Sequence[RunRecord | Unreadable]) -> None:
    """Ask whether runs may be deleted. Raises Abort if not."""
    from collapsebench.reporting.run_page import title

    for run in runs:
        click.echo(title(run), err=True)
    click.confirm(f"Delete {len(runs)} runs?", abort=True, err=True)
