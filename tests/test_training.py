"""Schedules, decay and selection."""

from __future__ import annotations

import math
from collections import OrderedDict, defaultdict, deque
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest
import tiny
import torch
from pydantic import PrivateAttr
from torch import nn

from collapsebench.components.interfaces import Method
from collapsebench.experiment.keeping import load_model, model_state
from collapsebench.experiment.meter import Meter
from collapsebench.experiment.training import (
    Plateau,
    RunningMean,
    Schedule,
    Trajectory,
    make_optimizer,
)
from collapsebench.model.kernels.optimizers import SGD, Adam
from collapsebench.record import Number, Point
from collapsebench.spec import Budget, Decay, Optimizer


def meter_at(examples, size=100):
    meter = Meter(Budget.parse("1000epochs"), size)
    if examples:
        tiny.step(meter, examples)
    return meter


def point(bound):
    return Point(counters={}, values={"neg_elbo": Number.of(bound)})


def test_evaluations_are_due_once_at_each_multiple():
    schedule, meter = Schedule(Budget.parse("2steps")), meter_at(0)
    due = []
    for _ in range(7):
        due.append(schedule.due(meter))
        tiny.step(meter, 1)
    assert due == [False, False, True, False, True, False, True]


def test_a_step_that_passes_several_evaluations_counts_as_one():
    schedule = Schedule(Budget.parse("10examples"))
    meter = meter_at(35)
    assert schedule.due(meter)
    assert not schedule.due(meter)
    tiny.step(meter, 5)
    assert schedule.due(meter)


def plateau(decay):
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = SGD([parameter], 1.0)
    return Plateau(decay, optimizer), lambda: optimizer.learning_rate


def test_the_released_decay_is_latched_and_stops_at_the_sixth_halving():
    """From the first evaluation that does not improve at epoch 15 or later, every one halves; 1/64 is below 0.03."""
    rule, rate = plateau(Decay())
    assert not rule.stops(improved=False, meter=meter_at(1400))
    assert rate() == 1
    assert not rule.stops(improved=True, meter=meter_at(1500))
    assert rate() == 1
    stops = [rule.stops(improved=index > 0, meter=meter_at(1600 + 100 * index)) for index in range(6)]
    assert stops == [False] * 5 + [True]
    assert rate() == 1 / 64


def test_without_the_latch_only_evaluations_that_do_not_improve_count():
    rule, rate = plateau(Decay(latched=False, after=0))
    for improved in (False, True, True, False):
        assert not rule.stops(improved=improved, meter=meter_at(0))
    assert rate() == 0.25


def test_without_decay_nothing_happens():
    rule, rate = plateau(None)
    assert not rule.stops(improved=False, meter=meter_at(10000))
    assert rate() == 1


def test_the_parameters_of_the_best_validation_bound_are_selected():
    model, trajectory = nn.Linear(1, 1), Trajectory()
    for bound in (5.0, 3.0, 4.0, math.nan):
        nn.init.constant_(model.weight, bound)
        trajectory.add(point(bound), model)
    points = trajectory.select(model)
    assert model.weight.item() == 3.0
    assert [each.selected for each in points] == [False, True, False, False]


def test_a_running_mean_starts_anew_when_taken():
    mean = RunningMean()
    assert math.isnan(mean.take())
    mean.add(1.0)
    mean.add(3.0)
    assert mean.take() == 2.0
    assert math.isnan(mean.take())


@pytest.mark.parametrize(("name", "kind"), [("sgd", SGD), ("adam", Adam)])
def test_optimizers(name, kind):
    optimizer = make_optimizer(Optimizer(name=name, learning_rate=0.3), nn.Linear(2, 2))
    assert type(optimizer) is kind
    assert optimizer.learning_rate == 0.3


@dataclass(frozen=True, slots=True)
class Pair:
    count: object
    name: str = "pair"


class Row(NamedTuple):
    mean: object


KEEPERS = [
    lambda: deque([torch.zeros(1)], maxlen=3),
    lambda: defaultdict(lambda: 1, mean=torch.zeros(1)),
    lambda: OrderedDict(mean=torch.zeros(1)),
    lambda: Row(torch.zeros(1)),
    lambda: Pair(torch.zeros(1)),
    lambda: (torch.zeros(1), {"a": [1]}),
    lambda: torch.nn.Parameter(torch.zeros(1)),
    lambda: torch.zeros(1, requires_grad=True),
    lambda: nn.Linear(1, 1, bias=False),
]


@pytest.mark.parametrize("make", KEEPERS)
def test_what_a_method_keeps_stays_of_its_kind_and_follows_the_selected_point(make):
    class Keeper(Method):
        name = "keeper"
        _kept: object = PrivateAttr(default_factory=make)

    def tensor(kept):
        match kept:
            case torch.Tensor():
                return kept
            case nn.Linear():
                return kept.weight
            case Pair():
                return kept.count
            case dict():
                return kept["mean"]
        return kept[0]

    model, keeper, trajectory = nn.Linear(1, 1), Keeper(), Trajectory()
    module = keeper._kept
    learned = tensor(keeper._kept).requires_grad
    for bound in (3.0, 1.0, 2.0):
        with torch.no_grad():
            tensor(keeper._kept).fill_(bound)
        trajectory.add(point(bound), model, [keeper])
    trajectory.select(model, [keeper])
    assert tensor(keeper._kept).item() == 1.0
    assert type(keeper._kept) is type(make())
    assert tensor(keeper._kept).requires_grad == learned
    assert keeper._kept is module or not isinstance(module, nn.Module)


def test_whatever_a_model_and_a_method_hold_follows_the_selected_point():
    class Keeper(Method):
        name = "keeper"

        _seen: list = PrivateAttr(default_factory=list)
        _mean: object = PrivateAttr(default_factory=lambda: torch.zeros(2))
        _table: object = PrivateAttr(default_factory=lambda: np.zeros(2))

    vae, keeper, trajectory = tiny.vae("mlp"), Keeper(), Trajectory()
    vae.encoder.register_buffer("loose", torch.zeros(2), persistent=False)
    weight = next(vae.parameters())
    kept = []
    for bound in (3.0, 1.0, 2.0):
        with torch.no_grad():
            weight.add_(1)
            vae.encoder.loose += 1
        keeper._seen.append(bound)
        keeper._mean += 1
        keeper._table += 1
        kept.append(weight.detach().clone())
        trajectory.add(point(bound), vae, [keeper])
    points = trajectory.select(vae, [keeper])
    assert [each.selected for each in points] == [False, True, False]
    assert torch.equal(weight, kept[1])
    assert vae.encoder.loose.tolist() == keeper._mean.tolist() == keeper._table.tolist() == [2.0, 2.0]
    assert keeper._seen == [3.0, 1.0]
    load_model(vae, model_state(vae))
    assert vae.encoder.loose.tolist() == [2.0, 2.0]
