"""What comes in and what goes out: ranks, strides, dtypes, foreign arrays, `out`, empty sizes.

With `kernel_calls` the twin computes and checks what the kernel is promised; without it the kernel itself runs.
"""

import sys

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastcore import reference, scaled_dot_product_attention
from fastcore._core import simd

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def attend(*inputs, **keywords):
    return scaled_dot_product_attention(*inputs, **keywords)


# --- ranks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", [(), (3,), (2, 4), (2, 3, 4), (2, 1, 2, 2)])
@pytest.mark.parametrize("names", [(), ("is_causal",), ("attn_mask_bool",), ("attn_mask_float",), ("dropout",)])
def test_attention_any_number_of_axes_matches_reference(kernel_calls, rng, axes, names):
    query, key, value = (rng.normal(size=(*axes, rows, size)) for rows, size in ((5, 6), (7, 6), (7, 3)))
    keywords = {
        "is_causal": {"is_causal": True},
        "attn_mask_bool": {"attn_mask": rng.random((*axes, 5, 7)) < 0.6},
        "attn_mask_float": {"attn_mask": rng.normal(size=(5, 7))},
        "dropout": {"dropout_p": 0.5, "seed": 3},
    }
    keywords = {k: v for name in names for k, v in keywords[name].items()}
    out, lse = attend(query, key, value, **keywords, return_lse=True)
    want, want_lse = reference.scaled_dot_product_attention(query, key, value, **keywords, return_lse=True)
    assert out.shape == (*axes, 5, 3)
    np.testing.assert_allclose(out, want, rtol=1e-13)
    np.testing.assert_allclose(lse, want_lse, rtol=1e-13)


@pytest.mark.parametrize("axes, batch", [((), 1), ((3,), 3), ((3, 2), 3), ((3, 2, 2), 6)])
def test_attention_lengths_and_offsets_count_the_batch_axes(kernel_calls, rng, axes, batch):
    query, key = rng.normal(size=(*axes, 5, 6)), rng.normal(size=(*axes, 7, 6))
    keywords = {"key_lengths": rng.integers(0, 8, batch), "query_offset": rng.integers(-2, 5, batch), "is_causal": True}
    np.testing.assert_allclose(
        attend(query, key, key, **keywords), reference.scaled_dot_product_attention(query, key, key, **keywords)
    )


def test_attention_batch_axes_of_one_stretch(kernel_calls, rng):
    query, key, value = rng.normal(size=(3, 4, 5, 6)), rng.normal(size=(1, 2, 7, 6)), rng.normal(size=(3, 2, 7, 3))
    want = attend(query, np.repeat(key, 3, axis=0), value)
    np.testing.assert_array_equal(attend(query, key, value), want)
    np.testing.assert_array_equal(attend(query[:1], key, value)[:1], want[:1])
    assert all(np.shares_memory(call[1], key) for call in kernel_calls[1:])


def test_attention_three_axes_with_enable_gqa_groups_heads(kernel_calls, rng):
    query, key, value = rng.normal(size=(4, 5, 6)), rng.normal(size=(2, 7, 6)), rng.normal(size=(2, 7, 3))
    out = attend(query, key, value, enable_gqa=True)
    np.testing.assert_array_equal(out, attend(query[None], key[None], value[None])[0])
    np.testing.assert_array_equal(attend(query, query, query, enable_gqa=True), attend(query, query, query))


# --- memory ----------------------------------------------------------------------------------------------------------


def strided(x, how):
    """`x` in other memory: equal values, other strides."""
    if how == "transposed":  # (B, L, H, D) memory, as models have it
        return np.ascontiguousarray(x.swapaxes(1, 2)).swapaxes(1, 2)
    if how == "cache":  # a slice of a larger cache
        cache = np.full((x.shape[0] + 1, x.shape[1], x.shape[2] + 9, x.shape[3]), np.nan, x.dtype)
        cache[1:, :, 4 : 4 + x.shape[2]] = x
        return cache[1:, :, 4 : 4 + x.shape[2]]
    if how == "packed":  # one of three interleaved projections
        packed = np.full((*x.shape[:3], 3, x.shape[3]), np.nan, x.dtype)
        packed[..., 1, :] = x
        return packed[..., 1, :]
    if how == "reversed":
        return np.ascontiguousarray(x[:, :, ::-1])[:, :, ::-1]
    if how == "last axis":
        wide = np.full((*x.shape[:3], 2 * x.shape[3]), np.nan, x.dtype)
        wide[..., ::2] = x
        return wide[..., ::2]
    if how == "unaligned":
        memory = np.zeros(x.nbytes + 1, np.uint8)
        view = memory[1:].view(x.dtype).reshape(x.shape)
        view[...] = x
        return view
    return x


