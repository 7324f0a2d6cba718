"""The only training loop: metered steps, scheduled validation, selection of the parameters to evaluate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from collapsebench.budget import Meter
from collapsebench.errors import DivergedError
from collapsebench.metrics.evaluation import EvaluatedSplit
from collapsebench.record import Number, Point
from collapsebench.seeding import Purpose, derive, run_noise
from collapsebench.spec import Unit
from collapsebench.vae import VAE, Terms, objective_at

if TYPE_CHECKING:
    import pluggy

    from collapsebench.components import Inference
    from collapsebench.examples import Batch, Splits
    from collapsebench.spec import Budget, Decay, Optimizer, Setting


class Watcher(Protocol):
    """Who looks on while a run trains, off the clock."""

    def stepped(self, meter: Meter, terms: Terms) -> None:
        """One step is done."""

    def evaluated(self, point: Point) -> None:
        """One scheduled evaluation is done."""


@dataclass(frozen=True)
class Job:
    """Everything a run trains with."""

    vae: VAE
    hooks: pluggy.HookRelay
    inference: Inference
    splits: Splits
    setting: Setting
    budget: Budget
    seed: int
    device: torch.device


@dataclass
class Trajectory:
    """The points so far, and the parameters at the best of them: lowest validation -ELBO at weight 1."""

    points: list[Point] = field(default_factory=list)
    best: float = math.inf
    chosen: int | None = None
    state: dict[str, Tensor] = field(default_factory=dict)

    def add(self, point: Point, vae: VAE) -> bool:
        """Keep a point; True, and its parameters are kept too, if it is the best so far."""
        self.points.append(point)
        bound = float(point.values["neg_elbo"])
        improved = bound < self.best
        if improved:
            self.best, self.chosen = bound, len(self.points) - 1
            self.state = {name: tensor.detach().clone() for name, tensor in vae.state_dict().items()}
        return improved

    def select(self, vae: VAE) -> tuple[Point, ...]:
        """Load the chosen parameters; all points, the chosen one marked."""
        if self.chosen is not None:
            vae.load_state_dict(self.state)
        return tuple(
            point.model_copy(update={"selected": index == self.chosen}) for index, point in enumerate(self.points)
        )


def train(job: Job, meter: Meter, trajectory: Trajectory, watcher: Watcher) -> None:
    """Spend the budget, adding a point to the trajectory at every scheduled evaluation and at the end.

    Raises DivergedError with the step if the loss, its gradient or the validation bound is not finite.
    """
    optimizer = make_optimizer(job.setting.optimizer, job.vae)
    schedule = Schedule(job.setting.evaluation.every)
    plateau = Plateau(job.setting.optimizer.decay, optimizer)
    losses = RunningMean()
    with meter.watching(job.vae):
        for batch in _batches(job):
            if not meter.affords(len(batch)):
                break
            if schedule.due(meter) and plateau.stops(_evaluate(job, meter, trajectory, losses, watcher), meter):
                return
            with meter.running(job.device):
                terms = step(job, meter, optimizer, batch)
            losses.add(float(terms.loss))
            watcher.stepped(meter, terms)
    _evaluate(job, meter, trajectory, losses, watcher)


def step(job: Job, meter: Meter, optimizer: torch.optim.Optimizer, batch: Batch) -> Terms:
    """One optimizer step on the contender's objective. Raises DivergedError if it is not finite."""
    job.vae.train()
    noise = run_noise(job.seed, Purpose.TRAINING, meter.steps)
    objective = objective_at(job.hooks, meter.progress(), noise)
    optimizer.zero_grad(set_to_none=True)
    terms = job.inference.gradients(job.vae, torch.from_numpy(batch.x).to(job.device), objective)
    norm = torch.nn.utils.clip_grad_norm_(job.vae.parameters(), job.setting.optimizer.clip)
    if not (math.isfinite(terms.loss) and math.isfinite(norm)):
        raise DivergedError(f"step {meter.steps + 1}: loss {float(terms.loss)}, gradient norm {float(norm)}")
    optimizer.step()
    meter.step(len(batch))
    return terms


def _batches(job: Job) -> Iterator[Batch]:
    """Training batches for ever; every epoch in an order of its own, which depends on seed and epoch alone."""
    for epoch in count():
        yield from job.splits.train.batches(job.setting.batch_size, derive(job.seed, Purpose.DATA, epoch))


def _evaluate(job: Job, meter: Meter, trajectory: Trajectory, losses: RunningMean, watcher: Watcher) -> bool:
    """Add a point on the validation split, off the clock; whether it is the best so far."""
    valid = EvaluatedSplit(
        vae=job.vae,
        inference=job.inference,
        split=job.splits.valid,
        noise=run_noise(job.seed, Purpose.EVALUATION, "valid"),
        batch_size=job.setting.batch_size,
        device=job.device,
    )
    measured = {"neg_elbo": valid.neg_elbo, "kl": valid.kl_mean, "loss": losses.take()}
    values = {name: Number.of(value) for name, value in measured.items()}
    point = Point(counters=meter.counters(), values=values)
    improved = trajectory.add(point, job.vae)
    watcher.evaluated(point)
    if not math.isfinite(measured["neg_elbo"]):
        raise DivergedError(f"step {meter.steps}: validation -ELBO {measured['neg_elbo']}")
    return improved


def make_optimizer(chosen: Optimizer, vae: VAE) -> torch.optim.Optimizer:
    """SGD or Adam over all parameters."""
    if chosen.name == "sgd":
        return torch.optim.SGD(vae.parameters(), lr=chosen.learning_rate)
    return torch.optim.Adam(vae.parameters(), lr=chosen.learning_rate)


class RunningMean:
    """The mean of what was added since it was last taken."""

    def __init__(self) -> None:
        self._sum, self._count = 0.0, 0

    def add(self, value: float) -> None:
        """Add one value."""
        self._sum, self._count = self._sum + value, self._count + 1

    def take(self) -> float:
        """The mean, NaN if nothing was added; starts anew."""
        mean = self._sum / self._count if self._count else math.nan
        self._sum, self._count = 0.0, 0
        return mean


class Schedule:
    """When the validation split is looked at: after every so much of one unit."""

    def __init__(self, every: Budget) -> None:
        self._every, self._done = every, 1

    def due(self, meter: Meter) -> bool:
        """Whether the next evaluation has been reached; a long step may pass several, which count as one."""
        reached = math.floor(meter.spent(self._every.unit) / self._every.amount + 1e-9)
        due = reached >= self._done
        self._done = max(self._done, reached + 1)
        return due


class Plateau:
    """Learning-rate decay by the validation bound (see spec.Decay)."""

    def __init__(self, decay: Decay | None, optimizer: torch.optim.Optimizer) -> None:
        self._decay, self._optimizer, self._latched = decay, optimizer, False

    def stops(self, improved: bool, meter: Meter) -> bool:
        """Decay if it is time to; whether the rate has fallen below the end of training."""
        decay = self._decay
        if decay is None or meter.spent(Unit.EPOCHS) < decay.after:
            return False
        self._latched = decay.latched and (self._latched or not improved)
        if self._latched or not improved:
            for group in self._optimizer.param_groups:
                group["lr"] *= decay.factor
        return bool(self._optimizer.param_groups[0]["lr"] < decay.stop_below)
