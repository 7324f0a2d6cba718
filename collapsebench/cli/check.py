"""`collapsebench check`: whether a component does what every component must do."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import click

from collapsebench.cli import completing, options

if TYPE_CHECKING:
    from collapsebench.testing.checking import Outcome, Report


@click.command("check")
@click.argument("target", metavar="NAME[KEY=VALUE]|FILE", shell_complete=completing.components)
@click.option(
    "--kind",
    default=None,
    shell_complete=completing.kinds,
    help="The kind, if components of several kinds have the name: method, metric, …",
)
@options.plugin
@options.data_dir
@options.as_json
def command(target: str, kind: str | None, plugins: tuple[Path, ...], data_dir: Path | None, *, as_json: bool) -> None:
    """Check a component, or all components of a plugin file, on tiny data.

    Each line is one thing that every component of its kind must do: how long it took, and ok or what is wrong. The
    exit code is 1 if anything is. Tests of pytest do the same: `collapsebench.testing` has a class for each kind.
    """
    from collapsebench.testing.checking import report_json, reports

    found = {report: _outcomes(report, quiet=as_json) for report in reports(target, kind, plugins, data_dir)}
    if as_json:
        click.echo(json.dumps([report_json(report, outcomes) for report, outcomes in found.items()], indent=2))
    if any(outcome.problem for outcomes in found.values() for outcome in outcomes):
        raise click.exceptions.Exit(1)


def _outcomes(report: Report, *, quiet: bool) -> list[Outcome]:
    """Run the checks of a component, and print each as it ends, unless `quiet`."""
    if quiet:
        with redirect_stdout(sys.stderr):  # what a component prints is no JSON
            return list(report.run())
    click.echo(report.title)
    return list(_told(report))


def _told(report: Report) -> Iterator[Outcome]:
    """Print each check as it ends. A problem is told once, however many checks have it."""
    width = max(len(check.name) for check in report.checks)
    first: dict[str, str] = {}
    for outcome in report.run():
        check = first.setdefault(outcome.problem, outcome.name)
        known = outcome.problem and check != outcome.name
        said = f"as in '{check}'" if known else outcome.problem or "ok"
        click.echo(f"  {outcome.name:{width}}  {outcome.seconds:5.1f} s  {said}")
        yield outcome