IN_PLACE = ["transposed", "cache", "packed", "reversed"]
COPIED = ["last axis", "unaligned"]


@pytest.mark.parametrize("how", IN_PLACE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_attention_strided_inputs_are_read_in_place(kernel_calls, arrays, how, dtype):
    inputs = [strided(x, how) for x in arrays(1, dtype=dtype)]
    attend(*inputs)
    for read, given_array in zip(kernel_calls[0][:3], inputs, strict=True):
        assert np.shares_memory(read, given_array)


@pytest.mark.parametrize("how", IN_PLACE + COPIED)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_attention_strided_inputs_equal_contiguous_ones(arrays, how, dtype):
    inputs = arrays(2, dtype=dtype)
    np.testing.assert_array_equal(
        attend(*(strided(x, how) for x in inputs), is_causal=True), attend(*inputs, is_causal=True)
    )


def test_attention_broadcast_inputs_equal_copies(arrays):
    query, key, value = arrays(3)
    spread = [np.broadcast_to(x[:1, :1], x.shape) for x in (query, key, value)]
    np.testing.assert_array_equal(attend(*spread), attend(*(x.copy() for x in spread)))


@pytest.mark.parametrize("kind", ["bool", "float"])
def test_attention_masks_are_read_in_place(kernel_calls, arrays, rng, kind):
    inputs = arrays(4)
    mask = rng.random((37, 53)) < 0.5 if kind == "bool" else rng.normal(size=(37, 53)).astype(np.float32)
    for view in (mask, mask[::-1, ::-1], np.ascontiguousarray(mask.T).T):
        attend(*inputs, view)
        assert np.shares_memory(kernel_calls[-1][3], view)


@pytest.mark.parametrize("kind", ["bool", "float"])
def test_attention_strided_masks_equal_contiguous_ones(arrays, rng, kind):
    inputs = arrays(5)
    mask = rng.random((2, 4, 37, 53)) < 0.5 if kind == "bool" else rng.normal(size=(2, 4, 37, 53)).astype(np.float32)
    want = attend(*inputs, mask)
    wide = np.repeat(mask, 2, axis=3)
    for view in (np.asfortranarray(mask), wide[..., ::2], np.ascontiguousarray(mask[..., ::-1])[..., ::-1]):
        np.testing.assert_array_equal(attend(*inputs, view), want)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    order=st.permutations([0, 1, 2]),
    steps=st.tuples(*[st.sampled_from([1, 2, -1])] * 3),
    dtype=st.sampled_from([np.float16, np.float32, np.float64, BFLOAT16]),
    causal=st.booleans(),
)
def test_attention_any_strides_and_dtype_equal_contiguous(arrays, order, steps, dtype, causal):
    inputs = [x.astype(dtype) for x in arrays(6, m=20, n=70)]

    def rearranged(x):
        big = np.zeros([2 * n for n in x.shape[:3]] + [x.shape[3]], x.dtype).transpose(*np.argsort([*order, 3]))
        memory = np.ascontiguousarray(big).transpose(*order, 3)
        view = memory[tuple(slice(None, None, step) for step in steps)][tuple(slice(0, n) for n in x.shape[:3])]
        view[...] = x
        return view

    np.testing.assert_array_equal(
        attend(*(rearranged(x) for x in inputs), is_causal=causal), attend(*inputs, is_causal=causal)
    )


def test_attention_leaves_inputs_alone_and_takes_read_only_ones(arrays, options):
    inputs = arrays(7)
    keywords = options(("attn_mask_float", "key_lengths", "query_offset", "dropout"), 7, 2, 4, 37, 53)
    copies = [x.copy() for x in inputs]
    kept = {name: np.copy(x) for name, x in keywords.items()}
    want = attend(*inputs, **keywords)
    for x in (*inputs, *(x for x in keywords.values() if isinstance(x, np.ndarray))):
        x.flags.writeable = False
    np.testing.assert_array_equal(attend(*inputs, **keywords), want)
    for x, copy in zip(inputs, copies, strict=True):
        np.testing.assert_array_equal(x, copy)
    for name, x in keywords.items():
        np.testing.assert_array_equal(x, kept[name])


