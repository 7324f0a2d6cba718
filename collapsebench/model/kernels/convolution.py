r"""The masked convolutions of a PixelCNN. Their derivatives of any order cost no more than convolutions.

`convolve_above` is a convolution over the rows above a pixel. `convolve_before` is a sum of convolutions over the pixel
and those on its left. For each, \(\langle g, x * w \rangle\) is linear in g, in x and in w. So there are three
gradients, and every derivative of one of them is another of the three. Torch's own second derivative by w is a
convolution whose kernel is an image, which is several times slower. Feature maps come last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import conv2d, pad

from collapsebench.model.kernels.autograd import needed_gradients

Term: TypeAlias = tuple[Float[Tensor, "N H W _"], Float[Tensor, "K _ _"]]
"""C feature maps, and their kernel (K, C, k) over columns."""


def convolve_above(
    x: Float[Tensor, "N H W C"], weight: Float[Tensor, "K C h w"], bias: Float[Tensor, " K"]
) -> Float[Tensor, "N H W K"]:
    """Convolve, for each pixel, the h rows above it and the w columns around it. The first row is zero."""
    rows, columns = weight.shape[2:]
    moved_down = _extend(x, 1, rows, -1)
    return maps_last(_convolve(maps_first(moved_down), weight, bias, columns // 2))


def convolve_before(*terms: Term, bias: Float[Tensor, " K"]) -> Float[Tensor, "N H W K"]:
    """Convolve each pixel and the k - 1 pixels on its left, where a kernel has k columns, and sum over the terms."""
    return _row(1, bias, *(tensor for term in terms for tensor in term))


def shift_columns(x: Float[Tensor, "N H W C"], columns: int) -> Float[Tensor, "N H W C"]:
    """Shift the maps to the right, or to the left if `columns` is negative. Zeros come in."""
    return _extend(x, 2, columns, -columns) if columns else x


def maps_first(x: Float[Tensor, "N H W C"]) -> Float[Tensor, "N C H W"]:
    """Give a view of the same memory in the order of torch's convolutions and of the latent sites."""
    return x.permute(0, 3, 1, 2)


