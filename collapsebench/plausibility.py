"""Finds impossible numbers. Its rules hold for every latent-variable model, in runs and in published rows.

A rule compares numbers within their uncertainty: the rounding of a printed number, or five standard errors of an
estimated number. If numbers break a rule, there is a mistake in a program, a formula or a digit, whatever the model is.
This module needs only names and numbers, and no torch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import NamedTuple, Self

from collapsebench.estimates import Estimate
from collapsebench.observation import Observation
from collapsebench.published import PublishedRow
from collapsebench.spec import Protocol

STANDARD_ERRORS = 5
"""The uncertainty of an estimate, in standard errors. Chance passes it less than once in a million numbers."""

SURPRISE = 6 * math.log(10)
"""The nats in all examples by which a model can beat the true distribution. Chance passes them once in a million."""

FLOAT = 1e-6
"""The largest relative error of a sum of floats."""


class ColumnRole(Enum):
    """The roles of columns in the rules. The value matches the names of the columns."""

    INFORMATION = re.compile(r"mi|mi_lower|[\w-]+\.mi")
    """Estimates of mutual information from below."""
    UNITS = re.compile(r"active_units(\[.*\])?|[\w-]+\.au")
    """Counts of latent units."""
    RATE_OF_UNIT = re.compile(r"kl\[\d+\]")
    LIKELIHOOD = re.compile(r"neg_elbo|iw_nll(\[\d+\])?")
    """Upper bounds on -log p(x), in nats per example."""


@lru_cache(4096)
def role(column: str) -> ColumnRole | None:
    """Return the role of a column, by its name; None if it has none."""
    return next((found for found in ColumnRole if found.value.fullmatch(column)), None)


PERPLEXITIES = ("perplexity", "perplexity_bound")
"""The columns of perplexities."""

BATCHES = {"he2019.mi": 50}
"""The columns whose mixture is a batch, each with the largest size of a batch."""


class Quantity(NamedTuple):
    """A number, with the largest distance to the true number."""

    value: float
    rounding: float = 0.0
    """The largest error of rounding."""
    chance: float = 0.0
    """The largest error of its estimator. It does not count in a sum of numbers that come from the same draws."""
    bound: bool = False
    """True for an upper bound. The true number can then be any smaller number."""

    @property
    def least(self) -> float:
        """The smallest possible true number."""
        return -math.inf if self.bound else self.value - self.rounding - self.chance

    @property
    def most(self) -> float:
        """The largest possible true number."""
        return self.value + self.rounding + self.chance

    def __str__(self) -> str:
        return f"{self.value:.6g}"


class LikelihoodLimit(NamedTuple):
    """What the examples of a split cost under the distribution that made them, which no model can beat but by chance.

    A model that has not seen the N examples gives them more than e^a times their true density p with a probability of
    at most e^-a, whatever the model is: the expectation of q(x) / p(x) under p is at most 1. So its -log q(x), in the
    mean over the examples, is below that of p by more than a / N with this probability. The same holds for an estimate
    by importance samples, whose expectation is q(x), and for bounds below log q(x).
    """

    nll: Quantity
    """The mean of -log p(x), in nats per example."""
    examples: int | None = None
    """The number N of examples; if None, it is that of the run's mutual information."""

    @classmethod
    def of(cls, nll: Estimate, examples: int | None) -> Self:
        """Take the likelihood of the true distribution, within five standard errors."""
        return cls(_estimated(*nll), examples)


@dataclass(frozen=True)
class Scores:
    """The known numbers of one model on one test split."""

    values: Mapping[str, Quantity]
    """The numbers by column."""
    units: int | None = None
    """The number of latent units D."""
    samples: int | None = None
    """The number of importance samples K."""
    tokens: Quantity | None = None
    """The mean number of tokens of an example, with EOS and without BOS."""
    mixtures: Mapping[str, int] = field(default_factory=dict)
    """An upper bound on the number of posteriors in the mixture, by the column that estimates mutual information."""
    predictions: Quantity | None = None
    """The mean number of tokens of an example, whatever the number of samples."""
    limit: LikelihoodLimit | None = None
    """The likelihood of the true distribution, if the examples were generated."""

    def of(self, wanted: ColumnRole) -> list[tuple[str, Quantity]]:
        """Return the columns of a role, with their numbers."""
        return [(column, value) for column, value in self.values.items() if role(column) is wanted]


