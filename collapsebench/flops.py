"""FLOPs of training steps: what torch computes, counted on first sight of a batch's shape and looked up afterwards.

Products of matrices and convolutions count, whoever calls for them: (m, k) by (k, n) is 2mkn FLOPs, as a multiplication
and its addition are two. Elementwise work, reductions and products of a matrix and a vector are left out.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from collapsebench.networks.autograd import asked_for

Shape: TypeAlias = tuple[int, ...]
Passes: TypeAlias = tuple[int, ...]
"""How often the networks were passed, forward and backward, per example."""


class FlopCounter(TorchDispatchMode):
    """Counts the FLOPs of every operation below it, backward and double backward included, by torch's own formulas.

    `torch.utils.flop_counter.FlopCounterMode` counts the same, and takes three times as long to also say where.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compute an operation and add what it costs."""
        del types
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        formula = FORMULAS.get(func.overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **kwargs, out_val=out)
        return out


def lstm(x: Tensor, w_ih: Tensor, w_hh: Tensor, *_: Any, out_val: Any) -> int:
    """An LSTM layer over x (T, B, I) with weights (4H, I) and (4H, H), fused into one operation by oneDNN."""
    del out_val
    return 2 * prod(x.shape[:2]) * (w_ih.numel() + w_hh.numel())


def lstm_backward(x: Tensor, w_ih: Tensor, w_hh: Tensor, *_: Any, out_val: Any) -> int:
    """Its backward: the gradients that are asked for, though oneDNN computes them all.

    So a step has the same FLOPs as where nothing is fused, and autograd leaves out what nobody asks for.
    """
    del out_val
    steps, examples = x.shape[:2]
    node = torch._C._current_autograd_node()  # noqa: SLF001 - no public function gives it
    of_x, of_w_ih, of_w_hh, *_biases, of_first_state, _of_first_cell = asked_for(node)
    inputs = 2 * steps * examples * w_ih.numel() * (of_x + of_w_ih)
    states = 2 * examples * w_hh.numel() * (steps * of_w_hh + steps - 1 + of_first_state)
    return inputs + states


FORMULAS: Mapping[Any, Callable[..., int]] = ChainMap(
    {torch.ops.aten.mkldnn_rnn_layer: lstm, torch.ops.aten.mkldnn_rnn_layer_backward: lstm_backward}, flop_registry
)
"""Torch's formulas, and those for what torch's do not see."""


class StepCosts:
    """What the steps of one run cost, by the shape of their batch.

    A shape's first step is counted as it runs, with the passes of the networks that it makes. If a later step of that
    shape makes other passes, then the method's work depends on more than shapes: all further steps of the run are
    counted as they run, and the one that gave it away is charged in proportion to its passes.
    """

    def __init__(self) -> None:
        self._known: dict[Shape, tuple[Passes, int]] = {}
        self._varies = False

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {"known": self._known, "varies": self._varies}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._known, self._varies = state["known"], state["varies"]

    def of(self, shape: Shape) -> int | None:
        """The FLOPs of one step on a batch of this shape, None if they are not known before it is done."""
        return None if self._varies or shape not in self._known else self._known[shape][1]

    @contextmanager
    def charging(self, shape: Shape, passes: Callable[[], Passes], charge: Callable[[int], None]) -> Iterator[None]:
        """Charge the step that is made inside; `passes` are those of the run so far."""
        before = passes()
        if self.of(shape) is None:
            with FlopCounter() as counter:
                yield
            self._known[shape] = _difference(passes(), before), counter.flops
            charge(counter.flops)
        else:
            yield
            charge(self._look_up(shape, _difference(passes(), before)))

    def _look_up(self, shape: Shape, made: Passes) -> int:
        usual, flops = self._known[shape]
        if made == usual:
            return flops
        self._varies = True
        return round(flops * sum(made) / max(1, sum(usual)))


def _difference(after: Passes, before: Passes) -> Passes:
    return tuple(a - b for a, b in zip(after, before, strict=True))
