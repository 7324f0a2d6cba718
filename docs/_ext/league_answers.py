"""The computed sentences of results/league/README.md: what the tables of its details come to."""

from collections.abc import Iterable

from league import (
    CLAIMS,
    DIVISIONS,
    IDLE,
    Claim,
    Verdict,
    asked,
    beside_skip,
    better,
    beyond_chance,
    difference,
    gains,
    or_lost,
    prices_of,
    sample,
    seeds_to_tell,
    span,
    statistics,
    tasks,
    verdict,
    written,
)

from collapsebench.reporting.divisions import INFORMATION
from collapsebench.reporting.leaderboard.scoring import SeedSample


def beaten() -> str:
    """How many tuned models beat tuned KL annealing in IW-NLL, by how much, and which do beyond chance."""
    return _listed(f"*{task}*: {_beaten(place)}" for place, task in enumerate(tasks("tuned")))


def _beaten(place: int) -> str:
    found = {model: each[place] for model, each in gains().items() if better(each[place])}
    if not found:
        return "none is told better"
    by = span(-gain.mean for gain in found.values() if gain is not None)
    sure = " · ".join(model for model, gain in found.items() if beyond_chance(gain))
    return f"{len(found)} of {len(gains())} models are told better, by {by} nats" + (f" († {sure})" if sure else "")


def cures() -> str:
    """How many methods beat the plain VAE, default and tuned, and how many hold information and gain by it."""
    return _listed(f"*{task}*: {_cures(task)}" for task in tasks("tuned"))


def _cures(task: str) -> str:
    plain, reference = (statistics("tuned")[name] for name in ("baseline", "reference"))
    models = [model for model in statistics("tuned")["contenders"] if model not in {plain, reference}]
    beats = {
        division: sum(better(difference(division, task, model, plain)) for model in models) for division in DIVISIONS
    }
    held = {model: sample("tuned", task, model, INFORMATION) for model in (plain, *models)}
    holding = [model for model in models if (own := held[model]) is not None and own.mean >= IDLE]
    gaining = sum(better(difference("tuned", task, model, reference)) for model in holding)
    own = held[plain]
    return (
        f"of {len(models)} methods {beats['default']} beat {plain}, each with the settings of its card, and "
        f"{beats['tuned']} do if both are tuned. Tuned, {len(holding)} hold {IDLE} nats of MI or more, {plain} itself "
        f"{written(own, signed=False)}; {gaining} of the {len(holding)} beat {reference}"
    )


def skips() -> str:
    """What skip connections change in tuned models alone and beside each method, and the interactions."""
    found = list(beside_skip("tuned"))
    return _listed(
        f"*{task}*: alone {or_lost(next(each.alone for each in found if each.task == task))}; beside "
        + ", ".join(
            f"{each.other} {or_lost(each.beside)} (interaction {or_lost(each.interaction)})"
            for each in found
            if each.task == task
        )
        for task in tasks("tuned")
    )


def worth() -> str:
    """What a nat of information costs in IW-NLL near one KL, or pays where the number is below zero."""
    return _listed(f"*{task}*, near a KL of {asked(task):g}: {_worth(task)}" for task in tasks("iso-kl"))


def _worth(task: str) -> str:
    found = prices_of(task)
    known = sorted((price.per_nat, price.model) for price in found if price.per_nat is not None)
    ends = dict.fromkeys([known[0], known[-1]] if known else [])
    named = " to ".join(f"{ratio:+.2f}".replace("-", "−") + f" ({model})" for ratio, model in ends)
    return f"{named or 'no number'}; known for {len(known)} of {len(found)} settings there"


def judged() -> str:
    """The claims by what the tasks say of them together."""
    found = {claim: {task: verdict(claim, gain) for task, gain in _differences(claim).items()} for claim in CLAIMS}
    sets = {claim: set(each.values()) - {Verdict.UNDECIDED} for claim, each in found.items()}
    groups = {
        "Told true in a task or more, and false in none": {Verdict.HOLDS},
        "Told false in a task or more, and true in none": {Verdict.NOT_HERE},
        "True in some tasks, and false in others": {Verdict.HOLDS, Verdict.NOT_HERE},
        "Undecided": set(),
    }
    return _listed(
        f"{title}: {'; '.join(_counted(claim, found[claim]) for claim in CLAIMS if sets[claim] == wanted) or 'none'}"
        for title, wanted in groups.items()
    )


def _differences(claim: Claim) -> dict[str, SeedSample]:
    """The difference of a claim in each task that has both models, with numbers."""
    found = {task: difference("tuned", task, claim.first, claim.second, claim.column) for task in tasks("tuned")}
    return {task: each for task, each in found.items() if each is not None}


def _counted(claim: Claim, found: dict[str, Verdict]) -> str:
    """Name a claim, with the tasks that decide, or the seeds that would."""
    by_verdict = {name: [task for task, each in found.items() if each is name] for name in Verdict}
    true, false = (" · ".join(by_verdict[name]) for name in (Verdict.HOLDS, Verdict.NOT_HERE))
    if true and false:
        return f"{claim.title} (true: {true}; false: {false})"
    seeds = ", ".join(str(each) for gain in _differences(claim).values() if (each := seeds_to_tell(gain)))
    return f"{claim.title} ({true or false or f'about {seeds} seeds'})"


def _listed(items: Iterable[str]) -> str:
    return "\n" + "".join(f"- {item}.\n" for item in items) + "\n"
