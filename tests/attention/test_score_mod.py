"""The user's function of a score: what it is given, in which order it applies, how long its code is kept, what it may
not be; numbers in pairs with all other options in test_scaled_dot_product.py."""

import gc
import math

import numpy as np
import pytest
from numba import njit

import fastcore
from fastcore import scaled_dot_product_attention
from fastcore.attention.kernels import score_mod as kernels

SLOPES = np.array([0.5, 0.25, 0.125, 0.0])
DOCUMENTS = np.repeat(np.arange(7), 9)


@njit
def alibi(score, b, h, i, j):
    return score - SLOPES[h] * abs(i - j)


@njit
def causal(score, b, h, i, j):
    return score if j <= i else -math.inf


@njit
def same_document(score, b, h, i, j):
    if DOCUMENTS[i] == DOCUMENTS[j]:
        return score
    return -np.inf


@njit
def all_arguments(score, b, h, i, j):
    return 0.5 * score + 0.1 * b - 0.2 * h + 0.03 * i - 0.01 * j + 0.001 * i * j


@njit
def identity(score, b, h, i, j):
    return score


@njit
def capped(score, b, h, i, j):
    return 2.0 * math.tanh(score / 2.0)


@njit
def branching(score, b, h, i, j):
    near = abs(i - j)
    if near < 5:
        return score * 2
    elif near % 3 == 0 or h == 1:
        return score - math.log(1.0 + near)
    return min(score, np.float32(0.25))


FUNCTIONS = [alibi, causal, same_document, all_arguments, identity, capped, branching]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_score_mod_functions_match_reference(arrays, check, function, dtype):
    check(arrays(1, dtype=dtype), {"score_mod": function})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (1, 130), (70, 64), (129, 200)])
def test_score_mod_shapes_around_tiles_match_reference(arrays, check, shape, dtype):
    check(arrays(2, 2, 4, 2, *shape, 16, 16, dtype), {"score_mod": all_arguments, "scale": 0.2})


def test_score_mod_by_hand_equals_the_options(arrays):
    inputs = arrays(3)
    pairs = [
        ({"score_mod": alibi}, {"alibi_slopes": SLOPES}),
        ({"score_mod": causal}, {"is_causal": True}),
        ({"score_mod": capped}, {"softcap": 2.0}),
        ({"score_mod": identity}, {}),
    ]
    for by_hand, option in pairs:
        got = scaled_dot_product_attention(*inputs, **by_hand, return_lse=True)
        want = scaled_dot_product_attention(*inputs, **option, return_lse=True)
        for ours, theirs in zip(got, want, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6)


def test_score_mod_positions_count_from_the_offset(arrays, check):
    check(arrays(4), {"score_mod": all_arguments, "query_offset": np.array([16, -7]), "is_causal": True})


def test_score_mod_sequences_of_any_axes(arrays, check):
    rng = np.random.default_rng(5)
    for shape in ((37, 24), (3, 37, 24), (2, 3, 4, 37, 24)):
        query = rng.normal(size=shape).astype(np.float32)
        check((query, query, query), {"score_mod": all_arguments})


def test_score_mod_comes_after_softcap_and_before_slopes_and_mask(arrays, check):
    rng = np.random.default_rng(6)
    mask = rng.normal(size=(2, 4, 37, 53)).astype(np.float32)
    check(
        arrays(6),
        {"score_mod": capped, "softcap": 1.5, "alibi_slopes": SLOPES, "attn_mask": mask, "sinks": np.ones(4)},
    )


