"""The report of a verification: what agrees, what differs, and what cannot be checked here."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from collapsebench.printable import printable

LISTED = 5
"""A line names at most this many runs."""


class Verdict(StrEnum):
    """What came of a check."""

    OK = "ok"
    DIFFERS = "differs"
    UNCHECKED = "cannot be checked here"


class Check(NamedTuple):
    """One check of one or several runs."""

    verdict: Verdict
    what: str
    """What was checked, in a word or two."""
    reason: str
    runs: tuple[str, ...] = ()
    """The ids of the runs that it is about, or the lines of a file."""

    def as_text(self) -> str:
        """Write one line."""
        named = f" ({_named(self.runs, self.verdict)})" if self.runs else ""
        return printable(f"{self.verdict.value:<{len(Verdict.UNCHECKED.value)}}  {self.what}: {self.reason}{named}")


class Mark(NamedTuple):
    """A finding that a record has about itself. Boards mark the row."""

    run_id: str
    contender: str
    seed: int
    guard: str
    text: str


@dataclass(frozen=True)
class Report:
    """All checks of one file."""

    source: str
    runs: int
    """The number of runs that could be read."""
    checks: tuple[Check, ...]
    marks: tuple[Mark, ...] = ()

    @property
    def exit_code(self) -> int:
        """1 if something differs, else 0."""
        return int(any(check.verdict is Verdict.DIFFERS for check in self.checks))

    def as_text(self, width: int | None = None) -> str:
        """Write a line for each check, then the marks, then a summary. A line that is longer than `width` is broken."""
        lines = [f"{self.source}: {self.runs} runs", *(check.as_text() for check in self.checks)]
        lines += [f"marked  {mark.run_id} {mark.contender} seed {mark.seed}: {mark.text}" for mark in self.marks]
        counts = Counter(check.verdict for check in self.checks)
        lines.append(", ".join(f"{counts[verdict]} {verdict.value}" for verdict in Verdict))
        return "\n".join(_broken(printable(line), width) for line in lines)

    def as_json(self) -> dict[str, Any]:
        """Give the same as plain values."""
        checks = [check._asdict() | {"verdict": check.verdict.value} for check in self.checks]
        return {"source": self.source, "runs": self.runs, "checks": checks, "marks": [m._asdict() for m in self.marks]}


def _broken(line: str, width: int | None) -> str:
    """Break a line between words. What follows stands below the texts of the checks."""
    indent = " " * (len(Verdict.UNCHECKED.value) + 2)
    if width is None or len(line) <= width or width < 2 * len(indent):
        return line
    wrapper = textwrap.TextWrapper(width, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False)
    return wrapper.fill(line)


def merged(checks: Iterable[Check]) -> tuple[Check, ...]:
    """Make one check of those that say the same of several runs."""
    found: dict[tuple[Verdict, str, str], dict[str, None]] = {}
    for verdict, what, reason, runs in checks:
        found.setdefault((verdict, what, reason), {}).update(dict.fromkeys(runs))
    return tuple(Check(*same, tuple(runs)) for same, runs in found.items())


def _named(runs: tuple[str, ...], verdict: Verdict) -> str:
    """Name the runs. Of many that have no fault, it is enough to say how many they are."""
    if len(runs) <= LISTED:
        return ", ".join(runs)
    listed = f": {', '.join(runs[:LISTED])}, …" if verdict is Verdict.DIFFERS else ""
    return f"{len(runs)} runs{listed}"
