"""The tables of docs/field.md that are computed from the committed records. cog writes them, as those of docs/paper.md.

The records are exports of the runs of `collapsebench suite run field/text` and `field/images`.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TypeAlias

import torch
from paper import table

from collapsebench import Point, RunRecord, Unit
from collapsebench.components import discovery
from collapsebench.experiment import suites
from collapsebench.reporting.leaderboard.numbers import with_interval
from collapsebench.reporting.leaderboard.scoring import SeedSample
from collapsebench.reporting.selection import labels
from collapsebench.store.interchange import read_lines
from collapsebench.syntax import parse_composition
from collapsebench_plugins.powers import fixed
from collapsebench_plugins.tilt import best_length, log_partition, mean_length
from collapsebench_plugins.von_mises import divergence

RESULTS = Path(__file__).parents[2] / "results"
FOLDER = RESULTS / "leaderboards"
COSTS = RESULTS / "bench" / "methods.json"
"""What `python -m bench.methods --json` wrote."""
KINDS = {"text": "synthetic-text", "images": "digits"}
COLUMNS = {
    "neg_elbo": "−ELBO",
    "kl": "KL",
    "mi_lower": "MI ≥",
    "active_units": "AU",
    "delta_shuffle": "Δ shuffle",
}

Runs: TypeAlias = list[RunRecord]


class Claim(NamedTuple):
    """What the equation of a contender says, and the numbers that show it."""

    says: str
    shown: Callable[[Runs], str]


@cache
def records(kind: str) -> dict[str, Runs]:
    """The committed runs of a suite by contender."""
    path = FOLDER / f"field-{kind}.jsonl"
    found: dict[str, Runs] = {}
    with path.open("rb") as lines:
        for record in read_lines(lines, path.name):
            found.setdefault(record.contender, []).append(record)
    return found


def cells(family: str, kind: str) -> dict[str, Runs]:
    """The runs of the cell of a family, by the name that the suite gives to the contender."""
    components = discovery.load()
    (cell,) = suites.suite(f"field/{kind}").cells("small", only=[family])
    return {model: records(kind)[label] for model, label in labels(cell, components).items()}


def board(family: str, kind: str) -> str:
    """The contenders of a family: the test split, and beside it where the parameters were selected."""
    rows = ([model, *scores(runs), *selection(runs)] for model, runs in cells(family, kind).items())
    at = ["selected at [%]", "KL there (valid)", "KL at the end (valid)"]
    return table([f"`{KINDS[kind]}`", "seeds", *COLUMNS.values(), *at], rows)


def scores(runs: Runs) -> Iterator[str]:
    """The number of seeds and the columns, of the parameters that are selected."""
    yield str(len(runs))
    yield from (interval(tested(run, column) for run in runs) for column in COLUMNS)


def selection(runs: Runs) -> Iterator[str]:
    """The share of the budget at which each seed's parameters were selected, with the KL of the validation split."""
    yield ", ".join(f"{100 * share(run, selected(run)):.0f}" for run in runs)
    yield interval(valid(selected(run), "kl") for run in runs)
    yield interval(valid(run.points[-1], "kl") for run in runs)


def claims(family: str) -> str:
    """What the equation of each contender says, and what the records show."""
    kinds = {kind: cells(family, kind) for kind in KINDS}
    models = dict.fromkeys(model for found in kinds.values() for model in found)
    rows = (
        [
            model,
            CLAIMS[model].says,
            *(CLAIMS[model].shown(own[model]) if model in own else "" for own in kinds.values()),
        ]
        for model in models
        if model in CLAIMS
    )
    return table(["contender", "what its equation says", *(f"on `{data}`" for data in KINDS.values())], rows)


def budgets() -> str:
    """The budget of each suite, and what it is of the steps of the plain VAE."""
    rows = []
    for kind, data in KINDS.items():
        (plain,) = {int(run.counters["steps"]) for run in records(kind)["vae"]}
        cell = suites.suite(f"field/{kind}").cells("small")[0]
        rows.append([f"`field/{kind}`", f"`{data}`", cell.track, str(cell.budget), str(plain)])
    return table(["suite", "data", "track", "budget", "steps of the plain VAE"], rows)


def costs() -> str:
    """The time and the FLOPs of a training step of each method as multiples of the plain VAE's."""
    found: dict[str, dict[str, list[str]]] = {}
    for cost in json.loads(COSTS.read_text(encoding="utf-8"))["costs"]:
        name = parse_composition(cost["contender"])[0].name
        turns = f"{cost['least']:.2f} to {cost['largest']:.2f}"
        found.setdefault(name, {})[cost["kind"]] = [f"{cost['time']:.2f}", turns, f"{cost['flops']:.2f}"]
    head = (f"{what}, `{data}`" for data in KINDS.values() for what in ("time", "turns", "FLOPs"))
    rows = ([f"`{name}`", *(text for kind in KINDS for text in own.get(kind, [""] * 3))] for name, own in found.items())
    return table(["method", *head], rows)


