"""Attention of float16, of bfloat16 and of float32 multiplied as bfloat16, against the twin in float64.

The bounds are those that the docstring states; weights and results of half precision are rounded once.
"""

import itertools

import ml_dtypes
import numpy as np
import pytest

import fastcore
from fastcore import reference, scaled_dot_product_attention_varlen
from fastcore import scaled_dot_product_attention as attend
from fastcore._core import simd
from fastcore._core.validate_attention import BFLOAT_BITS
from tests.attention.conftest import OPTIONS

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
# Of inputs and how they are computed: their dtype and `precision`.
KINDS = {"float16": (np.float16, "highest"), "bfloat16": (BFLOAT16, "highest"), "as bf16": (np.float32, "bf16")}
# Unit roundoffs.
HALF, BFLOAT = 2.0**-11, 2.0**-9


def bound_of(inputs, kind, keywords):
    """How far a result may be off: rounded inputs, weights and results, and 1e-5 for sums in float32."""
    query, key, value = (np.abs(x.astype(float)) for x in inputs)
    largest = value.max(initial=0.0) / (1.0 - keywords.get("dropout_p", 0.0))
    if kind == "float16":
        return (HALF + 1e-5) * largest
    if kind == "bfloat16":
        return (2 * BFLOAT + 1e-5) * largest
    scale = abs(keywords.get("scale", 1.0 / np.sqrt(query.shape[-1])))
    repeated = np.repeat(key, query.shape[-3] // key.shape[-3], axis=-3)
    score_error = 2 * BFLOAT * scale * (query @ repeated.swapaxes(-1, -2)).max(initial=0.0)
    return (2 * score_error + 2 * BFLOAT + 1e-5) * largest


def check(inputs, kind, keywords):
    """Call and compare, with and without lse; returns the result."""
    precision = KINDS[kind][1]
    out, lse = attend(*inputs, **keywords, return_lse=True, precision=precision)
    want, want_lse = reference.scaled_dot_product_attention(
        *(x.astype(float) for x in inputs), **keywords, return_lse=True
    )
    assert out.dtype == inputs[0].dtype
    assert lse.dtype == np.float32
    bound = bound_of(inputs, kind, keywords)
    assert np.abs(out.astype(float) - want).max(initial=0.0) <= bound
    assert np.abs(attend(*inputs, **keywords, precision=precision).astype(float) - want).max(initial=0.0) <= bound
    seen = np.isfinite(want_lse)
    np.testing.assert_array_equal(lse[~seen], want_lse[~seen])
    if kind != "as bf16":
        np.testing.assert_allclose(lse[seen], want_lse[seen], rtol=1e-5, atol=1e-5)
    return out


def cast(inputs, kind):
    return [x.astype(KINDS[kind][0]) for x in inputs]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("names", [(), *itertools.combinations(OPTIONS, 1), *itertools.combinations(OPTIONS, 2)])
def test_half_options_alone_and_in_pairs_match_the_twin(arrays, options, kind, names):
    if {"attn_mask_bool", "attn_mask_float"} <= set(names) or {"window", "window_left"} <= set(names):
        pytest.skip("one argument")
    keywords = options(names, 3, 2, 4, 37, 83)
    check(cast(arrays(4, n=83), kind), kind, keywords)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d, dv", [(1, 1), (2, 3), (7, 33), (31, 16), (64, 64), (80, 31), (129, 2)])
@pytest.mark.parametrize("m, n", [(1, 1), (2, 65), (17, 63), (64, 64), (97, 130), (130, 3)])
def test_half_any_size_matches_the_twin(arrays, kind, m, n, d, dv):
    inputs = cast(arrays(5, b=1, h=2, g=1, m=m, n=n, d=d, dv=dv), kind)
    check(inputs, kind, {})
    check(inputs, kind, {"is_causal": True, "query_offset": n - m})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [0.0, -0.4, 1e-30, 30.0])
def test_half_scales_that_do_not_fit_the_exponent_match_the_twin(arrays, kind, scale):
    check(cast(arrays(6, m=33, d=8), kind), kind, {"scale": scale})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [8, 9])
