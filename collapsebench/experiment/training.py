"""The only training loop: metered steps, scheduled evaluations, and the selection of the parameters to test."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from collapsebench.components.composition import place_in_method
from collapsebench.components.interfaces import Decoder
from collapsebench.errors import DivergedError, unexpected
from collapsebench.estimates import Estimate
from collapsebench.experiment.assembly import learning_rate_at, objective_at
from collapsebench.experiment.keeping import load_model, load_private, model_state, private_state
from collapsebench.experiment.meter import Meter
from collapsebench.guards.gradients import check_backward, check_gradients, check_terms
from collapsebench.guards.traces import without_trace
from collapsebench.metrics import TRACKED
from collapsebench.metrics.evaluation import EvaluatedSplit
from collapsebench.model.kernels.optimizers import SGD, Adam
from collapsebench.model.progress import Progress
from collapsebench.model.seeding import Purpose, derive, own_generators, run_noise, seed_torch
from collapsebench.model.vae import VAE, Terms
from collapsebench.record import Number, Point
from collapsebench.spec import Unit

if TYPE_CHECKING:
    from types import ModuleType

    import pluggy
    from numpy.typing import NDArray

    from collapsebench.components.interfaces import Component, Inference, Method
    from collapsebench.examples import Batch, Splits
    from collapsebench.model.kernels.optimizers import FirstOrder
    from collapsebench.spec import Budget, Decay, Optimizer, Setting


READ_EVERY = 64
"""Where a device computes behind the process, the numbers of so many steps are read together."""


class Watcher(Protocol):
    """Follows a run while it trains, and keeps its state now and then. Its time is not on the clock."""

    def stepped(self, meter: Meter, terms: Terms) -> bool:
        """Take note of a step. Return whether the state is to be kept before the next one."""

    def evaluated(self, point: Point) -> None:
        """Take note of a scheduled evaluation."""

    def keep(self, state: dict[str, Any]) -> None:
        """Keep a `TrainingState.state`: it comes where `stepped` asked for it, after evaluations, and at the end."""


def _cannot_rebuild() -> VAE:
    raise NotImplementedError("this setup does not say how its model is built")


@dataclass(frozen=True)
class TrainingSetup:
    """Everything that a run trains with, none of which changes but the parameters of the model."""

    vae: VAE
    methods: tuple[Method, ...]
    hooks: pluggy.HookRelay
    inference: Inference
    splits: Splits
    setting: Setting
    budget: Budget
    seed: int
    device: torch.device
    rows: int = Decoder.rows
    """The most rows in a call of the decoder by a metric."""
    rebuild: Callable[[], VAE] = _cannot_rebuild
    """Returns the model anew, as it was before the first step, for methods that reset a part of it."""
    building_flops: int = 0
    """The FLOPs of building the model."""
    plugin_modules: Callable[[], Iterable[ModuleType]] = tuple
    """Returns the imported modules of plugins, which may keep something in their globals."""

    @property
    def keepers(self) -> tuple[Component, ...]:
        """The methods and the inference strategy, which may keep something in private attributes; each once."""
        parts: tuple[Component, ...] = (*self.methods, self.inference)
        return tuple({id(component): component for component in parts}.values())


class RunningMean:
    """The mean of the values that were added since it was last taken."""

    def __init__(self) -> None:
        self.sum, self.count = 0.0, 0

    def add(self, value: float) -> None:
        """Add one value."""
        self.sum, self.count = self.sum + value, self.count + 1

    def take(self) -> float:
        """Return the mean, NaN if nothing was added, and start anew."""
        mean = self.sum / self.count if self.count else math.nan
        self.sum, self.count = 0.0, 0
        return mean


class Unread:
    """The losses and the gradient norms of the last steps, on a device that may not have computed them yet.

    Reading a number waits for the device, so that the numbers of many steps are read together.
    """

    def __init__(self) -> None:
        self._numbers: list[Tensor] = []

    @property
    def full(self) -> bool:
        """True if the numbers of `READ_EVERY` steps wait."""
        return len(self._numbers) >= 2 * READ_EVERY

    def add(self, loss: Tensor, norm: Tensor) -> None:
        """Keep the numbers of one step."""
        self._numbers += (loss.detach(), norm)

    def take(self) -> list[tuple[float, float]]:
        """Wait for the device. Return loss and norm of each step since the last call."""
        if not self._numbers:
            return []
        read = torch.stack(self._numbers).to("cpu", torch.float64).tolist()
        self._numbers = []
        return list(zip(read[::2], read[1::2], strict=True))


class Schedule:
    """Says when the validation split is evaluated: each time that a fixed amount of one unit is spent."""

    def __init__(self, every: Budget) -> None:
        self._every, self.done = every, 1

    def due(self, meter: Meter) -> bool:
        """Return whether the next evaluation is reached. A long step may pass several: they count as one."""
        reached = meter.spent(self._every.unit) / self._every.amount + 1e-9
        if reached < self.done:
            return False
        self.done = math.floor(reached) + 1
        return True


class Plateau:
    """Lowers the learning rate when the validation bound stops improving (see `spec.Decay`)."""

    def __init__(self, decay: Decay | None, optimizer: FirstOrder) -> None:
        self._decay, self._optimizer, self.latched = decay, optimizer, False

    def stops(self, improved: bool, meter: Meter) -> bool:
        """Lower the rate if it is time to. Return whether it has fallen so low that training ends."""
        decay = self._decay
        if decay is None or meter.spent(Unit.EPOCHS) < decay.after:
            return False
        self.latched = decay.latched and (self.latched or not improved)
        if self.latched or not improved:
            self._optimizer.learning_rate *= decay.factor
        return self._optimizer.learning_rate < decay.stop_below


@dataclass
class Trajectory:
    """The points so far, and the parameters at the best of them: that with the lowest validation -ELBO at weight 1."""

    points: list[Point] = field(default_factory=list)
    best: float = math.inf
    chosen: int | None = None
    parameters: dict[str, Tensor] = field(default_factory=dict)
    private: list[dict[str, Any]] = field(default_factory=list)
    """What the methods kept in private attributes at the best point."""
    newest: Mapping[str, float] = field(default_factory=dict)
    """The values of the last point, which methods may read in every step."""

    def add(self, point: Point, vae: VAE, keepers: Sequence[Component] = ()) -> bool:
        """Keep a point. If it is the best so far, keep the parameters and the state of methods, and return True."""
        self._append(point)
        bound = float(point.values["neg_elbo"])
        improved = bound < self.best
        if improved:
            self.best, self.chosen = bound, len(self.points) - 1
            self.parameters = {name: tensor.detach().clone() for name, tensor in model_state(vae).items()}
            self.private = private_state(keepers)
        return improved

    def select(self, vae: VAE, keepers: Sequence[Component] = ()) -> tuple[Point, ...]:
        """Load what was kept at the best point; return all points, with the best one marked."""
        if self.chosen is not None:
            load_model(vae, self.parameters)
            load_private(keepers, self.private)
        return tuple(
            point.model_copy(update={"selected": index == self.chosen}) for index, point in enumerate(self.points)
        )

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of it."""
        points = [point.model_dump_json() for point in self.points]
        kept = {"parameters": self.parameters, "private": self.private}
        return {"points": points, "best": self.best, "chosen": self.chosen, **kept}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.points = []
        for point in state["points"]:
            self._append(Point.model_validate_json(point))
        self.best, self.chosen = state["best"], state["chosen"]
        self.parameters, self.private = state["parameters"], state["private"]

    def _append(self, point: Point) -> None:
        self.points.append(point)
        self.newest = MappingProxyType({name: float(number) for name, number in point.values.items()})


