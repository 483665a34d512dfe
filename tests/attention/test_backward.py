"""Gradients of attention: the public function against its twin, whatever the shapes, dtypes and options."""

import itertools

import numpy as np
import pytest
from numba import njit

import fastcore
from fastcore import reference, scaled_dot_product_attention, scaled_dot_product_attention_backward
from tests.attention.conftest import OPTIONS

TOLERANCE = {np.float64: 1e-12, np.float32: 2e-5, np.float16: 2e-3}


@njit
def bent(score, b, h, i, j):
    if (i + j) % 7 == 3:
        return -np.inf
    return 0.75 * score + 0.05 * score * score - 0.02 * b * abs(i - j) + 0.1 * h


@njit
def bent_grad(score, b, h, i, j):
    return 0.75 + 0.1 * score


def inputs_of(rng, shapes, dtype):
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def of_forward(options):
    return {name: x for name, x in options.items() if name != "score_mod_grad"}


def with_function(names, keywords):
    """A function that bends scores and masks some, with its derivative."""
    return keywords | ({"score_mod": bent, "score_mod_grad": bent_grad} if "score_mod" in names else {})


def backward(inputs, options, **more):
    """Our gradients of a random direction, which is the last of the result."""
    out, lse = scaled_dot_product_attention(*inputs, **of_forward(options), return_lse=True)
    grad_out = np.random.default_rng(9).normal(size=out.shape).astype(out.dtype)
    return scaled_dot_product_attention_backward(grad_out, *inputs, out, lse, **options, **more), grad_out


def twin(inputs, grad_out, options, **more):
    """The twin's gradients in float64."""
    wide = [x.astype(float) for x in (grad_out, *inputs)]
    exact = reference.scaled_dot_product_attention(*wide[1:], **of_forward(options), return_lse=True)
    return reference.scaled_dot_product_attention_backward(*wide, *exact, **options, **more)


def assert_close(got, expected, dtype):
    for result, right in zip(got, expected, strict=True):
        assert result.dtype == dtype
        assert result.shape == right.shape
        assert np.abs(result - right).max(initial=0) <= TOLERANCE[dtype] * max(np.abs(right).max(initial=0), 1.0)


def check(inputs, options, **more):
    got, grad_out = backward(inputs, options, **more)
    assert_close(got, twin(inputs, grad_out, options, **more), inputs[0].dtype.type)


SHAPES = [
    ((5, 8), (7, 8), (7, 6)),
    ((3, 5, 8), (3, 7, 8), (3, 7, 6)),
    ((2, 4, 5, 8), (2, 2, 7, 8), (2, 2, 7, 6)),
    ((2, 3, 4, 5, 8), (2, 1, 1, 7, 8), (1, 3, 1, 7, 6)),
]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("shapes", SHAPES)
def test_backward_of_any_number_of_axes_equals_twin(rng, shapes, dtype):
    check(inputs_of(rng, shapes, dtype), {"is_causal": True})


def test_backward_of_grouped_heads_without_batch_equals_twin(rng):
    check(inputs_of(rng, ((4, 5, 8), (2, 7, 8), (2, 7, 6)), np.float64), {"enable_gqa": True})


NAMES = [*OPTIONS, "score_mod"]
PAIRS = [(), *((name,) for name in NAMES), *itertools.combinations(NAMES, 2)]
PAIRS = [pair for pair in PAIRS if sum(name.startswith("attn_mask") for name in pair) < 2]
PAIRS = [pair for pair in PAIRS if sum(name.startswith("window") for name in pair) < 2]


@pytest.mark.parametrize("names", PAIRS, ids="-".join)
def test_backward_with_each_pair_of_options_equals_twin(options, names):
    """Two tiles of queries and two blocks of keys and more, with a remainder, two heads that share keys."""
    rng = np.random.default_rng(len(names))
    inputs = inputs_of(rng, ((2, 2, 70, 8), (2, 1, 150, 8), (2, 1, 150, 10)), np.float64)
    keywords = with_function(names, options(names, 3, 2, 2, 70, 150, np.float64))
    more = {"return_grad_mask": "attn_mask_float" in names, "return_grad_sinks": "sinks" in names}
    check(inputs, keywords, **more)


@pytest.mark.parametrize("name", NAMES)
def test_backward_in_float32_equals_twin(options, name):
    rng = np.random.default_rng(5)
    inputs = inputs_of(rng, ((2, 4, 70, 40), (2, 2, 150, 40), (2, 2, 150, 24)), np.float32)
    keywords = with_function((name,), options((name, "is_causal"), 3, 2, 4, 70, 150))
    check(inputs, keywords, return_grad_mask=name == "attn_mask_float")