def test_half_strides_are_read_and_written_in_place(arrays, kernel_calls, kind, width):
    dtype, precision = KINDS[kind]
    memory = np.random.default_rng(7).normal(size=(2, 5, 3, width)).astype(dtype)
    x = memory.transpose(0, 2, 1, 3)[..., : width - 1]
    out = np.empty((2, 5, 3, width), dtype).transpose(0, 2, 1, 3)[..., : width - 1]
    assert attend(x, x, x, out=out, precision=precision) is out
    addresses = [each.__array_interface__["data"][0] for each in kernel_calls[0][:3]]
    assert addresses == [memory.__array_interface__["data"][0]] * 3
    assert kernel_calls[0][4].__array_interface__["data"][0] == out.__array_interface__["data"][0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("odd", [0, 1])
def test_half_strided_rows_equal_contiguous_ones(arrays, kind, odd):
    precision = KINDS[kind][1]
    inputs = cast(arrays(8, m=70, n=90, d=34, dv=36), kind)
    wide = [np.zeros((*x.shape[:-1], x.shape[-1] + 2 + odd), x.dtype) for x in inputs]
    for x, memory in zip(inputs, wide, strict=True):
        memory[..., 1 : 1 + x.shape[-1]] = x
    strided = [memory[..., 1 : 1 + x.shape[-1]] for x, memory in zip(inputs, wide, strict=True)]
    want = attend(*inputs, is_causal=True, precision=precision)
    np.testing.assert_array_equal(attend(*strided, is_causal=True, precision=precision), want)


@pytest.mark.parametrize("kind", KINDS)
def test_half_one_thread_equals_many_and_a_sequence_does_not_see_its_neighbours(arrays, kind):
    precision = KINDS[kind][1]
    inputs = cast(arrays(9, b=3, h=8, g=4, m=300, n=400, d=64, dv=64), kind)
    many = attend(*inputs, is_causal=True, precision=precision)
    with fastcore.num_threads(1):
        np.testing.assert_array_equal(attend(*inputs, is_causal=True, precision=precision), many)
    alone = attend(*(x[1:2] for x in inputs), is_causal=True, precision=precision)
    np.testing.assert_array_equal(alone, many[1:2])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_half_nan_and_inf_behind_masks_do_not_reach_the_output(arrays, kind, bad):
    precision = KINDS[kind][1]
    query, key, value = cast(arrays(10, m=70, n=70), kind)
    keywords = {"is_causal": True, "key_lengths": [60, 31], "precision": precision}
    want = attend(query, key, value, **keywords)
    for x in (key, value):
        x[1, :, 31:] = bad
        x[:, :, 60:] = bad
    assert np.isfinite(attend(query, key, value, **keywords).astype(float)).all()
    value[:, :, 50] = bad  # seen by the queries from 50 on
    got = attend(query, key, value, **keywords).astype(float)
    assert np.isfinite(got[:, :, :50]).all()
    np.testing.assert_allclose(got[:, :, :50], want[:, :, :50].astype(float), rtol=0.02, atol=0.02)
    assert not np.isfinite(got[0, :, 50:]).any()


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
@pytest.mark.parametrize("keywords", [{}, {"is_causal": True, "query_offset": 40}, {"key_lengths": [9, 50]}])
def test_half_single_query_is_the_float32_result_to_one_rounding(arrays, kind, keywords):
    inputs = cast(arrays(11, m=1, d=32, dv=48), kind)
    want = attend(*(x.astype(np.float32) for x in inputs), **keywords)
    step = 2 * (HALF if kind == "float16" else BFLOAT)
    np.testing.assert_allclose(attend(*inputs, **keywords).astype(np.float32), want, rtol=step, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_half_packed_sequences_are_those_of_separate_calls(arrays, kind):
    dtype, precision = KINDS[kind]
    starts = [0, 70, 70, 103, 300]
    rng = np.random.default_rng(12)
    query, key, value = (rng.normal(size=(300, heads, 32)).astype(dtype) for heads in (4, 2, 2))
    got, lse = scaled_dot_product_attention_varlen(
        query, key, value, starts, is_causal=True, return_lse=True, precision=precision
    )
    for first, end in itertools.pairwise(starts):
        one = [x[first:end].swapaxes(0, 1) for x in (query, key, value)]
        want, want_lse = attend(*one, is_causal=True, enable_gqa=True, return_lse=True, precision=precision)
        np.testing.assert_array_equal(got[first:end].swapaxes(0, 1), want)
        np.testing.assert_array_equal(lse[:, first:end], want_lse)


def test_precision_bf16_uses_other_products_where_the_cpu_has_them(arrays):
    inputs = arrays(13, m=40)
    highest, rounded = attend(*inputs), attend(*inputs, precision="bf16")
    assert np.array_equal(highest, rounded) != simd.HAS_BFLOAT


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_precision_bf16_of_other_types_raises(arrays, dtype):
    with pytest.raises(TypeError, match='precision="bf16" is for float32 and bfloat16'):
        attend(*(x.astype(dtype) for x in arrays(14)), precision="bf16")


@pytest.mark.parametrize("precision, error", [("high", ValueError), (None, TypeError), (16, TypeError)])
def test_precision_of_other_kinds_raises(arrays, precision, error):
    with pytest.raises(error, match='precision must be "highest" or "bf16"'):
        attend(*arrays(15), precision=precision)


@pytest.mark.parametrize("keywords", [{}, {"is_causal": True}, {"key_lengths": [0, 9]}, {"dropout_p": 1.0}])
@pytest.mark.parametrize("m", [1, 37])
def test_bfloat16_as_bits_equals_bfloat16(arrays, m, keywords):
    inputs = cast(arrays(16, m=m, d=32, dv=48), "bfloat16")
    bits = [x.view(np.uint16).view(BFLOAT_BITS) for x in inputs]
    got = attend(*bits, **keywords)
    assert got.dtype == BFLOAT_BITS
    np.testing.assert_array_equal(got.view(np.uint16), attend(*inputs, **keywords).view(np.uint16))
    out = np.empty(got.shape, BFLOAT_BITS)
    assert attend(*bits, **keywords, out=out) is out
    np.testing.assert_array_equal(out, got)
