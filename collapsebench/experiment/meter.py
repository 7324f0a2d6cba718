"""The meter: what a run has spent. Counted by the harness, never reported by a method."""

from __future__ import annotations

import time
from functools import partial
from operator import add
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from collapsebench.components.hookspecs import Progress
from collapsebench.errors import UsageError
from collapsebench.spec import Unit

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from collapsebench.experiment.flops import Shape, Spent
    from collapsebench.model.vae import VAE
    from collapsebench.spec import Budget

P = ParamSpec("P")
T = TypeVar("T")

PASSES = ("encoder_evaluations", "decoder_evaluations", "decoder_gradients")
"""The counters of network passes."""

COUNTERS = (*Unit, *PASSES)
"""Every counter, as trajectories and leaderboards name them."""

AUDIT = 64
"""Of so many steps whose costs are known, the passes of one are counted all the same."""

ROUNDING = 1 + 1e-12
"""An epoch's cost is a quotient: a sum of them may exceed the budget by rounding alone."""


class Meter:
    """Counts steps, epochs, examples, seconds, FLOPs, and the forward and backward passes of the networks.

    Evaluations are counted per example and sample, in inner loops as anywhere else: `encoder_evaluations` and
    `decoder_evaluations` are forward passes, `decoder_gradients` backward passes through the decoder, the double
    backward of a Hessian-vector product included. The first step on a batch shape is counted as it runs; what others
    with the same forward passes spend follows from it (flops.StepCosts). Nothing is counted and no time passes outside
    of a step.
    """

    def __init__(
        self,
        budget: Budget,
        train_examples: int,
        device: torch.device | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        from collapsebench.experiment.flops import Spent, StepCosts

        self._budget, self._train_examples, self._clock = budget, train_examples, clock
        self._wait = _waiting_for(device)
        self._steps = self._examples = 0
        self._spent: tuple[int, ...] = (0,) * len(Spent._fields)
        self._costs = StepCosts()
        self._seconds = 0.0
        self._started: float | None = None

    @property
    def seconds(self) -> float:
        """Seconds on the clock."""
        since = 0.0 if self._started is None else self._clock() - self._started
        return self._seconds + since

    @property
    def steps(self) -> int:
        """Optimizer steps done."""
        return self._steps

    def counters(self) -> dict[str, float]:
        """Every counter, whatever the budget's unit is."""
        counts = {name: float(count) for name, count in self._counts().items()}
        return counts | {"epochs": self.spent(Unit.EPOCHS), "seconds": self.seconds}

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of the meter."""
        return {"counts": self._counts(), "seconds": self.seconds, "costs": self._costs.state()}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._steps, self._examples, *spent = (state["counts"][name] for name in self._counts())
        self._spent, self._seconds = tuple(spent), state["seconds"]
        self._costs.load(state["costs"])

    def spent(self, unit: Unit) -> float:
        """How much of one unit is spent; an epoch is as many examples as the training split has."""
        amount = _amount(unit, self._steps, self._examples, self._train_examples)
        if amount is None:
            return self.seconds if unit is Unit.SECONDS else self._spent[-1]
        return amount

    def progress(self) -> Progress:
        """What a method may know: the share of the budget that is spent, and the steps."""
        return Progress(min(1.0, self.spent(self._budget.unit) / self._budget.amount), self._steps)

    def affords(self, shape: Shape) -> bool:
        """Whether one more step fits into the budget, on a batch of this shape, examples first.

        What it costs is not known in seconds, nor in FLOPs before the shape's first step: then something must be left.
        """
        budget = self._budget
        after = _amount(budget.unit, self._steps + 1, self._examples + shape[0], self._train_examples)
        if after is None and budget.unit is Unit.FLOPS and (expected := self._costs.of(shape)):
            after = self._spent[-1] + expected.flops
        return self.spent(budget.unit) < budget.amount if after is None else after <= budget.amount * ROUNDING

    def step(self, vae: VAE, shape: Shape, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do one optimizer step on a batch of this shape, examples first: the clock runs and everything is counted.

        Waits for the device at both ends. A step that raises takes its time, and is not counted otherwise.
        """
        expected = self._costs.of(shape)
        if self._wait:
            self._wait()
        self._started = self._clock()
        try:
            if expected is None:
                result, spent = self._counted(vae, shape, partial(work, *args, **kwargs))
            elif not self._steps % AUDIT:
                result, spent = self._audited(vae, expected, partial(work, *args, **kwargs))
            else:  # the step is recognized by the forward passes that the model sees
                seen = vae.passes
                encoded, decoded = seen.encoder, seen.decoder
                result = work(*args, **kwargs)
                forward = seen.encoder - encoded, seen.decoder - decoded
                spent = expected if forward == expected[:2] else self._costs.surprised(expected, forward)
        finally:
            if self._wait:
                self._wait()
            self._seconds += self._clock() - self._started
            self._started = None
        self._steps += 1
        self._examples += shape[0]
        self._spent = tuple(map(add, self._spent, spent))
        return result

    def _counted(self, vae: VAE, shape: Shape, work: Callable[[], T]) -> tuple[T, Spent]:
        """Count a step as it runs, for those that come after it."""
        from collapsebench.experiment.flops import FlopCounter, PassCounter

        seen = vae.passes
        encoded, decoded = seen.encoder, seen.decoder
        with PassCounter(vae) as passes, FlopCounter() as flops:
            result = work()
        spent = passes.spent(flops.flops)
        self._costs.learn(shape, spent, (seen.encoder - encoded, seen.decoder - decoded))
        return result, spent

    def _audited(self, vae: VAE, expected: Spent, work: Callable[[], T]) -> tuple[T, Spent]:
        """Count the passes of a step whose costs are known, those past the model and backward ones included."""
        from collapsebench.experiment.flops import PassCounter

        with PassCounter(vae) as passes:
            result = work()
        spent = passes.spent(expected.flops)
        if spent != expected:
            spent = spent._replace(flops=self._costs.surprised(expected, spent[:2]).flops)
        return result, spent

    def _counts(self) -> dict[str, int]:
        names = "steps", "examples", *PASSES, "flops"
        return dict(zip(names, (self._steps, self._examples, *self._spent), strict=True))


def _waiting_for(device: torch.device | None) -> Callable[[], None] | None:
    """What waits until the device has done all that it was asked to, None if it never lags behind."""
    if device is None or device.type != "cuda":
        return None
    import torch

    return partial(torch.cuda.synchronize, device)


def check_affordable(budget: Budget, batch_size: int, train_examples: int) -> None:
    """Raise UsageError if the budget is known to be smaller than one step."""
    examples = min(batch_size, train_examples)
    cost = _amount(budget.unit, 1, examples, train_examples)
    if cost is not None and cost > budget.amount * ROUNDING:
        raise UsageError(f"budget '{budget}' is smaller than one step ({examples} examples)")


def _amount(unit: Unit, steps: int, examples: int, train_examples: int) -> float | None:
    """So many steps on so many examples, in a unit that follows from them; None for seconds and FLOPs."""
    match unit:
        case Unit.STEPS:
            return steps
        case Unit.EPOCHS:
            return examples / train_examples
        case Unit.EXAMPLES:
            return examples
        case Unit.SECONDS | Unit.FLOPS:
            return None
