"""SGD and Adam over torch's fused kernels: each update is one pass over parameters, gradients and moments.

The classes of `torch.optim` give the same bits. But the first of their objects imports torch's compiler, which nothing
here uses: more than a second of every process.

The kernels on a CPU take memory as it comes, whatever the strides and the sizes say. So tensors that do not lie row by
row are copied for them, and a parameter that is no longer of the shape and the type of its moments is an error.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.sgd import sgd


class FirstOrder(ABC):
    """An update of parameters from their gradients. Parameters without a gradient stay as they are."""

    def __init__(self, parameters: Iterable[Tensor], learning_rate: float) -> None:
        self.parameters, self.learning_rate = list(parameters), learning_rate

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Change all parameters that have a gradient."""
        moved, laid, gradients = [], [], []
        for number, parameter in enumerate(self.parameters):
            if parameter.grad is not None:
                moved.append(number)
                laid.append(parameter.contiguous())
                gradients.append(parameter.grad.contiguous())
        self._update(moved, laid, gradients)
        for number, updated in zip(moved, laid, strict=True):
            if updated is not self.parameters[number]:
                self.parameters[number].copy_(updated)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: plain values and tensors. The tensors are those of the optimizer itself."""
        return {"learning_rate": self.learning_rate}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned. Raises KeyError or ValueError if it is of another model."""
        self.learning_rate = state["learning_rate"]

    @abstractmethod
    def forget(self, parameters: Iterable[Tensor]) -> None:
        """Forget what earlier steps left for these parameters."""

    @abstractmethod
    def _update(self, moved: list[int], parameters: list[Tensor], gradients: list[Tensor]) -> None:
        """Change the parameters of these numbers, which lie row by row in memory, as their gradients do."""


class SGD(FirstOrder):
    r"""Stochastic gradient descent without momentum: \(\theta \leftarrow \theta - \eta\,g\)."""

    def forget(self, parameters: Iterable[Tensor]) -> None:
        """Forget nothing, as nothing is kept."""

    def _update(self, moved: list[int], parameters: list[Tensor], gradients: list[Tensor]) -> None:
        sgd(
            parameters,
            gradients,
            [None] * len(moved),
            fused=True,
            weight_decay=0,
            momentum=0,
            lr=self.learning_rate,
            dampening=0,
            nesterov=False,
            maximize=False,
        )


class Moments(NamedTuple):
    """What Adam keeps of one parameter, in the shape of the parameter but for `steps`."""

    first: Tensor
    """The mean of the gradients."""
    second: Tensor
    """The mean of their squares."""
    steps: Tensor
    """The number of updates, ()."""


class Adam(FirstOrder):
    r"""Adam (Kingma and Ba 2015, algorithm 1) with \(\beta_1 = 0.9\), \(\beta_2 = 0.999\), \(\epsilon = 10^{-8}\)."""

    def __init__(self, parameters: Iterable[Tensor], learning_rate: float) -> None:
        super().__init__(parameters, learning_rate)
        self._moments: dict[int, Moments] = {}

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps, as `FirstOrder.state`, with the moments by the number of the parameter."""
        return super().state() | {"moments": {number: tuple(moments) for number, moments in self._moments.items()}}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned, as `FirstOrder.load`."""
        super().load(state)
        moments = {
            number: Moments(*(each.clone(memory_format=torch.contiguous_format) for each in kept))
            for number, kept in state["moments"].items()
        }
        for number, kept in moments.items():
            if number >= len(self.parameters) or kept.first.shape != self.parameters[number].shape:
                raise ValueError("the moments of Adam are those of other parameters")
        self._moments = moments

    def forget(self, parameters: Iterable[Tensor]) -> None:
        """Forget the moments of these parameters."""
        forgotten = {id(parameter) for parameter in parameters}
        for number, parameter in enumerate(self.parameters):
            if id(parameter) in forgotten:
                self._moments.pop(number, None)

    def _update(self, moved: list[int], parameters: list[Tensor], gradients: list[Tensor]) -> None:
        moments = [self._moments.get(number) or self._begin(number) for number in moved]
        for parameter, kept in zip(parameters, moments, strict=True):
            if (kept.first.shape, kept.first.dtype) != (parameter.shape, parameter.dtype):
                raise ValueError("a parameter has another shape or type than at its first update")
        adam(
            parameters,
            gradients,
            [each.first for each in moments],
            [each.second for each in moments],
            [],
            [each.steps for each in moments],
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=self.learning_rate,
            weight_decay=0,
            eps=1e-8,
            maximize=False,
        )

    def _begin(self, number: int) -> Moments:
        parameter = self.parameters[number]
        steps = torch.zeros((), dtype=torch.float32, device=parameter.device)
        first, second = (torch.zeros_like(parameter, memory_format=torch.contiguous_format) for _ in range(2))
        self._moments[number] = Moments(first, second, steps)
        return self._moments[number]
