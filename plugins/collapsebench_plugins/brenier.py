r"""Brenier maps: gradients of input-convex networks, and a linear map between two of them that keeps full rank.

Symbols: N rows, I inputs, W units of a hidden layer, V outputs. Every module computes its gradient by a sweep that is
written out, so that it needs no autograd, and autograd can differentiate it twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import leaky_relu, linear


class BoundedLinear(nn.Linear):
    """h -> max(W, floor) h, entry by entry and without a bias. An entry below the floor has no gradient."""

    def __init__(self, inputs: int, outputs: int, floor: float) -> None:
        super().__init__(inputs, outputs, bias=False)
        self.floor = floor

    def bounded(self) -> Float[Tensor, "O W"]:
        """Give the matrix."""
        return self.weight.clamp(min=self.floor)


class BrenierMap(nn.Module):
    r"""\(y \mapsto \nabla f(y)\), where f is an input-convex network (Amos, Xu and Kolter 2017) of `layers` layers.

    \(a_0 = U_0 y + b_0,\; h_0 = \ell(a_0)^2,\; a_l = W_l h_{l-1} + U_l y + b_l,\; h_l = \ell(a_l)\), and
    \(f = h_L\) has one unit. \(\ell\) is the leaky rectifier with the slope s, and no entry of \(W_l\) is below the
    floor. So each \(h_l\) is convex in y, and \(\nabla f\) is monotone. It is injective where \(U_0 y\) is.
    """

    def __init__(self, inputs: int, width: int, layers: int, *, slope: float, floor: float) -> None:
        super().__init__()
        self.slope = slope
        outputs = [*[width] * (layers - 1), 1]
        self.first = nn.Linear(inputs, width)
        self.direct = nn.ModuleList(nn.Linear(inputs, units) for units in outputs)
        self.hidden = nn.ModuleList(BoundedLinear(width, units, floor) for units in outputs)

    def potential(self, y: Float[Tensor, "*N I"]) -> Float[Tensor, " *N"]:
        """Give f(y)."""
        pre_activations, _ = self._pre_activations(y)
        return leaky_relu(pre_activations[-1], self.slope)[..., 0]

    def forward(self, y: Float[Tensor, "*N I"]) -> Float[Tensor, "*N I"]:
        """Give the gradient of f at y."""
        pre_activations, weights = self._pre_activations(y)
        slopes = [self._slope(a) for a in pre_activations]
        error, gradient = slopes[-1], y.new_zeros(())
        for direct, weight, slope in zip(reversed(self.direct), reversed(weights), slopes[-2::-1], strict=True):
            gradient = gradient + error @ cast("Tensor", direct.weight)
            error = (error @ weight) * slope
        error = error * 2 * leaky_relu(pre_activations[0], self.slope)
        found: Tensor = gradient + error @ self.first.weight
        return found

    def _pre_activations(self, y: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Give a of every layer, and the bounded matrices between them."""
        pre_activations, weights = [self.first(y)], [cast("BoundedLinear", layer).bounded() for layer in self.hidden]
        h = leaky_relu(pre_activations[0], self.slope).square()
        for direct, weight in zip(self.direct, weights, strict=True):
            pre_activations.append(linear(h, weight) + direct(y))
            h = leaky_relu(pre_activations[-1], self.slope)
        return pre_activations, weights

    def _slope(self, a: Tensor) -> Tensor:
        """Give the derivative of the leaky rectifier, which is constant on both sides of 0."""
        return torch.full_like(a, self.slope).masked_fill(a > 0, 1.0)


class FullRankLinear(nn.Linear):
    """y -> Ay + b, where A is the weight plus `shift` times I with its singular values moved into [low, high]."""

    def __init__(self, inputs: int, outputs: int, *, shift: float, low: float, high: float) -> None:
        super().__init__(inputs, outputs)
        self.shift, self.low, self.high = shift, low, high

    def matrix(self) -> Float[Tensor, "V I"]:
        """Give A."""
        identity = torch.eye(*self.weight.shape, dtype=self.weight.dtype, device=self.weight.device)
        return clamp_singular_values(self.weight + self.shift * identity, self.low, self.high)

    def forward(self, y: Float[Tensor, "*N I"]) -> Float[Tensor, "*N V"]:
        """Give Ay + b."""
        return linear(y, self.matrix(), self.bias)


def clamp_singular_values(matrix: Float[Tensor, "V I"], low: float, high: float) -> Float[Tensor, "V I"]:
    r"""Give \(U\, \mathrm{clamp}(S)\, V^\top\) for the singular value decomposition \(USV^\top\) of a matrix.

    It can be differentiated once by the matrix.
    """
    return _clamp_singular_values(matrix, low, high)


class _ClampSingularValues(Function):
    r"""The gradient without that of singular vectors, which grows without limit as two singular values get close.

    With \(P = U^\top G V\) and c the clamp, the symmetric part of P is multiplied by \((c_i - c_j)/(s_i - s_j)\), the
    skew part by \((c_i + c_j)/(s_i + s_j)\), and what lies outside the singular vectors by \(c_i/s_i\). Where nothing
    is clamped the gradient is G.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, low: float, high: float) -> Tensor:
        u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
        ctx.save_for_backward(u, s, vh)
        ctx.ends = low, high
        clamped: Tensor = (u * s.clamp(low, high)) @ vh
        return clamped

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        u, s, vh = ctx.saved_tensors
        clamped = s.clamp(*ctx.ends)
        tiny = torch.finfo(s.dtype).tiny
        left, right = u.mT @ g, g @ vh.mT
        p = left @ vh.mT
        inside = _quotients(s, clamped) * (p + p.mT) / 2
        inside += (clamped[:, None] + clamped) / (s[:, None] + s).clamp(min=tiny) * (p - p.mT) / 2
        outside = clamped / s.clamp(min=tiny)
        found = u @ inside @ vh
        found += ((right - u @ p) * outside) @ vh
        found += (u * outside) @ (left - p @ vh)
        return found, None, None


_clamp_singular_values: Callable[..., Tensor] = _ClampSingularValues.apply


def _quotients(s: Tensor, clamped: Tensor) -> Tensor:
    """Give (c_i - c_j) / (s_i - s_j), and where two singular values are equal the derivative of the clamp."""
    difference = s[:, None] - s
    derivative = (s == clamped).to(s)[:, None].expand_as(difference)
    return torch.where(difference == 0, derivative, (clamped[:, None] - clamped) / difference)


class InjectiveOutput(nn.Module):
    r"""Logits \(\nabla f_2(A\, \nabla f_1([h, z]) + b)\), where A has full rank. `width` is the number of logits."""

    def __init__(self, first: BrenierMap, between: FullRankLinear, second: BrenierMap) -> None:
        super().__init__()
        self.width = between.out_features
        self.first, self.between, self.second = first, between, second

    def forward(self, h: Float[Tensor, "N T H"], z: Float[Tensor, "N D"]) -> Float[Tensor, "N T V"]:
        """(N, T, H) and (N, D) -> (N, T, V)."""
        y = torch.cat([h, z[:, None].expand(-1, h.shape[1], -1)], -1)
        logits: Tensor = self.second(self.between(self.first(y)))
        return logits
