"""Computes again what follows from records alone, from the data that are here, and from the code that is installed.

A record is data: nothing that it names is imported. Components come from installed plugins and from the files that the
user names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from importlib import metadata
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from collapsebench.errors import UsageError, error_line
from collapsebench.guards.agreement import choices
from collapsebench.observation import Observation
from collapsebench.plausibility import checker
from collapsebench.record import Outcome
from collapsebench.reporting.leaderboard import ENTRIES, likelihood_limits, validated
from collapsebench.spec import PROTOCOL_VERSION
from collapsebench.store.interchange import read_line
from collapsebench.store.streams import lines, readable_twice
from collapsebench.verification.report import Check, Mark, Verdict, merged

if TYPE_CHECKING:
    from collapsebench.components.catalog import Catalog
    from collapsebench.experiment.work import Sources
    from collapsebench.record import RunRecord
    from collapsebench.spec import Choice, Protocol

TRUSTED: Final = (
    Check(Verdict.UNCHECKED, "times", "what a record says about seconds and its machine is known to its maker alone"),
)
"""What nobody can check who has the records alone."""


def read_records(source: Path | IO[bytes], name: str) -> tuple[list[RunRecord], list[Check]]:
    """Read every line of an export that is a run; the others are checks that differ.

    Raises UsageError for a file without lines, and CollapsebenchError for one that cannot be read.
    """
    records: dict[str, RunRecord] = {}
    checks: list[Check] = []
    with readable_twice(source, name) as stream:
        for number, line in enumerate(lines(stream, name), start=1):
            if line.strip():
                try:
                    record = read_line(line)
                except UsageError as error:
                    checks.append(Check(Verdict.DIFFERS, "record", str(error), (f"line {number}",)))
                    continue
                if records.setdefault(record.run_id, record) != record:
                    reason = "the run is there twice, with different content"
                    checks.append(Check(Verdict.DIFFERS, "record", reason, (record.run_id,)))
    if not records and not checks:
        raise UsageError(f"'{name}' has no runs")
    return list(records.values()), checks


def check_records(records: Iterable[RunRecord], sources: Sources) -> tuple[Check, ...]:
    """Check records one by one, and those of each protocol together."""
    by_protocol: dict[str, list[RunRecord]] = {}
    for record in records:
        by_protocol.setdefault(record.protocol_id, []).append(record)
    own = (_ProtocolChecks(runs, sources).all() for runs in by_protocol.values())
    return merged(chain(chain.from_iterable(own), TRUSTED))


def marks(records: Iterable[RunRecord]) -> tuple[Mark, ...]:
    """Return what the guards have written into the records."""
    return tuple(
        Mark(record.run_id, record.contender, record.spec.seed, finding.guard.value, finding.text)
        for record in records
        for finding in record.findings
    )


class _ProtocolChecks:
    """The checks of the runs of one protocol."""

    def __init__(self, runs: list[RunRecord], sources: Sources) -> None:
        self._runs, self._sources = runs, sources
        self._protocol: Protocol = runs[0].spec.protocol
        self._ids = tuple(run.run_id for run in runs)

    def all(self) -> Iterator[Check]:
        """Yield every check."""
        yield Check(Verdict.OK, "record", "ids and labels follow from the spec, and the content agrees", self._ids)
        yield from self._results()
        yield from self._numbers()
        yield self._rules()
        yield from self._data()
        for run in self._runs:
            yield _harness(run)
            yield from self._components(run)

    def _results(self) -> Iterator[Check]:
        for run in self._runs:
            if run.outcome is not Outcome.FINISHED:
                reason = f"the run has no numbers of the test split: it is {run.outcome.value}"
                yield Check(Verdict.UNCHECKED, "result", reason, (run.run_id,))

    def _numbers(self) -> Iterator[Check]:
        trials = self._protocol.of_trials
        limit = likelihood_limits(self._catalog, "valid" if trials else "test")(self._protocol)
        check = checker(self._protocol, limit)
        for run in self._runs:
            found = check(validated(run) if trials else Observation.of(run, ENTRIES))
            for violation in found:
                yield Check(Verdict.DIFFERS, "numbers", f"impossible: {violation.text}", (run.run_id,))
            if not found:
                yield Check(Verdict.OK, "numbers", "no rule of plausibility is broken", (run.run_id,))
        if limit is None:
            reason = "the distribution of the data is not known here, so that only rules between numbers hold"
            yield Check(Verdict.UNCHECKED, "best possible", reason, self._ids)

    def _rules(self) -> Check:
        version = self._protocol.version
        if version == PROTOCOL_VERSION:
            return Check(Verdict.OK, "rules", f"version {version}, as here", self._ids)
        reason = f"version {version}, and {PROTOCOL_VERSION} here: what numbers mean has changed"
        return Check(Verdict.UNCHECKED, "rules", reason, self._ids)

    def _data(self) -> Iterator[Check]:
        dataset = self._protocol.dataset
        try:
            here = self._hashes(dataset)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a dataset of a plugin may raise anything
            yield Check(Verdict.UNCHECKED, "data", error_line(error), self._ids)
            return
        for name in sorted(here.keys() | self._protocol.splits.keys()):
            stored, found = self._protocol.splits.get(name), here.get(name)
            split = f"split '{name}' of dataset '{dataset.name}'"
            if stored == found:
                yield Check(Verdict.OK, "data", f"{split} is the one of this machine", self._ids)
            else:
                reason = f"{split} has the hash {_short(found)} here, and {_short(stored)} in the records"
                yield Check(Verdict.DIFFERS, "data", reason, self._ids)

    def _hashes(self, dataset: Choice) -> Mapping[str, str]:
        if ("dataset", dataset.name) not in self._catalog.entries:
            raise UsageError(missing("dataset", dataset.name))
        return self._sources.splits.of(dataset).hashes()

    def _components(self, run: RunRecord) -> Iterator[Check]:
        named = dict.fromkeys((kind, choice.name, choice.version) for kind, choice in choices(run.spec))
        for kind, name, version in named:
            entry = self._catalog.entries.get((kind, name))
            if entry is None:
                yield Check(Verdict.UNCHECKED, "components", missing(kind, name), (run.run_id,))
            else:
                here = entry.component.version
                yield _version(f"{kind} '{name}'", version, here, run.run_id)
                yield from _code(f"{kind} {name}", run, entry.code)
        for name in sorted(run.code.keys() - {f"{kind} {name}" for kind, name, _ in named}):
            reason = f"the record has the hash of the code of '{name}', which its spec does not name"
            yield Check(Verdict.DIFFERS, "code", reason, (run.run_id,))

    @cached_property
    def _catalog(self) -> Catalog:
        return self._sources.catalog


def _version(what: str, stored: int, here: int, run_id: str) -> Check:
    if stored == here:
        reason = "those that are installed here have the versions of the records, but where a line says otherwise"
        return Check(Verdict.OK, "components", reason, (run_id,))
    reason = f"{what} has version {here} here, and {stored} in the record"
    return Check(Verdict.DIFFERS, "components", reason, (run_id,))


def _code(name: str, run: RunRecord, here: str | None) -> Iterator[Check]:
    """Compare the hash of the code of a component. One that comes with the harness has none."""
    stored = run.code.get(name)
    if stored is None and here is None:
        return
    if stored == here:
        yield Check(Verdict.OK, "code", f"the code of {name} is the one here ({here})", (run.run_id,))
    elif stored is None:
        yield Check(Verdict.UNCHECKED, "code", f"the record has no hash of the code of {name}", (run.run_id,))
    else:
        found = "is part of the harness here" if here is None else f"is another one here ({here})"
        yield Check(Verdict.DIFFERS, "code", f"the code of {name} {found}, and {stored} in the record", (run.run_id,))


def _harness(run: RunRecord) -> Check:
    here, stored = metadata.version("collapsebench"), run.environment.get("collapsebench")
    if stored is None:
        return Check(Verdict.UNCHECKED, "harness", "the record does not say which version it was", (run.run_id,))
    if stored == here:
        return Check(Verdict.OK, "harness", f"version {here}, as here", (run.run_id,))
    return Check(Verdict.DIFFERS, "harness", f"version {stored!s:.40}, and {here} here", (run.run_id,))


def missing(kind: str, name: str) -> str:
    """Say that a component is not here, and what loads it."""
    return f"{kind} '{name}' is not installed here; --plugin FILE loads it from a file that you trust"


def _short(digest: str | None) -> str:
    return "none" if digest is None else f"{digest[:16]}…" if len(digest) > 16 else digest