def machine() -> str:
    """The machine on which `costs` was measured."""
    facts = json.loads(COSTS.read_text(encoding="utf-8"))["machine"]
    return f"\n{', '.join(f'{name} {value}' for name, value in facts.items())}.\n\n"


def interval(values: Iterable[float]) -> str:
    """The mean over seeds with its interval, as boards print it."""
    return with_interval(SeedSample(dict(enumerate(values)), {}))


def tested(run: RunRecord, column: str) -> float:
    """A number of the test split, NaN where there is none."""
    return next((float(value.estimate) for value in run.values if value.column == column), math.nan)


def valid(point: Point, column: str) -> float:
    """A number of the validation split."""
    return float(point.values[column])


def selected(run: RunRecord) -> Point:
    """The point whose parameters the test split sees."""
    return next(point for point in run.points if point.selected)


def share(run: RunRecord, point: Point) -> float:
    """The share of the budget that was spent at a point."""
    return min(1.0, point.counters[Unit.FLOPS] / run.spec.protocol.budget.amount)


def setting(run: RunRecord, name: str) -> float:
    """A parameter of the only method."""
    (method,) = run.spec.contender.methods
    return float(method.params[name])


def units(run: RunRecord) -> int:
    """The number of latent units D."""
    return run.spec.protocol.setting.latent_dim


def ended(column: str, runs: Runs) -> str:
    """A number of the validation split at the end of the budget, of each seed."""
    return each(valid(run.points[-1], column) for run in runs)


def each(values: Iterable[float]) -> str:
    """The number of each seed, or one if they are printed alike."""
    return ", ".join(dict.fromkeys(f"{value:#.3g}".replace("-", "−") for value in values))


def kl_at_the_end(runs: Runs) -> str:
    """The KL at the end of the budget, whatever was selected."""
    return f"KL {ended('kl', runs)} at the end"


def kl_and_weight(runs: Runs) -> str:
    """The same with the weight that the method gives."""
    return f"{kl_at_the_end(runs)}, weight {ended('kl_weight', runs)}"


def error_and_weight(runs: Runs) -> str:
    """The error of GECO against its goal, with the weight."""
    error = each(valid(run.points[-1], "neg_elbo") - valid(run.points[-1], "kl") for run in runs)
    return f"error {error} for a goal of {setting(runs[0], 'goal'):g}, weight {ended('kl_weight', runs)} at the end"


def above(floor: Callable[[RunRecord], float], name: str = "floor") -> Callable[[Runs], str]:
    """The KL at the end beside its floor."""
    return lambda runs: f"KL {ended('kl', runs)} at the end, {name} {floor(runs[0]):.4g}"


def information(runs: Runs) -> str:
    """KL and lower bound on the mutual information at the end."""
    return f"{kl_at_the_end(runs)}, MI ≥ {ended('mi_lower', runs)}"


def together(runs: Runs) -> str:
    """The KL at the end, and what the codes of all examples together have."""
    aggregate = each(tested(run, "aggregate_kl") for run in runs)
    return f"{kl_at_the_end(runs)}; of all codes together {aggregate} where selected"


def ratio(over: str, under: str, what: str) -> Callable[[Runs], str]:
    """How many of one counter there are for each of another."""
    return lambda runs: f"{runs[0].counters[over] / runs[0].counters[under]:.3g} {what}"


def weights(runs: Runs) -> str:
    """The KL weight at each evaluation, the same for all seeds."""
    return "weight " + ", ".join(f"{valid(point, 'kl_weight'):.2g}" for point in runs[0].points)


def stops(runs: Runs) -> str:
    """The evaluation at which the information of the validation split fell for the first time, of each seed."""
    return "phase ends at " + ", ".join(stop(run) for run in runs)


def stop(run: RunRecord) -> str:
    """The share of the budget at which the rule of lagging ends its phase."""
    for before, point in pairwise(run.points):
        if valid(point, "mi_lower") < valid(before, "mi_lower"):
            return f"{100 * share(run, point):.0f} %"
    return "no evaluation"


def phases(runs: Runs) -> str:
    """The KL at the last evaluation without a KL term, and at the end."""
    free = [[point for point in run.points if valid(point, "kl_weight") == 0][-1] for run in runs]
    until = max(share(run, point) for run, point in zip(runs, free, strict=True))
    return f"KL {each(valid(point, 'kl') for point in free)} at {100 * until:.0f} %, {ended('kl', runs)} at the end"