@dataclass
class TrainingState:
    """Everything that changes while a run trains. A run that loads it goes on as if it had never stopped.

    Random draws need no state: noise follows from seed, purpose and step, and the order of the data from seed and
    epoch. A method may keep something between steps in its modules, whose parameters and buffers are those of the
    model, or in its pydantic private attributes (tensors, numbers, text, and lists, tuples, dicts and sets of them).
    """

    vae: VAE
    keepers: tuple[Component, ...]
    """The methods, and the inference strategy: what may keep something in private attributes."""
    optimizer: FirstOrder
    meter: Meter
    schedule: Schedule
    plateau: Plateau
    losses: RunningMean = field(default_factory=RunningMean)
    kl_weight: float = math.nan
    """The weight of the KL term at the last step."""
    trajectory: Trajectory = field(default_factory=Trajectory)
    epoch: int = 0
    batch: int = 0
    """The number of batches of the epoch that are done."""
    trained: bool = False
    """True when training is over and only the metrics are missing."""
    idle: set[str] = field(default_factory=set)
    """The names of the parameters that have never had a gradient at an evaluation or the first step."""
    unread: Unread | None = None
    """The numbers of steps that nobody has looked at. None on the CPU, where reading them costs nothing."""

    @classmethod
    def start(cls, setup: TrainingSetup) -> TrainingState:
        """Return the state before the first step."""
        optimizer = make_optimizer(setup.setting.optimizer, setup.vae)
        return cls(
            vae=setup.vae,
            keepers=setup.keepers,
            optimizer=optimizer,
            meter=Meter(setup.budget, len(setup.splits.train), setup.device),
            schedule=Schedule(setup.setting.evaluation.every),
            plateau=Plateau(setup.setting.optimizer.decay, optimizer),
            idle={name for name, parameter in setup.vae.named_parameters() if parameter.requires_grad},
            unread=None if setup.device.type == "cpu" else Unread(),
        )

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: tensors and plain values."""
        return {
            "vae": model_state(self.vae),
            "methods": private_state(self.keepers),
            "optimizer": self.optimizer.state(),
            "meter": self.meter.state(),
            "schedule": self.schedule.done,
            "plateau": self.plateau.latched,
            "losses": (self.losses.sum, self.losses.count),
            "kl_weight": self.kl_weight,
            "trajectory": self.trajectory.state(),
            "position": (self.epoch, self.batch, self.trained),
            "idle": sorted(self.idle),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned. Raises KeyError, ValueError or RuntimeError if it is of another model."""
        load_model(self.vae, state["vae"])
        load_private(self.keepers, state["methods"])
        self.optimizer.load(state["optimizer"])
        self.meter.load(state["meter"])
        self.schedule.done, self.plateau.latched = state["schedule"], state["plateau"]
        self.losses.sum, self.losses.count = state["losses"]
        self.kl_weight = state["kl_weight"]
        self.trajectory.load(state["trajectory"])
        self.epoch, self.batch, self.trained = state["position"]
        self.idle = set(state["idle"])

    def progress(self) -> Progress:
        """Return what a method may know: how much of the budget is spent, and the newest scheduled evaluation."""
        spent = self.meter.progress()
        return Progress(spent.fraction, spent.step, self.trajectory.newest, len(self.trajectory.points))

    def settle(self) -> None:
        """Wait for the device, stop the clock, and look at the numbers of the steps since the last time.

        Raises DivergedError, which names the first step that is not finite.
        """
        self.meter.rest()
        read = [] if self.unread is None else self.unread.take()
        for number, (loss, norm) in enumerate(read, self.meter.steps - len(read) + 1):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise diverged(number, loss, norm)
            self.losses.add(loss)

    def look_for_gradients(self) -> None:
        """Take note of the parameters that have a gradient."""
        if self.idle:
            self.idle -= {name for name, parameter in self.vae.named_parameters() if parameter.grad is not None}


