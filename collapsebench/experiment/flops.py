"""The FLOPs and the network passes of training steps, counted while a step runs.

What multiplies matrices or vectors counts, whoever calls for it (`formulas` says how much each operation costs).
Elementwise work and reductions do not count. What has no formula is named.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from operator import add
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _push_mode

from collapsebench.experiment.extrapolation import CostPolynomial, Shape
from collapsebench.experiment.formulas import treatment
from collapsebench.guards import operations

if TYPE_CHECKING:
    from torch import nn
    from torch.utils.hooks import RemovableHandle

    from collapsebench.model.vae import VAE


class StepCost(NamedTuple):
    """The cost of one step: passes through the networks, counted per example, and FLOPs.

    The fields have the names of the meter's counters.
    """

    encoder_evaluations: int
    decoder_evaluations: int
    decoder_gradients: int
    flops: int

    def plus(self, other: StepCost) -> StepCost:
        """Return the sum of two costs."""
        return StepCost(*map(add, self, other))


class Trace(NamedTuple):
    """What a step leaves behind without being counted: its forward passes through the model, and nodes of autograd.

    Two steps on equal shapes that differ in it do different things. The reverse does not hold, so that steps are
    audited all the same.
    """

    encoded: int
    decoded: int
    nodes: int

    @property
    def forward(self) -> int:
        """The forward passes of both networks."""
        return self.encoded + self.decoded


nodes_made: Callable[[], int] = torch._C._autograd._get_sequence_nr  # noqa: SLF001 - no public function gives it
"""Returns how many nodes of autograd this thread has made."""


class FlopCounter(TorchDispatchMode):
    """Counts the FLOPs of every operation in its block, backward and double backward included.

    `torch.utils.flop_counter.FlopCounterMode` counts the same, for the operations that it has formulas for. It also
    says where, and so takes three times as long.
    """

    supports_higher_order_operators = True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Let torch take `__torch_dispatch__` as it is: to hide it from its compiler, torch would import that."""
        return False

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0
        self._others: set[Any] = set()

    @property
    def uncounted(self) -> set[str]:
        """The names of operations without a formula that may have multiplied matrices."""
        return operations.uncounted(self._others)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compute an operation and add what it costs."""
        del types
        kwargs = kwargs or {}
        formula, composite = treatment(func)
        if composite:
            with self:
                return func.decompose(*args, **kwargs)
        out = func(*args, **kwargs)
        if formula is None:
            self._others.add(func)
        else:
            self.flops += formula(*args, **kwargs, out_val=out)
        return out


class ThreadCounter(FlopCounter):
    """Counts the FLOPs of one thread, and its processor seconds up to the last operation."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compute an operation, add what it costs, and look at the clock."""
        out = super().__torch_dispatch__(func, types, args, kwargs)
        self.seconds = time.thread_time()
        return out


class ThreadCounters:
    """Counts the FLOPs of threads that Python starts in its block, from their first operation to their last.

    Each has a counter of its own, as torch's dispatch modes belong to a thread. Threads that were started before, that
    are not started by `threading`, or that run compiled code alone are not seen (see `guards.audits.busy_threads`).
    """

    def __init__(self) -> None:
        self._found = threading.getprofile()
        self._running: list[tuple[threading.Thread, ThreadCounter]] = []
        self._ended, self._seconds = 0, 0.0
        self._uncounted: set[str] = set()

    def __enter__(self) -> Self:
        self._found = threading.getprofile()
        threading.setprofile(self._start)
        return self

    def __exit__(self, *_: object) -> None:
        threading.setprofile(self._found)

    def flops(self) -> int:
        """Return the FLOPs of all these threads so far."""
        for pair in [pair for pair in self._running if not pair[0].is_alive()]:
            self._running.remove(pair)
            self._ended += pair[1].flops
            self._seconds += pair[1].seconds
            self._uncounted |= pair[1].uncounted
        return self._ended + sum(counter.flops for _, counter in self._running)

    def seconds(self) -> float:
        """Return the processor seconds of all these threads so far."""
        self.flops()
        return self._seconds + sum(counter.seconds for _, counter in self._running)

    def uncounted(self) -> set[str]:
        """Return the names of operations in these threads that have no formula."""
        return self._uncounted.union(*(counter.uncounted for _, counter in self._running))

    def _start(self, *_: object) -> None:
        """Push a counter for the rest of this thread. Python calls it once there, as a profile that ends itself."""
        sys.setprofile(None)
        counter = ThreadCounter()
        self._running.append((threading.current_thread(), counter))
        _push_mode(counter)  # entering the counter as a block would also set what torch keeps for the whole process


