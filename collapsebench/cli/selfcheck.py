"""`collapsebench selfcheck`: the metrics against exact values, on this machine."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from collapsebench.cli import options
from collapsebench.cli.files import destination
from collapsebench.errors import CollapsebenchError

if TYPE_CHECKING:
    from collapsebench.selfcheck.checks import Check

ROW = "  {:<19} {:<17} {:>11} {:>9} {:^3} {:>11} {:>7}  {}"


@click.command("selfcheck")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Draws the examples and z.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["table", "markdown", "csv", "json"]),
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
    done: list[Check] = []
    with destination(output) as stream:
        FORMATS["json" if as_json else format_](_kept(_checks(seed), done), stream)
    failed = [check for check in done if not check.passed]
    if failed:
        named = ", ".join(f"{check.entry} ({check.case})" for check in failed[:3])
        more = f" and {len(failed) - 3} more" if len(failed) > 3 else ""
        raise CollapsebenchError(f"{len(failed)} of {len(done)} checks failed: {named}{more}")


def _checks(seed: int) -> Iterator[Check]:
    """Make all checks with one thread: the models are so small that a second thread would only wait."""
    from collapsebench.experiment.executors import torch_threads
    from collapsebench.selfcheck.cases import cases

    with torch_threads(1):
        for case in cases(seed):
            yield from case.checks()


def _kept(checks: Iterable[Check], done: list[Check]) -> Iterator[Check]:
    for check in checks:
        done.append(check)
        yield check


def _table(checks: Iterable[Check], stream: TextIO) -> None:
    """Print each case as soon as it is checked, and the sum at the end."""
    print(ROW.format("metric", "entry", "estimate", "± SE", "", "exact", "SEs", "result"), file=stream)
    case, count, failed = None, 0, 0
    for check in checks:
        if check.case != case:
            case = check.case
            print(case, file=stream, flush=True)
        print(ROW.format(*_cells(check)), file=stream)
        count, failed = count + 1, failed + (not check.passed)
    print(f"{count} checks, {failed} failed" if failed else f"{count} checks, all passed", file=stream)


def _markdown(checks: Iterable[Check], stream: TextIO) -> None:
    from tabulate import tabulate

    rows = [[check.case, *_cells(check)] for check in checks]
    headers = ["case", "metric", "entry", "estimate", "± SE", "", "exact", "SEs", "result"]
    align = ("left", "left", "left", "right", "right", "center", "right", "right", "left")
    print(tabulate(rows, headers, "pipe", disable_numparse=True, colalign=align), file=stream)


def _cells(check: Check) -> tuple[str, ...]:
    error, errors = check.standard_error, check.errors
    return (
        check.metric,
        check.entry,
        f"{check.estimate.value:.5f}",
        "" if error is None else f"{error:.5f}",
        check.exact.relation.value,
        f"{check.exact.value:.5f}",
        "" if errors is None else f"{errors:+.2f}",
        "pass" if check.passed else "FAIL",
    )


def _csv(checks: Iterable[Check], stream: TextIO) -> None:
    writer: csv.DictWriter[str] | None = None
    for row in map(_row, checks):
        if writer is None:
            writer = csv.DictWriter(stream, list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow(row)


def _json(checks: Iterable[Check], stream: TextIO) -> None:
    rows = [_row(check) for check in checks]
    passed = all(row["passed"] for row in rows)
    print(json.dumps({"passed": passed, "checks": rows}, indent=2, ensure_ascii=False, allow_nan=False), file=stream)


def _row(check: Check) -> dict[str, Any]:
    from collapsebench.record import json_number

    return {
        "case": check.case,
        "metric": check.metric,
        "entry": check.entry,
        "estimate": json_number(check.estimate.value),
        "standard_error": json_number(check.estimate.standard_error),
        "relation": check.exact.relation.value,
        "exact": check.exact.value,
        "slack": check.exact.slack,
        "rounding": check.rounding,
        "errors": json_number(check.errors),
        "passed": check.passed,
    }


FORMATS: Mapping[str, Callable[[Iterable[Check], TextIO], None]] = {
    "table": _table,
    "markdown": _markdown,
    "csv": _csv,
    "json": _json,
}
