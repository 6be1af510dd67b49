"""The operators that an exported program may call: those that compute numbers from numbers, and no others.

PyTorch finds operators by name, also such as ``aten::save``, which writes a file, ``aten::_print`` and
``aten::manual_seed``. So what is not listed here is refused. Listed are the operators that PyTorch itself tags as part
of its core, as pointwise, or as reductions, and by name those that models are exported with beside them.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

_ATEN = r"""
__(i?and|i?or|i?xor|i?lshift|i?rshift)__ _adaptive_\w+ _addmm_activation _assert_(async|scalar|tensor_metadata)
_cdist_forward _conj _conj_copy _conj_physical _convolution _convolution_mode _embedding_bag(_forward_only)? _fft_\w+
_functional_assert_(async|scalar) _fused_rms_norm _grid_sampler_2d_cpu_fallback _is_all_true _is_any_true
_linalg_\w+ _local_scalar_dense _log_softmax _lstm_mps _native_batch_norm_legit(_no_training|_functional)?
_native_multi_head_attention _neg_view _neg_view_copy _pad_(circular|enum) _pdist_forward _prelu_kernel
_reshape_(alias|copy|alias_copy|from_tensor) _safe_softmax _scaled_dot_product_\w+ _shape_as_tensor _softmax _stack
_to_copy _transform_bias_rescale_qkv _transformer_encoder_layer_fwd _trilinear _unique2? _unsafe_(view|index|index_put)
_unsafe_masked_index _upsample_\w+ _weight_norm(_interface)?
adaptive_\w+ addbmm addr adjoint affine_grid_generator alias(_copy)? (alpha_|feature_|feature_alpha_)?dropout_? arange
argsort argwhere as_strided as_strided_(copy|scatter) atleast_[123]d avg_pool[123]d baddbmm batch_norm bernoulli_?
bilinear bincount block_diag broadcast_(tensors|to) bucketize can_cast cartesian_prod cat cdist chain_matmul
channel_shuffle cholesky(_inverse|_solve)? chunk clone col2im column_stack combinations complex concat concatenate
constant_pad_nd contiguous conv(olution|[123]d|_tbc|_transpose[123]d) copy_? corrcoef cosine_similarity count_nonzero
cov cross cummax cummin cumprod cumsum cumulative_trapezoid det detach_? detach_copy diag diag_embed diagflat
diagonal\w* diff dim dist dot dsplit dstack einsum embedding(_bag)? empty(_like|_strided|_permuted)? equal expand\w* eye
fake_quantize_per_(channel|tensor)_affine\w* fft_\w+ fill_? fill_diagonal_ flatten flip fliplr flipud frobenius_norm
full(_like)? gather ger glu grid_sampler(_[23]d)? group_norm (bartlett|blackman|hamming|hann|kaiser)_window histc
histogram hsplit hstack im2col imag index index_(add|copy|fill|put|reduce)_? index_select inner instance_norm inverse
is_(complex|conj|contiguous|floating_point|inference|neg|nonzero|same_size|signed)
is(close|finite|in|inf|nan|neginf|posinf|real) item kron _masked_softmax _aminmax _int_mm _weight_int8pack_mm allclose
(de)?quantize(_per_\w+)? int_repr q_\w+ fractional_max_pool[23]d gradient remainder_? range lu_(solve|unpack)
kthvalue layer_norm lift_fresh(_copy)? linalg_\w+ linear linspace log_softmax logcumsumexp logdet logspace logsumexp
(gru|lstm|rnn_relu|rnn_tanh)(_cell)? m[HT] masked_(fill|scatter|select)_? matmul matrix_(H|exp|power)
max_(un)?pool[123]d(_with_indices)? median meshgrid mm bmm mode moveaxis movedim msort multinomial mv nanmean
nanmedian nanquantile nansum narrow(_copy)? native_(batch_norm|channel_shuffle|dropout|group_norm|layer_norm|norm)
new_(empty|empty_strided|full|ones|zeros) nonzero(_numpy|_static)? norm norm_except_dim normal normal_functional
nuclear_norm numel numpy_T one_hot ones(_like)? orgqr ormqr outer pad pad_sequence pairwise_distance pdist
permute(_copy)? pinverse pixel_(un)?shuffle poisson polar prelu promote_types put qr quantile rand(n|int|perm)?
rand(n|int)?_like ravel real (reflection|replication)_pad[123]d renorm repeat repeat_interleave reshape reshape_as
resolve_(conj|neg) result_type rms_norm roll rot90 row_stack rrelu rrelu_with_noise\w* scalar_tensor
scaled_dot_product_attention scatter\w* searchsorted segment_reduce select\w* size slice\w* slogdet softmax sort split
split_copy split_with_sizes(_copy)? square squeeze_? squeeze_copy stack std std_mean stft istft stride storage_offset
sum_to_size svd swap(axes|dims)_? sym_\w+ t_? t_copy take take_along_dim tensor_split tensordot tile to topk trace
transpose_? transpose_copy trapezoid trapz triangular_solve tril_? triu_? (tril|triu)_indices type_as unbind(_copy)?
unflatten unfold(_copy)? uniform unique_(consecutive|dim|dim_consecutive) unsafe_(chunk|split|split_with_sizes)
unsqueeze_? unsqueeze_copy upsample_\w+ vander var var_mean vdot view view_(as|as_complex|as_real|copy) vsplit vstack
where zero_? zeros(_like)?
(absolute|arc(cos|sin|tan)h?|arctan2|celu|clip|divide|elu|fix|float_power|floor_divide|gelu|greater(_equal)?)_?
(hard(shrink|sigmoid|swish|tanh)|ldexp|leaky_relu|lerp|less(_equal)?|log_sigmoid(_forward)?|logit|mish|multiply)_?
(mvlgamma|nan_to_num|negative|not_equal|positive|relu6?|selu|silu|soft(plus|shrink)|square|subtract|threshold)_?
(true_divide|bernoulli|detach)_? special_\w+
"""
_PRIMS = """
abs acos acosh add amax amin as_strided as_strided_scatter asin asinh atan atan2 atanh bessel_\\w+ bitwise_\\w+
broadcast_in_dim cat cbrt ceil clone collapse collapse_view conj conj_physical convert_element_type copy_strided copy_to
cos cosh device_put digamma div empty empty_permuted empty_strided eq erf\\w* exp exp2 expm1 fft_\\w+ fill floor fmax
fmin fmod frexp full full_like gcd ge gt hypot igamma igammac imag iota isfinite item le lgamma log log10 log1p log2 lt
maximum maximum_value minimum minimum_value mul ndtri ne neg nextafter normal pow prod real reciprocal remainder reshape
rev round rsqrt scalar_tensor shift_left shift_right_arithmetic sign signbit sin sinh slice\\w* spherical_bessel_j0
split_dim sqrt squeeze sub sum svd tan tanh transpose trunc uniform var view_of view_of_dtype where xor_sum zeta
"""
_QUANTIZED = r"add choose_qparams\w+ convert_element_type embedding_\w+ fake_quant\w+ mixed_\w+ (de)?quantize_per_\w+"
_TORCHVISION = r"nms qnms (ps_)?roi_(align|pool) deform_conv2d"
_HIGHER_ORDER = "wrap_with_set_grad_enabled wrap_with_autocast cond"
_NUMBERS = """
abs add and_ eq floordiv ge getitem gt index inv invert le lshift lt mod mul ne neg not_ or_ pos pow rshift sub truediv
xor
"""
_MATH = "acos asin atan ceil cos cosh exp floor log2 pow sin sinh sqrt tan tanh trunc"
_SYMBOLIC = r"int|float|max|min|not|ite|sqrt|sum|fresh_size|is_contiguous|constrain_range\w*"
_TAGS = ("core", "pointwise", "reduction", "view_copy")
_UNSAFE = re.compile(r"_\w+|(fbgemm|cudnn|miopen|mkldnn|nested|quantized|resize|set|sparse)_\w*")
_OPERATOR = re.compile(r"torch\.ops\.(\w+)\.(\w+)(?:\.(\w+))?", re.ASCII)


def _any_of(words: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{word})" for word in words.split()), re.ASCII)


_NAMED = {
    "aten": _any_of(_ATEN),
    "prims": _any_of(_PRIMS),
    "quantized_decomposed": _any_of(_QUANTIZED),
    "torchvision": _any_of(_TORCHVISION),
    "higher_order": _any_of(_HIGHER_ORDER),
}
_PLAIN = re.compile(
    rf"_operator\.({'|'.join(_NUMBERS.split())})|math\.({'|'.join(_MATH.split())})|torch\._?sym_({_SYMBOLIC})", re.ASCII
)


@cache
def may_be_called(target: str) -> bool:
    """Whether a name in a program is that of an operator which computes and does nothing else.

    Args:
        target: as PyTorch writes it, ``"torch.ops.aten.relu.default"`` or ``"_operator.add"``.
    """
    found = _OPERATOR.fullmatch(target)
    if found is None:
        return _PLAIN.fullmatch(target) is not None
    space, name, overload = found.groups()
    if space not in _NAMED or (overload is None) != (space == "higher_order"):
        return False
    return _NAMED[space].fullmatch(name) is not None or (space == "aten" and _is_tagged(name))


def _is_tagged(name: str) -> bool:
    """Whether PyTorch says of one of its operators that it is of a kind which computes; in place or not."""
    import torch

    if _UNSAFE.fullmatch(name):
        return False
    for form in (name, name.removesuffix("_")):
        packet: Any = getattr(torch.ops.aten, form, None)
        kinds = [getattr(packet, overload).tags for overload in packet.overloads()] if packet is not None else []
        if any(tag.name in _TAGS for tags in kinds for tag in tags):
            return True
    return False
