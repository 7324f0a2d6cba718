"""The meter counts what a run has spent. The harness counts; no method reports anything."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from operator import add
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import torch

from collapsebench.components.hookspecs import Progress
from collapsebench.experiment.counters import PASSES, ROUNDING, amount
from collapsebench.experiment.flops import CostTable, FlopCounter, PassCounter, StepCost
from collapsebench.spec import Unit

if TYPE_CHECKING:
    from collapsebench.experiment.extrapolation import Shape
    from collapsebench.model.vae import VAE
    from collapsebench.spec import Budget

P = ParamSpec("P")
T = TypeVar("T")

AUDIT = 64
"""One in this many steps with a known cost has its passes counted again, as an audit."""


class Meter:
    """Counts steps, epochs, examples, seconds, FLOPs, and the forward and backward passes of the networks.

    Passes are counted per example and sample, and those of inner loops count like all others. `encoder_evaluations` and
    `decoder_evaluations` are forward passes. `decoder_gradients` are backward passes through the decoder, the double
    backward of a Hessian-vector product included. The first step on a batch shape is counted while it runs, and its
    clock runs too; later steps with the same forward passes cost the same (`flops.CostTable`). Outside of a step,
    nothing is counted and no time passes.
    """

    def __init__(
        self,
        budget: Budget,
        train_examples: int,
        device: torch.device | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._budget, self._train_examples, self._clock = budget, train_examples, clock
        self._wait = _waiting_for(device)
        self._steps = self._examples = 0
        self._spent: tuple[int, ...] = (0,) * len(StepCost._fields)
        self._costs = CostTable()
        self._seconds = 0.0
        self._started: float | None = None

    @property
    def seconds(self) -> float:
        """The seconds that steps have taken so far."""
        since = 0.0 if self._started is None else self._clock() - self._started
        return self._seconds + since

    @property
    def steps(self) -> int:
        """The number of optimizer steps done."""
        return self._steps

    def counters(self) -> dict[str, float]:
        """Return every counter, whatever the budget's unit is."""
        counts = {name: float(count) for name, count in self._counts().items()}
        return counts | {"epochs": self.spent(Unit.EPOCHS), "seconds": self.seconds}

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of the meter."""
        return {"counts": self._counts(), "seconds": self.seconds, "costs": self._costs.state()}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._steps, self._examples, *spent = (state["counts"][name] for name in self._counts())
        self._spent, self._seconds = tuple(spent), state["seconds"]
        self._costs.load(state["costs"])

    def spent(self, unit: Unit) -> float:
        """Return how much of one unit is spent. An epoch is as many examples as the training split has."""
        done = amount(unit, self._steps, self._examples, self._train_examples)
        if done is None:
            return self.seconds if unit is Unit.SECONDS else self._spent[-1]
        return done

    def progress(self) -> Progress:
        """Return what a method may know: the share of the budget that is spent, and the steps done."""
        return Progress(min(1.0, self.spent(self._budget.unit) / self._budget.amount), self._steps)

    def affords(self, shape: Shape) -> bool:
        """Return whether one more step on a batch of this shape (examples first) fits into the budget.

        The cost of a step in seconds is unknown, and so is its cost in FLOPs if it does not follow from counted steps.
        Such a step fits as long as anything is left.
        """
        budget = self._budget
        after = amount(budget.unit, self._steps + 1, self._examples + shape[0], self._train_examples)
        if after is None and budget.unit is Unit.FLOPS and (expected := self._costs.of(shape)):
            after = self._spent[-1] + expected.flops
        return self.spent(budget.unit) < budget.amount if after is None else after <= budget.amount * ROUNDING

    def step(self, vae: VAE, shape: Shape, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do one optimizer step on a batch of this shape (examples first); the clock runs and everything is counted.

        The meter waits for the device before and after. If the step raises, its seconds count and nothing else does.
        """
        expected = self._costs.of(shape)
        if self._wait:
            self._wait()
        self._started = self._clock()
        try:
            if expected is None:
                result, cost = self._counted(vae, shape, partial(work, *args, **kwargs))
            elif not self._steps % AUDIT:
                result, cost = self._audited(vae, expected, partial(work, *args, **kwargs))
            else:  # the step is recognized by the forward passes that the model sees
                seen = vae.passes
                encoded, decoded = seen.encoder, seen.decoder
                result = work(*args, **kwargs)
                forward = seen.encoder - encoded, seen.decoder - decoded
                cost = expected if forward == expected[:2] else self._costs.surprised(expected, forward)
        finally:
            if self._wait:
                self._wait()
            self._seconds += self._clock() - self._started
            self._started = None
        self._steps += 1
        self._examples += shape[0]
        self._spent = tuple(map(add, self._spent, cost))
        return result

    def _counted(self, vae: VAE, shape: Shape, work: Callable[[], T]) -> tuple[T, StepCost]:
        """Count a step while it runs, and keep its cost for later steps."""
        seen = vae.passes
        encoded, decoded = seen.encoder, seen.decoder
        with PassCounter(vae) as passes, FlopCounter() as flops:
            result = work()
        cost = passes.cost(flops.flops)
        self._costs.learn(shape, cost, (seen.encoder - encoded, seen.decoder - decoded))
        return result, cost

    def _audited(self, vae: VAE, expected: StepCost, work: Callable[[], T]) -> tuple[T, StepCost]:
        """Count all passes of a step whose cost is known: backward passes, and those that the model does not see."""
        with PassCounter(vae) as passes:
            result = work()
        cost = passes.cost(expected.flops)
        if cost != expected:
            cost = cost._replace(flops=self._costs.surprised(expected, cost[:2]).flops)
        return result, cost

    def _counts(self) -> dict[str, int]:
        names = "steps", "examples", *PASSES, "flops"
        return dict(zip(names, (self._steps, self._examples, *self._spent), strict=True))


def _waiting_for(device: torch.device | None) -> Callable[[], None] | None:
    """Return a function that waits until the device is done, or None for a device that never lags behind."""
    if device is None or device.type != "cuda":
        return None
    return partial(torch.cuda.synchronize, device)
