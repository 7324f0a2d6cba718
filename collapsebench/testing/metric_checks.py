"""What every metric must do, whatever it measures."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import torch

from collapsebench.components.discovery import load
from collapsebench.errors import error_line
from collapsebench.estimates import Declined, Estimate
from collapsebench.experiment.training import TrainingState, train
from collapsebench.guards.traces import digest, without_trace
from collapsebench.metrics.evaluation import EvaluatedSplit, Provenance
from collapsebench.metrics.metric import Metric
from collapsebench.model.seeding import Purpose, own_generators, run_noise, seed_torch
from collapsebench.testing.checks import CheckError, described, expect
from collapsebench.testing.subjects import DATA, Subject
from collapsebench.testing.tiny import BATCH, SEED, Model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collapsebench.components.interfaces import Method
    from collapsebench.experiment.training import TrainingSetup
    from collapsebench.record import Point

UNCONDITIONAL = "no-latent"
"""The shipped contender that has no latent unit and no encoder."""


def metric_described(subject: Subject) -> None:
    """Name, docstring, every field and every column say what they are."""
    described(subject)
    metric = _metric(subject)
    bare = [column.name for column in metric.columns if not column.title.strip()]
    expect(not bare, f"column '{''.join(bare[:1])}' has no title")


def measures(subject: Subject) -> None:
    """It gives a number, or the reason why there is none, for its columns; also of a contender without latent units."""
    for each in map(TrainedContender.copied, _contenders()):
        try:
            found = each.measured(subject)
        except Exception as error:
            raise CheckError(f"of {each.title} it raises {error_line(error)}") from error
        for name, value in found.items():
            fine = isinstance(value, Declined) or (isinstance(value, Estimate) and not math.isnan(value.value))
            said = f"of {each.title} entry '{name}' is {value!r}: give Estimate(number), or Declined(reason)"
            expect(fine, said)


def shows_its_columns(subject: Subject) -> None:
    """Each column that it declares has a number for some tiny contender."""
    found = [(name, value) for each in _contenders() for name, value in each.copied().measured(subject).items()]
    given = {name for name, value in found if isinstance(value, Estimate)}
    missing = [column.name for column in _metric(subject).columns if column.name not in given]
    expect(not missing, f"column '{''.join(missing[:1])}' is declared, but evaluate() gives {', '.join(sorted(given))}")


def measures_the_same(subject: Subject) -> None:
    """The same contender gives the same numbers, whatever else was measured before."""
    for each in _contenders():
        first, again = each.copied().measured(subject), each.copied().measured(subject, after_others=True)
        other = [name for name in first.keys() | again.keys() if digest(first.get(name)) != digest(again.get(name))]
        expect(
            not other, f"of {each.title} '{min(other, default='')}' differs the second time: draw from `split.noise`"
        )


def metric_leaves_no_trace(subject: Subject) -> None:
    """To measure changes neither the model nor what methods keep."""
    for each in map(TrainedContender.copied, _contenders()):
        with own_generators(each.setup.device), without_trace(each.setup.vae, each.setup.keepers):
            each.measured(subject)


def _metric(subject: Subject) -> Metric:
    made = subject.make()
    if not isinstance(made, Metric):
        raise CheckError(f"{subject.title} is no Metric")
    return made


class Unwatched:
    """A watcher of a training that nobody watches."""

    def stepped(self, *_: object) -> bool:
        """Want nothing to be kept."""
        return False

    def evaluated(self, *_: object) -> None:
        """Say nothing."""

    def keep(self, *_: object) -> None:
        """Keep nothing."""


class TrainedContender(NamedTuple):
    """A tiny contender that can be measured."""

    title: str
    setup: TrainingSetup
    points: tuple[Point, ...]
    """Its trajectory."""

    def copied(self) -> TrainedContender:
        """Give the same contender with a model of its own, as a metric may change what it measures."""
        return self._replace(setup=replace(self.setup, vae=copy.deepcopy(self.setup.vae)))

    def measured(self, subject: Subject, *, after_others: bool = False) -> Mapping[str, Estimate | Declined]:
        """Measure it by the metric. The bound and the KL of `after_others` are measured before."""
        setup = self.setup
        seed_torch(SEED, Purpose.EVALUATION, "test")
        split = EvaluatedSplit(
            vae=setup.vae,
            inference=setup.inference,
            split=setup.splits.test,
            noise=run_noise(SEED, Purpose.EVALUATION, "test"),
            batch_size=BATCH,
            device=setup.device,
            provenance=Provenance(setup.splits.train, SEED, setup.rebuild, self.points),
        )
        if after_others:
            _ = split.neg_elbo, split.kl_mean
        return _metric(subject).evaluate(split)


@cache
def _contenders() -> tuple[TrainedContender, ...]:
    """Train a contender on every kind of data, and one without latent units on the first."""
    catalog = load(kinds={"method"})
    tried = [("vae", data) for data in DATA]
    tried += [(UNCONDITIONAL, next(iter(DATA)))] if UNCONDITIONAL in catalog.names("method") else []
    return tuple(_trained(name, tuple(catalog.contender(name)[1]), data) for name, data in tried)


def _trained(name: str, methods: tuple[Method, ...], data: str) -> TrainedContender:
    setup = Model(DATA[data], methods, dtype=torch.float32).setup()
    state = TrainingState.start(setup)
    train(setup, state, Unwatched())
    return TrainedContender(f"'{name}' on {data}", setup, tuple(state.trajectory.points))
