"""FLOPs of training steps: what torch computes, counted for the first batch shapes, from which that of others follows.

Products of matrices and convolutions count, whoever calls for them: (m, k) by (k, n) is 2mkn FLOPs, as a multiplication
and its addition are two. Elementwise work, reductions and products of a matrix and a vector are left out.
"""

from __future__ import annotations

from collections import ChainMap, Counter, defaultdict
from collections.abc import Callable, Mapping
from fractions import Fraction
from itertools import product
from math import gcd, prod
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeAlias

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from collapsebench.model.kernels.autograd import needed_gradients

if TYPE_CHECKING:
    from torch import nn
    from torch.utils.hooks import RemovableHandle

    from collapsebench.model.vae import VAE

Shape: TypeAlias = tuple[int, ...]
Forward: TypeAlias = tuple[int, int]
"""How often encoder and decoder were passed forward, per example."""

PROOFS = 2
"""How many counted shapes with a new size have to agree with what was foretold."""

REACH = 2
"""How many times smaller or larger than those counted a size may be for its cost to follow."""


class Spent(NamedTuple):
    """What one step spends: passes through the networks, per example, and FLOPs. Named as the meter's counters are."""

    encoder_evaluations: int
    decoder_evaluations: int
    decoder_gradients: int
    flops: int


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


class PassCounter:
    """Counts the passes of a model's networks, whoever makes them, per example and sample.

    A gradient, and the Hessian-vector product that is taken through it later, are one backward pass each.
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

    def spent(self, flops: int) -> Spent:
        """What was counted, with the FLOPs of the same step."""
        return Spent(self._encoded, self._decoded, self._gradients, flops)

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
    of_x, of_w_ih, of_w_hh, *_biases, of_first_state, _of_first_cell = needed_gradients(node)
    inputs = 2 * steps * examples * w_ih.numel() * (of_x + of_w_ih)
    states = 2 * examples * w_hh.numel() * (steps * of_w_hh + steps - 1 + of_first_state)
    return inputs + states


def matrix_product(left: Tensor, right: Tensor, *_: Any, out_val: Tensor, **__: Any) -> int:
    """(…, m, k) by (…, k, n). Torch's own formula gives the same, through functions for trees of any kind."""
    del right
    return 2 * out_val.numel() * left.shape[-1]


def added_product(bias: Tensor, left: Tensor, right: Tensor, *_: Any, out_val: Tensor, **__: Any) -> int:
    """The same, added to something."""
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
"""Torch's formulas, those for what torch's do not see, and faster ones for what there is most of."""