def train(setup: TrainingSetup, state: TrainingState, watcher: Watcher) -> None:
    """Spend what is left of the budget. Every scheduled evaluation, and the end, is a point of the trajectory.

    Raises DivergedError, which names the step, if the loss, its gradient or the validation bound is not finite.
    """
    if not state.trained:
        with own_generators(setup.device):
            _spend(setup, state, watcher)
        state.trained = True
        watcher.keep(state.state())


def _spend(setup: TrainingSetup, state: TrainingState, watcher: Watcher) -> None:
    keep = False
    for batch in _batches(setup, state):
        if not state.meter.affords(batch.x.shape):
            break
        if state.schedule.due(state.meter):
            if state.plateau.stops(_evaluate(setup, state, watcher), state.meter):
                return
            keep = True
        if keep:
            state.settle()
            watcher.keep(state.state())
        keep = watcher.stepped(state.meter, step(setup, state, batch))
    _evaluate(setup, state, watcher)


def step(setup: TrainingSetup, state: TrainingState, batch: Batch) -> Terms:
    """Do one metered optimizer step on the contender's objective.

    Raises DivergedError if it is not finite. On another device than the CPU this is known up to `READ_EVERY` steps
    later, and before anything is evaluated or kept; the error names the same step.
    """
    terms = state.meter.step(setup.vae, batch.x.shape, _update, setup, state, batch)
    if state.unread is not None and state.unread.full:
        state.settle()
    return terms