class Violation(NamedTuple):
    """An impossible number."""

    column: str
    """The column of the number."""
    text: str
    """The number and the rule that it breaks, in one line."""


def violations(scores: Scores) -> tuple[Violation, ...]:
    """Return the violations of all rules. NaN breaks no rule."""
    return tuple(violation for rule in RULES for violation in rule(scores))


def _rate(scores: Scores) -> Iterator[Violation]:
    """KL >= 0, for every unit."""
    columns = [("kl", scores.values["kl"])] if "kl" in scores.values else []
    for column, kl in (*columns, *scores.of(ColumnRole.RATE_OF_UNIT)):
        if kl.most < -FLOAT:
            yield Violation(column, f"{column} {kl} is below 0")


def _sum_of_rates(scores: Scores) -> Iterator[Violation]:
    """sum_j KL_j = KL."""
    kl, units = scores.values.get("kl"), [unit for _, unit in scores.of(ColumnRole.RATE_OF_UNIT)]
    if kl is None or not all(math.isfinite(unit.value) for unit in units) or not units:
        return
    total = Quantity(math.fsum(unit.value for unit in units), math.fsum(unit.rounding for unit in units))
    if _differ(kl, total):
        yield Violation("kl", f"kl {kl} is not the sum {total} of its {len(units)} units")


def _information(scores: Scores) -> Iterator[Violation]:
    """A lower bound on I(x; z) is at most KL and at most log N."""
    for column, information in scores.of(ColumnRole.INFORMATION):
        dialect, dot, _ = column.rpartition(".")
        kl, size = scores.values.get(f"{dialect}{dot}kl", scores.values.get("kl")), scores.mixtures.get(column)
        if kl is not None and information.least > kl.most + FLOAT:
            yield Violation(column, f"{column} {information} is above kl {kl}")
        if size is not None and information.least > math.log(size) + FLOAT:
            yield Violation(column, f"{column} {information} is above log {size:,} = {math.log(size):.6g}")


def _bracket(scores: Scores) -> Iterator[Violation]:
    """The lower bound on I(x; z) is at most the upper bound."""
    yield from _at_most(scores, "mi_lower", "mi_upper")


def _importance(scores: Scores) -> Iterator[Violation]:
    """IW-NLL <= -ELBO."""
    yield from _at_most(scores, "iw_nll", "neg_elbo")


def _bound(scores: Scores) -> Iterator[Violation]:
    """-ELBO = reconstruction + KL."""
    bound, reconstruction, kl = map(scores.values.get, ("neg_elbo", "reconstruction", "kl"))
    if bound is None or reconstruction is None or kl is None:
        return
    # A KL in closed form has no chance. One that is estimated is of one draw, and the bound may be of several.
    total = Quantity(reconstruction.value + kl.value, reconstruction.rounding + kl.rounding + kl.chance)
    if _differ(bound, total):
        yield Violation("neg_elbo", f"neg_elbo {bound} is not reconstruction {reconstruction} + kl {kl}")


def _units(scores: Scores) -> Iterator[Violation]:
    """0 <= AU <= D."""
    for column, units in scores.of(ColumnRole.UNITS):
        if scores.units is not None and units.least > scores.units:
            yield Violation(column, f"{column} {units} is above the {scores.units} latent units")
        if units.most < 0:
            yield Violation(column, f"{column} {units} is below 0")


def _effective_samples(scores: Scores) -> Iterator[Violation]:
    """1 <= ESS <= K."""
    ess = scores.values.get("ess")
    if ess is None or scores.samples is None:
        return
    if ess.most < 1 - FLOAT or ess.least > scores.samples * (1 + FLOAT):
        yield Violation("ess", f"ess {ess} is not between 1 and {scores.samples} samples")


