"""The computed tables of results/league/README.md and its details. cog writes them."""

import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import cache
from itertools import combinations, product
from pathlib import Path
from typing import Any

from league import (
    CLAIMS,
    COMPOSITIONS,
    DIVISIONS,
    IDLE,
    LEAGUE,
    LOST,
    USED,
    Claim,
    Price,
    beside_skip,
    better,
    beyond_chance,
    difference,
    families,
    gains,
    league,
    or_lost,
    prices_of,
    runs,
    sample,
    seeds_to_tell,
    span,
    statistics,
    tasks,
    verdict,
    worse,
    written,
)
from paper import table
from scipy.stats import kendalltau

from collapsebench.reporting.divisions import INFORMATION, NLL, RATE, UNITS, USE
from collapsebench.reporting.leaderboard.numbers import with_interval
from collapsebench.reporting.leaderboard.scoring import SeedSample
from collapsebench.syntax import BASELINE, parse_composition

PAIRED = (("default", "default"), ("tuned", "tuned"), ("default", "tuned"))
"""The divisions whose orders by different seeds are compared."""
STEPS_FILE, STEPS_TASK = "digits-steps.jsonl.gz", "digits"
"""The records of the variant `steps`, and the task that they are of."""
FIRST = 3
"""So many models that are the first at equal steps are shown beside those with few steps."""
WORKERS = 2
"""The runs at a time: `--workers`."""


def state() -> str:
    """What is committed: a line for each file of records."""
    head = ["records", "trials", "without a result", "runs", "hours, two at a time", "processor"]
    return table(head, map(_state, _files()))


def _state(path: Path) -> list[str]:
    records = _records(path)
    trials = [record for record in records if not record["values"]]
    seconds = sum(map(_seconds, records))
    found = Counter(each["environment"]["cpu_capability"] for each in records)
    processors = ", ".join(f"{name} ({count} of {len(records)})" for name, count in sorted(found.items()))
    lost = sum(trial["outcome"] != "finished" for trial in trials)
    counts = (len(trials), lost, len(records) - len(trials))
    return [f"[{path.name}]({path.name})", *map(str, counts), f"{seconds / WORKERS / 3600:.1f}", processors]