def _update(setup: TrainingSetup, state: TrainingState, batch: Batch) -> Terms:
    if not setup.vae.training:  # going through all modules takes as long as a small product
        setup.vae.train()
    progress = state.progress()
    seed_torch(setup.seed, Purpose.TRAINING, progress.step)
    _reset(setup, state, progress)
    objective = objective_at(setup.hooks, progress, run_noise(setup.seed, Purpose.TRAINING, progress.step))
    state.optimizer.zero_grad()
    x = torch.from_numpy(batch.x) if state.unread is None else moved(batch.x, setup.device)
    terms = setup.inference.gradients(setup.vae, x, objective)
    check_terms(terms, setup.inference)
    if progress.step == 0:
        check_gradients(setup.vae, setup.inference)
        state.look_for_gradients()
    norm = torch.nn.utils.clip_grad_norm_(setup.vae.parameters(), setup.setting.optimizer.clip)
    if state.unread is None:
        loss, size = float(terms.loss), float(norm)
        if not size:
            check_backward(setup.vae, setup.inference)
        if not (math.isfinite(loss) and math.isfinite(size)):
            raise diverged(progress.step + 1, loss, size)
        state.losses.add(loss)
    else:
        check_backward(setup.vae, setup.inference)
        state.unread.add(terms.loss, norm)
    _leave_alone(setup, progress)
    _move(setup, state.optimizer, progress)
    state.kl_weight = float(terms.kl_weight)
    setup.hooks.after_step(vae=setup.vae, x=x, terms=terms, progress=progress)
    return terms


def _reset(setup: TrainingSetup, state: TrainingState, progress: Progress) -> None:
    """Draw the modules again that methods reset in this step, and forget their moments.

    Raises PluginError if a method names something else than modules of the model.
    """
    chosen = [module for found in setup.hooks.modules_to_reset(vae=setup.vae, progress=progress) for module in found]
    if not chosen:
        return
    first = setup.rebuild()
    for name in _names_of(chosen, setup.vae, setup.hooks.modules_to_reset):
        module = setup.vae.get_submodule(name)
        load_model(module, model_state(first.get_submodule(name)))
        state.optimizer.forget(module.parameters())


def _names_of(modules: Iterable[nn.Module], vae: VAE, caller: pluggy.HookCaller) -> list[str]:
    """Return the names of modules of the model. Raises PluginError if one is of another model."""
    known = {module: name for name, module in vae.named_modules()}
    found = list(modules)
    foreign = [each for each in found if each not in known]
    if foreign:
        where = place_in_method(*caller.get_hookimpls())
        raise unexpected(where, type(foreign[0]).__name__, "modules of the model")
    return [known[each] for each in found]


