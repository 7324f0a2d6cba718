r"""What the computed parts of the pages in results/league are made of: what the league says of the committed records.

All is read from `small.json`, the output of `collapsebench league`. Differences are paired by seed, with the interval
of Student's \(t\) that boards have.
"""

import json
from collections.abc import Iterable, Iterator
from enum import StrEnum
from functools import cache
from typing import Any, NamedTuple

from field import RESULTS
from scipy.stats import ttest_1samp

from collapsebench.components.descriptions import describe_methods
from collapsebench.reporting.divisions import INFORMATION, NLL, RATE
from collapsebench.reporting.leaderboard.decisions import pairs_to_tell, told
from collapsebench.reporting.leaderboard.numbers import with_interval
from collapsebench.reporting.leaderboard.scoring import CONFIDENCE, SeedSample
from collapsebench.syntax import parse_composition

LEAGUE = RESULTS / "league" / "small.json"
DIVISIONS = ("default", "tuned")
ANNEALED = "KL annealing"
COMPOSITIONS = "compositions"
LOST = "without a result"
USED, IDLE = 0.5, 0.1
"""Without use is a KL of so many nats or more of which the decoder gains less than this share.

The guard `use` marks smaller rates, and gains of up to a half of them, within the error of the estimate.
"""


class Claim(NamedTuple):
    """What a paper says: the first model is better than the second one."""

    first: str
    second: str
    column: str
    source: str

    @property
    def title(self) -> str:
        """The claim in words."""
        says = "beats" if self.column == NLL else "has more MI than"
        return f"{self.first} {says} {self.second}"


class Verdict(StrEnum):
    """What a task says of a claim."""

    HOLDS = "holds"
    NOT_HERE = "not here"
    UNDECIDED = "undecided"


CLAIMS = (
    Claim("KL annealing", "VAE", INFORMATION, "Bowman et al. 2016"),
    Claim("cyclical annealing", "KL annealing", NLL, "Fu et al. 2019"),
    Claim("Skip-VAE", "VAE", INFORMATION, "Dieng et al. 2019"),
    Claim("Skip-VAE + SA-VAE", "SA-VAE", INFORMATION, "Dieng et al. 2019"),
    Claim("SA-VAE", "VAE", NLL, "Kim et al. 2018"),
    Claim("lagging inference", "VAE", NLL, "He et al. 2019"),
    Claim("lagging inference + KL annealing", "KL annealing", NLL, "He et al. 2019"),
    Claim("pretraining + free bits", "free bits", NLL, "Li et al. 2019"),
    Claim("δ-VAE", "VAE", INFORMATION, "Razavi et al. 2019"),
    Claim("BN-VAE", "VAE", NLL, "Zhu et al. 2020"),
    Claim("DU-VAE", "BN-VAE", NLL, "Shen et al. 2021"),
    Claim("IWAE", "VAE", NLL, "Burda et al. 2016"),
    Claim("IAF", "VAE", NLL, "Kingma et al. 2016"),
    Claim("VampPrior", "VAE", NLL, "Tomczak and Welling 2018"),
    Claim("vMF-VAE", "VAE", NLL, "Xu and Durrett 2018"),
    Claim("MAE", "VAE", INFORMATION, "Ma et al. 2019"),
    Claim("InfoVAE", "VAE", INFORMATION, "Zhao et al. 2019"),
    Claim("word dropout", "VAE", INFORMATION, "Bowman et al. 2016"),
    Claim("bag of words", "VAE", INFORMATION, "Zhao et al. 2017"),
    Claim("TWR-VAE", "VAE", INFORMATION, "Li et al. 2020"),
)


@cache
def league() -> dict[str, Any]:
    """What the command wrote."""
    found: dict[str, Any] = json.loads(LEAGUE.read_text(encoding="utf-8"))
    return found


def statistics(division: str) -> dict[str, Any]:
    """The statistics of a division."""
    found: dict[str, Any] = league()["divisions"][division]["statistics"]
    return found


def tasks(division: str) -> list[str]:
    """The tasks of a division."""
    return list(statistics(division)["tasks"])


@cache
def runs(division: str) -> dict[tuple[str, str], dict[str, Any]]:
    """The entries of a division, by task and model."""
    return {(each["task"], each["contender"]): each for each in league()["divisions"][division]["runs"]}


def sample(division: str, task: str, model: str, column: str) -> SeedSample | None:
    """A column by seed; None if the model is not in the task, or a run has no number."""
    entry = runs(division).get((task, model))
    seeds = {} if entry is None else {int(seed): score for seed, score in entry[column].items()}
    if set(map(str, statistics(division)["tasks"][task]["seeds"])) - set(map(str, seeds)):
        return None
    return SeedSample(seeds, {}) if all(isinstance(score, float) for score in seeds.values()) else None


def difference(division: str, task: str, first: str, second: str, column: str = NLL) -> SeedSample | None:
    """One model minus another, by seed; None if one of them has no numbers."""
    samples = [sample(division, task, name, column) for name in (first, second)]
    return samples[0].minus(samples[1]) if all(samples) else None  # type: ignore[union-attr, arg-type]