class Law:
    """What shapes spend, as a polynomial in their sizes with no size to a higher power than one, in exact integers.

    It follows from shapes that were counted, as far as these determine it, and has to prove itself. Of a size that
    differs between them it must have agreed with `PROOFS` counted shapes in which the size was new. So a cost that is
    quadratic in a size, as of products between examples or between tokens, is found out and not foretold.
    """

    def __init__(self) -> None:
        self._rows: list[tuple[int, list[int]]] = []  # in echelon form, each with the column of its first entry
        self._sizes: list[set[int]] = []
        self._proofs: Counter[int] = Counter()

    def add(self, shape: Shape, spent: Spent) -> bool:
        """Learn from a shape that was counted for the first time; False if the law does not hold."""
        foretold = self._solve(shape)
        self._sizes = self._sizes or [set() for _ in shape]
        if foretold is None:
            row = self._eliminated([*_monomials(shape), *spent, 0])
            common = gcd(*row)
            self._rows.append((next(i for i, entry in enumerate(row) if entry), [entry // common for entry in row]))
        else:
            self._proofs.update(i for i, size in enumerate(shape) if size not in self._sizes[i])
        for sizes, size in zip(self._sizes, shape, strict=True):
            sizes.add(size)
        return foretold is None or foretold == tuple(spent)

    def foretell(self, shape: Shape) -> Spent | None:
        """What a shape spends, None if that does not follow."""
        trusted = all(map(self._reaches, range(len(self._sizes)), shape))
        amounts = self._solve(shape) if trusted else None
        if amounts is None or any(amount.denominator != 1 for amount in amounts):
            return None
        return Spent._make(map(int, amounts))

    def _reaches(self, dimension: int, size: int) -> bool:
        """Whether a size is the only one so far, or a proven one and not far from those counted."""
        counted = self._sizes[dimension]
        near = min(counted) <= REACH * size and size <= REACH * max(counted)
        return counted == {size} or (self._proofs[dimension] >= PROOFS and near)

    def _solve(self, shape: Shape) -> tuple[Fraction, ...] | None:
        if not self._rows:
            return None
        columns = _monomials(shape)
        *row, scale = self._eliminated([*columns, *[0] * (len(self._rows[0][1]) - len(columns) - 1), 1])
        if any(row[: len(columns)]):
            return None
        return tuple(Fraction(-entry, scale) for entry in row[len(columns) :])

    def _eliminated(self, row: list[int]) -> list[int]:
        """The row minus multiples of the known ones, scaled as a whole to stay in whole numbers."""
        for column, known in self._rows:
            if row[column]:
                row = [known[column] * a - row[column] * b for a, b in zip(row, known, strict=True)]
        return row


def _monomials(shape: Shape) -> list[int]:
    """1, T, B and BT for (B, T)."""
    return [prod(factors) for factors in product(*((1, size) for size in shape))]


class StepCosts:
    """What the steps of one run spend, by the shape of their batch.

    A shape's first step is to be counted as it runs, unless what it spends follows from the shapes that were counted:
    from those with as many examples, or from all. One counted shape that does not agree, and every further one is to
    be counted. Later steps are recognized by their forward passes through the model. If one makes others than the
    shape's first, or if a counted one makes some past the model, then all further steps are to be counted as they run.
    So they are if the meter finds, now and then, that a step's passes are not what it is known for.
    """

    def __init__(self) -> None:
        self._counted: dict[Shape, Spent] = {}
        self._foretold: dict[Shape, Spent | None] = {}
        self._laws: defaultdict[tuple[int, ...], Law] = defaultdict(Law)
        self._lawful, self._varies = True, False

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of it: what was counted, from which the rest follows."""
        return {"counted": {shape: tuple(spent) for shape, spent in self._counted.items()}, "varies": self._varies}

    def load(self, state: dict[str, Any]) -> None:
        """Go on, as a new object, from what `state` gave."""
        for shape, spent in state["counted"].items():
            self.learn(shape, Spent(*spent), spent[:2])
        self._varies = state["varies"]

    def of(self, shape: Shape) -> Spent | None:
        """What one step on a batch of this shape spends, None if it is not known before it is done."""
        if self._varies:
            return None
        return self._counted.get(shape) or self._foretell(shape)

    def learn(self, shape: Shape, spent: Spent, forward: Forward) -> None:
        """Keep what was counted of the first step on a shape; `forward` are the passes that the model itself saw."""
        self._varies |= forward != spent[:2]
        if self._varies:
            return
        self._counted[shape] = spent
        self._foretold.clear()
        for law in self._laws_of(shape):
            self._lawful &= law.add(shape, spent)

    def surprised(self, expected: Spent, forward: Forward) -> Spent:
        """What a step has spent that was not counted and made other forward passes than expected: as much more or less.

        From now on nothing is known of any shape.
        """
        self._varies = True
        share = sum(forward) / max(1, sum(expected[:2]))
        return Spent(*forward, round(expected.decoder_gradients * share), round(expected.flops * share))

    def _foretell(self, shape: Shape) -> Spent | None:
        if shape not in self._foretold:
            candidates = (law.foretell(shape) for law in self._laws_of(shape) if self._lawful)
            self._foretold[shape] = next((spent for spent in candidates if spent is not None), None)
        return self._foretold[shape]

    def _laws_of(self, shape: Shape) -> tuple[Law, Law]:
        """Of the shapes with as many examples, and of all with as many dimensions."""
        return self._laws[len(shape), shape[0]], self._laws[(len(shape),)]
