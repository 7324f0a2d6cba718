"""Operations that nobody counts are named, instead of being free.

An operation of torch is counted by a formula, or known to multiply no matrices, or named in the record of the run. What
this catches: every operation that torch dispatches in a counted step and that is neither, those of other libraries
included. What it cannot catch: kernels that are called past torch's dispatcher (NumPy, ctypes, compiled code).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from functools import cache

import torch
from torch._ops import OperatorBase, OpOverload

from collapsebench.record import Finding, Guard

NAMES = """
    abs acos adagrad adam adamw adaptive_avg_pool adaptive_max_pool add add_relu addcdiv addcmul
    affine_grid_generator alias all allclose amax amin aminmax amp_foreach_non_finite_check_and_unscale
    amp_update_scale any arange argmax argmin as_strided asin assert_async assert_scalar assert_tensor_metadata atan
    avg_pool bartlett_window batch_norm batch_norm_backward_elemt batch_norm_backward_reduce batch_norm_elemt
    batch_norm_gather_stats batch_norm_gather_stats_with_counts batch_norm_no_update batch_norm_stats
    batch_norm_update_stats batch_norm_with_update batch_norm_with_update_functional bernoulli binary_cross_entropy
    binary_cross_entropy_with_logits bincount binomial bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift
    bitwise_xor blackman_window block_diag bucketize cat cauchy ccol_indices ceil celu channel_shuffle chunk_cat
    clamp_max clamp_min clone coalesce coalesced col2im col_indices complex compute_contiguous_strides_offsets
    compute_linear_combination conj conj_physical constant_pad_nd convert_indices_from_coo_to_csr
    convert_indices_from_csr_to_coo copy copy_from copy_from_and_resize copy_sparse_to_sparse copysign cos cosh
    count_nonzero cross crow_indices ctc_loss cudnn_affine_grid_generator cudnn_batch_norm cudnn_ctc_loss
    cudnn_grid_sampler cudnn_init_dropout_state cudnn_rnn_flatten_weight cummax cummax_helper cummin cummin_helper
    cumprod cumsum dense_dim dequantize detach diag_embed diagonal dimI dimV dirichlet_grad dist div dropout
    efficientzerotensor elu embedding embedding_bag embedding_bag_dense embedding_bag_forward_only
    embedding_bag_per_sample_weights embedding_dense embedding_renorm empty empty_affine_quantized empty_like
    empty_per_channel_affine_quantized empty_permuted empty_quantized empty_strided eq erf erfc exp expand expm1
    exponential eye fake_quantize_learnable_per_channel_affine fake_quantize_learnable_per_tensor_affine
    fake_quantize_per_channel_affine_cachemask fake_quantize_per_tensor_affine_cachemask
    fake_quantize_per_tensor_affine_cachemask_tensor_qparams fft_fftfreq fft_rfftfreq fill fill_mem_eff_dropout_mask
    flip floor floor_divide frac fractional_max_pool from_file from_padded from_padded_and_nested_example
    from_padded_tensor full full_like functional_assert_async functional_assert_scalar
    functional_sym_constrain_range functional_sym_constrain_range_for_size fw_primal gather gcd ge gelu geometric
    get_jagged_dummy get_lengths get_max_seqlen get_min_seqlen get_offsets get_ragged_idx get_values glu
    grid_sampler grid_sampler_cpu_fallback gt hamming_window hann_window hardshrink hardsigmoid hardswish hardtanh
    has_same_storage_numel hash_tensor heaviside histc histogram histogramdd_bin_edges histogramdd_from_bin_cts
    histogramdd_from_bin_tensors huber_loss im2col index index_add index_fill index_put index_put_impl index_reduce
    index_select indices int_repr irshift is_all_true is_any_true is_coalesced is_pinned is_same_size is_set_to isin
    isinf isnan jagged_to_padded_dense kaiser_window kthvalue lazy_clone lcm le leaky_relu lerp lgamma lift
    lift_fresh linalg__powsum linalg_check_errors linalg_cross linalg_vector_norm linspace local_scalar_dense log
    log10 log1p log2 log_normal log_sigmoid log_softmax logcumsumexp logspace logsumexp lshift lt lu_unpack
    make_dep_token make_dual make_per_channel_quantized_tensor make_per_tensor_quantized_tensor masked masked_fill
    masked_scale masked_select masked_softmax max max_pool max_pool_with_indices max_unpool maximum mean median min
    minimum miopen_batch_norm miopen_ctc_loss mish mkldnn_adaptive_avg_pool mkldnn_max_pool
    mkldnn_reorder_conv_weight mkldnn_reshape mkldnn_transpose mode moving_avg_obs_fq_helper
    moving_avg_obs_fq_helper_functional mse_loss mul multi_margin_loss multilabel_margin_loss multinomial nan_to_num
    nanmedian nansum narrow native_batch_norm native_batch_norm_legit native_batch_norm_legit_functional
    native_batch_norm_legit_no_training native_dropout native_group_norm native_layer_norm native_norm ne neg
    neg_view new_empty new_empty_strided new_full new_ones new_zeros new_zeros_with_same_feature_meta nll_loss nnz
    nonzero nonzero_static norm normal normal_functional ones ones_like pack_padded_sequence padded_dense_to_jagged
    permute philox_key_fold_in philox_key_split philox_normal philox_uniform pin_memory pixel_shuffle
    pixel_unshuffle poisson polar pow powsum prelu_kernel print prod put q_per_channel_axis q_per_channel_scales
    q_per_channel_zero_points q_scale q_zero_point qscheme quantize_per_channel quantize_per_tensor
    quantize_per_tensor_dynamic quantized_batch_norm quantized_max_pool rand rand_like randint randint_like randn
    randn_like random randperm range reciprocal record_stream reflection_pad relu remainder renorm repeat
    repeat_interleave replication_pad reshape reshape_alias resize resize_as resize_as_sparse resize_output rms_norm
    roll rot90 round row_indices rrelu_with_noise rrelu_with_noise_functional rshift rsqrt rsub safe_softmax
    sample_dirichlet scalar_tensor scatter scatter_add scatter_reduce sdp_choice searchsorted segment_reduce select
    set sgd sigmoid sign silu sin sinh slice smooth_l1_loss soft_margin_loss softmax softplus softshrink sort
    sparse_broadcast_to sparse_compressed_tensor sparse_compressed_tensor_with_dims sparse_coo_tensor
    sparse_coo_tensor_with_dims sparse_coo_tensor_with_dims_and_tensors sparse_csr_prod sparse_csr_sum sparse_dim
    sparse_log_softmax sparse_mask sparse_mask_projection sparse_resize sparse_resize_and_clear sparse_softmax
    sparse_sum spdiags split split_with_sizes sqrt squeeze stack standard_gamma standard_gamma_grad std std_mean sub
    sum sym_constrain_range sym_constrain_range_for_size t take tan tanh tensor_from_mask
    tensor_from_mask_left_aligned tensor_from_tensor_list tensor_size tensor_softmax_with_shape
    tensor_storage_offsets tensor_strides thnn_fused_gru_cell thnn_fused_lstm_cell
    thnn_fused_lstm_cell_backward_impl threshold to to_dense to_mkldnn to_padded_tensor to_sparse to_sparse_bsc
    to_sparse_bsr to_sparse_csc to_sparse_csr topk trace transform_bias_rescale_qkv transpose tril tril_indices triu
    triu_indices trunc unbind unfold uniform unique unique2 unique_consecutive unique_dim unique_dim_consecutive
    unsafe_index unsafe_index_put unsafe_masked_index unsafe_masked_index_put_accumulate unsafe_split
    unsafe_split_with_sizes unsafe_view unsqueeze upsample_bicubic upsample_bicubic_aa upsample_bilinear
    upsample_bilinear_aa upsample_lanczos_aa upsample_linear upsample_nearest upsample_nearest_exact
    upsample_trilinear use_cudnn_ctc_loss use_miopen_ctc_loss validate_compressed_sparse_indices values var var_mean
    view view_as_complex view_as_real view_from_buffer view_from_jagged weight_norm_interface where xlogy zero zeros
    zeros_like
