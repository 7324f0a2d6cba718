"""What an operation costs: a formula for every one that multiplies matrices or vectors, by torch's name for it.

A product (m, k) by (k, n) is 2mkn FLOPs, as a multiplication and its addition are two. A product of a matrix and a
vector is 2mk, one of two vectors 2k, and a sparse one twice the products of entries that are stored. Elementwise work,
reductions, copies and draws do not count; nor does `outer`, which multiplies elements and adds nothing up.

Decompositions count as the textbook does, whatever a library does inside (G. Golub and C. Van Loan, Matrix
Computations, 4th edition; leading terms). For a square matrix of size n:

    Cholesky n³/3 (4.2), LU 2n³/3 (3.2), a triangular solve n² a right side (3.1), QR 4n³/3 and as much for Q (5.2),
    inverse 2n³, eigenvalues and vectors of a symmetric matrix 9n³ (8.3), of others 25n³ (7.5), singular values and
    vectors 22n³ (8.6); the values alone cost as much, as torch computes the vectors too where operations are counted

The number of products in an exponential of a matrix depends on its values. By convention it is eight (N. Higham, The
Scaling and Squaring Method for the Matrix Exponential Revisited, 2005: six for the approximant, and two squarings). A
Fourier transform of N complex numbers is 5N log₂ N, one of real numbers the half (M. Frigo and S. Johnson, FFTW, 2005).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from math import log2, prod
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch._ops import OperatorBase, OpOverload
from torch.utils.flop_counter import flop_registry

from collapsebench.model.kernels.autograd import needed_gradients

Formula: TypeAlias = Callable[..., int]
"""From the arguments of an operation, and `out_val`, its result, to FLOPs."""

STRIDED = torch.strided
COMPRESSED = (torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc)


def matrix_product(left: Tensor, right: Tensor, *_: Any, out_val: Tensor, **__: Any) -> int:
    """Return the FLOPs of (…, m, k) by (…, k, n). Torch's own formula gives the same and is slower."""
    if left.layout is not STRIDED or right.layout is not STRIDED:
        return sparse_product(left, right)
    return 2 * out_val.numel() * left.shape[-1]


def added_product(bias: Tensor, left: Tensor, right: Tensor, *_: Any, out_val: Tensor, **__: Any) -> int:
    """Return the FLOPs of a product that is added to something."""
    del bias
    return matrix_product(left, right, out_val=out_val)


def sparse_product(left: Tensor, right: Tensor, *_: Any, **__: Any) -> int:
    """Return the FLOPs of (m, k) by (k, n), of which one or both are sparse.

    If both are, their entries are taken to be spread evenly: nnz(left) · nnz(right) / k products.
    """
    return 2 * entries(left) * entries(right) // max(1, left.shape[-1])


def added_sparse_product(bias: Tensor, left: Tensor, right: Tensor, *_: Any, **__: Any) -> int:
    """Return the FLOPs of a sparse product that is added to something."""
    del bias
    return sparse_product(left, right)


def entries(tensor: Tensor) -> int:
    """Return how many numbers a tensor stores."""
    if tensor.layout is torch.sparse_coo:
        return tensor._values().numel()  # noqa: SLF001 - `values` refuses uncoalesced tensors
    return tensor.values().numel() if tensor.layout in COMPRESSED else tensor.numel()


def sampled_product(bias: Tensor, left: Tensor, *_: Any, **__: Any) -> int:
    """Return the FLOPs of a product of which only the entries are computed that a sparse matrix has."""
    return 2 * entries(bias) * left.shape[-1]


def reduced_sparse_product_backward(left: Tensor, grad: Tensor, *rest: Any, **_: Any) -> int:
    """Return the FLOPs of the gradients that are asked for."""
    wanted: Sequence[bool] = rest[-1]
    return 2 * entries(left) * grad.shape[-1] * sum(wanted)


