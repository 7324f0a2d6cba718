"""The one small language of the command line: `name[key=value,…]`, `a+b[…]@rate=2` and `path.to.key=value`.

    sweep       = swept {"+" swept} ["@" "rate" "=" factor {"|" factor}]
    contender   = composition ["@" "rate" "=" factor]
    swept       = name ["[" [key "=" value {"|" value} {"," key "=" value {"|" value}}] "]"]
    composition = call {"+" call}
    call        = name ["[" [pair {"," pair}] "]"]
    pair        = key "=" value
    label       = contender "=" text | model "=" text
    setting     = key "=" (choice | "[" [choice {"," choice}] "]")
    choice      = call | value
    value       = list | quoted | bare
    list        = "[" [value {"," value}] "]"

A bare value is read as `true`, `false`, `none`, an integer or a number if it is one, and as text otherwise; text
that would be read as something else is written in double quotes. A choice is a call if brackets follow its first
word. A factor is a number greater than zero, by which the learning rate of the track is multiplied; 1 is not printed.
A sweep is a contender for each of its alternatives. Printing is canonical: `parse(print(x)) == x`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import product
from math import inf, prod
from typing import NamedTuple, TypeAlias, TypeVar

from collapsebench.errors import UsageError, unknown

ParameterValue: TypeAlias = "bool | int | float | str | list[ParameterValue] | None"
"""The value of a parameter or a setting, as `print_value` writes it.

>>> from collapsebench import ParameterValue
>>> layers: ParameterValue = [64, 64]
"""
T = TypeVar("T")
V = TypeVar("V", bound=ParameterValue)

SettingValue: TypeAlias = "ParameterValue | Call | list[ParameterValue | Call]"
"""The value of a setting: that of a parameter, a name with its parameters, or a list of these."""

LARGEST_SEED = 2**63 - 1
"""Databases hold no larger integer."""
MOST_SWEPT = 1000
"""The largest number of contenders of one sweep."""
MOST_SEEDS = 10_000
"""The largest number of seeds of one grid, whose plan is held in memory."""
MOST_TRIALS = 256
"""The largest number of trials of a contender."""
MOST_RESAMPLES = 1_000_000
"""The largest number of resamples of a bootstrap, which are held in memory."""
DEEPEST = 20
"""The most lists within each other."""
LONGEST_TIME = 1e8
"""Three years: what is longer is no time limit."""

BASELINE = "vae"
"""The name of the contender without any method."""
RATE = "rate"
"""What stands behind @ in a contender: the factor of the track's learning rate."""

NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
"""The names that a component may have."""
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
"""The words that are read as a name. One that no component may have gets "did you mean" from the catalogue."""
KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z_][A-Za-z0-9_-]*)*")
BARE = re.compile(r"[^\s,\[\]\"=|]+")
QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
INTEGER = re.compile(r"[+-]?\d+")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
WORDS: Mapping[str, bool | None] = {"true": True, "false": False, "none": None}


class Call(NamedTuple):
    """One `name[key=value]`."""

    name: str
    params: dict[str, ParameterValue]


class SweptCall(NamedTuple):
    """One `name[key=value|value]`, with the alternatives of each parameter."""

    name: str
    params: dict[str, list[ParameterValue]]

    @property
    def swept(self) -> frozenset[str]:
        """The parameters that have several alternatives."""
        return frozenset(key for key, values in self.params.items() if len(values) > 1)

    def calls(self) -> Iterator[Call]:
        """Yield the call of each combination of alternatives, the last parameter changing fastest."""
        for values in product(*self.params.values()):
            yield Call(self.name, dict(zip(self.params, values, strict=True)))


class Written(NamedTuple):
    """One contender as it is written: `a+b[key=value]@rate=2`. The baseline has no calls."""

    calls: list[Call]
    rate: float = 1.0
    """The factor of the track's learning rate."""