def _leave_alone(setup: TrainingSetup, progress: Progress) -> None:
    """Take the gradients away from the parameters that a method does not update in this step.

    Raises PluginError if it names something else than modules of the model.
    """
    if not setup.hooks.modules_to_update.get_hookimpls():
        return
    chosen = setup.hooks.modules_to_update(vae=setup.vae, progress=progress)
    if chosen is None:
        return
    found = _names_of(chosen, setup.vae, setup.hooks.modules_to_update)
    updated = {parameter for name in found for parameter in setup.vae.get_submodule(name).parameters()}
    for parameter in set(setup.vae.parameters()) - updated:
        parameter.grad = None


def _move(setup: TrainingSetup, optimizer: FirstOrder, progress: Progress) -> None:
    """Update the parameters, at the rate of the track times the factors of methods. The optimizer keeps its rate."""
    rate = optimizer.learning_rate
    optimizer.learning_rate = rate * learning_rate_at(setup.hooks, progress)
    optimizer.step()
    optimizer.learning_rate = rate


def diverged(step: int, loss: float, norm: float) -> DivergedError:
    """Return the error that names the step whose loss or gradient norm is not finite."""
    return DivergedError(f"step {step}: loss {loss}, gradient norm {norm}")


def moved(x: NDArray[np.generic], device: torch.device) -> Tensor:
    """Return examples on the device. A copy to a GPU starts from pinned memory, so that nobody waits for its end."""
    examples = torch.from_numpy(x)
    if device.type == "cuda":
        return examples.pin_memory().to(device, non_blocking=True)
    return examples.to(device)


def check_trained(setup: TrainingSetup, state: TrainingState) -> None:
    """Raise ValueError if a loaded state says that training is over while there is budget left for its next step."""
    decay = setup.setting.optimizer.decay
    stopped = decay is not None and state.optimizer.learning_rate < decay.stop_below
    if state.trained and not stopped and state.meter.affords(next(_batches(setup, state)).x.shape):
        raise ValueError(f"says that training is over after {state.meter.steps} steps, below the budget")


def _batches(setup: TrainingSetup, state: TrainingState) -> Iterator[Batch]:
    """Yield training batches for ever. They begin at the position of the state, which is moved on behind each batch.

    Every epoch has an order of its own, which depends on seed and epoch alone.
    """
    while True:
        order = setup.splits.train.batches(setup.setting.batch_size, derive(setup.seed, Purpose.DATA, state.epoch))
        for batch in islice(order, state.batch, None):
            yield batch
            state.batch += 1
        state.epoch, state.batch = state.epoch + 1, 0


def _evaluate(setup: TrainingSetup, state: TrainingState, watcher: Watcher) -> bool:
    """Add a point on the validation split, off the clock. Return whether it is the best so far."""
    valid = EvaluatedSplit(
        vae=setup.vae,
        inference=setup.inference,
        split=setup.splits.valid,
        noise=run_noise(setup.seed, Purpose.EVALUATION, "valid"),
        batch_size=setup.setting.batch_size,
        device=setup.device,
    )
    state.settle()
    state.look_for_gradients()
    seed_torch(setup.seed, Purpose.EVALUATION, "valid", state.meter.steps)
    with without_trace(setup.vae, setup.keepers, setup.plugin_modules()):
        measured = {"neg_elbo": valid.neg_elbo, "kl": valid.kl_mean, "loss": state.losses.take()}
        for metric in TRACKED:
            found = metric.evaluate(valid)
            shown = {column.name: found[column.name] for column in metric.columns}
            measured |= {name: each.value for name, each in shown.items() if isinstance(each, Estimate)}
    measured["kl_weight"] = state.kl_weight
    values = {name: Number.of(value) for name, value in measured.items()}
    point = Point(counters=state.meter.counters(), values=values)
    improved = state.trajectory.add(point, setup.vae, setup.keepers)
    watcher.evaluated(point)
    if not math.isfinite(measured["neg_elbo"]):
        raise DivergedError(f"step {state.meter.steps}: validation -ELBO {measured['neg_elbo']}")
    return improved


def make_optimizer(chosen: Optimizer, vae: VAE) -> FirstOrder:
    """Return SGD or Adam for all parameters."""
    kind = SGD if chosen.name == "sgd" else Adam
    return kind(vae.parameters(), chosen.learning_rate)