MASKS = [(5, 7), (1, 7), (5, 1), (1, 1), (4, 5, 7), (4, 1, 7), (3, 1, 5, 7), (2, 1, 4, 1, 7), (2, 3, 4, 5, 7), (7,)]


@pytest.mark.parametrize("shape", MASKS)
def test_gradient_of_a_stretched_mask_is_summed(rng, shape):
    inputs = inputs_of(rng, ((2, 3, 4, 5, 8), (2, 3, 2, 7, 8), (2, 3, 2, 7, 6)), np.float64)
    check(inputs, {"attn_mask": rng.normal(size=shape), "softcap": 2.0}, return_grad_mask=True)


def test_gradient_of_a_mask_without_heads(rng):
    inputs = inputs_of(rng, ((3, 70, 8), (3, 90, 8), (3, 90, 6)), np.float64)
    check(inputs, {"attn_mask": rng.normal(size=(3, 1, 90)), "is_causal": True}, return_grad_mask=True)


@pytest.mark.parametrize("is_causal", [False, True])
def test_backward_of_many_keys_is_summed_from_chunks(rng, is_causal):
    inputs = inputs_of(rng, ((1, 2, 130, 8), (1, 1, 1700, 8), (1, 1, 1700, 8)), np.float64)
    check(inputs, {"is_causal": is_causal, "query_offset": 1400})


def test_backward_bits_depend_on_neither_threads_nor_neighbours(rng, options):
    inputs = inputs_of(rng, ((3, 2, 150, 32), (3, 1, 1100, 32), (3, 1, 1100, 32)), np.float32)
    keywords = {"is_causal": True, "dropout_p": 0.0, "query_offset": 900, "softcap": 3.0}
    many, _ = backward(inputs, keywords)
    with fastcore.num_threads(1):
        serial, grad_out = backward(inputs, keywords)
    part = [x[1:2] for x in inputs]
    out, lse = scaled_dot_product_attention(*part, **keywords, return_lse=True)
    alone = scaled_dot_product_attention_backward(grad_out[1:2], *part, out, lse, **keywords)
    for result, one, single in zip(many, serial, alone, strict=True):
        np.testing.assert_array_equal(result, one)
        np.testing.assert_array_equal(result[1:2], single)


HIDING = [
    {"is_causal": True},
    {"window": (3, 0)},
    {"attn_mask": np.tril(np.ones((70, 70), bool))},
    {"attn_mask": np.where(np.tril(np.ones((70, 70), bool)), 0.5, -np.inf)},
    {"is_causal": True, "dropout_p": 0.5, "softcap": 2.0},
]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("keywords", HIDING, ids=lambda x: "-".join(x))
def test_backward_of_nan_reaches_only_what_sees_it(rng, keywords, bad):
    """A bad key or value at 40 is hidden from queries up to 39; a bad query or gradient at 20 sees no key behind."""
    inputs = inputs_of(rng, ((1, 1, 70, 8), (1, 1, 70, 8), (1, 1, 70, 8)), np.float64)
    clean, grad_out = backward(inputs, keywords)
    for place, row, seen in (
        (2, 40, slice(None, 40)),
        (3, 40, slice(None, 40)),
        (1, 20, slice(21, None)),
        (0, 20, slice(21, None)),
    ):
        arrays = [x.copy() for x in (grad_out, *inputs)]
        arrays[place][:, :, row] = bad
        results = scaled_dot_product_attention(*arrays[1:], **keywords, return_lse=True)
        got = scaled_dot_product_attention_backward(*arrays, *results, **keywords)
        compared = (0,) if place > 1 else (1, 2)
        for n in compared:
            np.testing.assert_allclose(got[n][:, :, seen], clean[n][:, :, seen], atol=1e-13)


def test_backward_of_rows_without_keys_is_zero(rng):
    inputs = inputs_of(rng, ((1, 1, 20, 8), (1, 1, 30, 8), (1, 1, 30, 8)), np.float64)
    inputs[0][:, :, :5] = np.nan
    keywords = {"is_causal": True, "query_offset": -5}
    (grad_query, *others), _ = backward(inputs, keywords)
    assert not grad_query[:, :, :5].any()
    assert all(np.isfinite(x).all() for x in others)


@pytest.mark.parametrize(
    "shapes", [((0, 2, 3, 8), (0, 2, 4, 8)), ((1, 2, 0, 8), (1, 2, 4, 8)), ((1, 2, 3, 8), (1, 2, 0, 8))]
)
def test_backward_of_nothing_is_zero(rng, shapes):
    query, key = inputs_of(rng, shapes, np.float32)
    got, _ = backward((query, key, key), {})
    assert [x.shape for x in got] == [query.shape, key.shape, key.shape]
    assert not any(x.any() for x in got)