def maps_last(x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N H W C"]:
    """Undo `maps_first`."""
    return x.permute(0, 2, 3, 1)


class _Extend(Function):
    """x with `first` zeros before it and `last` zeros after it in one dimension. A negative number cuts x.

    Torch's `pad` fills the whole result with zeros first, which doubles the time.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, dimension: int, first: int, last: int) -> Tensor:
        ctx.way_back = dimension, -first, -last
        size = x.shape[dimension]
        y = x.new_empty(*x.shape[:dimension], size + first + last, *x.shape[dimension + 1 :])
        kept = size + min(first, 0) + min(last, 0)
        y.narrow(dimension, max(first, 0), kept).copy_(x.narrow(dimension, max(-first, 0), kept))
        y.narrow(dimension, 0, max(first, 0)).zero_()
        y.narrow(dimension, y.shape[dimension] - max(last, 0), max(last, 0)).zero_()
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        return _extend(g, *ctx.way_back), None, None, None


class _Convolve(Function):
    """x * w + b, with zeros in the first row.

    The kernel has as many rows as x has rows of zeros at the top. So the first row would be b alone. There the
    gradients are multiplied by zeros, or they belong to zeros, so that they need no care.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding = padding
        y = conv2d(x, weight, bias, padding=(0, padding))
        y[:, :, 0] = 0
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        by_x, by_weight, *by_bias = needed_gradients(ctx)
        of_x = _by_input(g, weight, x.shape, ctx.padding) if by_x else None
        of_weight = _by_weight(g, x, weight.shape, ctx.padding) if by_weight else None
        return of_x, of_weight, _sum(g) - _sum(g[:, :, :1]) if any(by_bias) else None, None


class _ByInput(Function):
    """The gradient of `_Convolve` by x."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, weight: Tensor, shape: torch.Size, padding: int) -> Tensor:
        ctx.save_for_backward(g, weight)
        ctx.padding = padding
        x = torch.empty(shape, dtype=g.dtype, device=g.device, memory_format=torch.channels_last)
        return _gradient(g, x, weight, padding, by_input=True)

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
        g, weight = ctx.saved_tensors
        by_g, by_weight = needed_gradients(ctx)
        of_g = _convolve(u, weight, None, ctx.padding) if by_g else None
        return of_g, _by_weight(g, u, weight.shape, ctx.padding) if by_weight else None, None, None


class _ByWeight(Function):
    """The gradient of `_Convolve` by w."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor, shape: torch.Size, padding: int) -> Tensor:
        ctx.save_for_backward(g, x)
        ctx.padding = padding
        return _gradient(g, x, x.new_empty(shape), padding, by_input=False)

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
        g, x = ctx.saved_tensors
        by_g, by_x = needed_gradients(ctx)
        of_g = _convolve(x, u, None, ctx.padding) if by_g else None
        return of_g, _by_input(g, u, x.shape, ctx.padding) if by_x else None, None, None


def _gradient(g: Tensor, x: Tensor, weight: Tensor, padding: int, *, by_input: bool) -> Tensor:
    wanted = (by_input, not by_input, False)
    backward = torch.ops.aten.convolution_backward
    of_x, of_weight, _ = backward(g, x, weight, None, (1, 1), (0, padding), (1, 1), False, (0, 0), 1, wanted)
    gradient: Tensor = of_x if by_input else of_weight
    return gradient


def _sum(g: Tensor) -> Tensor:
    return maps_last(g).flatten(0, 2).sum(0)


class _Row(Function):
    """The sum of x * w over the terms. Maps move to the right (`way` 1), or to the left (-1) for the gradients by x."""

    @staticmethod
    def forward(ctx: Any, way: int, bias: Tensor | None, *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(*tensors)
        ctx.way = way
        y = _products(way, tuple(zip(tensors[::2], tensors[1::2], strict=True)))
        return y if bias is None else y.add_(bias)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        tensors, g = ctx.saved_tensors, g.contiguous()
        asked = needed_gradients(ctx)
        by_bias, by_tensors = asked[: -len(tensors)], asked[-len(tensors) :]
        found: list[Tensor | None] = [None, g.flatten(0, -2).sum(0) if any(by_bias) else None]
        for x, weight, by_x, by_weight in zip(
            tensors[::2], tensors[1::2], by_tensors[::2], by_tensors[1::2], strict=True
        ):
            found.append(_row(-ctx.way, None, g, weight.transpose(0, 1)) if by_x else None)
            found.append(_by_row(ctx.way, weight.shape[2], g, x) if by_weight else None)
        return tuple(found)


class _ByRow(Function):
    """The gradient of one term of `_Row` by w."""

    @staticmethod
    def forward(ctx: Any, way: int, columns: int, g: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(g, x)
        ctx.way = way
        taps = [_weights(g, x, way * shift) for shift in _shifts(columns, x.shape[2])]
        return pad(torch.stack(taps, -1), (columns - len(taps), 0))

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
        g, x = ctx.saved_tensors
        by_g, by_x = needed_gradients(ctx)
        of_g = _row(ctx.way, None, x, u) if by_g else None
        return None, None, of_g, _row(-ctx.way, None, g, u.transpose(0, 1)) if by_x else None


def _weights(g: Tensor, x: Tensor, shift: int) -> Tensor:
    """Give the product of g and the shifted maps x, or of g shifted back and x: the smaller tensor is shifted."""
    g, x = (shift_columns(g, -shift), x) if g.shape[-1] < x.shape[-1] else (g, shift_columns(x, shift))
    return g.flatten(0, -2).T @ x.flatten(0, -2)


def _shifts(columns: int, breadth: int) -> range:
    """Give the shift for each column of a kernel. A shift by the whole breadth or more is left out."""
    return range(min(columns, breadth) - 1, -1, -1)


def _products(way: int, terms: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Add up one product for each column of each kernel, in the same memory.

    Shifting maps is an offset in memory. The columns that come in then hold values of the neighbouring row. They are
    set to zero after each shift, before the products of smaller shifts are added to them.
    """
    shape = terms[0][0].shape[:-1]
    y = terms[0][0].new_empty(*shape, len(terms[0][1]))
    rows, started = y.view(-1, y.shape[-1]), False
    for shift in _shifts(max(weight.shape[2] for _, weight in terms), shape[-1]):
        for x, weight in terms:
            if shift < weight.shape[2]:
                target, source = _overlap(rows, x.reshape(-1, x.shape[-1]), way * shift)
                torch.addmm(target, source, weight[:, :, -1 - shift].T, beta=int(started), out=target)
                started = True
        y[:, :, _moved_in(way * shift)] = 0
    return y


def _overlap(target: Tensor, source: Tensor, shift: int) -> tuple[Tensor, Tensor]:
    if shift < 0:
        return target[:shift], source[-shift:]
    return target[shift:], source[: len(source) - shift]


def _moved_in(shift: int) -> slice:
    return slice(shift, None) if shift < 0 else slice(0, shift)


_extend: Callable[..., Tensor] = _Extend.apply
_convolve: Callable[..., Tensor] = _Convolve.apply
_by_input: Callable[..., Tensor] = _ByInput.apply
_by_weight: Callable[..., Tensor] = _ByWeight.apply
_row: Callable[..., Tensor] = _Row.apply
_by_row: Callable[..., Tensor] = _ByRow.apply
