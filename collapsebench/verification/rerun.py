"""Computes one stored run again, and compares every number with the record."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collapsebench.errors import UsageError, error_line
from collapsebench.experiment.checkpoint import Checkpoints
from collapsebench.experiment.environment import decisive, kind_of_device
from collapsebench.experiment.executors import InProcess
from collapsebench.experiment.grids import ONE_GRID
from collapsebench.experiment.jobs import JobFiles
from collapsebench.experiment.processors import processors
from collapsebench.experiment.signals import Interrupts
from collapsebench.experiment.work import RunSetup, Sources
from collapsebench.guards.agreement import choices
from collapsebench.spec import PROTOCOL_VERSION, Unit
from collapsebench.syntax import canonical
from collapsebench.verification.comparison import NumberRole, Pair, other_reasons, pairs, tolerance, unequal_findings
from collapsebench.verification.records import missing
from collapsebench.verification.report import Check, Verdict

if TYPE_CHECKING:
    from collapsebench.record import RunRecord

WHAT = "run again"

WORST = 3
"""So many numbers of each role are named."""


def chosen(records: Iterable[RunRecord], wanted: str) -> RunRecord:
    """Return the run that a user means by its id or the first digits, or by its contender: then the smallest seed.

    Raises UsageError if there is none, or if it is not clear which.
    """
    settled = sorted((run for run in records if run.outcome.settled), key=lambda run: run.spec.seed)
    by_id = [run for run in settled if run.run_id.startswith(wanted)] if wanted else []
    if len(by_id) == 1:
        return by_id[0]
    label = _label(wanted)
    found = by_id or [run for run in settled if run.contender == label]
    if not found:
        known = dict.fromkeys(run.contender for run in settled)
        raise UsageError(f"no run with a result is '{wanted}'; the file has: {', '.join(known) or 'none'}")
    first = {run.protocol_id: run for run in reversed(found)}
    if not by_id and len(first) == 1:
        return found[0]
    meant = found if by_id else sorted(first.values(), key=_place)
    named = ", ".join(f"{run.run_id} ({_place(run)})" for run in meant)
    raise UsageError(f"'{wanted}' is not clear; give the id of one run: {named}")


def _place(run: RunRecord) -> str:
    protocol = run.spec.protocol
    return f"{protocol.dataset.name} · {run.track} · {protocol.budget} · seed {run.spec.seed}"


def check_again(stored: RunRecord, sources: Sources) -> tuple[Check, ...]:
    """Compute a run again and compare it with its record."""
    run = (stored.run_id,)
    if reason := _obstacle(stored, sources):
        return (Check(Verdict.UNCHECKED, WHAT, reason, run),)
    again = run_again(stored, sources)
    if again.outcome is not stored.outcome:
        reason = f"{stored.outcome.value} in the record, {again.outcome.value} here: {again.message}"
        return (Check(Verdict.DIFFERS, WHAT, reason, run),)
    other = differences(stored, again)
    return tuple(check._replace(runs=run) for check in _compared(stored, again, other))


def run_again(stored: RunRecord, sources: Sources) -> RunRecord:
    """Compute a run again, in a folder that is removed in the end, with as many threads as it had.

    It runs on a processor, as the stored run did (see `_obstacle`).
    """
    threads = stored.environment.get("threads")
    known = threads if type(threads) is int and 1 <= threads <= processors() else None
    with tempfile.TemporaryDirectory() as folder, ONE_GRID, Interrupts():
        setup = RunSetup(sources, Checkpoints(Path(folder)), JobFiles.below(Path(folder)))
        (record,) = InProcess(threads=known).submit(setup, [stored.spec], _ignore)
    return record


def differences(stored: RunRecord, again: RunRecord) -> tuple[str, ...]:
    """Return in what two environments differ, of what decides about bits; the code of components counts, too."""
    left, right = (_conditions(run) for run in (stored, again))
    names = sorted(name for name in left | right if left.get(name) != right.get(name))
    return tuple(f"{name} {_shown(left.get(name))}, and {_shown(right.get(name))} here" for name in names)


def _conditions(run: RunRecord) -> dict[str, Any]:
    return decisive({"device": ""} | run.environment) | run.code


def _shown(value: object) -> str:
    return "not in the record" if value is None else f"{value!s:.40}"


def _label(wanted: str) -> str:
    try:
        return canonical(wanted)
    except UsageError:
        return wanted


def _ignore(event: object) -> None:
    del event


def _obstacle(stored: RunRecord, sources: Sources) -> str:
    """Return why a run cannot be computed again here, or cannot be compared; empty if it can."""
    protocol = stored.spec.protocol
    if protocol.version != PROTOCOL_VERSION:
        return f"it follows the rules of version {protocol.version}, and this program those of {PROTOCOL_VERSION}"
    if Unit.SECONDS in {protocol.budget.unit, protocol.setting.evaluation.every.unit}:
        return "its steps depend on the clock, as its budget or its evaluations are in seconds"
    device = kind_of_device({"device": "cpu"} | stored.environment)
    if device != "cpu":
        return f"it was computed on '{device}', which draws other noise from the same seed than a processor does"
    for kind, choice in choices(stored.spec):
        if (kind, choice.name) not in sources.catalog.entries:
            return missing(kind, choice.name)
    try:
        sources.splits.of(protocol.dataset)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a dataset of a plugin may raise anything
        return error_line(error)
    return ""


def _compared(stored: RunRecord, again: RunRecord, other: Sequence[str]) -> Iterator[Check]:
    found = list(pairs(stored, again))
    if other:
        yield Check(Verdict.UNCHECKED, WHAT, f"bit for bit, as the environment is another one: {'; '.join(other)}")
    for role in NumberRole:
        own = [pair for pair in found if pair.role is role]
        if own:
            yield _of_role(role, own, exact=not other)
    verdict = Verdict.UNCHECKED if other else Verdict.DIFFERS
    if findings := unequal_findings(stored, again):
        yield Check(verdict, WHAT, f"only one of the two runs has the findings: {'; '.join(findings)}")
    if reasons := other_reasons(stored, again):
        reason = f"only the stored run has these reasons for a column without a number: {'; '.join(reasons)}"
        yield Check(verdict, WHAT, reason)


def _of_role(role: NumberRole, own: Sequence[Pair], *, exact: bool) -> Check:
    wrong = [pair for pair in own if not (pair.equal if exact else pair.within)]
    if wrong:
        worst = sorted(wrong, key=lambda pair: -pair.distance)[:WORST]
        reason = f"{len(wrong)} of {len(own)} numbers ({role.value}): {'; '.join(map(str, worst))}"
        return Check(Verdict.DIFFERS, WHAT, reason)
    largest = max(pair.distance for pair in own)
    how = "equal bit for bit" if largest == 0 else f"at most {largest:.1e} apart, of {tolerance(role):.1e} allowed"
    return Check(Verdict.OK, WHAT, f"{len(own)} numbers ({role.value}) are {how}")