def _perplexity(scores: Scores) -> Iterator[Violation]:
    """log PPL times the tokens of an example is its IW-NLL, and so it is at most -ELBO."""
    nll = _of_perplexity(scores, "perplexity")
    if nll is None:
        return
    text = f"perplexity {scores.values['perplexity']} ({nll} nats for {scores.tokens} tokens)"
    likelihood, bound = scores.values.get("iw_nll"), scores.values.get("neg_elbo")
    if likelihood is not None and _differ(nll, likelihood):
        yield Violation("perplexity", f"{text} is not iw_nll {likelihood}")
    if bound is not None and nll.least > bound.most * (1 + FLOAT):
        yield Violation("perplexity", f"{text} is above neg_elbo {bound}")


def _perplexity_of_tokens(scores: Scores) -> Iterator[Violation]:
    """PPL >= 1: tokens have probabilities."""
    for column in PERPLEXITIES:
        perplexity = scores.values.get(column)
        if perplexity is not None and perplexity.most < 1 - FLOAT:
            yield Violation(column, f"{column} {perplexity} is below 1")


def _perplexity_of_bound(scores: Scores) -> Iterator[Violation]:
    """log PPL of the bound times the tokens of an example is its -ELBO."""
    nll, bound = _of_perplexity(scores, "perplexity_bound"), scores.values.get("neg_elbo")
    if nll is not None and bound is not None and _differ(nll, bound):
        text = f"perplexity_bound {scores.values['perplexity_bound']} ({nll} nats for {scores.tokens} tokens)"
        yield Violation("perplexity_bound", f"{text} is not neg_elbo {bound}")


def _likelihood(scores: Scores) -> Iterator[Violation]:
    """No model beats the distribution that made the examples."""
    limit = scores.limit
    if limit is None or limit.examples is None:
        return
    allowed = limit.nll.least - SURPRISE / limit.examples - FLOAT * abs(limit.nll.value)
    unknown = _unknown_error(scores.units or 0, limit.examples)
    for column, text, nll in _likelihoods(scores):
        if nll.value + nll.rounding + (nll.chance if math.isfinite(nll.chance) else unknown) < allowed:
            yield Violation(column, f"{text} is below {limit.nll}, -log p(x) under the distribution that made the data")


def _unknown_error(units: int, examples: int) -> float:
    """Return the largest error of an estimate whose error no run stores.

    Over one z, the variances of log p(x|z) and of log q(z|x) - log p(z) are at most about 1 for each unit where the
    bound is tight. Elsewhere the bound is far above.
    """
    return STANDARD_ERRORS * math.sqrt(units / examples)


def _likelihoods(scores: Scores) -> Iterator[tuple[str, str, Quantity]]:
    """Yield every bound on -log p(x): its column, its text, and its value in nats per example."""
    for column, nll in scores.of(ColumnRole.LIKELIHOOD):
        yield column, f"{column} {nll}", nll
    for column in PERPLEXITIES:
        of_tokens = _nats(scores.values.get(column), scores.predictions)
        if of_tokens is not None:
            yield column, f"{column} {scores.values[column]} ({of_tokens} nats)", of_tokens
    rate, distortion = scores.values.get("kl"), scores.values.get("reconstruction")
    if rate is not None and distortion is not None:
        chance = rate.chance + distortion.chance
        total = Quantity(rate.value + distortion.value, rate.rounding + distortion.rounding, chance)
        yield "reconstruction", f"kl {rate} + reconstruction {distortion}", total


RULES: tuple[Callable[[Scores], Iterable[Violation]], ...] = (
    _rate,
    _sum_of_rates,
    _information,
    _bracket,
    _importance,
    _bound,
    _units,
    _effective_samples,
    _perplexity,
    _perplexity_of_tokens,
    _perplexity_of_bound,
    _likelihood,
)


def _at_most(scores: Scores, lower: str, upper: str) -> Iterator[Violation]:
    below, above = scores.values.get(lower), scores.values.get(upper)
    if below is not None and above is not None and below.least > above.most + FLOAT * abs(above.value):
        yield Violation(lower, f"{lower} {below} is above {upper} {above}")


