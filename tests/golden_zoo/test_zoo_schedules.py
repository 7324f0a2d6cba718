"""The schedules of the KL weight and of the learning rate, against the numbers of released programs."""

from __future__ import annotations

import math

import pytest
import torch
from golden.vectors import mismatch

from collapsebench.components.composition import compose
from collapsebench.experiment.assembly import kl_weight_at, learning_rate_at
from collapsebench.model.progress import Progress
from collapsebench_plugins.beta_vae import BetaVAE
from collapsebench_plugins.kl_annealing import KLAnnealing, Schedule
from golden_zoo.zoo import load

NOT_SHIPPED = {
    "sigmoid": "a cycle whose rise is logistic",
    "cosine": "a cycle whose rise is a cosine",
    "zero_linear": "a cycle of Optimus, which begins with a share without a KL term",
}
"""What files have beside what is compared, and what it is."""


def weights(methods, fractions):
    """The product of the KL weights at shares of the budget."""
    hooks = compose(methods)
    return torch.tensor([kl_weight_at(hooks, Progress(each, 0)) for each in fractions], dtype=torch.float64)


def slots(settings):
    """The share of the budget that each slot of an array stands for. The programs round the beginnings of cycles down.

    The last slot that a cycle and the next one both name is that of the next one.
    """
    total, cycles = settings["n_iter"], settings["n_cycle"]
    firsts = [int(cycle * total / cycles) for cycle in range(cycles)]
    for slot in range(total):
        cycle = max(number for number, first in enumerate(firsts) if first <= slot)
        yield (slot - firsts[cycle] + cycle * total / cycles) / total


def test_the_cyclical_weights_are_those_of_the_released_functions():
    """A stop below 1 is the weight of beta-vae. Behind the rise, the function of the notebook gives 1 and no stop."""
    case = load("schedules")
    compared = set()
    for number, settings in enumerate(case.meta["cyclical_cases"]):
        stop, start = settings["stop"], settings["start"] / settings["stop"]
        annealing = KLAnnealing(
            schedule=Schedule.CYCLICAL, cycles=settings["n_cycle"], warmup=settings["ratio"], start=start
        )
        ours = weights([annealing, BetaVAE(beta=stop)], slots(settings))
        assert mismatch(ours, case[f"out/cyclical/linear_readme_{number}"]) == ""
        theirs = case[f"out/cyclical/linear_notebook_{number}"]
        rising = ours < stop - 1e-9
        assert mismatch(ours[rising], theirs[rising]) == ""
        assert {round(weight, 9) for weight in theirs[~rising].tolist()} <= {1.0, stop}
        compared |= {f"linear_readme_{number}", f"linear_notebook_{number}"}
    others = {name.rpartition("_")[0] for name in set(case.group("out/cyclical/")) - compared}
    assert others == set(NOT_SHIPPED)


def test_the_script_for_ptb_restarts_weight_and_learning_rate():
    """It raises the weight before the first step, where ours is one step behind; its rate is that of whole epochs."""
    case = load("schedules")
    given = case.meta["cyclical_ptb"]
    epochs, steps = given["epochs"], given["epochs"] * given["batches"]
    method = KLAnnealing(
        schedule=Schedule.CYCLICAL_RESTARTS,
        cycles=epochs // given["cycle"],
        start=given["beta_start"],
        warmup=(1 - given["beta_start"]) * given["warmup"] / given["cycle"],
    )
    ends = [math.nextafter((step + 1) / steps, 0) for step in range(steps)]
    assert mismatch(weights([method], ends).reshape(epochs, -1), case["out/cyclical_ptb/beta"]) == ""
    hooks = compose([method])
    rates = [given["lr"] * learning_rate_at(hooks, Progress(epoch / epochs, 0)) for epoch in range(epochs)]
    assert mismatch(torch.tensor(rates, dtype=torch.float64), case["out/cyclical_ptb/lr"]) == ""


@pytest.mark.parametrize("schedule", [Schedule.LINEAR, Schedule.LOGISTIC])
def test_the_weights_of_sentence_vae(schedule):
    case = load("schedules")
    steps, given = case["in/anneal_steps"].tolist(), case.meta["logistic"]
    total, middle = max(*steps, 2 * given["x0"]), given["x0"]
    warmup = 2 * middle if schedule is Schedule.LOGISTIC else middle
    method = KLAnnealing(schedule=schedule, warmup=warmup / total, steepness=given["k"] * 2 * middle)
    found = weights([method], [step / total for step in steps])
    assert mismatch(found, case[f"out/anneal/{schedule.value}"]) == ""
