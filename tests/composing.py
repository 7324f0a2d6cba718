"""What every shipped method does on small data, alone and beside every other one. docs/combining.md shows it.

A method that is shipped later is tried as it is. Its parameters have their defaults; what has none is the first of the
`examples` of its field, or 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from functools import cache
from itertools import permutations
from typing import NamedTuple

from collapsebench.components import discovery
from collapsebench.components.catalog import Catalog, Entry
from collapsebench.components.descriptions import with_required
from collapsebench.components.interfaces import Method
from collapsebench.errors import PluginError, UsageError, error_line
from collapsebench.syntax import BASELINE
from collapsebench.testing.subjects import DATA, Trained, train
from collapsebench.testing.tiny import Model

KINDS = DATA
"""The kinds of data, with the family that is tried. A pair is tried on the first one that both fit."""

QUICKER = {name: f"{name}[steps=1]" for name in ("svi", "vae-svi", "sa-vae")}
"""What is written for methods whose defaults take long."""

IN_ORDER = {"posterior_head", "corrupt_decoder_input"}
"""The hooks whose order is that of the methods. Pairs that both give one are tried in both orders."""

EXPLAINED = {
    ("info-vae",): "`info-vae` leaves out the KL by default, so that its weight changes nothing",
    ("skip", "vectors"): "`skip` changes nothing, as the decoder of vectors has no hidden layer",
}
"""Why methods, and a kind of data, may train as if one of the methods were not there."""


class Ending(Enum):
    """How a trial ends, with its mark in the table."""

    TRAINS = "·"
    ALIKE = "="
    """It trains, but to the bit as without one of its methods, and the reason is known."""
    REFUSED = "refused"
    FAILED = "FAILED"


class Trial(NamedTuple):
    """How a trial ended, and what there is to say of it."""

    ending: Ending
    text: str = ""


@cache
def catalog() -> Catalog:
    """The installed components."""
    return discovery.load()


@cache
def shipped() -> dict[str, Entry]:
    """The methods that come with the harness, by name."""
    entries = {name: catalog().entry("method", name) for name in catalog().names("method")}
    return {name: entry for name, entry in entries.items() if entry.code is None}


def contender(*names: str) -> str:
    """What is written for methods: `capacity[nats=3]+skip`."""
    return "+".join(QUICKER.get(name) or with_required(shipped()[name].component) for name in names) or BASELINE


def methods(*names: str) -> tuple[Method, ...]:
    """The methods, made anew. Raises UsageError if they cannot be combined."""
    return tuple(catalog().contender(contender(*names))[1])


def model(names: tuple[str, ...], kind: str) -> Model:
    """What methods are together, in float64. Raises UsageError if they cannot be combined."""
    return Model(KINDS[kind], methods(*names))


@cache
def tried(names: tuple[str, ...], kind: str) -> Trained | Trial:
    """What training leaves, or how it ended otherwise."""
    try:
        return train(model(names, kind))
    except (UsageError, PluginError) as error:
        ending = Ending.FAILED if "\n" in str(error) else Ending.REFUSED
        return Trial(ending, str(error))
    except Exception as error:  # noqa: BLE001 - every pair is tried
        return Trial(Ending.FAILED, error_line(error))


def alone(name: str, kind: str) -> Trial:
    """How a method ends on a kind of data, compared with the baseline."""
    return judged((name,), kind, ((),))


def pair(first: str, second: str) -> Trial:
    """How two methods end together, compared with each of them."""
    kind = next(fitting(first, second), None)
    if kind is None:
        return Trial(Ending.REFUSED, f"no kind of data fits both '{first}' and '{second}'")
    return judged((first, second), kind, ((first,), (second,)))


def fitting(*names: str) -> Iterator[str]:
    """The kinds of data on which each of these methods trains."""
    return (kind for kind in KINDS if all(isinstance(tried((name,), kind), Trained) for name in names))


def judged(names: tuple[str, ...], kind: str, parts: tuple[tuple[str, ...], ...]) -> Trial:
    """How methods end together, if none of the parts is to be the same."""
    found = tried(names, kind)
    if isinstance(found, Trial):
        return found
    for part in parts:
        without = tried(part, kind)
        if isinstance(without, Trained) and found.alike(without):
            return unchanged(names, kind, part)
    return Trial(Ending.TRAINS)


def unchanged(names: tuple[str, ...], kind: str, part: tuple[str, ...]) -> Trial:
    """What to say where methods train as some of them do."""
    reason = next((text for key, text in EXPLAINED.items() if set(key) <= {*names, kind}), None)
    if reason is None:
        return Trial(Ending.FAILED, f"{'+'.join(names)} trains to the bit as {'+'.join(part) or 'vae'}")
    return Trial(Ending.ALIKE, reason)


def ordered(first: str, second: str) -> bool:
    """Whether it matters which of two methods is written first."""
    return any({*shipped()[first].hooks} & {*shipped()[second].hooks} & {hook} for hook in IN_ORDER)


@cache
def pairs() -> dict[tuple[str, str], Trial]:
    """How every method ends with every other one, the one that is written first as the first."""
    found: dict[tuple[str, str], Trial] = {}
    for first, second in permutations(shipped(), 2):
        known = None if ordered(first, second) else found.get((second, first))
        found[first, second] = known or pair(first, second)
    return found


def singles() -> Iterator[tuple[str, str, Trial]]:
    """How every method ends on every kind of data: (method, kind, trial)."""
    return ((name, kind, alone(name, kind)) for name in shipped() for kind in KINDS)