def test_score_mod_half_precision_is_called_in_float32(arrays):
    halves = [x.astype(np.float16) for x in arrays(7)]
    want = scaled_dot_product_attention(*(x.astype(np.float32) for x in halves), score_mod=alibi)
    got = scaled_dot_product_attention(*halves, score_mod=alibi)
    np.testing.assert_allclose(got, want, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_score_mod_masked_keys_never_reach_the_output(arrays, poison):
    query, key, value = arrays(8, n=63)
    clean = scaled_dot_product_attention(query, key, value, score_mod=same_document)
    key[:, :, 45:], value[:, :, 45:] = poison, poison  # documents that no query is in
    np.testing.assert_array_equal(scaled_dot_product_attention(query, key, value, score_mod=same_document), clean)


def test_score_mod_is_never_called_beyond_the_arrays(arrays):
    seen = np.zeros((40, 60), np.int64)  # of L = 37 and S = 53
    address = seen.ctypes.data

    @njit
    def remember(score, b, h, i, j):
        places = fastcore._core.simd.pointer_at(address, np.int64)
        fastcore._core.simd.store_scalar(fastcore._core.simd.advance(places, i * 60 + j), 1)
        return score

    scaled_dot_product_attention(*arrays(9), score_mod=remember)
    assert seen[:37, :53].all()
    assert not seen[37:].any()
    assert not seen[:, 53:].any()


def test_score_mod_is_compiled_once_and_forgotten_with_its_function(arrays):
    slope = 0.25

    @njit
    def own(score, b, h, i, j):
        return score - slope * abs(i - j)

    before = len(kernels._LOOPS)
    first = scaled_dot_product_attention(*arrays(10), score_mod=own)
    assert len(kernels._LOOPS) == before + 1
    address = kernels.address_of_loop(own, np.dtype(np.float32))
    np.testing.assert_array_equal(scaled_dot_product_attention(*arrays(10), score_mod=own), first)
    assert kernels.address_of_loop(own, np.dtype(np.float32)) == address
    del own
    gc.collect()
    assert len(kernels._LOOPS) == before


def test_score_mod_that_raises_gives_nan(arrays):
    @njit
    def refuses(score, b, h, i, j):
        if h == 1:
            raise ValueError("no")
        return score

    out = scaled_dot_product_attention(*arrays(11), score_mod=refuses)
    assert np.isnan(out[:, 1]).all()
    np.testing.assert_allclose(out[:, 2:], scaled_dot_product_attention(*arrays(11))[:, 2:], rtol=1e-5, atol=1e-6)


def test_score_mod_grad_that_raises_gives_nan(arrays):
    @njit
    def same(score, b, h, i, j):
        return score

    @njit
    def refuses(score, b, h, i, j):
        if h == 1:
            raise ValueError("no")
        return 1.0

    given = arrays(11)
    out, lse = scaled_dot_product_attention(*given, score_mod=same, return_lse=True)
    grad_query, _, _ = fastcore.scaled_dot_product_attention_backward(
        out, *given, out, lse, score_mod=same, score_mod_grad=refuses
    )
    assert np.isnan(grad_query[:, 1]).all()
    assert np.isfinite(grad_query[:, 2:]).all()


def test_score_mod_one_thread_equals_many_bit_for_bit(arrays):
    inputs = arrays(12, 2, 4, 2, 210, 300, 64, 64)
    results = []
    for count in (1, fastcore.get_num_threads()):
        with fastcore.num_threads(count):
            results.append(scaled_dot_product_attention(*inputs, score_mod=all_arguments, scale=0.01))
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("bad", [lambda score, b, h, i, j: score, np.tanh, 3, "tanh"])
def test_score_mod_that_is_not_compiled_raises(arrays, bad):
    with pytest.raises(TypeError, match=r"score_mod must be a function .* decorated with @numba.njit"):
        scaled_dot_product_attention(*arrays(), score_mod=bad)


@njit
def too_few(score, b):
    return score


@njit
def not_a_number(score, b, h, i, j):
    return (score, b)


@njit
def unknown(score, b, h, i, j):
    return score.astype("x")


@pytest.mark.parametrize("bad", [too_few, not_a_number, unknown])
def test_score_mod_that_does_not_compile_raises(arrays, bad):
    with pytest.raises(TypeError, match=r"score_mod must take .*float32 and four int64"):
        scaled_dot_product_attention(*arrays(), score_mod=bad)
