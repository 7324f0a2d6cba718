"""`collapsebench verify`: check a board that somebody else made, by its records."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from collapsebench.cli import options
from collapsebench.files import expanded


@click.command("verify")
@click.argument("file")
@click.option(
    "--rerun",
    default=None,
    metavar="CONTENDER|ID",
    help="Compute one run again and compare every number: of this contender the smallest seed, or the run of this id.",
)
@click.option(
    "--board",
    type=options.PATH,
    default=None,
    metavar="CSV",
    help="Compare a board, as `leaderboard --format csv` writes it, with the one that follows from the runs.",
)
@options.plugin
@options.data_dir
@options.as_json
@click.pass_context
def command(  # noqa: PLR0913 - one argument for each option
    context: click.Context,
    file: str,
    *,
    board: Path | None,
    rerun: str | None,
    plugins: tuple[Path, ...],
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Check the runs of FILE (- for standard input), as `runs export` writes them, plain or gzipped.

    Ids, labels, the rules of plausibility, the data of this machine, versions and hashes of code are compared. Every
    line says ok, differs, or cannot be checked here. The exit code is 1 if something differs. Nothing is stored. A
    record is data: no code is imported because a record names it, only that of installed plugins and of --plugin.
    """
    from collapsebench.verification.verifying import verify

    source = sys.stdin.buffer if file == "-" else expanded(file)
    report = verify(source, file, plugins, data_dir, board=board, rerun=rerun)
    click.echo(json.dumps(report.as_json(), indent=2) if as_json else report.as_text(options.terminal_width()))
    context.exit(report.exit_code)