"""

HARMLESS = frozenset(NAMES.split())
"""Operations that move, compare, reduce, draw or combine numbers one by one, by the names of their families.

Torch tags most operations that are pointwise, and knows its views; this list is for the others.
"""

INQUIRIES = frozenset({"prim", "prims", "profiler"})
"""Namespaces of questions (a tensor's device), of pointwise operations, and of the profiler's marks."""

PRIMS_OF_MATRICES = frozenset({"svd", "fft_r2c", "fft_c2c", "fft_c2r"})

PREFIXES = ("foreach_", "fused_", "nested_")
SUFFIXES = ("_copy", "_backward", "_forward", "_scatter", "_data", "_jvp", "_")


def family(name: str) -> str:
    """Return the name of an operation without the marks of its variants.

    >>> from collapsebench.guards.operations import family
    >>> family("_foreach_add_"), family("avg_pool2d_backward"), family("_cdist_forward")
    ('add', 'avg_pool', 'cdist')
    """
    name = name.strip("_")
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    while suffix := next((suffix for suffix in SUFFIXES if name.endswith(suffix)), None):
        name = name.removesuffix(suffix)
    return re.sub(r"_?[123]d(?=_|$)", "", name)


def multiplies_no_matrices(operation: OpOverload) -> bool:
    """Return whether an operation is known to do no arithmetic of the matrix kind."""
    name = operation.overloadpacket.__name__
    if operation.namespace in INQUIRIES:
        return name not in PRIMS_OF_MATRICES
    if operation.namespace != "aten":
        return False
    return torch.Tag.pointwise in operation.tags or operation.is_view or family(name) in HARMLESS


@cache
def uncounted_name(operation: OperatorBase) -> str | None:
    """Return the name of an operation that has no formula, or None if it is known to need none."""
    if not isinstance(operation, OpOverload):
        return str(operation)
    if multiplies_no_matrices(operation):
        return None
    name = operation.overloadpacket.__name__
    return family(name) if operation.namespace == "aten" else f"{operation.namespace}::{name}"


def uncounted(operations: Iterable[OperatorBase]) -> set[str]:
    """Return the names of operations without a formula that may multiply matrices, as a user knows them."""
    return {name for operation in operations if (name := uncounted_name(operation)) is not None}


def named(names: Collection[str]) -> Finding | None:
    """Return the finding that names uncounted operations, if there are any."""
    if not names:
        return None
    return Finding(guard=Guard.OPERATIONS, text=f"uncounted operations: {', '.join(sorted(names))}")
