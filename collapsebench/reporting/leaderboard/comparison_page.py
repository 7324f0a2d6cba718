"""A comparison with published numbers as text: a page for people, or CSV and JSON for programs."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from collapsebench.published import PublishedValue
from collapsebench.record import json_number
from collapsebench.reporting import escaping
from collapsebench.reporting.leaderboard.comparison import Pair
from collapsebench.reporting.leaderboard.layout import header
from collapsebench.reporting.leaderboard.numbers import BLANK, with_interval
from collapsebench.reporting.leaderboard.pages import DECLINED, FINDING, IMPOSSIBLE, Page, TableCell, TextTable
from collapsebench.reporting.leaderboard.scoring import BoardColumn

LEGEND = (
    "Measured: mean over seeds ± half-width of its 95 % Student-t interval. Published: as printed, with the sign of "
    "the column. Difference: measured minus published. A − B: one model minus another, measured seed by seed. "
    "C − D · A − B: how much that is more in cell C than in cell D, measured seed by seed, too."
)


def comparison_page(title: str, pairs: Sequence[Pair], notes: Iterable[str], command: str) -> Page:
    """Lay pairs out, with one table for each column. The reasons have numbers, and are listed below the tables."""
    both = [pair for pair in pairs if pair.difference is not None]
    numbers = {reason: i for i, reason in enumerate(dict.fromkeys(r for pair in both for r in pair.reasons), start=1)}
    by_column: dict[BoardColumn, list[Pair]] = {}
    for pair in pairs:
        by_column.setdefault(pair.column, []).append(pair)
    tables = tuple(_table(column, of_column, numbers) for column, of_column in by_column.items())
    needed = (LEGEND, *(f"({number}) {reason}." for reason, number in numbers.items()), *_marks(pairs))
    return Page(title, tables, (*needed, *notes), command, footnotes=needed)


def _marks(pairs: Sequence[Pair]) -> Iterator[str]:
    impossible = dict.fromkeys(f"{_place(pair)}, {text}" for pair in pairs for text in pair.impossible)
    if impossible:
        yield f"{IMPOSSIBLE} marks measured numbers that cannot be, whatever the model; these {len(impossible)}:"
        yield from impossible
    findings = dict.fromkeys(f"{pair.cell} · {text}" for pair in pairs if not pair.against for text in pair.findings)
    if findings:
        yield f"{FINDING} marks models about whose runs there is something to know; these {len(findings)}:"
        yield from findings
    without = [pair for pair in pairs if pair.measured is None and not pair.against]
    declined = dict.fromkeys(
        f"{pair.cell} · {pair.column.title} · {text}" for pair in without for text in pair.declined
    )
    if declined:
        yield f"{DECLINED} marks cells whose metric has no number for a model, and says why; these {len(declined)}:"
        yield from declined


def _table(column: BoardColumn, pairs: Iterable[Pair], numbers: Mapping[str, int]) -> TextTable:
    headers = ("model", "n", "measured", "published", "difference", "comparable")
    with_number = [pair for pair in pairs if pair.measured is not None or pair.published is not None]
    return TextTable(header(column), headers, tuple(tuple(map(TableCell, _row(pair, numbers))) for pair in with_number))


def _row(pair: Pair, numbers: Mapping[str, int]) -> tuple[str, ...]:
    return (
        f"{_place(pair)}{f' {FINDING}' if pair.findings else ''}",
        "" if pair.measured is None else str(len(pair.measured.seeds)),
        _measured(pair),
        "" if pair.published is None else printed_text(pair.published, signed=bool(pair.against)),
        difference_text(pair),
        {True: "yes", False: f"no ({', '.join(str(numbers[r]) for r in pair.reasons if r in numbers)})", None: ""}[
            pair.comparable
        ],
    )


def _place(pair: Pair) -> str:
    return f"{pair.cell}{f' − {pair.since}' if pair.since else ''} · {_name(pair)}"


def _measured(pair: Pair) -> str:
    if pair.measured is None:
        return f"{BLANK}{f' {DECLINED}' if pair.declined else ''}"
    return f"{with_interval(pair.measured, signed=bool(pair.against))}{f' {IMPOSSIBLE}' if pair.impossible else ''}"


def _name(pair: Pair) -> str:
    if pair.against:
        return f"{pair.model} − {pair.against}"
    return pair.model if pair.contender == pair.model.casefold() else f"{pair.model} ({pair.contender})"


def difference_text(pair: Pair) -> str:
    """Write the measured number minus the published one, with as many decimals as were printed; empty if unknown."""
    return "" if pair.difference is None or pair.published is None else _signed(pair.difference, pair.published)


def _signed(difference: float, published: PublishedValue) -> str:
    text = f"{difference:+z.{_decimals(published)}f}".replace("-", "−")
    return text if text.strip("+0.") else text[1:]


def printed_text(value: PublishedValue, *, signed: bool = False) -> str:
    """Write a published number as printed, with the sign of the column; a bound and a doubtful digit are marked."""
    if signed:
        return _signed(value.value, value)
    bound, doubtful = "≤ " if value.bound else "", "?" if value.doubtful else ""
    return f"{bound}{value.value:.{_decimals(value)}f}{doubtful}".replace("-", "−")


def _decimals(value: PublishedValue) -> int:
    """Return the number of printed decimals. A difference has the same number."""
    return max(0, -round(math.log10(2 * value.rounding)))


def comparison_csv(suite: str, scale: str, pairs: Sequence[Pair]) -> str:
    """Write one line for each pair, in full precision."""
    facts = _every_fact(suite, scale, pairs)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(facts[0])
    writer.writerows(map(_csv_cell, each.values()) for each in facts)
    return out.getvalue()


def _csv_cell(value: str | float | bool | None) -> str | float | bool:
    if value is None:
        return ""
    return escaping.csv(value) if isinstance(value, str) else value


def comparison_json(suite: str, scale: str, pairs: Sequence[Pair]) -> str:
    """Write one object for each pair. A missing value is null; `nan`, `+inf` and `-inf` are texts."""
    facts = _every_fact(suite, scale, pairs)
    return escaping.to_json({"comparison": facts}) + "\n"


def _every_fact(suite: str, scale: str, pairs: Sequence[Pair]) -> list[dict[str, str | float | bool | None]]:
    """Return the facts of each pair, with columns of marks if a pair has any."""
    facts = [_facts(suite, scale, pair) for pair in pairs]
    if any(pair.impossible for pair in pairs):
        facts = [fact | {"impossible": "; ".join(pair.impossible)} for fact, pair in zip(facts, pairs, strict=True)]
    if any(pair.findings for pair in pairs):
        facts = [fact | {"findings": "; ".join(pair.findings)} for fact, pair in zip(facts, pairs, strict=True)]
    if any(pair.declined for pair in pairs):
        facts = [fact | {"declined": "; ".join(pair.declined)} for fact, pair in zip(facts, pairs, strict=True)]
    return facts


def _facts(suite: str, scale: str, pair: Pair) -> dict[str, str | float | bool | None]:
    sample, value = pair.measured, pair.published
    return {
        "suite": suite,
        "scale": scale,
        "cell": pair.cell,
        "since": pair.since,
        "model": pair.model,
        "against": pair.against,
        "contender": pair.contender,
        "protocol_id": pair.protocol_id,
        "against_protocol_id": pair.against_protocol_id,
        "column": pair.column.key,
        "unit": pair.column.unit,
        "n": None if sample is None else len(sample.seeds),
        "mean": None if sample is None else json_number(sample.mean),
        "half_width": None if sample is None else json_number(sample.half_width),
        "published": None if value is None else value.value,
        "rounding": None if value is None else value.rounding,
        "difference": json_number(pair.difference),
        "comparable": pair.comparable,
        "reasons": "; ".join(pair.reasons) if pair.comparable is False else "",
    }
