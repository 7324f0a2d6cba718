"""The report of the selfcheck: every check as text, as a Markdown table, as CSV or as JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collapsebench.selfcheck.checks import Check

ROW = "  {:<19} {:<17} {:>11} {:>9} {:^3} {:>11} {:>7}  {}"


def write_report(checks: Iterable[Check], format_: str, stream: TextIO) -> tuple[Check, ...]:
    """Write checks in one of FORMATS, text line by line as they are made, and return them."""
    done: list[Check] = []
    FORMATS[format_](_collected(checks, done), stream)
    return tuple(done)


def failures(checks: Sequence[Check]) -> str:
    """Say in one line how many checks failed, and name the first three; empty if all passed."""
    failed = [check for check in checks if not check.passed]
    if not failed:
        return ""
    named = ", ".join(f"{check.entry} ({check.case})" for check in failed[:3])
    more = f" and {len(failed) - 3} more" if len(failed) > 3 else ""
    return f"{len(failed)} of {len(checks)} checks failed: {named}{more}"


def _collected(checks: Iterable[Check], done: list[Check]) -> Iterator[Check]:
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
    """Give a check as CSV and JSON have it, in full precision."""
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
"""The functions that write checks, by the name of the format."""