class PassCounter:
    """Counts the passes of a model's networks per example and sample, whoever makes them.

    A gradient is one backward pass. The Hessian-vector product that is taken through it later is another one.
    """

    def __init__(self, vae: VAE) -> None:
        self._vae = vae
        self._handles: list[RemovableHandle] = []
        self._encoded = self._decoded = self._gradients = 0

    def __enter__(self) -> Self:
        self._handles.append(self._vae.decoder.register_forward_hook(self._saw_decoder))
        if self._vae.encoder is not None:
            self._handles.append(self._vae.encoder.register_forward_hook(self._saw_encoder))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def cost(self, flops: int) -> StepCost:
        """Return the counted passes together with the FLOPs of the same step."""
        return StepCost(self._encoded, self._decoded, self._gradients, flops)

    def _saw_encoder(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        del module, inputs
        self._encoded += len(output)

    def _saw_decoder(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        del module
        z, rows = inputs[1], output.numel()
        self._decoded += rows
        # Backward passes reach z once each.
        reached = z if z.requires_grad else output
        if reached.requires_grad:
            # The hook must not hold the output: through the graph that would be a cycle, and no step would be freed.
            reached.register_hook(lambda _: self._saw_gradient(rows))

    def _saw_gradient(self, rows: int) -> None:
        self._gradients += rows


class KnownStep(NamedTuple):
    """A step on one shape: what it costs, and the trace by which it is recognized."""

    cost: StepCost
    trace: Trace | None
    """None if its cost follows from others, and no step on this shape was seen."""

    def differs(self, trace: Trace) -> bool:
        """Return whether a trace is another one than expected."""
        return trace != self.trace if self.trace else trace[:2] != self.cost[:2]


class CostTable:
    """The costs of one run's steps, by the shape of their batch.

    The first step on a shape is counted while it runs, unless its cost follows from the shapes that were counted: from
    those with as many examples, or from all (`extrapolation.CostPolynomial`). As soon as one counted shape has another
    cost than was predicted, nothing is predicted any more.

    Later steps on a shape are recognized by their trace. Every further step of the run is counted as soon as a step has
    another trace than the first one on its shape, or a counted step makes passes that the model does not see, or an
    audit of the meter finds another cost.
    """

    def __init__(self) -> None:
        self._counted: dict[Shape, StepCost] = {}
        self._known: dict[Shape, KnownStep | None] = {}
        self._traces: dict[Shape, Trace] = {}
        self._polynomials: defaultdict[tuple[int, ...], CostPolynomial] = defaultdict(CostPolynomial)
        self._predictable, self._varies = True, False

    @property
    def varies(self) -> bool:
        """True if every further step is counted."""
        return self._varies

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: the counted costs, from which the others follow."""
        counted = {shape: tuple(cost) for shape, cost in self._counted.items()}
        traces = {shape: tuple(trace) for shape, trace in self._traces.items()}
        return {"counted": counted, "traces": traces, "varies": self._varies}

    def load(self, state: dict[str, Any]) -> None:
        """Go on, as a new object, from what `state` returned."""
        traces = {shape: Trace(*trace) for shape, trace in state["traces"].items()}
        for shape, cost in state["counted"].items():
            self.learn(shape, StepCost(*cost), traces[shape])
        self._traces = traces
        if state["varies"]:
            self.count_all()

    def of(self, shape: Shape) -> KnownStep | None:
        """Return the step on a batch of this shape, or None if it is unknown until it is done."""
        if shape not in self._known:
            self._known[shape] = self._find(shape)
        return self._known[shape]

    def learn(self, shape: Shape, cost: StepCost, trace: Trace) -> None:
        """Keep the cost of the first step on a shape, which was counted."""
        if trace[:2] != cost[:2]:
            self.count_all()
        if self._varies:
            return
        self._counted[shape], self._traces[shape] = cost, trace
        self._known.clear()
        for polynomial in self._polynomials_of(shape):
            self._predictable &= polynomial.add(shape, cost)

    def saw(self, shape: Shape, trace: Trace) -> None:
        """Keep the trace of a first step on a shape. It does not follow, as torch makes fewer nodes for some sizes."""
        self._traces[shape] = trace
        self._known.pop(shape, None)

    def count_all(self) -> None:
        """Know no cost any more: from now on every step is counted."""
        self._varies = True
        self._known.clear()

    def _find(self, shape: Shape) -> KnownStep | None:
        if self._varies:
            return None
        cost = self._counted.get(shape) or self._predict(shape)
        return None if cost is None else KnownStep(cost, self._traces.get(shape))

    def _predict(self, shape: Shape) -> StepCost | None:
        predictions = (each.predict(shape) for each in self._polynomials_of(shape) if self._predictable)
        cost = next((costs for costs in predictions if costs is not None), None)
        return None if cost is None else StepCost(*cost)

    def _polynomials_of(self, shape: Shape) -> tuple[CostPolynomial, CostPolynomial]:
        """The polynomial of the shapes with as many examples, and that of all with as many dimensions."""
        return self._polynomials[len(shape), shape[0]], self._polynomials[(len(shape),)]