class Sweep(NamedTuple):
    """The contenders of one text: `a+b[key=value|value]@rate=1|2`. The baseline has no calls."""

    calls: list[SweptCall]
    rates: list[float]
    rated: bool = False
    """True if a rate is written, be it 1."""

    @property
    def swept(self) -> list[frozenset[str]]:
        """The parameters of each call that have several alternatives."""
        return [call.swept for call in self.calls]

    def contenders(self) -> Iterator[Written]:
        """Yield the contender of each combination of alternatives, the rate changing fastest."""
        for calls in product(*(call.calls() for call in self.calls)):
            yield from (Written(list(calls), rate) for rate in self.rates)

    @property
    def number(self) -> int:
        """The number of contenders."""
        return prod(len(values) for call in self.calls for values in call.params.values()) * len(self.rates)


class _Reader:
    """A position in a text. Every method consumes what it names, or says what it expected."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.depth = text.strip(), 0, 0

    def fail(self, expected: str) -> UsageError:
        rest = self.text[self.at :]
        got = f"'{rest}'" if rest else "the end"
        return UsageError(f"cannot read '{self.text}': expected {expected}, got {got}")

    def peek(self, char: str) -> bool:
        """Return True if this comes next. Spaces between tokens mean nothing."""
        self.at += len(self.text[self.at :]) - len(self.text[self.at :].lstrip())
        return self.text.startswith(char, self.at)

    def take(self, char: str) -> bool:
        found = self.peek(char)
        self.at += len(char) if found else 0
        return found

    def expect(self, char: str) -> None:
        if not self.take(char):
            raise self.fail(f"'{char}'")

    def match(self, pattern: re.Pattern[str], expected: str) -> str:
        self.peek("")
        found = pattern.match(self.text, self.at)
        if found is None:
            raise self.fail(expected)
        self.at = found.end()
        return found.group()

    def end(self) -> None:
        self.peek("")
        if self.at < len(self.text):
            raise self.fail("the end")

    def several(self, one: Callable[[], T], close: str) -> list[T]:
        items: list[T] = []
        while not self.take(close):
            if items and not self.take(","):
                raise self.fail(f"',' or '{close}'")
            items.append(one())
        return items

    def value(self) -> ParameterValue:
        if self.peek("["):
            return self.nested()
        if self.peek('"'):
            return self.quoted()
        return _scalar(self.match(BARE, "a value"))

    def nested(self) -> list[ParameterValue]:
        if self.depth == DEEPEST:
            raise UsageError(f"cannot read '{self.text:.40}…': more than {DEEPEST} lists within each other")
        self.expect("[")
        self.depth += 1
        items = self.several(self.value, "]")
        self.depth -= 1
        return items

    def quoted(self) -> str:
        written = self.match(QUOTED, "a closing quote")
        try:
            return str(json.loads(written))
        except ValueError:
            raise self.fail("a text in double quotes") from None

    def pair(self) -> tuple[str, list[ParameterValue]]:
        key = self.match(KEY, "a key")
        self.expect("=")
        return key, self.alternatives(key, self.value)

    def alternatives(self, key: str, one: Callable[[], V]) -> list[V]:
        values = [one()]
        while self.take("|"):
            values.append(one())
        written = [print_value(value) for value in values]
        twice = next((text for text in written if written.count(text) > 1), None)
        if twice is not None:
            raise UsageError(f"cannot read '{self.text}': '{key}' has the alternative {twice} twice")
        return values

    def rates(self) -> list[float]:
        if not self.take("@"):
            return []
        self.expect(RATE)
        self.expect("=")
        return self.alternatives(RATE, self.factor)

    def factor(self) -> float:
        word = self.match(BARE, "a factor of the learning rate")
        factor = float(word) if NUMBER.fullmatch(word) else 0.0
        if not 0 < factor < inf:
            raise UsageError(f"cannot read '{self.text}': the {RATE} is a number greater than zero, got '{word}'")
        return factor

    def sweep(self) -> Sweep:
        calls = [self.swept_call()]
        while self.take("+"):
            calls.append(self.swept_call())
        rates = self.rates()
        return Sweep([] if calls == [SweptCall(BASELINE, {})] else calls, rates or [1.0], bool(rates))

    def contender(self) -> Written:
        calls, rates = self.composition(), self.rates() or [1.0]
        if len(rates) > 1:
            raise self.of_a_sweep(RATE)
        return Written([] if calls == [Call(BASELINE, {})] else calls, rates[0])

    def setting(self) -> tuple[str, SettingValue]:
        key = self.match(KEY, "a key")
        self.expect("=")
        return key, self.several(self.choice, "]") if self.take("[") else self.choice()

    def choice(self) -> ParameterValue | Call:
        self.peek("")
        named = WORD.match(self.text, self.at)
        is_call = named is not None and self.text[named.end() :].lstrip().startswith("[")
        return self.call() if is_call else self.value()

    def composition(self) -> list[Call]:
        calls = [self.call()]
        while self.take("+"):
            calls.append(self.call())
        return calls

    def call(self) -> Call:
        call = self.swept_call()
        if call.swept:
            raise self.of_a_sweep(min(call.swept))
        return next(call.calls())

    def of_a_sweep(self, key: str) -> UsageError:
        return UsageError(
            f"cannot read '{self.text}': '{key}' has several values, and a sweep is for the contenders "
            "of a run alone; a text with | is written in double quotes"
        )

    def swept_call(self) -> SweptCall:
        name = self.match(WORD, "a name")
        pairs = self.several(self.pair, "]") if self.take("[") else []
        keys = [key for key, _ in pairs]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise UsageError(f"cannot read '{self.text}': '{twice}' is given twice")
        return SweptCall(name, dict(pairs))


def _scalar(word: str) -> ParameterValue:
    if word in WORDS:
        return WORDS[word]
    if INTEGER.fullmatch(word):
        try:
            return int(word)
        except ValueError:  # Python reads no integer of thousands of digits
            raise UsageError(f"cannot read '{word:.40}…': an integer of {len(word)} digits") from None
    if NUMBER.fullmatch(word):
        return float(word)
    return word


def parse_composition(text: str) -> list[Call]:
    """Read `a+b[key=value]`. Raises UsageError with the place of the first mistake."""
    reader = _Reader(text)
    calls = reader.composition()
    reader.end()
    return calls


def parse_contender(text: str) -> Written:
    """Read `a+b[key=value]@rate=2`. Raises UsageError with the place of the first mistake.

    >>> parse_contender("vae@rate=2")
    Written(calls=[], rate=2.0)
    """
    reader = _Reader(text)
    written = reader.contender()
    reader.end()
    return written


def parse_sweep(text: str) -> Sweep:
    """Read `a+b[key=value|value]@rate=1|2`.

    Raises UsageError with the place of the first mistake, and for too many contenders.

    >>> [print_contender(*each) for each in parse_sweep("free-bits[nats=0.1|2]@rate=1|4").contenders()]
    ['free-bits[nats=0.1]', 'free-bits[nats=0.1]@rate=4.0', 'free-bits[nats=2]', 'free-bits[nats=2]@rate=4.0']
    """
    reader = _Reader(text)
    sweep = reader.sweep()
    reader.end()
    if sweep.number > MOST_SWEPT:
        raise UsageError(f"'{reader.text:.80}' is a sweep of {sweep.number} contenders: at most {MOST_SWEPT}")
    return sweep


def parse_setting(text: str) -> tuple[str, SettingValue]:
    """Read `path.to.key=value`, `key=name[key=value]` or `key=[name[key=value],name]`.

    Raises UsageError with the place of the first mistake.

    >>> parse_setting("decoder=mlp[layers=2]")
    ('decoder', Call(name='mlp', params={'layers': 2}))
    """
    reader = _Reader(text)
    pair = reader.setting()
    reader.end()
    return pair


def parse_label(text: str) -> tuple[str, str]:
    """Read `CONTENDER=TEXT`: a canonical contender, and how it is to be called. Raises UsageError.

    >>> parse_label("skip[sites=2] = Skip-VAE, two sites")
    ('skip[sites=2]', 'Skip-VAE, two sites')
    """
    reader = _Reader(text)
    written = reader.contender()
    reader.expect("=")
    label = reader.text[reader.at :].strip()
    if not label:
        raise reader.fail("a label")
    return print_contender(*written), label


def parse_model_label(text: str, models: Collection[str]) -> tuple[str, str]:
    """Read `MODEL=TEXT`: one of these names, and how it is to be called. Raises UsageError.

    Names of models are any texts, and may contain `=`. Where several names fit, the longest one is meant.

    >>> parse_model_label("FB[nats=2] = free bits", ["FB", "FB[nats=2]"])
    ('FB[nats=2]', 'free bits')
    """
    text = text.strip()
    parts = [(text[:place].rstrip(), text[place + 1 :].lstrip()) for place, sign in enumerate(text) if sign == "="]
    if not parts:
        raise UsageError(f"cannot read '{text}': expected '=' behind the name of a model")
    by_name = {name.strip(): name for name in models}
    model, label = next((part for part in reversed(parts) if part[0] in by_name), parts[0])
    if model not in by_name:
        raise UsageError(unknown("model", model, models))
    if not label:
        raise UsageError(f"cannot read '{text}': expected a label behind '='")
    return by_name[model], label


def labels_of(written: Iterable[str], parse: Callable[[str], tuple[str, str]]) -> dict[str, str]:
    """Read labels of different contenders. Raises UsageError for what does not parse, and for two labels of one."""
    found: dict[str, str] = {}
    for text in written:
        contender, label = parse(text)
        if contender in found:
            raise UsageError(f"--label {text}: '{contender}' has a label already, '{found[contender]}'")
        found[contender] = label
    return found


def print_value(value: ParameterValue) -> str:
    """Write a value so that it reads back as itself."""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(print_value, value))}]"
    if isinstance(value, str):
        plain = BARE.fullmatch(value) and _scalar(value) == value and isinstance(_scalar(value), str)
        return value if plain else json.dumps(value)
    if value is None or isinstance(value, bool):
        return {True: "true", False: "false", None: "none"}[value]
    return repr(value)


def print_call(name: str, params: Mapping[str, ParameterValue]) -> str:
    """Write `name[key=value,…]` with sorted keys, and no brackets without parameters."""
    pairs = ",".join(f"{key}={print_value(value)}" for key, value in sorted(params.items()))
    return f"{name}[{pairs}]" if pairs else name


def print_composition(calls: Iterable[Call]) -> str:
    """Write `a+b[key=value]`, in the given order."""
    return "+".join(print_call(*call) for call in calls)


def print_contender(calls: Iterable[Call], rate: float = 1.0) -> str:
    """Write `a+b[key=value]@rate=2.0`: the name of the baseline without calls, and no rate if it is 1."""
    return (print_composition(calls) or BASELINE) + print_rate(rate)


def print_rate(rate: float, *, rated: bool = False) -> str:
    """Write `@rate=2.0`, and nothing for 1 unless it is `rated`: written all the same."""
    return f"@{RATE}={print_value(rate)}" if rate != 1 or rated else ""


def canonical(contender: str) -> str:
    """Write a contender as labels have it, however it is spaced. Raises UsageError with its first mistake."""
    return print_contender(*parse_contender(contender))


def seconds(text: str) -> float:
    """Return the seconds of a time such as `90`, `90s`, `30m` or `1.5h`. Raises UsageError.

    >>> seconds("1.5h")
    5400.0
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    number = 0.0 if found is None else float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]
    if not 0 < number < LONGEST_TIME:
        raise UsageError(f"cannot read the time '{text}': write it as in 90s, 30m or 2h")
    return number
