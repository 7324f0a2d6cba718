"""`collapsebench selfcheck`: the metrics against exact values, on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from collapsebench.cli import options
from collapsebench.cli.files import destination
from collapsebench.errors import CollapsebenchError
from collapsebench.selfcheck.report import FORMATS, failures, write_report


@click.command("selfcheck")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Draws the examples and z.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(list(FORMATS)),
    default="table",
    show_default=True,
    help="csv and json hold full precision.",
)
@options.as_json
@options.output
def command(seed: int, format_: str, output: Path | None, *, as_json: bool) -> None:
    """Check every metric against models whose exact values are known; some 20 seconds, no data, no store.

    Linear VAEs in closed form, at the optimum and away from it, from all units active to total collapse; tiny models of
    pixels and words by quadrature; the true language model of synthetic-text. An estimate may be 5 of its standard
    errors from its exact value, beyond rounding and a known bias. Exit code 1 if one is further.
    """
    from collapsebench.selfcheck.cases import all_checks

    with destination(output) as stream:
        checks = write_report(all_checks(seed), "json" if as_json else format_, stream)
    if failed := failures(checks):
        raise CollapsebenchError(failed)