def written(found: SeedSample | None, *, signed: bool = True) -> str:
    """A mean with its interval; a difference that is told from zero in bold."""
    if found is None:
        return ""
    text = with_interval(found, signed=signed)
    return f"**{text}**" if signed and told(found) else text


@cache
def families() -> dict[str, str]:
    """The family of each model that has one: that of its method, or one for compositions. The reference has none."""
    of = {method.name: method.family for method in describe_methods()}
    found = {}
    for (_, model), entry in runs("default").items():
        names = [method.name for method in parse_composition(entry["setting"])]
        family = COMPOSITIONS if len(names) > 1 else of.get(names[0])
        if family is not None and model != statistics("default")["reference"]:
            found[model] = str(family)
    return found


def or_lost(found: SeedSample | None) -> str:
    """Write a difference, or say that there is none."""
    return LOST if found is None else written(found)


@cache
def gains() -> dict[str, list[SeedSample | None]]:
    """The difference in IW-NLL of each tuned model from tuned KL annealing, for each task."""
    models = (model for model in statistics("tuned")["contenders"] if model != ANNEALED)
    return {model: [difference("tuned", task, model, ANNEALED) for task in tasks("tuned")] for model in models}


def better(found: SeedSample | None) -> bool:
    """True if a difference in IW-NLL is told, and below zero."""
    return found is not None and bool(told(found)) and found.mean < 0


def worse(found: SeedSample | None) -> bool:
    """True if a difference in IW-NLL is told, and above zero."""
    return found is not None and bool(told(found)) and found.mean > 0


def beyond_chance(found: SeedSample | None) -> bool:
    """True if one of the gains is told beside so many others: with Bonferroni's correction for models and tasks."""
    if found is None:
        return False
    comparisons = len(gains()) * len(tasks("tuned"))
    return float(ttest_1samp(list(found.seeds.values()), 0).pvalue) * comparisons < 1 - CONFIDENCE


class Beside(NamedTuple):
    """What skip connections change in IW-NLL alone and beside another method, and the difference of the two."""

    task: str
    other: str
    alone: SeedSample | None
    beside: SeedSample | None
    interaction: SeedSample | None


def beside_skip(division: str) -> Iterator[Beside]:
    """Yield the effects of skip connections beside each other method in each task."""
    for found in league()["divisions"][division]["interactions"]:
        if found["composition"]["first"] == "Skip-VAE":
            effects = map(_effect, (found["first"], found["first_beside_second"], found["interaction"]))
            yield Beside(found["task"], found["composition"]["second"], *effects)


def _effect(found: dict[str, Any]) -> SeedSample | None:
    seeds = found["seeds"]
    return SeedSample({int(key): seeds[key] for key in seeds}, {}) if seeds else None


class Price(NamedTuple):
    """What z is worth to a model near the KL that is asked for: its IW-NLL minus that of the model without z."""

    model: str
    division: str
    rate: SeedSample
    information: SeedSample | None
    gain: SeedSample

    @property
    def per_nat(self) -> float | None:
        """The gain for a nat of information; None unless both are told from zero."""
        known = self.information is not None and told(self.information) and self.information.mean > 0
        return self.gain.mean / self.information.mean if known and told(self.gain) else None  # type: ignore[union-attr]


def prices_of(task: str) -> list[Price]:
    """One for each model with the KL of each run within a quarter of what is asked for. The best come first."""
    reference, nats = statistics("iso-kl")["reference"], asked(task)
    found = [
        Price(model, division, rate, sample(division, task, model, INFORMATION), gain)
        for division in ("tuned", "iso-kl")
        for model in statistics(division)["contenders"]
        if (rate := sample(division, task, model, RATE)) is not None
        and all(abs(each - nats) <= nats / 4 for each in rate.seeds.values())
        and (gain := difference(division, task, model, reference)) is not None
    ]
    return sorted(found, key=lambda each: each.gain.mean)


def asked(task: str) -> float:
    """The KL in nats that the rule of a task asks for."""
    rule = next(entry["choice"]["rule"] for (name, _), entry in runs("iso-kl").items() if name == task)
    return float(str(parse_composition(rule)[0].params["nats"]))


def span(numbers: Iterable[float]) -> str:
    """Write the lowest and the highest of some numbers, with two digits."""
    found = [f"{number:.2g}".replace("-", "−") for number in sorted(numbers)]
    return " to ".join(dict.fromkeys((found[0], found[-1])))


def verdict(claim: Claim, found: SeedSample) -> Verdict:
    """What the difference of two models says of a claim."""
    if not told(found):
        return Verdict.UNDECIDED
    return Verdict.HOLDS if (found.mean < 0) == (claim.column == NLL) else Verdict.NOT_HERE


def seeds_to_tell(found: SeedSample) -> int | None:
    """About how many seeds would decide; None if it is decided, or if no number would."""
    return None if told(found) else pairs_to_tell(found)
