"""The meter: what a run has spent. Counted by the harness, never reported by a method."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from collapsebench.errors import UsageError
from collapsebench.hookspecs import Progress
from collapsebench.spec import Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    import torch
    from torch import Tensor, nn

    from collapsebench.flops import Shape
    from collapsebench.spec import Budget
    from collapsebench.vae import VAE

PASSES = ("encoder_evaluations", "decoder_evaluations", "decoder_gradients")
"""The counters of network passes."""

COUNTERS = (*Unit, *PASSES)
"""Every counter, as trajectories and leaderboards name them."""

ROUNDING = 1 + 1e-12
"""An epoch's cost is a quotient: a sum of them may exceed the budget by rounding alone."""


class Meter:
    """Counts steps, epochs, examples, seconds, FLOPs, and the forward and backward passes of the networks.

    Evaluations are counted per example and sample, in inner loops as anywhere else: `encoder_evaluations` and
    `decoder_evaluations` are forward passes, `decoder_gradients` backward passes through the decoder, the double
    backward of a Hessian-vector product included. Nothing is counted and no time passes outside of `running()`.
    """

    def __init__(self, budget: Budget, train_examples: int, clock: Callable[[], float] = time.perf_counter) -> None:
        from collapsebench.flops import StepCosts

        self._budget, self._train_examples, self._clock = budget, train_examples, clock
        self._counts: Counter[str] = Counter(dict.fromkeys(("steps", "examples", *PASSES, "flops"), 0))
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
        return self._counts["steps"]

    def counters(self) -> dict[str, float]:
        """Every counter, whatever the budget's unit is."""
        counts = {name: float(count) for name, count in self._counts.items()}
        return counts | {"epochs": self.spent(Unit.EPOCHS), "seconds": self.seconds}

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of the meter."""
        return {"counts": dict(self._counts), "seconds": self.seconds, "costs": self._costs.state()}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._counts, self._seconds = Counter(state["counts"]), state["seconds"]
        self._costs.load(state["costs"])

    def spent(self, unit: Unit) -> float:
        """How much of one unit is spent; an epoch is as many examples as the training split has."""
        match unit:
            case Unit.STEPS:
                return self._counts["steps"]
            case Unit.EPOCHS:
                return self._counts["examples"] / self._train_examples
            case Unit.EXAMPLES:
                return self._counts["examples"]
            case Unit.SECONDS:
                return self.seconds
            case Unit.FLOPS:
                return self._counts["flops"]

    def progress(self) -> Progress:
        """What a method may know: the share of the budget that is spent, and the steps."""
        return Progress(min(1.0, self.spent(self._budget.unit) / self._budget.amount), self.steps)

    def affords(self, shape: Shape) -> bool:
        """Whether one more step fits into the budget, on a batch of this shape, examples first.

        What it costs is not known in seconds, nor in FLOPs before the shape's first step: then something must be left.
        """
        unit, amount = self._budget.unit, self._budget.amount
        cost = self._costs.of(shape) if unit is Unit.FLOPS else _cost(unit, shape[0], self._train_examples)
        return self.spent(unit) < amount if cost is None else self.spent(unit) + cost <= amount * ROUNDING

    def step(self, examples: int) -> None:
        """Count one optimizer step on so many examples."""
        self._counts["steps"] += 1
        self._counts["examples"] += examples

    @contextmanager
    def running(self, device: torch.device) -> Iterator[None]:
        """Let the clock run and passes count; waits for the device at both ends."""
        _synchronize(device)
        self._started = self._clock()
        try:
            yield
        finally:
            _synchronize(device)
            self._seconds, self._started = self.seconds, None

    def working(self, shape: Shape) -> AbstractContextManager[None]:
        """Count the FLOPs of one step on a batch of this shape."""
        return self._costs.charging(shape, self._passes, lambda flops: self._count("flops", flops))

    @contextmanager
    def watching(self, vae: VAE) -> Iterator[None]:
        """Count the passes of this model's networks."""
        handles = [vae.decoder.register_forward_hook(self._saw_decoder)]
        if vae.encoder is not None:
            handles.append(vae.encoder.register_forward_hook(self._saw_encoder))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _passes(self) -> tuple[int, ...]:
        return tuple(self._counts[name] for name in PASSES)

    def _count(self, name: str, amount: int) -> None:
        if self._started is not None:
            self._counts[name] += amount

    def _saw_encoder(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        del module, inputs
        self._count("encoder_evaluations", len(output))

    def _saw_decoder(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        del module
        z, rows = inputs[1], output.numel()
        self._count("decoder_evaluations", rows)
        # A gradient, and the Hessian-vector product taken through it later, each reach z once.
        reached = z if z.requires_grad else output
        if reached.requires_grad:
            # The hook must not hold the output: through the graph that would be a cycle, and no step would be freed.
            reached.register_hook(lambda _: self._count("decoder_gradients", rows))


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)


def check_affordable(budget: Budget, batch_size: int, train_examples: int) -> None:
    """Raise UsageError if the budget is known to be smaller than one step."""
    examples = min(batch_size, train_examples)
    cost = _cost(budget.unit, examples, train_examples)
    if cost is not None and cost > budget.amount * ROUNDING:
        raise UsageError(f"budget '{budget}' is smaller than one step ({examples} examples)")


def _cost(unit: Unit, examples: int, train_examples: int) -> float | None:
    """What a step on so many examples costs, None where that is not known before it is done."""
    match unit:
        case Unit.STEPS:
            return 1
        case Unit.EPOCHS:
            return examples / train_examples
        case Unit.EXAMPLES:
            return examples
        case Unit.SECONDS | Unit.FLOPS:
            return None