def summed_product(bias: Tensor, left: Tensor, right: Tensor, *_: Any, **__: Any) -> int:
    """Return the FLOPs of (b, m, k) by (b, k, n), summed over b."""
    del bias
    return 2 * left.numel() * right.shape[-1]


def products(lefts: Sequence[Tensor], rights: Sequence[Tensor], *_: Any, out_val: Any, **__: Any) -> int:
    """Return the FLOPs of a list of products."""
    return sum(matrix_product(*pair, out_val=out) for *pair, out in zip(lefts, rights, out_val, strict=True))


def matrix_vector(matrix: Tensor, *_: Any, **__: Any) -> int:
    """Return the FLOPs of (m, k) by (k,), and of a product of two vectors: 2 for every entry of the first."""
    return 2 * entries(matrix)


def added_matrix_vector(bias: Tensor, matrix: Tensor, *_: Any, **__: Any) -> int:
    """Return the FLOPs of a product with a vector that is added to something."""
    del bias
    return matrix_vector(matrix)


def added_outer(bias: Tensor, left: Tensor, right: Tensor, *_: Any, **__: Any) -> int:
    """Return the FLOPs of (m,) by (n,) that is added to a matrix."""
    del bias
    return 2 * left.numel() * right.numel()


def lstm(x: Tensor, w_ih: Tensor, w_hh: Tensor, *_: Any, **__: Any) -> int:
    """Return the FLOPs of a recurrent layer that oneDNN fuses: x (T, B, I), weights of an LSTM (4H, I) and (4H, H)."""
    return 2 * prod(x.shape[:2]) * (w_ih.numel() + w_hh.numel())


def lstm_backward(x: Tensor, w_ih: Tensor, w_hh: Tensor, *_: Any, **__: Any) -> int:
    """Return the FLOPs of the layer's backward: of the gradients that are asked for, though oneDNN computes them all.

    Then a step has the same FLOPs on a machine where nothing is fused and autograd skips the other gradients.
    """
    steps, examples = x.shape[:2]
    node = torch._C._current_autograd_node()  # noqa: SLF001 - no public function gives it
    of_x, of_w_ih, of_w_hh, *_biases, of_first_state, _of_first_cell = needed_gradients(node)
    inputs = 2 * steps * examples * w_ih.numel() * (of_x + of_w_ih)
    states = 2 * examples * w_hh.numel() * (steps * of_w_hh + steps - 1 + of_first_state)
    return inputs + states


def cudnn_rnn(x: Tensor, weights: Sequence[Tensor], *_: Any, **__: Any) -> int:
    """Return the FLOPs of recurrent layers in cuDNN: x (T, B, I), or (tokens, I) if it is packed."""
    return 2 * prod(x.shape[:-1]) * sum(weight.numel() for weight in weights if weight.dim() == 2)


def cudnn_rnn_backward(x: Tensor, weights: Sequence[Tensor], per_layer: int, *rest: Any, **_: Any) -> int:
    """Return the FLOPs of their backward: of the gradients that are asked for, as `lstm_backward` does.

    `per_layer` is the number of weights of a layer in one direction. The first state is (layers · directions, B, H).
    The last argument says what is asked for: the gradients of x, of both first states, of the weights.
    """
    first_state: Tensor = rest[1]
    of_x, of_first_state, _of_first_cell, of_weights = rest[-1]
    directions = 2 if rest[-5] else 1
    of_inputs = sum(each.numel() for each in weights[: directions * per_layer : per_layer])
    unread = 0 if of_x else 2 * prod(x.shape[:-1]) * of_inputs
    of_states = sum(each.numel() for each in weights[1::per_layer])
    states = 0 if of_first_state else 2 * first_state.shape[1] * of_states
    return cudnn_rnn(x, weights) * (2 if of_weights else 1) - unread - states


def attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    """Return the FLOPs of (…, S, E), (…, L, E), (…, L, V): scores and their sum. A causal mask halves nothing."""
    return 2 * prod(query.shape[:-1]) * key.shape[-2] * (query.shape[-1] + value.shape[-1])