def free(run: RunRecord) -> float:
    """The KL that free bits leave free: D λ."""
    return units(run) * setting(run, "nats")


def normalized(run: RunRecord) -> float:
    """The floor of methods that normalize the means: D γ²/2."""
    return units(run) * setting(run, "gamma") ** 2 / 2


def von_mises(runs: Runs) -> str:
    """The KL of every seed beside the closed form."""
    found = sorted(tested(run, "kl") for run in runs)
    closed = divergence(units(runs[0]), setting(runs[0], "kappa"))
    return f"KL {found[0]:.5f} to {found[-1]:.5f} over seeds, closed form {closed:.5f}"


def tilt_floor(run: RunRecord) -> float:
    """The least KL of the tilted VAE, where the length of the mean is γ."""
    tau, dimension = setting(run, "tau"), units(run)
    gamma = best_length(dimension, tau)
    mean = torch.zeros(1, dimension, dtype=torch.float64)
    mean[0, 0] = gamma
    return log_partition(dimension, tau) - tau * float(mean_length(mean)) + gamma**2 / 2


def power_floor(run: RunRecord) -> float:
    """The KL of the power spherical posterior with the least concentration, 1."""
    return float(fixed(torch.ones(1, units(run), dtype=torch.float64), 1.0).kl_to_uniform())


DECODER_PASSES = ratio("decoder_evaluations", "examples", "decoder passes an example")
CLAIMS = {
    "β-VAE": Claim("the KL has the weight 0.4", kl_and_weight),
    "capacity": Claim("the KL is drawn to 3 nats", information),
    "ControlVAE": Claim("the weight moves until the KL is 3 nats", kl_and_weight),
    "ControlVAE, fast": Claim("the same, with a larger gain", kl_and_weight),
    "critic": Claim("what it trains is the lower bound on the MI of a batch", information),
    "DG-VAE": Claim("the KL of all codes together counts, not that of each", together),
    "free bits": Claim(
        "a unit whose KL is below λ has no gradient of it",
        above(lambda run: units(run) * setting(run, "nats"), "D λ is"),
    ),
    "GECO": Claim("the weight falls while the error is above its goal", error_and_weight),
    "GECO, fast": Claim("the same, with a larger step", error_and_weight),
    "InfoVAE": Claim("there is no KL: the codes of a batch together are held at the prior", together),
    "IWAE": Claim("five codes for each example", ratio("decoder_evaluations", "encoder_evaluations", "codes a pass")),
    "MAE": Claim("the posteriors of a batch are driven apart", information),
    "minimum desired rate": Claim("the KL is at least 3 nats, by a multiplier", kl_at_the_end),
    "minimum desired rate, fast": Claim("the same, with a larger step", kl_at_the_end),
    "TWR-VAE": Claim("the mean KL over states counts, that of the last one is free", kl_at_the_end),
    "BN-VAE": Claim("the KL of a batch is at least D γ²/2", above(normalized)),
    "bag of words": Claim("z alone predicts the words", information),
    "δ-VAE": Claim("the KL is at least D δ", above(lambda run: units(run) * setting(run, "delta"))),
    "DU-VAE": Claim("the means of a batch hold the KL above D γ²/2", above(normalized)),
    "word dropout": Claim("the decoder reads three words of four", information),
    "KL annealing": Claim("the weight grows to 1 by 40 % of the budget", weights),
    "KL annealing, cyclical": Claim("it does so in each of four cycles", weights),
    "lagging inference": Claim("the phase ends when the MI falls", stops),
    "lagging inference, short": Claim("the same, with at most 5 steps of the encoder in a row", stops),
    "pretraining": Claim("there is no KL up to 30 % of the budget", phases),
    "IAF": Claim("the KL is log q − log p at a sample, nothing holds it up", information),
    "mixture prior": Claim("the prior moves to the codes, nothing holds the KL up", information),
    "power spherical": Claim("the KL is at least that of κ = 1", above(power_floor)),
    "tilted": Claim("the KL is at least that of means of length γ", above(tilt_floor)),
    "VampPrior": Claim("the prior moves to the codes, nothing holds the KL up", information),
    "vMF-VAE": Claim("the KL is a constant of D and κ", von_mises),
    "no latent variable": Claim("there is no z", information),
    "Skip-VAE": Claim("every layer reads z", information),
    "LIDVAE": Claim("the logits are an injective function of z", information),
    "SA-VAE": Claim("10 inner steps and the last pass", DECODER_PASSES),
    "SVI": Claim("10 inner steps and the last pass", DECODER_PASSES),
    "VAE+SVI": Claim("10 inner steps, the last pass, and the encoder's own", DECODER_PASSES),
}
"""By the name of the contender in the suites."""
