"""The labels of a spec: those parts that its identity leaves out. A record and a row have them beside the spec."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from collapsebench.errors import UsageError
from collapsebench.spec import FILE_TRACK, Contender, Protocol, RunSpec
from collapsebench.syntax import Call, Written, parse_composition, parse_contender


def with_labels(spec: RunSpec, contender: str, track: str) -> RunSpec:
    """Add to a spec from JSON the parts that its identity leaves out."""
    labelled = {
        "contender": labelled_contender(spec.contender, contender),
        "protocol": labelled_protocol(spec.protocol, track),
    }
    return spec.model_copy(update=labelled)


def labelled_contender(contender: Contender, label: str) -> Contender:
    """Add the label, and the parameters that the user passed. The label is canonical, so that it holds them."""
    methods = contender.methods
    calls = _written(label).calls
    if [call.name for call in calls] == [method.name for method in methods]:
        passed = zip(methods, calls, strict=True)
        methods = tuple(method.model_copy(update={"passed": call.params}) for method, call in passed)
    return contender.model_copy(update={"methods": methods, "label": label})


def labelled_protocol(protocol: Protocol, track: str) -> Protocol:
    """Add the overrides of the track and the name of its file, which its label holds."""
    of_file = protocol.track == FILE_TRACK
    named = next((call for call in _calls(track) if of_file or call.name == protocol.track), Call("", {}))
    return protocol.model_copy(update={"overrides": named.params, "file_name": named.name if of_file else ""})


def _written(label: str) -> Written:
    try:
        return parse_contender(label)
    except UsageError:
        return Written([])


def _calls(label: str) -> list[Call]:
    try:
        return parse_composition(label)
    except UsageError:
        return []


def contradictions(stated: Mapping[str, tuple[str, str]]) -> Iterator[tuple[str, str, str]]:
    """Yield what is stated beside a spec and differs from it: its name, what is stated, and what the spec gives."""
    for name, (got, expected) in stated.items():
        if got != expected:
            yield name, got, expected


def label_of(contender: Contender) -> str:
    """Return the label that a contender should have."""
    return Contender.of(contender.methods, contender.rate).label