def test_backward_with_all_dropped_is_zero(rng):
    inputs = inputs_of(rng, ((2, 3, 8),) * 3, np.float32)
    got, _ = backward(inputs, {"dropout_p": 1.0})
    assert not any(x.any() for x in got)


def test_backward_reads_strided_and_stretched_arrays(rng):
    """(B, L, H, D) memory, a slice of a wider array, and the gradient of a sum, all of whose strides are 0."""
    query = np.ascontiguousarray(rng.normal(size=(2, 20, 4, 16))).swapaxes(1, 2)
    both = rng.normal(size=(2, 2, 70, 32))
    key, value = both[..., :16], both[..., 16:]
    out, lse = scaled_dot_product_attention(query, key, value, return_lse=True)
    plain = [np.ascontiguousarray(x) for x in (query, key, value, out)]
    ones = np.broadcast_to(1.0, out.shape)
    ones.flags.writeable = False
    got = scaled_dot_product_attention_backward(ones, query, key, value, out, lse)
    want = scaled_dot_product_attention_backward(np.ones(out.shape), *plain, lse)
    for result, right in zip(got, want, strict=True):
        np.testing.assert_array_equal(result, right)


def test_twin_equals_differences_of_the_forward_pass(rng):
    inputs = inputs_of(rng, ((2, 2, 4, 3), (2, 1, 5, 3), (2, 1, 5, 2)), np.float64)
    mask, sinks = rng.normal(size=(2, 1, 1, 5)), rng.normal(size=2)
    keywords = {"is_causal": True, "softcap": 1.5, "dropout_p": 0.3, "seed": 4, "query_offset": 2}
    arrays = [*inputs, mask, sinks]

    def run():
        return reference.scaled_dot_product_attention(*inputs, mask, sinks=sinks, **keywords, return_lse=True)

    out, lse = run()
    grad_out = rng.normal(size=out.shape)
    expected = reference.scaled_dot_product_attention_backward(
        grad_out, *inputs, out, lse, mask, sinks=sinks, **keywords, return_grad_mask=True, return_grad_sinks=True
    )
    step = 1e-6
    for x, gradient in zip(arrays, expected, strict=True):
        direction = rng.normal(size=x.shape)
        moved = []
        for sign in (1, -1):
            x += sign * step * direction
            moved.append(np.sum(grad_out * run()[0]))
            x -= sign * step * direction
        assert (moved[0] - moved[1]) / (2 * step) == pytest.approx(np.sum(gradient * direction), abs=1e-7)


GOOD = np.zeros((1, 2, 3, 8), np.float32)
STATISTICS = np.zeros((1, 2, 3), np.float32)
MISTAKES = [
    ({"grad_out": GOOD[:, :1]}, ValueError, "grad_out must have the shape of attention's result"),
    ({"out": GOOD.astype(float)}, TypeError, "out must have the dtype of query"),
    ({"lse": None}, TypeError, "return_lse=True"),
    ({"lse": STATISTICS[..., :2]}, ValueError, "lse must have the shape of out without its last axis"),
    ({"lse": STATISTICS.astype(int)}, TypeError, "lse must be float32"),
    ({"return_grad_mask": True}, ValueError, "return_grad_mask needs a float attn_mask.*no attn_mask"),
    ({"return_grad_mask": True, "attn_mask": np.ones((3, 3), bool)}, ValueError, "a bool attn_mask"),
    ({"return_grad_mask": 1}, TypeError, "return_grad_mask must be True or False"),
    ({"return_grad_sinks": True}, ValueError, "return_grad_sinks needs sinks"),
    ({"softcap": -1.0}, ValueError, "softcap"),
    ({"score_mod": bent}, ValueError, "score_mod needs its derivative, score_mod_grad"),
    ({"score_mod_grad": bent_grad}, ValueError, "Got no score_mod"),
    ({"score_mod": bent, "score_mod_grad": 3}, TypeError, "score_mod_grad"),
]


@pytest.mark.parametrize("change, error, message", MISTAKES)
def test_backward_of_a_wrong_argument_raises(change, error, message):
    arguments = {"grad_out": GOOD, "query": GOOD, "key": GOOD, "value": GOOD, "out": GOOD, "lse": STATISTICS}
    with pytest.raises(error, match=message):
        scaled_dot_product_attention_backward(**(arguments | change))
