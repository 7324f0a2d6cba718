"""Equal tuning: as many trials of every contender, drawn from what its authors tune and from the learning rate.

A tuning is a plain grid of runs, whose protocol has rules of selection in place of metrics of the test split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from collapsebench.components.catalog import Catalog
from collapsebench.components.interfaces import Method
from collapsebench.components.search import Range, SearchRange
from collapsebench.spec import Contender
from collapsebench.syntax import (
    BASELINE,
    RATE,
    Call,
    ParameterValue,
    Written,
    parse_sweep,
    print_contender,
    print_rate,
)

SEED = 0
"""The seed of trials. The seeds of `run` begin at 1, so that what is chosen is run with others."""

SELECTION = "evaluation.selection"
"""The setting of a track that has the rules by which trials are chosen."""

RATES = Range(0.25, 4, log=True)
"""The range of the factor of the learning rate, for every contender."""

MOST_DRAWN = 64
"""So many points are drawn for each trial at most, until all trials differ. A few choices may give no more."""


@dataclass(frozen=True)
class TunedContender:
    """A contender with what is searched of it. What is written in brackets, and a rate that is written, stay."""

    name: str
    """Its canonical label, without what is searched. A rate that is written is in it, be it 1."""
    written: Written
    axes: Mapping[str, SearchRange]
    """What is searched: `method.field` for each method that has a range, and `rate`."""

    @classmethod
    def of(cls, written: Written, catalog: Catalog, *, rated: bool = False) -> TunedContender:
        """Find out what is searched of a contender. Its rate is, unless it is `rated`: written.

        Raises UsageError for a contender that cannot be.
        """
        axes = dict(chain.from_iterable(_axes(call, catalog) for call in written.calls if call.name != BASELINE))
        axes |= {} if rated else {RATE: RATES}
        middle = catalog.contender(print_contender(*_placed(written, axes, [0.5] * len(axes))))[0]
        name = _without(middle, axes, 1.0) + print_rate(written.rate, rated=rated)
        return cls(name, written, axes)

    @property
    def seed(self) -> int:
        """The seed of its points: it depends on the contender and its ranges, and not on other contenders."""
        text = "\n".join((self.name, *(f"{name}: {axis.text}" for name, axis in self.axes.items())))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])

    def trials(self, number: int, catalog: Catalog) -> tuple[Contender, ...]:
        """Draw settings from a scrambled Sobol sequence. The first of many are those of a few.

        No two are equal. There are fewer where the choices give no more. Raises UsageError for a setting that the
        methods refuse.
        """
        drawn = number
        while True:
            points = sobol(self.seed, len(self.axes), drawn)
            texts = dict.fromkeys(print_contender(*_placed(self.written, self.axes, point)) for point in points)
            if len(texts) >= number or drawn >= MOST_DRAWN * number:
                return tuple(catalog.contender(text)[0] for text in list(texts)[:number])
            drawn *= 2


def sobol(seed: int, dimensions: int, number: int) -> list[list[float]]:
    """Return the first points of the scrambled Sobol sequence of a seed, in [0, 1)."""
    from scipy.stats import qmc

    if not dimensions:
        return [[]] * number
    engine = qmc.Sobol(dimensions, scramble=True, rng=seed)
    points: list[list[float]] = engine.random(1 << (number - 1).bit_length())[:number].tolist()
    return points


def ranges_of(contender: Contender, catalog: Catalog) -> dict[str, SearchRange]:
    """Return all that can be searched of a contender, whatever is written: `method.field`, and `rate`.

    A method that is not installed has no ranges.
    """
    methods = (Call(method.name, {}) for method in contender.methods if catalog.has(Method.kind, method.name))
    return dict(chain.from_iterable(_axes(call, catalog) for call in methods)) | {RATE: RATES}


def family_of(contender: Contender, catalog: Catalog) -> str:
    """Return the label that a contender shares with all of its settings: what can be searched is left out of it.

    Nobody knows what can be searched of a method that is not installed: it is left out whatever is written of it, as
    each of its trials would be a contender on its own, and its best.
    """
    gone = (method for method in contender.methods if not catalog.has(Method.kind, method.name))
    unknown = (f"{method.name}.{name}" for method in gone for name in method.passed)
    return _without(contender, {*ranges_of(contender, catalog), *unknown}, 1.0)


def tuned_contenders(text: str, catalog: Catalog) -> list[TunedContender]:
    """Read a contender, or those of a sweep. Raises UsageError."""
    sweep = parse_sweep(text)
    return [TunedContender.of(written, catalog, rated=sweep.rated) for written in sweep.contenders()]


def _axes(call: Call, catalog: Catalog) -> Iterator[tuple[str, SearchRange]]:
    """Yield what is searched of a method."""
    component = catalog.entry(Method.kind, call.name).component
    if issubclass(component, Method):
        yield from ((f"{call.name}.{name}", axis) for name, axis in component.search.items() if name not in call.params)


def _placed(written: Written, axes: Mapping[str, SearchRange], point: Sequence[float]) -> Written:
    """Return the contender at a point of what is searched."""
    shares = dict(zip(axes, point, strict=True))
    values = {name: axis.at(shares[name]) for name, axis in axes.items()}
    rate = RATES.at(shares[RATE]) if RATE in shares else written.rate
    calls = [Call(call.name, call.params | dict(_own(call.name, values))) for call in written.calls]
    return Written(calls, rate)


def _own(method: str, values: Mapping[str, ParameterValue]) -> Iterator[tuple[str, ParameterValue]]:
    """Yield the values of one method by the names of its fields."""
    for name, value in values.items():
        owner, _, field = name.partition(".")
        if field and owner == method:
            yield field, value


def _without(contender: Contender, axes: Collection[str], rate: float) -> str:
    """Return the label of a contender without what is searched."""
    methods = []
    for method in contender.methods:
        passed = {key: value for key, value in method.passed.items() if f"{method.name}.{key}" not in axes}
        methods.append(method.model_copy(update={"passed": passed}))
    return Contender.of(tuple(methods), rate).label
