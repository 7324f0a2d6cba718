"""Records without training: factories, and hypothesis strategies for arbitrary ones."""

from __future__ import annotations

import math
import string
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import strategies as st

from collapsebench.estimates import Direction, Estimate
from collapsebench.observation import Observation
from collapsebench.printable import printable
from collapsebench.record import DeclinedColumn, Number, Outcome, Point, RunRecord, Value
from collapsebench.reporting.leaderboard import ENTRIES, Board, score
from collapsebench.spec import Choice, Contender, MethodChoice, Protocol, RunSpec
from collapsebench.syntax import parse_contender

START = datetime(2026, 11, 22, 8, 30, tzinfo=UTC)
ENVIRONMENT = {
    "python": "3.11.7",
    "torch": "2.13.0",
    "collapsebench": "0.1.0",
    "platform": "Linux x86_64",
    "cpu_count": 2,
}
SETTING = {
    "latent_dim": 2,
    "encoder": {"name": "lstm", "hidden": 8},
    "decoder": "lstm",
    "optimizer": {"name": "adam", "learning_rate": 1e-3},
    "batch_size": 4,
    "evaluation": {"every": "10steps", "metrics": {"iw-nll": {"samples": 5}, "kl": {}}},
}
COLUMNS = {
    "neg_elbo": ("elbo", "nats", "−ELBO", Direction.LOWER),
    "iw_nll": ("iw-nll", "nats", "IW-NLL", Direction.LOWER),
    "kl": ("kl", "nats", "KL", Direction.NONE),
    "active_units": ("active-units", "", "AU", Direction.HIGHER),
}
"""By column: its metric, unit, title and direction."""


def contender(label: str) -> Contender:
    calls, rate = parse_contender(label)
    return Contender.of(tuple(MethodChoice(name=c.name, params=c.params, passed=c.params) for c in calls), rate)


def spec(label: str = "skip", seed: int = 1, **protocol: object) -> RunSpec:
    fields = {
        "dataset": "digits",
        "splits": {"train": "a", "valid": "b", "test": "c"},
        "track": "quick",
        "setting": SETTING,
        "budget": "350steps",
    }
    return RunSpec(contender=contender(label), protocol=Protocol.model_validate(fields | protocol), seed=seed)


def values(**columns: float | Estimate) -> tuple[Value, ...]:
    """Values of COLUMNS, with a standard error where an Estimate is given."""
    made = []
    for column, given in columns.items():
        metric, unit, title, direction = COLUMNS[column]
        estimate = given if isinstance(given, Estimate) else Estimate(given)
        made.append(Value.of(metric, column, estimate, unit=unit, title=title, direction=direction, board=True))
    return tuple(made)


def point(step: float = 350.0, *, selected: bool = True, neg_elbo: float = 31.5) -> Point:
    counters = {"steps": step, "examples": 4 * step, "encoder_evaluations": 4 * step, "seconds": step / 50}
    return Point(counters=counters, values={"neg_elbo": Number.of(neg_elbo)}, selected=selected)


def record(
    label: str = "skip",
    seed: int = 1,
    *,
    columns: Mapping[str, float | Estimate] | None = None,
    outcome: Outcome = Outcome.FINISHED,
    protocol: Mapping[str, object] | None = None,
    **fields: object,
) -> RunRecord:
    """A record that looks like a real one.

    `columns` are its board values, `protocol` and other fields replace those of the protocol and the record.
    """
    begun = started(label, seed, **(protocol or {}))
    done: dict[str, object] = {"outcome": outcome, "parameters": 1000}
    if outcome.settled:
        done |= {"finished_at": START + timedelta(seconds=90), "points": (point(175, selected=False), point())}
    if outcome is Outcome.FINISHED:
        done["values"] = values(**({"neg_elbo": 30.0, "kl": 1.0} if columns is None else columns))
    return RunRecord.model_validate(dict(begun) | done | fields)


def trial_record(
    label: str,
    *,
    seed: int = 0,
    outcome: Outcome = Outcome.FINISHED,
    test: Mapping[str, float] | None = None,
    protocol: Mapping[str, object] | None = None,
    **valid: float,
) -> RunRecord:
    """A record with numbers of the validation split at its selected point; `test` are those of the test split."""
    numbers = {"neg_elbo": 30.0, "kl": 1.0, "mi_lower": 0.5} | valid
    selected = point().model_copy(update={"values": {name: Number.of(value) for name, value in numbers.items()}})
    later = point(400.0, selected=False, neg_elbo=0.0)
    return record(
        label, seed, outcome=outcome, columns=test or {"neg_elbo": 30.0}, protocol=protocol, points=(selected, later)
    )


