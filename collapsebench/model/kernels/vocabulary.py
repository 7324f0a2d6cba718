r"""\(\log \mathrm{softmax}(Wh + b)_x\): the vocabulary layer together with its likelihood.

Symbols: S samples of z, B examples, T tokens, n = S B T rows, V words. The layer is most of the work of a text model.
`plain_log_likelihood` is the definition. `fused_log_likelihood` gives the same numbers, gradients and second
derivatives with fewer passes over (n, V):

- Without gradients, at most one block of rows of logits exists at a time.
- With gradients, the probabilities P are kept in place of the logits. The gradient is \(G(E - P)W\), with upstream
  weights G and one-hot rows E. It is one product, as the rows of EW are rows of W. Nothing else of size (n, V) exists.
- Inputs and weights are two nodes of the graph. So autograd computes the gradient of W only if it is needed. The inner
  loops of SVI never need it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from collapsebench.model.kernels.blocks import block_of
from collapsebench.model.kernels.likelihoods import categorical

ROWS = 320
"""The rows of logits in a block on the CPU. For a vocabulary of 10,000 words a block stays in the last cache."""


def plain_log_likelihood(
    h: Float[Tensor, "S B T W"], layer: nn.Linear, tokens: Int[Tensor, "B T"]
) -> Float[Tensor, "S B"]:
    r"""Give \(\sum_t \log \mathrm{softmax}(Wh_t + b)_{x_t}\) in nats, by torch's own operations."""
    return categorical(layer(h), tokens)


def fused_log_likelihood(
    h: Float[Tensor, "S B T W"], layer: nn.Linear, tokens: Int[Tensor, "B T"]
) -> Float[Tensor, "S B"]:
    """Give the same as `plain_log_likelihood` with less work and memory."""
    targets = tokens.expand(h.shape[:-1])
    bias = layer.weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias
    log_p = log_probability(h.flatten(0, -2), layer.weight, bias, targets.flatten())
    return log_p.view_as(targets).sum(-1)


def log_probability(
    h: Float[Tensor, "n W"], weight: Float[Tensor, "V W"], bias: Float[Tensor, " V"], targets: Int[Tensor, " n"]
) -> Float[Tensor, " n"]:
    """Give the log-probability of each row's target in nats. It is twice differentiable by h, weight and bias."""
    needed = torch.is_grad_enabled() and any(t.requires_grad for t in (h, weight, bias))
    with torch.no_grad():
        p = h.new_empty(len(h) if needed else min(block_of(ROWS, h.device), len(h)), len(weight))
        log_p = _log_probability(h, weight, bias, targets, p)
    return (
        _by_input(h, weight, bias, targets, p, log_p) + _by_weight(weight, bias, (h,), targets, p) if needed else log_p
    )


def _log_probability(h: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, p: Tensor) -> Tensor:
    """Give (n,). The probabilities stay in p if it has room for all rows. A smaller p is one block that is reused."""
    log_p, keep, size = h.new_empty(len(h)), len(p) == len(h), block_of(ROWS, h.device)
    for start in range(0, len(h), size):
        rows = slice(start, start + size)
        block = p[rows] if keep else p[: len(h) - start]
        torch.log_softmax(torch.addmm(bias, h[rows], weight.T, out=block), 1, out=block)
        log_p[rows] = block.gather(1, targets[rows, None])[:, 0]
        if keep:
            block.exp_()
    return log_p


class _ByInput(Function):
    """The log-probability, as a function of h alone."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> Tensor:
        *kept, log_p = tensors
        ctx.save_for_backward(*kept)
        return log_p

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        return _input_gradient(g, *ctx.saved_tensors), None, None, None, None, None


class _InputGradient(Function):
    r"""The gradient \(\nabla_h \sum_i g_i \log p_i = G(E - P)W\), a function of g, h, weight and bias."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> Tensor:
        g, h, weight, _, targets, p = tensors
        ctx.save_for_backward(g, h, weight, targets, p)
        return (weight[targets] - p @ weight).mul_(g[:, None])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
        r"""Differentiate \(\sum_i g_i [R_{i x_i} - \sum_j P_{ij} R_{ij}]\), where \(R = UW^\top\).

        Q is the tangent of P along u.
        """
        g, h, weight, targets, p = ctx.saved_tensors
        weighted_h, weighted_u = g[:, None] * h, g[:, None] * u
        of_g, of_h, of_bias = torch.empty_like(g), torch.empty_like(h), torch.zeros_like(weight[:, 0])
        of_weight = (p.T @ weighted_u).neg_().index_add_(0, targets, weighted_u)
        size = block_of(ROWS, p.device)
        buffer = p.new_empty(min(size, len(p)), p.shape[1])
        for start in range(0, len(p), size):
            rows = slice(start, start + size)
            q = torch.mm(u[rows], weight.T, out=buffer[: len(p) - start])
            mean = torch.linalg.vecdot(p[rows], q)
            torch.sub(q.gather(1, targets[rows, None])[:, 0], mean, out=of_g[rows])
            q.sub_(mean[:, None]).mul_(p[rows])
            torch.mm(q, weight, out=of_h[rows])
            torch.addmm(of_weight, q.T, weighted_h[rows], alpha=-1, out=of_weight)
            torch.addmv(of_bias, q.T, g[rows], alpha=-1, out=of_bias)
        return of_g, of_h.mul_(-g[:, None]), of_weight, of_bias, None, None


class _ByWeight(Function):
    """Zero, with the gradient of the log-probability by weight and bias.

    Adding it to `_ByInput` gives the log-probability with all its gradients. h comes in a tuple, so that autograd does
    not see it as an input of this node.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor, h: tuple[Tensor], targets: Tensor, p: Tensor) -> Tensor:
        ctx.save_for_backward(weight, bias, targets, p)
        (ctx.h,) = h
        return p.new_zeros(len(targets))

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        weight, bias, targets, p = ctx.saved_tensors
        if torch.is_grad_enabled():  # no inference strategy needs these second derivatives: they may be slow
            p = linear(ctx.h, weight, bias).softmax(1)
        weighted = g[:, None] * ctx.h
        of_weight = (p.T @ weighted).neg().index_add(0, targets, weighted)
        of_bias = (p.T @ g).neg().index_add(0, targets, g)
        return of_weight, of_bias, None, None, None


_by_input: Callable[..., Tensor] = _ByInput.apply
_input_gradient: Callable[..., Tensor] = _InputGradient.apply
_by_weight: Callable[..., Tensor] = _ByWeight.apply