def attention_backward(grad: Tensor, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    """Return the FLOPs of the backward: the scores once more, and gradients of scores, values, queries, keys."""
    del grad
    return 2 * prod(query.shape[:-1]) * key.shape[-2] * (3 * query.shape[-1] + 2 * value.shape[-1])


def multi_head(query: Tensor, key: Tensor, value: Tensor, width: int, heads: int, *weights: Tensor, **_: Any) -> int:
    """Return the FLOPs of attention with its linear maps: query (B, S, E), input weights (3E, E), output (E, E)."""
    del value, heads
    tokens = prod(query.shape[:2])
    return 2 * tokens * (weights[0].numel() + weights[2].numel()) + 4 * tokens * key.shape[1] * width


def transformer_layer(x: Tensor, width: int, heads: int, *weights: Tensor, **_: Any) -> int:
    """Return the FLOPs of an encoder layer that torch fuses in evaluation, for x (B, T, E)."""
    batch, length, _width = x.shape
    feed_forward = 2 * batch * length * (weights[11].numel() + weights[13].numel())
    return multi_head(x, x, x, width, heads, *weights) + feed_forward


def trilinear(first: Tensor, second: Tensor, third: Tensor, *expanded: Sequence[int], **_: Any) -> int:
    """Return the FLOPs of a sum over products of three: two multiplications and an addition each."""
    shapes = [expand(each, axes) for each, axes in zip((first, second, third), expanded[:3], strict=True)]
    space: list[int] = [max(sizes) for sizes in zip(*shapes, strict=True)]
    return 3 * prod(space)


def expand(tensor: Tensor, axes: Sequence[int]) -> list[int]:
    """Return the shape of a tensor with further axes of size one."""
    shape = list(tensor.shape)
    for axis in sorted(axes):
        shape.insert(axis, 1)
    return shape


def time_convolution(x: Tensor, weight: Tensor, *_: Any, out_val: Tensor, **__: Any) -> int:
    """Return the FLOPs of a convolution over time: weight (K, I, O), result (T, B, O)."""
    del x
    return 2 * out_val.numel() * prod(weight.shape[:2])


def time_convolution_backward(grad: Tensor, x: Tensor, weight: Tensor, *_: Any, **__: Any) -> int:
    """Return the FLOPs of the gradients of x and weight."""
    del x
    return 4 * grad.numel() * prod(weight.shape[:2])


def distances(left: Tensor, right: Tensor, *_: Any, out_val: Tensor, **__: Any) -> int:
    """Return the FLOPs of distances between (…, m, k) and (…, n, k): those of the product, whatever the norm."""
    del right
    return 2 * out_val.numel() * left.shape[-1]


def distances_backward(grad: Tensor, left: Tensor, *_: Any, **__: Any) -> int:
    """Return the FLOPs of their backward by one side."""
    return 2 * grad.numel() * left.shape[-1]


def own_distances(points: Tensor, *_: Any, out_val: Tensor, **__: Any) -> int:
    """Return the FLOPs of distances within (n, k)."""
    return 2 * out_val.numel() * points.shape[-1]


class Size(NamedTuple):
    """The size of matrices, the longer side first, and how many there are."""

    long: int
    short: int
    number: int

    @classmethod
    def of(cls, matrix: Tensor) -> Size:
        """Read it from (…, m, n)."""
        *batch, m, n = matrix.shape
        return cls(max(m, n), min(m, n), prod(batch))


def cube(thirds: int) -> Formula:
    """Return the formula of what costs so many thirds of n³."""
    return lambda matrix, *_, **__: thirds * prod(matrix.shape[:-2]) * matrix.shape[-1] ** 3 // 3


def lu(matrix: Tensor, *_: Any, **__: Any) -> int:
    """Return mn² − n³/3 for m ≥ n, which is 2n³/3 for a square matrix."""
    size = Size.of(matrix)
    return size.number * (3 * size.long * size.short**2 - size.short**3) // 3


def householder(matrix: Tensor, *_: Any, **__: Any) -> int:
    """Return 2mn² − 2n³/3 for m ≥ n, the triangular factor of a QR decomposition."""
    return 2 * lu(matrix)


def orthogonal(reflectors: Tensor, tau: Tensor, *_: Any, **__: Any) -> int:
    """Return 4mnk − 2(m + n)k² + 4k³/3, for n columns of the product of k reflectors."""
    *batch, m, n = reflectors.shape
    return prod(batch) * _orthogonal(m, n, tau.shape[-1])


def _orthogonal(m: int, n: int, k: int) -> int:
    return 4 * m * n * k - 2 * (m + n) * k**2 + 4 * k**3 // 3


def qr(matrix: Tensor, mode: str = "reduced", *_: Any, **__: Any) -> int:
    """Return the FLOPs of the triangular factor, and of the orthogonal one if it is asked for."""
    *batch, m, n = matrix.shape
    k = min(m, n)
    columns = {"reduced": k, "complete": m}.get(mode)
    return householder(matrix) + (0 if columns is None else prod(batch) * _orthogonal(m, columns, k))


def reflected(reflectors: Tensor, tau: Tensor, other: Tensor, left: bool = True, *_: Any, **__: Any) -> int:
    """Return the FLOPs of k reflectors on (m, n): 4mnk − 2nk² from the left, 4mnk − 2mk² from the right."""
    del reflectors
    *batch, m, n = other.shape
    k = tau.shape[-1]
    return prod(batch) * (4 * m * n * k - 2 * (n if left else m) * k**2)


def substitution(sides: int) -> Formula:
    """Return the formula of (factor, …, right sides) with so many triangular solves, each n² a right side."""

    def formula(*arguments: Any, **_: Any) -> int:
        factor, *_pivots, right = [each for each in arguments if isinstance(each, Tensor)]
        return sides * factor.shape[-1] * right.numel()

    return formula


def substitution_reversed(sides: int) -> Formula:
    """Return the same for (right sides, factor, …)."""
    return lambda right, factor, *_, **__: sides * factor.shape[-1] * right.numel()


def solve(matrix: Tensor, right: Tensor, *_: Any, **__: Any) -> int:
    """Return 2n³/3 and 2n² a right side."""
    return lu(matrix) + 2 * matrix.shape[-1] * right.numel()


def least_squares(matrix: Tensor, right: Tensor, *_: Any, **__: Any) -> int:
    """Return the FLOPs of a QR decomposition, of its reflectors on every right side, and of a triangular solve."""
    size = Size.of(matrix)
    sides = right.numel() // max(1, matrix.shape[-2])
    return householder(matrix) + sides * (4 * size.long * size.short - size.short**2)


def singular(matrix: Tensor, full_matrices: bool = False, *_: Any, **__: Any) -> int:
    """Return 14mn² + 8n³ for m ≥ n, and 4m²n + 8mn² + 9n³ with all of U."""
    m, n, number = Size.of(matrix)
    return number * (4 * m**2 * n + 8 * m * n**2 + 9 * n**3 if full_matrices else 14 * m * n**2 + 8 * n**3)


def pseudoinverse(matrix: Tensor, *_: Any, **__: Any) -> int:
    """Return the FLOPs of a singular value decomposition and of the product of its factors."""
    m, n, number = Size.of(matrix)
    return singular(matrix) + 2 * number * m * n**2


def fourier(share: float) -> Formula:
    """Return the formula of 5N log₂ n, times a share, for N numbers that are transformed over axes of n."""

    def formula(x: Tensor, axes: Sequence[int], *_: Any, out_val: Tensor, **__: Any) -> int:
        full = out_val if x.is_complex() else x  # of a real transform the other side holds one half
        lengths = prod(full.shape[axis] for axis in axes)
        return round(5 * share * full.numel() * log2(max(1, lengths)))

    return formula


GROUPS: Sequence[tuple[Formula, str]] = (
    (matrix_product, "mm bmm _int_mm"),
    (added_product, "addmm baddbmm _addmm_activation"),
    (sparse_product, "_sparse_sparse_matmul hspmm _sparse_mm_reduce_impl"),
    (added_sparse_product, "_sparse_addmm sspaddmm"),
    (reduced_sparse_product_backward, "_sparse_mm_reduce_impl_backward"),
    (sampled_product, "sparse_sampled_addmm"),
    (products, "_foreach_mm"),
    (summed_product, "addbmm"),
    (matrix_vector, "mv dot vdot"),
    (added_matrix_vector, "addmv"),
    (added_outer, "addr"),
    (lstm, "mkldnn_rnn_layer"),
    (lstm_backward, "mkldnn_rnn_layer_backward"),
    (cudnn_rnn, "_cudnn_rnn"),
    (cudnn_rnn_backward, "_cudnn_rnn_backward"),
    (attention, "_scaled_dot_product_flash_attention_for_cpu"),
    (attention, "_scaled_dot_product_fused_attention_overrideable"),
    (attention_backward, "_scaled_dot_product_flash_attention_for_cpu_backward"),
    (attention_backward, "_scaled_dot_product_fused_attention_overrideable_backward"),
    (multi_head, "_native_multi_head_attention"),
    (transformer_layer, "_transformer_encoder_layer_fwd"),
    (trilinear, "_trilinear"),
    (time_convolution, "conv_tbc"),
    (time_convolution_backward, "conv_tbc_backward"),
    (distances, "_cdist_forward _euclidean_dist"),
    (distances_backward, "_cdist_backward _pdist_backward"),
    (own_distances, "_pdist_forward"),
    (lu, "linalg_lu linalg_lu_factor_ex _linalg_det _linalg_slogdet"),
    (householder, "geqrf"),
    (orthogonal, "linalg_householder_product"),
    (qr, "linalg_qr"),
    (reflected, "ormqr"),
    (cube(1), "linalg_cholesky_ex cholesky linalg_ldl_factor_ex"),
    (cube(2), "cholesky_inverse"),
    (cube(6), "linalg_inv_ex"),
    (cube(48), "linalg_matrix_exp"),
    (cube(75), "linalg_eig linalg_eigvals _linalg_eigvals"),
    (substitution(1), "linalg_solve_triangular"),
    (substitution(2), "linalg_lu_solve linalg_ldl_solve"),
    (substitution_reversed(1), "triangular_solve"),
    (substitution_reversed(2), "cholesky_solve _cholesky_solve_helper"),
    (solve, "_linalg_solve_ex _spsolve"),
    (least_squares, "linalg_lstsq"),
    (cube(27), "_linalg_eigh"),
    (singular, "_linalg_svd"),
    (pseudoinverse, "linalg_pinv"),
    (fourier(1), "_fft_c2c"),
    (fourier(0.5), "_fft_r2c _fft_c2r"),
)

FORMULAS: Mapping[str, Formula] = {name: formula for formula, names in GROUPS for name in names.split()}
"""Formulas for operations that torch has none for, and faster ones for the most frequent, by name."""


class Treatment(NamedTuple):
    """What is done about an operation: count it by its formula, or look at the operations that it is made of."""

    formula: Formula | None
    composite: bool


@cache
def treatment(operation: OperatorBase) -> Treatment:
    """Return what is done about an operation. What works in place costs what its counterpart does.

    Autograd takes operations that are made of others apart before anyone sees them, but not in inference mode.
    """
    if not isinstance(operation, OpOverload):  # it takes functions, as control flow does
        return Treatment(flop_registry.get(operation), composite=False)
    packet, formula = operation.overloadpacket, None
    if operation.namespace == "aten":
        formula = FORMULAS.get(packet.__name__) or FORMULAS.get(packet.__name__.removesuffix("_"))
    formula = formula or flop_registry.get(packet)
    made_of_others = torch._C._dispatch_has_kernel_for_dispatch_key(operation.name(), "CompositeImplicitAutograd")  # noqa: SLF001
    return Treatment(formula, composite=formula is None and made_of_others)
