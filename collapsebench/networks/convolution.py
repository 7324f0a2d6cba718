r"""Convolution of stride one, differentiable as often as one likes at the price of convolutions.

\(\langle g, x * w \rangle\) is linear in each of g, x and w, so its three gradients are each other's: whatever is asked
for, however deep, is one of them. The library's own second derivative by w is a convolution whose kernel is an image,
which is several times slower. Activations keep the memory format that they come in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import conv2d

from collapsebench.networks.autograd import asked_for

Padding = tuple[int, int]


def convolution(
    x: Float[Tensor, "N C H W"], weight: Float[Tensor, "K C h w"], bias: Float[Tensor, " K"], padding: Padding
) -> Float[Tensor, "N K Y X"]:
    """x * weight + bias with zeros around x."""
    return _convolve(x, weight, bias, padding)


class _Convolve(Function):
    """x * w + b."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, padding: Padding) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding = padding
        return conv2d(x, weight, bias, padding=padding)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        by_x, by_weight, *by_bias = asked_for(ctx)
        of_x = _by_input(g, weight, x.shape, ctx.padding) if by_x else None
        of_weight = _by_weight(g, x, weight.shape, ctx.padding) if by_weight else None
        return of_x, of_weight, g.sum((0, 2, 3)) if any(by_bias) else None, None


class _ByInput(Function):
    """The gradient by x."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, weight: Tensor, shape: torch.Size, padding: Padding) -> Tensor:
        ctx.save_for_backward(g, weight)
        ctx.padding = padding
        x = g.new_empty(shape).contiguous(memory_format=_format(g))
        return _gradient(g, x, weight, padding, by_input=True)

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
        g, weight = ctx.saved_tensors
        by_g, by_weight = asked_for(ctx)
        of_g = _convolve(u, weight, None, ctx.padding) if by_g else None
        return of_g, _by_weight(g, u, weight.shape, ctx.padding) if by_weight else None, None, None


class _ByWeight(Function):
    """The gradient by w."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor, shape: torch.Size, padding: Padding) -> Tensor:
        ctx.save_for_backward(g, x)
        ctx.padding = padding
        return _gradient(g, x, x.new_empty(shape), padding, by_input=False)

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
        g, x = ctx.saved_tensors
        by_g, by_x = asked_for(ctx)
        of_g = _convolve(x, u, None, ctx.padding) if by_g else None
        return of_g, _by_input(g, u, x.shape, ctx.padding) if by_x else None, None, None


def _gradient(g: Tensor, x: Tensor, weight: Tensor, padding: Padding, *, by_input: bool) -> Tensor:
    wanted = (by_input, not by_input, False)
    backward = torch.ops.aten.convolution_backward
    of_x, of_weight, _ = backward(g, x, weight, None, (1, 1), padding, (1, 1), False, (0, 0), 1, wanted)
    gradient: Tensor = of_x if by_input else of_weight
    return gradient


def _format(x: Tensor) -> torch.memory_format:
    last = x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


_convolve: Callable[..., Tensor] = _Convolve.apply
_by_input: Callable[..., Tensor] = _ByInput.apply
_by_weight: Callable[..., Tensor] = _ByWeight.apply