def started(label: str = "skip", seed: int = 1, **protocol: object) -> RunRecord:
    return RunRecord.started(spec(label, seed, **protocol), START, ENVIRONMENT)


def score_records(records: Iterable[RunRecord]) -> Board:
    return score(Observation.of(record, ENTRIES) for record in records)


names = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=6)
keys = st.text(string.ascii_letters + "_", min_size=1, max_size=6)
finite = st.floats(allow_nan=False, allow_infinity=False)
letters = st.characters(exclude_categories=("Cs", "Cc", "Cf"))
lines = st.text(letters, max_size=8)
texts = st.text(letters | st.sampled_from("\n\t"), max_size=8)
titles = st.text(st.characters(categories=("L", "N", "P", "S")), max_size=8)
whole = st.integers(-(2**63), 2**63 - 1)
scalars = st.none() | st.booleans() | whole | finite | lines
settings = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=4)
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(lines, inner, max_size=3)
)
params = st.dictionaries(keys, settings, max_size=3)
numbers = st.floats().map(Number.of)
counts = st.floats(min_value=0, allow_infinity=False)
zones = st.just(UTC) | st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
rates = st.just(1.0) | st.floats(0, allow_infinity=False, exclude_min=True)
times = st.builds(lambda s, zone: datetime.fromtimestamp(s / 1e6, zone), st.integers(0, 4 * 10**15), zones)


@st.composite
def methods(draw: st.DrawFn) -> MethodChoice:
    passed = draw(params)
    return MethodChoice(name=draw(names), version=draw(st.integers(1, 99)), params=draw(params) | passed, passed=passed)


@st.composite
def specs(draw: st.DrawFn) -> RunSpec:
    protocol = spec().protocol.model_copy(
        update={
            "dataset": Choice(name=draw(names), params=draw(st.dictionaries(keys, json_values, max_size=2))),
            "track": draw(names),
            "overrides": draw(params),
        }
    )
    composed = Contender.of(tuple(draw(st.lists(methods(), max_size=3))), draw(rates))
    return RunSpec(contender=composed, protocol=protocol, seed=draw(st.integers(0, 2**63 - 1)))


@st.composite
def trajectories(draw: st.DrawFn) -> tuple[Point, ...]:
    """Points whose counters do not go back; at most one is selected."""
    number = draw(st.integers(0, 3))
    rising = st.lists(counts, min_size=number, max_size=number).map(sorted)
    counters = draw(st.dictionaries(keys.filter(lambda key: key != "steps"), rising, max_size=4))
    selected = draw(st.none() | st.integers(0, 2))
    return tuple(
        Point(
            counters={name: counted[at] for name, counted in counters.items()},
            values=draw(st.dictionaries(keys, numbers, max_size=3)),
            selected=at == selected,
        )
        for at in range(number)
    )


metric_values = st.builds(
    Value,
    metric=names,
    column=titles.filter(lambda column: column not in {"", *ENTRIES}),
    estimate=numbers,
    standard_error=st.none() | (counts | st.just(math.nan)).map(Number.of),
    unit=titles,
    title=titles,
    direction=st.sampled_from(Direction),
    board=st.booleans(),
)


reasons = st.text(letters, min_size=1, max_size=8).filter(lambda text: text.strip() and printable(text) == text)
declined = st.builds(DeclinedColumn, metric=names, column=titles.filter(bool), reason=reasons)


@st.composite
def records(draw: st.DrawFn) -> RunRecord:
    """Anything that a record may hold."""
    begun = RunRecord.started(draw(specs()), draw(times), draw(st.dictionaries(lines, json_values, max_size=3)))
    parts = st.lists(metric_values | declined, max_size=6, unique_by=lambda part: (part.metric, part.column))
    measured = draw(parts)
    return begun.model_copy(
        update={
            "outcome": draw(st.sampled_from(Outcome)),
            "message": draw(texts),
            "traceback": draw(texts),
            "finished_at": draw(st.none() | times),
            "parameters": draw(st.integers(0, 2**63 - 1)),
            "points": draw(trajectories()),
            "values": tuple(each for each in measured if isinstance(each, Value)),
            "declined": tuple(each for each in measured if isinstance(each, DeclinedColumn)),
        }
    )
