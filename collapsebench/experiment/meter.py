"""The meter counts what a run has spent. The harness counts; no method reports anything."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from operator import add
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import torch

from collapsebench.experiment.arrears import Arrears
from collapsebench.experiment.counters import PASSES, ROUNDING, amount
from collapsebench.experiment.flops import (
    CostTable,
    FlopCounter,
    PassCounter,
    StepCost,
    ThreadCounters,
    Trace,
    nodes_made,
)
from collapsebench.experiment.processor import ProcessorTime
from collapsebench.guards import audits, operations, overshoot
from collapsebench.model.progress import Progress
from collapsebench.spec import Unit

if TYPE_CHECKING:
    from collapsebench.experiment.extrapolation import Shape
    from collapsebench.experiment.flops import KnownStep
    from collapsebench.model.vae import VAE
    from collapsebench.record import Finding
    from collapsebench.spec import Budget

P = ParamSpec("P")
T = TypeVar("T")

RECENT = 101
"""The amounts of so many last steps are kept, to tell what a usual step is."""


class Meter:
    """Counts steps, epochs, examples, seconds, FLOPs, and the forward and backward passes of the networks.

    Passes are counted per example and sample, and those of inner loops count like all others. `encoder_evaluations` and
    `decoder_evaluations` are forward passes. `decoder_gradients` are backward passes through the decoder, the double
    backward of a Hessian-vector product included. The first step on a batch shape is counted while it runs, and its
    clock runs too; later steps with the same trace cost the same (`flops.CostTable`). Some of those, drawn by nobody's
    seed, are counted again as audits (`guards.audits`). Outside of a step, nothing is counted and no time passes.

    A GPU computes behind the process that gives it work, and a clock that does not wait for it is wrong. For a budget
    in seconds the meter waits at the beginning and the end of each step. For other budgets it waits only in `rest` and
    where the seconds are read: these are then the time of whole stretches of steps, with what lies between the steps
    (drawing a batch, reporting). They are never too few.
    """

    def __init__(
        self,
        budget: Budget,
        train_examples: int,
        device: torch.device | None = None,
        clock: Callable[[], float] = time.perf_counter,
        following: Callable[[int], int] = audits.following,
    ) -> None:
        self._budget, self._train_examples, self._clock = budget, train_examples, clock
        self._following, self._audit = following, following(0)
        self._timed = audits.timed_steps()
        self._wait = _waiting_for(device)
        self._stretched = self._wait is not None and budget.unit is not Unit.SECONDS
        self._steps = self._examples = 0
        self._spent: tuple[int, ...] = (0,) * len(StepCost._fields)
        self._costs, self._arrears, self._threads = CostTable(), Arrears(), ThreadCounters()
        self._processor = ProcessorTime(shared=torch.get_num_threads() > 1 or self._wait is not None)
        self._seconds = self._last = 0.0
        self._started: float | None = None
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._uncounted: set[str] = set()
        self._work: Finding | None = None

    @property
    def seconds(self) -> float:
        """The seconds that steps have taken so far. Within a stretch of steps, this waits for the device."""
        if self._started is None:
            return self._seconds
        if self._wait and self._stretched:
            self._wait()
        return self._seconds + (self._clock() - self._started)

    def rest(self) -> None:
        """Wait for the device, and stop the clock until the next step."""
        if self._started is not None:
            self._seconds, self._started = self.seconds, None

    @property
    def steps(self) -> int:
        """The number of optimizer steps done."""
        return self._steps

    def counters(self) -> dict[str, float]:
        """Return every counter, whatever the budget's unit is."""
        counts = {name: float(count) for name, count in self._counts().items()}
        return counts | {"epochs": self.spent(Unit.EPOCHS), "seconds": self.seconds}

    def findings(self) -> tuple[Finding, ...]:
        """Return what the guards say about the steps so far; nothing for an honest contender."""
        found = (
            self._work,
            audits.busy_threads(self._processor.elsewhere, self._processor.total),
            audits.slower_unaudited(self._processor.ratios),
            operations.named(self._uncounted | self._threads.uncounted()),
            overshoot.overshot(self._budget, self.spent(self._budget.unit), tuple(self._recent), self._idle),
        )
        return tuple(finding for finding in found if finding is not None)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of the meter."""
        return {
            "counts": self._counts(),
            "seconds": self.seconds,
            "costs": self._costs.state(),
            "arrears": self._arrears.state(),
            "processor": self._processor.state(),
            "recent": list(self._recent),
            "last": self._last,
            "uncounted": sorted(self._uncounted | self._threads.uncounted()),
            "work": None if self._work is None else self._work.text,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._steps, self._examples, *spent = (state["counts"][name] for name in self._counts())
        self._spent, self._seconds = tuple(spent), state["seconds"]
        self._costs.load(state["costs"])
        self._arrears.load(state["arrears"])
        self._processor.load(state["processor"])
        self._recent.extend(state["recent"])
        self._last, self._uncounted = state["last"], set(state["uncounted"])
        self._work = None if state["work"] is None else audits.work(state["work"])

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
        if after is None and budget.unit is Unit.FLOPS and (known := self._costs.of(shape)):
            after = self._spent[-1] + known.cost.flops
        return self.spent(budget.unit) < budget.amount if after is None else after <= budget.amount * ROUNDING

    def step(self, vae: VAE, shape: Shape, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do one optimizer step on a batch of this shape (examples first); the clock runs and everything is counted.

        If the step raises, its seconds count and nothing else does.
        Raises UsageError if it was the first one and the budget is smaller.
        """
        known = self._costs.of(shape)
        trusted = known if self._steps < self._audit else None
        passes = vae.passes
        encoded, decoded, nodes = passes.encoder, passes.decoder, nodes_made()
        self._start(trusted is None or self._timed[self._steps % len(self._timed)])
        try:
            with self._threads:
                if trusted is None:
                    result, counted = self._counted(vae, partial(work, *args, **kwargs))
                else:
                    result = work(*args, **kwargs)
        finally:
            self._stop()
        trace = Trace(passes.encoder - encoded, passes.decoder - decoded, nodes_made() - nodes)
        if trusted is None:
            cost = self._compared(shape, known, trace, counted)
        else:
            cost = self._recognized(shape, trusted, trace)
        if passes.set_back or vae.passes is not passes:
            self._costs.count_all()
            self._work = self._work or audits.counters_set_back(self._steps + 1)
        self._steps += 1
        self._examples += shape[0]
        self._spent = tuple(map(add, self._spent, cost))
        self._recent.append(cost.flops if self._budget.unit is Unit.FLOPS else self._last)
        if self._steps == 1:
            overshoot.check_first_step(self._budget, self.spent(self._budget.unit), self._idle)
        return result

    def _start(self, timed: bool) -> None:
        if self._started is None:  # else the stretch goes on
            if self._wait:
                self._wait()
            self._started = self._clock()
        if timed or self._budget.unit is Unit.SECONDS:
            self._processor.start(self._threads.seconds())

    def _stop(self) -> None:
        if self._wait and not self._stretched:
            self._wait()
        if self._processor.running:
            self._processor.stop(self._threads.seconds())
        if self._stretched:
            return
        self._last = self.seconds - self._seconds
        self._seconds, self._started = self._seconds + self._last, None

    @property
    def _idle(self) -> float:
        """The seconds of the last step in which this process did not use the processor."""
        return max(0.0, self._last - self._processor.last)

    def _counted(self, vae: VAE, work: Callable[[], T]) -> tuple[T, StepCost]:
        """Count a step while it runs, in this thread and in those that Python has started in steps."""
        before = self._threads.flops()
        with PassCounter(vae) as passes, FlopCounter() as flops:
            result = work()
        self._uncounted |= flops.uncounted
        return result, passes.cost(flops.flops + self._threads.flops() - before)

    def _recognized(self, shape: Shape, known: KnownStep, trace: Trace) -> StepCost:
        """Return the cost of a step that was not counted, as far as its trace tells it."""
        if known.differs(trace):
            self._costs.count_all()
            return self._arrears.estimate(shape, known, trace)
        if known.trace is None:
            self._costs.saw(shape, trace)
            self._arrears.unproven(shape, known.cost)
        self._arrears.add(shape)
        if self._timed[self._steps % len(self._timed)]:
            self._processor.uncounted(shape)
        return known.cost

    def _compared(self, shape: Shape, known: KnownStep | None, trace: Trace, counted: StepCost) -> StepCost:
        """Return what is due at a step that was counted: its cost, and charges for earlier steps that were not."""
        if known is None:
            self._costs.learn(shape, counted, trace)
            return counted.plus(self._arrears.estimated(shape, counted)) if self._costs.varies else counted
        self._audit = self._following(self._steps)
        self._processor.audited(shape)
        if counted == known.cost:
            self._arrears.agreed()
            return counted
        self._costs.count_all()
        if known.differs(trace):  # the step does something else, and earlier ones did not: their traces say so
            return counted
        if counted[:2] != trace[:2]:
            self._work = self._work or audits.passes_past_the_model(self._steps + 1, self._arrears.steps)
        return counted.plus(self._arrears.suspected(shape, known.cost, counted))

    def _counts(self) -> dict[str, int]:
        names = "steps", "examples", *PASSES, "flops"
        return dict(zip(names, (self._steps, self._examples, *self._spent), strict=True))


def _waiting_for(device: torch.device | None) -> Callable[[], None] | None:
    """Return a function that waits until the device is done, or None for a device that never lags behind."""
    match device:
        case torch.device(type="cuda"):
            return partial(torch.cuda.synchronize, device)
        case torch.device(type="xpu"):
            return partial(torch.xpu.synchronize, device)
        case torch.device(type="mps"):
            return torch.mps.synchronize
        case _:
            return None
