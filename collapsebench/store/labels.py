"""The labels of a spec: those parts that its identity leaves out. A record and a row have them beside the spec."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from collapsebench.errors import UsageError
from collapsebench.spec import FILE_TRACK, Contender, RunSpec
from collapsebench.syntax import BASELINE, Call, parse_composition


def with_labels(spec: RunSpec, contender: str, track: str) -> RunSpec:
    """Add to a spec from JSON the parts that its identity leaves out.

    These are the labels, the parameters that the user passed, the overrides of the track, and the name of its file. The
    labels are printed in canonical form, so that they hold all of these.
    """
    methods = spec.contender.methods
    calls = [] if contender == BASELINE else _calls(contender)
    if [call.name for call in calls] == [method.name for method in methods]:
        passed = zip(methods, calls, strict=True)
        methods = tuple(method.model_copy(update={"passed": call.params}) for method, call in passed)
    of_file = spec.protocol.track == FILE_TRACK
    named = next((call for call in _calls(track) if of_file or call.name == spec.protocol.track), Call("", {}))
    return spec.model_copy(
        update={
            "contender": spec.contender.model_copy(update={"methods": methods, "label": contender}),
            "protocol": spec.protocol.model_copy(
                update={"overrides": named.params, "file_name": named.name if of_file else ""}
            ),
        }
    )


def _calls(label: str) -> list[Call]:
    try:
        return parse_composition(label)
    except UsageError:
        return []


def contradictions(
    stated: Mapping[str, tuple[str, str]], spec: RunSpec, contender: str, track: str
) -> Iterator[tuple[str, str, str]]:
    """Yield what is stated beside a spec and differs from it: its name, what is stated, and what the spec gives.

    `stated` are further texts, each with that of the spec. The spec has its labels.
    """
    labels = {
        "contender": (contender, Contender.of(spec.contender.methods).label),
        "track": (track, spec.protocol.track_label),
    }
    for name, (got, expected) in {**stated, **labels}.items():
        if got != expected:
            yield name, got, expected