def _differ(one: Quantity, other: Quantity) -> bool:
    """Return True if two numbers that should be equal differ by more than their rounding. A bound never differs."""
    tolerance = one.rounding + other.rounding + FLOAT * max(1, abs(one.value))
    return not one.bound and not other.bound and abs(one.value - other.value) > tolerance


def _of_perplexity(scores: Scores, column: str) -> Quantity | None:
    """Return log PPL times tokens, in nats per example; None if the numbers are missing or not positive."""
    return _nats(scores.values.get(column), scores.tokens)


def _nats(perplexity: Quantity | None, tokens: Quantity | None) -> Quantity | None:
    """Return log PPL times tokens, as above."""
    if perplexity is None or perplexity.value <= 0 or tokens is None:
        return None
    log = math.log(perplexity.value)
    relative = tokens.value / perplexity.value
    rounding = perplexity.rounding * relative + tokens.rounding * abs(log)
    return Quantity(log * tokens.value, rounding, perplexity.chance * relative, perplexity.bound)


# ---------------------------------------------------------------------------------------------- what is checked

EXAMPLES, TOKENS = "mi_examples", "tokens"
ENTRIES = (EXAMPLES, TOKENS)
"""The entries of a run that the rules read beside the columns of boards."""

VALIDATION, DRAWN = "validation", ("neg_elbo", "kl", "mi_lower", "mi_upper")
"""What stands for a metric in numbers of the validation split, and those that have an error, which no run stores.

The KL has one unless the posterior has it in closed form.
"""

WHOLE_SPLIT = ("mi_lower", "dieng2019.mi", "skip-vae-released.mi", "li2019.mi")
"""The columns whose mixture is the whole split."""


def published_scores(row: PublishedRow) -> Scores:
    """Return the scores of a published row. Its numbers are exact within half a unit of their last digit."""
    units, size = row.setting.get("latent_dim"), row.mixture or row.examples
    return Scores(
        values={name: Quantity(value.value, value.rounding, bound=value.bound) for name, value in row.values.items()},
        units=None if units is None else int(units),
        tokens=None if row.tokens is None else Quantity(row.tokens, 0.5e-3),
        mixtures={} if size is None else {name: size for name in row.values if role(name) is ColumnRole.INFORMATION},
    )


def checker(protocol: Protocol, limit: LikelihoodLimit | None = None) -> Callable[[Observation], tuple[Violation, ...]]:
    """Return a function that finds the violations of a run of this protocol, in numbers of the split of the limit."""
    samples = {metric.name: metric.params.get("samples") for metric in protocol.setting.evaluation.metrics}
    units, importance = protocol.setting.latent_dim, samples.get("iw-nll")
    same_samples = samples.get("perplexity") == importance
    importance = importance if isinstance(importance, int) else None  # it may come from anybody's record
    unknown = _unknown_error(units, (limit and limit.examples) or 1)

    def check(run: Observation) -> tuple[Violation, ...]:
        values = estimated(run, unknown)
        tokens, examples = values.get(TOKENS), _count(values.get(EXAMPLES))
        mixtures = BATCHES if examples is None else BATCHES | dict.fromkeys(WHOLE_SPLIT, examples)
        best = None if limit is None else limit._replace(examples=limit.examples or examples)
        same = tokens if same_samples else None
        return violations(Scores(values, units, importance, same, mixtures, tokens, best))

    return check


def _count(number: Quantity | None) -> int | None:
    return None if number is None or not 1 <= number.value < math.inf else int(number.value)


def estimated(run: Observation, unknown: float = math.inf) -> dict[str, Quantity]:
    """Return the numbers of a run, within five standard errors. A number without a standard error is exact.

    Those of the validation split that are drawn are within `unknown`.
    """
    values = {
        head.column: Quantity(value, chance=unknown)
        if head.metric == VALIDATION and head.column in DRAWN
        else _estimated(value, error)
        for head, value, error in run.values
    }
    return values | {name: _estimated(*estimate) for name, estimate in run.entries.items()}


def _estimated(value: float, standard_error: float | None) -> Quantity:
    if standard_error is None:
        return Quantity(value)
    return Quantity(value, chance=math.inf if math.isnan(standard_error) else STANDARD_ERRORS * standard_error)
