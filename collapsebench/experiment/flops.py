"""The FLOPs and the network passes of training steps, counted while a step runs.

Products of matrices and convolutions count, whoever calls for them: (m, k) by (k, n) is 2mkn FLOPs, as a multiplication
and its addition are two. Elementwise work, reductions and products of a matrix and a vector do not count.
"""

from __future__ import annotations

from collections import ChainMap, defaultdict
from collections.abc import Callable, Mapping
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeAlias

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from collapsebench.experiment.extrapolation import CostPolynomial, Shape
from collapsebench.model.kernels.autograd import needed_gradients

if TYPE_CHECKING:
    from torch import nn
    from torch.utils.hooks import RemovableHandle

    from collapsebench.model.vae import VAE

Forward: TypeAlias = tuple[int, int]
"""The forward passes of encoder and decoder, counted per example."""


class StepCost(NamedTuple):
    """The cost of one step: passes through the networks, counted per example, and FLOPs.

    The fields have the names of the meter's counters.
    """

    encoder_evaluations: int
    decoder_evaluations: int
    decoder_gradients: int
    flops: int


class FlopCounter(TorchDispatchMode):
    """Counts the FLOPs of every operation in its block by torch's own formulas, backward and double backward included.

    `torch.utils.flop_counter.FlopCounterMode` counts the same. It also says where, and so takes three times as long.
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


def lstm(x: Tensor, w_ih: Tensor, w_hh: Tensor, *_: Any, out_val: Any) -> int:
    """Return the FLOPs of an LSTM layer that oneDNN fuses into one operation: x (T, B, I), weights (4H, I), (4H, H)."""
    del out_val
    return 2 * prod(x.shape[:2]) * (w_ih.numel() + w_hh.numel())


def lstm_backward(x: Tensor, w_ih: Tensor, w_hh: Tensor, *_: Any, out_val: Any) -> int:
    """Return the FLOPs of the layer's backward: of the gradients that are asked for, though oneDNN computes them all.

    Then a step has the same FLOPs on a machine where nothing is fused and autograd skips the other gradients.
    """
    del out_val
    steps, examples = x.shape[:2]
    node = torch._C._current_autograd_node()  # noqa: SLF001 - no public function gives it
    of_x, of_w_ih, of_w_hh, *_biases, of_first_state, _of_first_cell = needed_gradients(node)
    inputs = 2 * steps * examples * w_ih.numel() * (of_x + of_w_ih)
    states = 2 * examples * w_hh.numel() * (steps * of_w_hh + steps - 1 + of_first_state)
    return inputs + states


def matrix_product(left: Tensor, right: Tensor, *_: Any, out_val: Tensor, **__: Any) -> int:
    """Return the FLOPs of (…, m, k) by (…, k, n). Torch's own formula gives the same and is slower."""
    del right
    return 2 * out_val.numel() * left.shape[-1]


def added_product(bias: Tensor, left: Tensor, right: Tensor, *_: Any, out_val: Tensor, **__: Any) -> int:
    """Return the FLOPs of a product that is added to something."""
    del bias
    return matrix_product(left, right, out_val=out_val)


aten = torch.ops.aten
FORMULAS: Mapping[Any, Callable[..., int]] = ChainMap(
    {
        aten.mkldnn_rnn_layer: lstm,
        aten.mkldnn_rnn_layer_backward: lstm_backward,
        aten.mm: matrix_product,
        aten.bmm: matrix_product,
        aten.addmm: added_product,
        aten.baddbmm: added_product,
    },
    flop_registry,
)
"""Torch's formulas, formulas for operations that torch has none for, and faster ones for the most frequent."""


class CostTable:
    """The costs of one run's steps, by the shape of their batch.

    The first step on a shape is counted while it runs, unless its cost follows from the shapes that were counted: from
    those with as many examples, or from all (`extrapolation.CostPolynomial`). As soon as one counted shape has another
    cost than was predicted, nothing is predicted any more.

    Later steps on a shape are recognized by their forward passes through the model. Every further step of the run is
    counted as soon as a step has other forward passes than the first one on its shape, or a counted step makes passes
    that the model does not see, or an audit of the meter finds other passes.
    """

    def __init__(self) -> None:
        self._counted: dict[Shape, StepCost] = {}
        self._predicted: dict[Shape, StepCost | None] = {}
        self._polynomials: defaultdict[tuple[int, ...], CostPolynomial] = defaultdict(CostPolynomial)
        self._predictable, self._varies = True, False

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: the counted costs, from which the others follow."""
        return {"counted": {shape: tuple(cost) for shape, cost in self._counted.items()}, "varies": self._varies}

    def load(self, state: dict[str, Any]) -> None:
        """Go on, as a new object, from what `state` returned."""
        for shape, cost in state["counted"].items():
            self.learn(shape, StepCost(*cost), cost[:2])
        self._varies = state["varies"]

    def of(self, shape: Shape) -> StepCost | None:
        """Return the cost of a step on a batch of this shape, or None if it is unknown until the step is done."""
        if self._varies:
            return None
        return self._counted.get(shape) or self._predict(shape)

    def learn(self, shape: Shape, cost: StepCost, forward: Forward) -> None:
        """Keep the counted cost of the first step on a shape; `forward` are the passes that the model itself saw."""
        self._varies |= forward != cost[:2]
        if self._varies:
            return
        self._counted[shape] = cost
        self._predicted.clear()
        for polynomial in self._polynomials_of(shape):
            self._predictable &= polynomial.add(shape, cost)

    def surprised(self, expected: StepCost, forward: Forward) -> StepCost:
        """Return the cost of a step that was not counted and made other forward passes than expected.

        It is the expected cost in proportion to the passes. From now on every step is counted.
        """
        self._varies = True
        share = sum(forward) / max(1, sum(expected[:2]))
        return StepCost(*forward, round(expected.decoder_gradients * share), round(expected.flops * share))

    def _predict(self, shape: Shape) -> StepCost | None:
        if shape not in self._predicted:
            predictions = (each.predict(shape) for each in self._polynomials_of(shape) if self._predictable)
            cost = next((costs for costs in predictions if costs is not None), None)
            self._predicted[shape] = None if cost is None else StepCost(*cost)
        return self._predicted[shape]

    def _polynomials_of(self, shape: Shape) -> tuple[CostPolynomial, CostPolynomial]:
        """The polynomial of the shapes with as many examples, and that of all with as many dimensions."""
        return self._polynomials[len(shape), shape[0]], self._polynomials[(len(shape),)]
