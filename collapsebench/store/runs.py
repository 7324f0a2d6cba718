"""Reads the rows of runs together with the protocols and contenders that they share. What runs share is read once."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from sqlalchemy import select

from collapsebench.record import DeclinedColumn, Finding
from collapsebench.spec import Contender, Protocol, RunSpec, identity, run_ids
from collapsebench.store.labels import contradictions, label_of, labelled_contender, labelled_protocol
from collapsebench.store.models import ContenderRow, ProtocolRow
from collapsebench.store.rows import RunSummary, chunks, counters, is_id, parsed, run_facts, shown
from collapsebench.validation import describe

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
Row: TypeAlias = Sequence[Any]

CHUNK = 500
"""The number of keys that are sent at once."""

PROTOCOL = (
    ProtocolRow.key,
    ProtocolRow.protocol_id,
    ProtocolRow.dataset,
    ProtocolRow.track,
    ProtocolRow.budget,
    ProtocolRow.content,
)
CONTENDER = (ContenderRow.key, ContenderRow.label, ContenderRow.content)
"""The columns of what runs share."""

CODE = TypeAdapter(dict[str, str])
FINDINGS = TypeAdapter(tuple[Finding, ...])
DECLINED = TypeAdapter(tuple[DeclinedColumn, ...])


class RunDetails(NamedTuple):
    """What a run has beside its summary, all of it checked."""

    parameters: int
    spec: RunSpec
    """The spec of the run, but perhaps with the seed of another run of its contender."""
    contender_id: str
    environment: dict[str, Any]
    environment_text: str
    """The environment as JSON with sorted keys."""
    code: dict[str, str]
    findings: tuple[Finding, ...]
    declined: tuple[DeclinedColumn, ...]
    counters: dict[str, float] | None
    """Those of the last point; None if the run has no points."""


class _Shared(NamedTuple):
    """What the runs of one contender and one protocol share."""

    spec: RunSpec
    contender_id: str
    run_id: Callable[[int], str]
    """The run id, by the seed."""


class RunReader:
    """Reads rows of runs. `fetch` returns the rows of a query."""

    def __init__(self, fetch: Callable[[Any], Sequence[Row]]) -> None:
        self._fetch = fetch
        self._protocol_rows: dict[str, Row] = {}
        self._contender_rows: dict[str, Row] = {}
        self._protocols: dict[str, Protocol] = {}
        self._contenders: dict[str, Contender] = {}
        self._shared: dict[tuple[str, str], _Shared] = {}
        self._environments: dict[str, tuple[dict[str, Any], str]] = {}
        self._codes: dict[str, dict[str, str]] = {}
        self._findings: dict[str, tuple[Finding, ...]] = {}
        self._declined: dict[str, tuple[DeclinedColumn, ...]] = {}

    def rows(self, query: Any) -> Sequence[Row]:
        """Return the rows of a query whose first columns are RUN, and read what they share."""
        rows = self._fetch(query)
        self._load(PROTOCOL, self._protocol_rows, {row[1] for row in rows})
        self._load(CONTENDER, self._contender_rows, {row[2] for row in rows})
        return rows

    def read(self, row: Row) -> tuple[RunSummary, RunDetails]:
        """Check the columns of RUN in a row of `rows`. Raises one of DAMAGE with what is wrong."""
        run_id, protocol_key, contender_key, *own = row[:14]
        protocol = _found("protocol", self._protocol_rows, protocol_key)
        contender = _found("contender", self._contender_rows, contender_key)
        facts = run_facts((run_id, *protocol[1:5], contender[1], *own[:5]))
        return facts, self._details(facts, (protocol, contender), own[5:])

    def _load(self, columns: Sequence[Any], known: dict[str, Row], keys: Collection[object]) -> None:
        missing = [key for key in keys if is_id(key) and key not in known]
        for chunk in chunks(missing, CHUNK):
            known.update((row[0], row) for row in self._fetch(select(*columns).where(columns[0].in_(chunk))))

    def _details(self, facts: RunSummary, shared: tuple[Row, Row], columns: Sequence[Any]) -> RunDetails:
        parameters, *texts, end = columns
        if type(parameters) is not int or not 0 <= parameters < 2**63:
            raise ValueError(f"its parameters are {shown(parameters)}")
        for name, text in zip(("environment", "code", "findings", "declined"), texts, strict=True):
            if type(text) is not str:
                raise ValueError(f"its {name} is {shown(text)}")
        environment, code, findings, declined = texts
        own_environment, text = _kept(self._environments, environment, _environment)
        spec, contender_id = self._spec(facts, shared, own_environment)
        return RunDetails(
            parameters,
            spec,
            contender_id,
            own_environment,
            text,
            _kept(self._codes, code, lambda text: CODE.validate_python(parsed("code", text))),
            _kept(self._findings, findings, lambda text: FINDINGS.validate_python(parsed("findings", text))),
            _kept(self._declined, declined, lambda text: DECLINED.validate_python(parsed("declined", text))),
            None if end is None else counters(parsed("counters", end)),
        )

    def _spec(self, facts: RunSummary, rows: tuple[Row, Row], environment: Mapping[str, Any]) -> tuple[RunSpec, str]:
        """Return a spec of this contender and protocol. The id says whether the seed is that of the run, too."""
        key = (rows[0][0], rows[1][0])
        if key not in self._shared:
            self._shared[key] = self._make(facts, rows, environment)
        spec, contender_id, run_id = self._shared[key]
        if run_id(facts.seed) != facts.run_id:
            raise ValueError(f"its id is '{facts.run_id}', but its spec gives '{run_id(facts.seed)}'")
        return spec, contender_id

    def _make(self, facts: RunSummary, rows: tuple[Row, Row], environment: Mapping[str, Any]) -> _Shared:
        (protocol_key, *_, protocol), (contender_key, _, contender) = rows
        if protocol_key not in self._protocols:
            content = _validated(Protocol, "protocol", protocol, environment)
            self._protocols[protocol_key] = _agreeing_protocol(facts, content)
        if contender_key not in self._contenders:
            made = _validated(Contender, "contender", contender, environment)
            self._contenders[contender_key] = _agreeing_contender(facts, made)
        spec = RunSpec(
            contender=self._contenders[contender_key], protocol=self._protocols[protocol_key], seed=facts.seed
        )
        return _Shared(spec, identity(spec.contender), run_ids(spec))


def _found(name: str, rows: Mapping[str, Row], key: object) -> Row:
    if not is_id(key):
        raise ValueError(f"its {name} is {shown(key)}, not 16 hexadecimal digits")
    if key not in rows:
        raise ValueError(f"its {name} {key} is not in the store")
    return rows[str(key)]


def _validated(model: type[M], name: str, text: object, environment: Mapping[str, Any]) -> M:
    content = parsed(name, text)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        writer = shown(environment.get("collapsebench", "of an unknown version"))
        mistake = describe(error, model, "field")
        raise ValueError(
            f"it was stored by collapsebench {writer} with a {name} that this version cannot read: {mistake}"
        ) from None


def _agreeing_protocol(facts: RunSummary, content: Protocol) -> Protocol:
    """Return the protocol with its labels. Raises ValueError if the columns beside it contradict it."""
    protocol = labelled_protocol(content, facts.track)
    stated = {
        "protocol": (facts.protocol_id, protocol.protocol_id),
        "dataset": (facts.dataset, protocol.dataset.name),
        "budget": (facts.budget, str(protocol.budget)),
        "track": (facts.track, protocol.track_label),
    }
    _refuse(stated)
    return protocol


def _agreeing_contender(facts: RunSummary, content: Contender) -> Contender:
    """Return the contender with its label. Raises ValueError if it should have another one."""
    contender = labelled_contender(content, facts.contender)
    _refuse({"contender": (facts.contender, label_of(contender))})
    return contender


def _refuse(stated: Mapping[str, tuple[str, str]]) -> None:
    for name, got, expected in contradictions(stated):
        raise ValueError(f"its {name} is '{got}', but its spec gives '{expected}'")


def _environment(text: str) -> tuple[dict[str, Any], str]:
    content = parsed("environment", text)
    if not isinstance(content, dict):
        raise ValueError(f"its environment is {shown(content)}")  # noqa: TRY004 - the row is wrong, not a call
    return content, json.dumps(content, sort_keys=True)


def _kept(cache: dict[str, T], text: str, make: Callable[[str], T]) -> T:
    if text not in cache:
        cache[text] = make(text)
    return cache[text]