@cache
def _records(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def steps() -> str:
    """The models that have less than half of the steps of the plain VAE, by task, with their defaults."""
    rows = []
    for task in tasks("default"):
        few = _few_steps(task)
        rows.append(
            [task, f"{_mean_steps(task)['VAE']:.0f}", "; ".join(f"{model} {own:.0f}" for model, own in few.items())]
        )
    return table(["task", "steps of the VAE", "less than half of them"], rows)


def _few_steps(task: str) -> dict[str, float]:
    """The models that have less than half of the steps of the plain VAE, the fewest first, with their mean."""
    means = _mean_steps(task)
    return {model: own for own, model in sorted((own, model) for model, own in means.items()) if own < means["VAE"] / 2}


@cache
def _mean_steps(task: str) -> dict[str, float]:
    """The mean number of steps of each model of a task, with its defaults."""
    taken = {record["run_id"]: _steps(record) for path in _files() for record in _records(path)}
    return {
        model: sum(taken[run] for run in entry["run_ids"].values()) / len(entry["run_ids"])
        for (name, model), entry in runs("default").items()
        if name == task and entry["run_ids"]
    }


def at_equal_steps() -> str:
    """What the ranked models with few steps reach if all have those of the plain VAE, and the first ones then."""
    other = _at_equal_steps()
    seeds = sorted(next(iter(other.values())).seeds)
    own = {
        model: SeedSample({seed: found.seeds[seed] for seed in seeds}, {})
        for model in other
        if (found := sample("default", STEPS_TASK, model, NLL)) is not None
    }
    places = [
        {model: place for place, model in enumerate(sorted(by, key=lambda each: by[each].mean), 1)}
        for by in (own, other)
    ]
    shown = dict.fromkeys(("VAE", *_few_steps(STEPS_TASK), *list(places[1])[:FIRST]))
    taken = _mean_steps(STEPS_TASK)
    rows = [
        [model, f"{taken[model]:.0f}", *(_at(model, by, ranks) for by, ranks in zip((own, other), places, strict=True))]
        for model in shown
        if model in own
    ]
    return table(["model", "steps at equal FLOPs", "IW-NLL at equal FLOPs (rank)", "at equal steps (rank)"], rows)


def _at(model: str, by: Mapping[str, SeedSample], ranks: Mapping[str, int]) -> str:
    return f"{written(by[model], signed=False)} ({ranks[model]})"


def _at_equal_steps() -> dict[str, SeedSample]:
    """IW-NLL by seed of the ranked models, of the runs of equal steps."""
    settings = {runs("default")[STEPS_TASK, model]["setting"]: model for model in statistics("default")["contenders"]}
    found: dict[str, dict[int, float]] = {}
    for record in _records(LEAGUE.parent / STEPS_FILE):
        if record["contender"] in settings:
            (score,) = (each["estimate"]["value"] for each in record["values"] if each["column"] == NLL)
            found.setdefault(settings[record["contender"]], {})[int(record["spec"]["seed"])] = score
    return {model: SeedSample(seeds, {}) for model, seeds in found.items()}


def _steps(record: dict[str, Any]) -> float:
    """The steps at the end of a run; none if it has not come to a first evaluation."""
    return float(record["points"][-1]["counters"]["steps"]) if record["points"] else 0.0


def _files() -> list[Path]:
    return sorted(LEAGUE.parent.glob("*.jsonl.gz"))


def _seconds(record: dict[str, Any]) -> float:
    started, finished = (datetime.fromisoformat(record[end]) for end in ("started_at", "finished_at"))
    return (finished - started).total_seconds()


def standings() -> str:
    """The ranked models by their mean rank when tuned, with their IW-NLL, and MI in brackets, in each task."""
    own, others = statistics("tuned"), statistics("default")
    head = ["model", "rank, default", "rank, tuned", *tasks("tuned")]
    rows = (
        [
            _linked(model),
            _rank(others["contenders"][model]),
            _rank(found),
            *(_reached(task, model) for task in tasks("tuned")),
        ]
        for model, found in sorted(own["contenders"].items(), key=lambda each: each[1]["mean_rank"])
    )
    return table(head, rows)


def _linked(model: str) -> str:
    """Write a model as a link to the card of its method; a composition as it is."""
    names = [method.name for method in parse_composition(runs("default")[tasks("default")[0], model]["setting"])]
    single = len(names) == 1 and names[0] != BASELINE
    return f"[{model}](../../docs/methods.md#method-{names[0]})" if single else model


def _reached(task: str, model: str) -> str:
    nll, information = (sample("tuned", task, model, column) for column in (NLL, INFORMATION))
    if nll is None:
        return "worst"
    known = "" if information is None else f" ({max(information.mean, 0):.2f})"
    return f"{written(nll, signed=False)}{known}"


def _rank(found: dict[str, Any]) -> str:
    interval = found["mean_rank_interval"]
    return f"{found['mean_rank']:.1f}" + ("" if interval is None else " [{:.1f}, {:.1f}]".format(*interval))


def of_families() -> str:
    """A sentence for each family: its best model by mean rank, and what that gains over the tuned plain VAE."""
    ranks = {model: found["mean_rank"] for model, found in statistics("tuned")["contenders"].items()}
    return "\n" + "\n".join(f"- {_of_family(name, ranks)}" for name in _families()) + "\n\n"


def _families() -> list[str]:
    found = dict.fromkeys(families().values())
    return [*(name for name in found if name != COMPOSITIONS), *(name for name in found if name == COMPOSITIONS)]


def _of_family(name: str, ranks: dict[str, float]) -> str:
    members = sorted((rank, model) for model, rank in ranks.items() if families().get(model) == name)
    best = members[0][1]
    found = "; ".join(f"{task} {or_lost(difference('tuned', task, best, 'VAE'))}" for task in tasks("tuned"))
    others = "" if len(members) == 1 else f", the best of {len(members)}"
    return f"*{name}*: **{best}**{others}, changes the IW-NLL of the tuned plain VAE so: {found}."


def beyond() -> str:
    """What tuned models gain over tuned KL annealing in IW-NLL, if they are told better in some task.

    A difference is marked that is told with Bonferroni's correction for all models and tasks, too.
    """
    names, found = tasks("tuned"), gains()
    rows = (
        [model, *(or_lost(each) + (" †" if beyond_chance(each) else "") for each in differences)]
        for model, differences in found.items()
        if any(map(better, differences))
    )
    lost = _left_out(model for model, differences in found.items() if None in differences)
    return table(["model", *names], rows) + lost


def _left_out(models: Iterable[str]) -> str:
    """Name the models that have no number somewhere; nothing if there are none."""
    named = sorted(set(models))
    return f"Left out of a task, as a run has no number: {', '.join(named)}.\n\n" if named else ""


def factorial() -> str:
    """What skip connections do alone and beside each other method, and the interaction, in tasks and divisions."""
    head = ["task", "settings", "beside", "alone", "beside it", "interaction"]
    rows = (
        [found.task, division, found.other, *map(or_lost, (found.alone, found.beside, found.interaction))]
        for division in DIVISIONS
        for found in beside_skip(division)
    )
    return table(head, sorted(rows))


def of_tuning() -> str:
    """What tuning changes of the IW-NLL of each model: how many it makes better, and which ones worse."""
    rows = []
    for task in tasks("tuned"):
        found = {model: _of_tuning(task, model) for model in statistics("tuned")["contenders"]}
        lost = "; ".join(f"{model} {written(each)}" for model, each in found.items() if worse(each))
        rows.append([task, f"{sum(map(better, found.values()))} of {len(found)}", lost or "none"])
    return table(["task", "told better tuned than default", "told worse"], rows)


def _of_tuning(task: str, model: str) -> SeedSample | None:
    tuned, default = (sample(division, task, model, NLL) for division in ("tuned", "default"))
    return tuned.minus(default) if tuned and default else None


def prices() -> str:
    """What z is worth at one rate: IW-NLL minus that of the model without z, near the KL that the rule asks for."""
    head = ["task", "model", "settings", "KL", "MI ≥", "IW-NLL minus that without z", "per nat of MI"]
    return table(head, ([task, *_price(found)] for task in tasks("iso-kl") for found in prices_of(task)))


def _price(found: Price) -> list[str]:
    ratio = "" if found.per_nat is None else f"{found.per_nat:+.2f}".replace("-", "−")
    rate, information = (written(each, signed=False) for each in (found.rate, found.information))
    return [found.model, found.division, rate, information, written(found.gain), ratio]


def borders() -> str:
    """How many of the chosen learning rates, and of all other chosen numbers, lie at a border, by task."""
    rows = []
    for task in tasks("tuned"):
        found = [entry for (name, _), entry in runs("tuned").items() if name == task and entry["choice"]["chosen"]]
        ends = [border for entry in found for border in entry["choice"]["borders"]]
        rates = Counter(border for border in ends if border.startswith("rate "))
        rows.append(
            [task, str(len(found)), str(rates["rate high"]), str(rates["rate low"]), str(len(ends) - rates.total())]
        )
    return table(["task", "models", "rate at the upper end", "at the lower end", "other numbers at an end"], rows)


def idle() -> str:
    """The models with runs whose rate the decoder makes no use of, by task and division."""
    head = ["task", "settings", "model", "such runs", "their KL", "their Δ shuffle"]
    return table(head, _idle())


def _idle() -> Iterator[list[str]]:
    """Yield a line for each model with two such runs or more."""
    for division in league()["divisions"]:
        for (task, model), entry in runs(division).items():
            rates, uses = ({seed: entry[column].get(seed) for seed in entry[RATE]} for column in (RATE, USE))
            seeds = [seed for seed in rates if _is_idle(rates[seed], uses[seed])] if entry["ranked"] else []
            if len(seeds) > 1:
                spans = (span(each[seed] for seed in seeds) for each in (rates, uses))
                yield [task, division, model, f"{len(seeds)} of {len(rates)}", *spans]


def _is_idle(rate: Any, use: Any) -> bool:
    return isinstance(rate, float) and isinstance(use, float) and rate >= USED and use < IDLE * rate


def orders() -> str:
    """How much the orders of models agree: Kendall's τ, by task."""
    head = ["orders", "division", "mean", *tasks("default")]
    rows = [
        [each["orders"], division, _tau(found), *(_number(found["taus"].get(task)) for task in head[3:])]
        for each in league()["agreement"]
        for division, found in each["found"].items()
    ]
    pairs = [_row("IW-NLL, two seeds and two others", *both, _of_pairs) for both in PAIRED]
    used = [_row(f"active units and Δ shuffle, MI ≥ {IDLE}", each, each, _of_used) for each in DIVISIONS]
    return table(head, [*rows, *pairs, *used])


def _row(title: str, one: str, other: str, tau: Callable[[str, str, str], float]) -> list[str]:
    found = {task: tau(one, other, task) for task in tasks(one) if task in tasks(other)}
    name = one if one == other else f"{one} and {other}"
    mean = sum(found.values()) / len(found)
    return [title, name, _number(mean), *(_number(found.get(task)) for task in tasks("default"))]


def _number(tau: float | None) -> str:
    return "" if tau is None else f"{tau:.2f}".replace("-", "−")


def _of_pairs(one: str, other: str, task: str) -> float:
    """The mean τ of the order by two seeds and that by two others, over all such choices."""
    models = statistics(one)["contenders"]
    scores = ((sample(one, task, model, NLL), sample(other, task, model, NLL)) for model in models)
    known = [(first.seeds, second.seeds) for first, second in scores if first and second]
    pairs = list(combinations(statistics(one)["tasks"][task]["seeds"], 2))
    taus = [
        kendalltau(
            [sum(first[seed] for seed in left) for first, _ in known],
            [sum(second[seed] for seed in right) for _, second in known],
        ).statistic
        for left, right in product(pairs, pairs)
        if not set(left) & set(right)
    ]
    return float(sum(taus) / len(taus))


def _of_used(division: str, _: str, task: str) -> float:
    """τ between active units and Δ shuffle of the models that have some information."""
    found = [
        (units.mean, use.mean)
        for model in statistics(division)["contenders"]
        if (information := sample(division, task, model, INFORMATION)) is not None
        and information.mean >= IDLE
        and (units := sample(division, task, model, UNITS)) is not None
        and (use := sample(division, task, model, USE)) is not None
    ]
    return float(kendalltau(*zip(*found, strict=True)).statistic)


def _tau(found: dict[str, Any]) -> str:
    return "{:.2f} [{:.2f}, {:.2f}]".format(found["mean"], *found["interval"])


def claims() -> str:
    """What papers say, beside what tuned models do here."""
    rows = ([claim.title, claim.source, *(_decided(claim, task) for task in tasks("tuned"))] for claim in CLAIMS)
    return table(["said", "by", *tasks("tuned")], rows)


def _decided(claim: Claim, task: str) -> str:
    """Write the difference of a claim in a task, what it decides, and what a claim of information costs."""
    if (task, claim.first) not in runs("tuned"):
        return "not in this task"
    found = difference("tuned", task, claim.first, claim.second, claim.column)
    if found is None:
        return LOST
    title = "IW-NLL" if claim.column == NLL else "MI"
    price = "" if claim.column == NLL else f"; IW-NLL {or_lost(difference('tuned', task, *claim[:2]))}"
    seeds = seeds_to_tell(found)
    needed = "" if seeds is None else f" (about {seeds} seeds)"
    return f"{title} {with_interval(found, signed=True)}: {verdict(claim, found)}{needed}{price}"