# --- dtypes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_attention_big_endian_equals_native(arrays, dtype):
    inputs = arrays(8, dtype=dtype)
    swapped = [x.astype(x.dtype.newbyteorder(">")) for x in inputs]
    mask = np.random.default_rng(8).normal(size=(37, 53)).astype(dtype)
    got = attend(*swapped, mask.astype(mask.dtype.newbyteorder(">")), key_lengths=np.array([9, 50], ">i4"))
    assert got.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(got, attend(*inputs, mask, key_lengths=[9, 50]))


@pytest.mark.parametrize("dtype", [np.float16, BFLOAT16], ids=str)
def test_attention_half_types_are_computed_in_float32(arrays, dtype):
    inputs = [x.astype(dtype) for x in arrays(9)]
    out, lse = attend(*inputs, is_causal=True, return_lse=True)
    want, want_lse = attend(*(x.astype(np.float32) for x in inputs), is_causal=True, return_lse=True)
    assert out.dtype == dtype
    assert lse.dtype == np.float32
    if dtype == np.float16 or not simd.HAS_BFLOAT:  # else multiplied as bfloat16: test_half.py
        np.testing.assert_array_equal(out, want.astype(dtype))
        np.testing.assert_array_equal(lse, want_lse)
    given_out = np.empty(out.shape, dtype)
    assert attend(*inputs, is_causal=True, out=given_out) is given_out
    np.testing.assert_array_equal(given_out, out)


def test_attention_float16_beyond_its_range_becomes_inf_without_a_warning(arrays):
    query, key, _ = arrays(10, b=1, h=1, g=1)
    value = np.full((1, 1, 53, 4), 65504, np.float16)
    out = attend(query.astype(np.float16), key.astype(np.float16), value, dropout_p=0.5, seed=1)
    assert np.isinf(out).any()


class Wrapped:
    """Somebody's array: nothing but the protocol."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


class Exported:
    """The same for the other protocol."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **keywords):
        return self.array.__dlpack__(**keywords)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


FOREIGN = {
    "__array__": Wrapped,
    "__dlpack__": Exported,
    "subclass": lambda x: x.view(np.memmap),
    "list": np.ndarray.tolist,
}


@pytest.mark.parametrize("how", FOREIGN)
def test_attention_takes_foreign_arrays_without_copying(kernel_calls, arrays, how):
    inputs = arrays(11, dtype=np.float64)
    np.testing.assert_array_equal(attend(*map(FOREIGN[how], inputs)), attend(*inputs))
    if how != "list":
        assert all(np.shares_memory(read, x) for read, x in zip(kernel_calls[0][:3], inputs, strict=True))


# --- out -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [None, *IN_PLACE, *COPIED])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_attention_out_equals_a_fresh_result(arrays, how, dtype):
    inputs = arrays(12, dtype=dtype)
    want = attend(*inputs)
    out = strided(np.full_like(want, np.nan), how)
    got, lse = attend(*inputs, out=out, return_lse=True)
    assert got is out
    np.testing.assert_array_equal(out, want)
    np.testing.assert_array_equal(lse, attend(*inputs, return_lse=True)[1])


def test_attention_out_leaves_the_memory_around_it_alone(arrays):
    inputs = arrays(13, dv=19)
    around = np.full((2, 6, 40, 32), 7, np.float32)
    out = around[:, 1:5, 2:39, 5:24]
    attend(*inputs, out=out)
    np.testing.assert_array_equal(out, attend(*inputs))
    out[...] = 7
    assert (around == 7).all()


@pytest.mark.parametrize("which", ["query", "key", "value", "mask"])
def test_attention_out_may_overlap_an_input(arrays, rng, which):
    query, key, value = arrays(14, g=4, m=50, n=50, d=50, dv=50)
    mask = rng.normal(size=(2, 4, 50, 50)).astype(np.float32)
    want = attend(query, key, value, mask, is_causal=True)
    out = {"query": query, "key": key, "value": value, "mask": mask}[which]
    np.testing.assert_array_equal(attend(query, key, value, mask, is_causal=True, out=out), want)


