r"""\(\tanh(a)\,\sigma(b)\), the gate of a PixelCNN, with its first two derivatives.

A gate reads and writes much and computes little. It is computed in blocks of rows, so that the intermediate results
stay in the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from collapsebench.model.kernels.blocks import block_of

ROWS = 4096
"""The rows in a block on the CPU. A row has some tens of numbers, and each of two threads computes half of the rows."""


def gate(x: Float[Tensor, "*shape C2"]) -> Float[Tensor, "*shape C"]:
    r"""Give \(\tanh(a)\,\sigma(b)\) for the halves a, b of the last dimension. It is twice differentiable."""
    gated: Tensor = _gate(x)[0]
    return gated


class _Gate(Function):
    r"""The product \(ts\) of \(t = \tanh(a)\) and \(s = \sigma(b)\).

    t and s are outputs, too. So derivatives of the gradient reach x through them, and x need not be kept.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, ...]:
        y, t, s = (x.new_empty(*x.shape[:-1], x.shape[-1] // 2) for _ in range(3))
        for block in _blocks(x, y, t, s):
            _value(*block)
        ctx.save_for_backward(t, s)
        ctx.set_materialize_grads(False)
        return y, t, s

    @staticmethod
    def backward(ctx: Any, g: Tensor | None, *further: Tensor | None) -> Tensor:
        t, s = ctx.saved_tensors
        g = torch.zeros_like(t) if g is None else g
        return _gradient(t, s, g, *(of for of in further if of is not None))


class _Gradient(Function):
    r"""The gradient \([(gs + g_t)(1 - t^2), (gt + g_s)(s - s^2)]\). Second derivatives bring \(g_t\) and \(g_s\)."""

    @staticmethod
    def forward(ctx: Any, t: Tensor, s: Tensor, g: Tensor, *further: Tensor) -> Tensor:
        ctx.save_for_backward(t, s, g)
        ctx.second = bool(further)
        x = t.new_empty(*t.shape[:-1], 2 * t.shape[-1])
        for block in _blocks(x, t, s, g, *further):
            _first(*block)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, w: Tensor) -> tuple[Tensor, ...]:
        if ctx.second:
            raise RuntimeError("the gate has two derivatives; a third one was asked for")
        t, s, g = ctx.saved_tensors
        of_t, of_s, of_g = (torch.empty_like(t) for _ in range(3))
        for block in _blocks(w, t, s, g, of_t, of_s, of_g):
            _second(*block)
        return of_t, of_s, of_g


def _blocks(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    size = block_of(ROWS, tensors[0].device)
    return zip(*(torch.split(tensor.flatten(0, -2), size) for tensor in tensors), strict=True)


def _value(x: Tensor, y: Tensor, t: Tensor, s: Tensor) -> None:
    """Fill y, t and s. a is copied first, as tanh takes four times as long on short rows that lie apart."""
    a, b = x.chunk(2, -1)
    torch.mul(t.copy_(a).tanh_(), torch.sigmoid(b, out=s), out=y)


def _first(x: Tensor, t: Tensor, s: Tensor, g: Tensor, *further: Tensor) -> None:
    """Fill x with the gradient."""
    a, b = x.chunk(2, -1)
    u = g * s
    ut = vs = u * t
    if further:
        of_t, of_s = further
        vs = torch.addcmul(ut, of_s, s)
        ut = torch.mul(u.add_(of_t), t, out=ut)
    torch.addcmul(u, ut, t, value=-1, out=a)
    torch.addcmul(vs, vs, s, value=-1, out=b)


def _second(w: Tensor, t: Tensor, s: Tensor, g: Tensor, *found: Tensor) -> None:
    r"""Fill the gradients by t, s and g.

    They are \(g(q - 2tsw_a)\), \(g(p + t(1 - 2s)w_b)\), \(ps + qt\), where \(p = w_a(1 - t^2)\), \(q = w_b(s - s^2)\).
    """
    of_t, of_s, of_g = found
    w_a, w_b = w.chunk(2, -1)
    ta, sb = w_a * t, w_b * s
    p, q = torch.addcmul(w_a, ta, t, value=-1), torch.addcmul(sb, sb, s, value=-1)
    torch.mul(p, s, out=of_g).addcmul_(q, t)
    torch.mul(g, q.addcmul_(ta, s, value=-2), out=of_t)
    torch.mul(g, p.addcmul_(t, torch.sub(w_b, sb, alpha=2, out=sb)), out=of_s)


_gate: Callable[..., tuple[Tensor, ...]] = _Gate.apply
_gradient: Callable[..., Tensor] = _Gradient.apply