def test_attention_out_between_inputs_in_one_buffer_is_written_in_place(kernel_calls, rng):
    packed = rng.normal(size=(2, 10, 4, 4, 8)).astype(np.float32)
    query, key, value, out = (packed[:, :, i].swapaxes(1, 2) for i in range(4))
    attend(query, key, value, out=out)
    assert kernel_calls[0][4].base is not None
    assert np.shares_memory(kernel_calls[0][4], packed)


def test_attention_out_may_be_a_subclass(arrays, tmp_path):
    inputs = arrays(17)
    out = np.memmap(tmp_path / "out", np.float32, "w+", shape=(2, 4, 37, 40))
    assert attend(*inputs, out=out) is out
    np.testing.assert_array_equal(out, attend(*inputs))


def test_attention_out_with_more_axes(kernel_calls, rng):
    query = rng.normal(size=(2, 3, 2, 5, 6))
    want = attend(query, query, query)
    for out in (np.empty((2, 3, 2, 5, 6)), np.empty((3, 2, 2, 5, 6)).swapaxes(0, 1)):
        assert attend(query, query, query, out=out) is out
        np.testing.assert_array_equal(out, want)


# --- empty -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    "b, h, g, m, n", [(0, 4, 2, 3, 5), (2, 0, 0, 3, 5), (2, 0, 2, 3, 5), (2, 4, 2, 0, 5), (0, 0, 0, 0, 0)]
)
@pytest.mark.parametrize("more", [{}, {"is_causal": True}, {"attn_mask": np.ones((1, 1), bool)}])
def test_attention_empty_results(dtype, b, h, g, m, n, more):
    query, key, value = np.ones((b, h, m, 6), dtype), np.ones((b, g, n, 6), dtype), np.ones((b, g, n, 3), dtype)
    out, lse = attend(query, key, value, **more, return_lse=True)
    assert out.shape == (b, h, m, 3)
    assert out.dtype == dtype
    assert lse.shape == (b, h, m)
    assert attend(query, key, value, **more).shape == out.shape


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    "more", [{}, {"is_causal": True}, {"attn_mask": np.ones((3, 1), bool)}, {"key_lengths": [0, 0]}]
)
def test_attention_no_keys_gives_zeros_and_minus_inf(dtype, more):
    query, key, value = np.ones((2, 4, 3, 6), dtype), np.ones((2, 2, 0, 6), dtype), np.ones((2, 2, 0, 5), dtype)
    given_out = np.ones((2, 4, 3, 5), dtype)
    out, lse = attend(query, key, value, **more, return_lse=True, out=given_out)
    assert out is given_out
    assert not out.any()
    assert (lse == -np.inf).all()
    assert not attend(query, key, value).any()


# --- the short way ---------------------------------------------------------------------------------------------------


def test_attention_short_way_equals_the_thorough_one(rng, monkeypatch):
    module = sys.modules[scaled_dot_product_attention.__module__]
    shapes = ((2, 4, 9, 8), (2, 2, 11, 8), (2, 2, 11, 6))
    inputs = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    thorough = [
        module._attend(*inputs, None, 0.0, causal, *[None] * 8, 0, None, False, None, 0, "highest")
        for causal in (False, True)
    ]
    monkeypatch.setattr(module, "_attend", None)  # whoever takes the thorough way now fails
    for causal, want in zip((False, True), thorough, strict=True):
        np.testing.assert_array_equal(attend(*inputs, is_causal=causal), want)
        for how in IN_PLACE:
            np.testing.assert_array_equal(attend(*(strided(x, how) for x in inputs), is_causal=causal), want)
    query, key, value = inputs
    not_plain = [
        *([strided(x, how) for x in inputs] for how in COPIED),
        (query[:, :3], key, value),
        (query, key[:, :, :5], value),
        (query[..., :4], key, value),
        (query, key, value[:1]),
        (query[:0], key[:0], value[:0]),
        (query, key[:, :0], value[:, :0]),
    ]
    for arrays in not_plain:
        with pytest.raises(TypeError, match="NoneType"):
            attend(*arrays)
