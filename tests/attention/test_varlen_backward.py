"""Gradients of attention over packed sequences: those of the rows of a padded batch, and of each sequence by itself."""

import itertools

import ml_dtypes
import numpy as np
import pytest
from numba import njit

from fastcore import (
    num_threads,
    reference,
    scaled_dot_product_attention_backward,
    scaled_dot_product_attention_varlen,
    scaled_dot_product_attention_varlen_backward,
)
from tests.attention.test_varlen import KEY_STARTS, KEYS, QUERIES, QUERY_STARTS, packed
from tests.attention.test_varlen import OPTIONS as FORWARD_OPTIONS

__all__ = ["packed"]  # a fixture

OPTIONS = {name: options for name, options in FORWARD_OPTIONS.items() if name != "score_mod"}


def gradients(query, key, value, grad_out, starts=(QUERY_STARTS, KEY_STARTS), **options):
    out, lse = scaled_dot_product_attention_varlen(query, key, value, *starts, return_lse=True, **options)
    return scaled_dot_product_attention_varlen_backward(grad_out, query, key, value, out, lse, *starts, **options)


def twin(inputs, grad_out, dtype, options):
    query, key, value, grad_out = (x.astype(dtype) for x in (*inputs, grad_out))
    starts = QUERY_STARTS, KEY_STARTS
    out, lse = reference.scaled_dot_product_attention_varlen(query, key, value, *starts, return_lse=True, **options)
    return reference.scaled_dot_product_attention_varlen_backward(
        grad_out, query, key, value, out, lse, *starts, **options
    )


def gradient_of_result(rng, dtype=np.float32, dv=40):
    return rng.normal(size=(QUERY_STARTS[-1], 4, dv)).astype(dtype)


@pytest.mark.parametrize("names", [(), *((x,) for x in OPTIONS), *itertools.combinations(OPTIONS, 2)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_varlen_backward_options_match_padded_batch(packed, rng, dtype, names):
    options = {key: value for name in names for key, value in OPTIONS[name].items()}
    inputs, grad_out = packed(dtype), gradient_of_result(rng, dtype)
    got = gradients(*inputs, grad_out, **options)
    exact = twin(inputs, grad_out, np.float64, options)
    plain = exact if dtype == np.float64 else twin(inputs, grad_out, np.float32, options)
    for result, want, rough in zip(got, exact, plain, strict=True):
        assert (result.dtype, result.shape) == (dtype, want.shape)
        largest = np.abs(want).max()
        bound = 1e-12 * largest if dtype == np.float64 else 2 * np.abs(rough - want).max() + 2e-6 * largest
        assert np.abs(result - want).max() <= bound


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"softcap": 2.0, "window": (9, None)}])
def test_varlen_backward_sequence_has_the_bits_that_it_has_alone(rng, options):
    lengths = [40, 1300, 0, 70]  # several chunks of keys, one, none
    starts = np.concatenate([[0], np.cumsum(lengths)])
    query, key, value, grad_out = (rng.normal(size=(starts[-1], h, 16)).astype(np.float32) for h in (2, 1, 1, 2))
    out, lse = scaled_dot_product_attention_varlen(query, key, value, starts, return_lse=True, **options)
    results = []
    for threads in (1, 2):
        with num_threads(threads):
            got = scaled_dot_product_attention_varlen_backward(grad_out, query, key, value, out, lse, starts, **options)
            results.append(got)
    for b in range(len(lengths)):
        part = slice(*starts[b : b + 2])
        arrays = (x[part].swapaxes(0, 1)[None] for x in (grad_out, query, key, value, out))
        want = scaled_dot_product_attention_backward(*arrays, lse[None, :, part], **options)
        for one, two, alone in zip(*results, want, strict=True):
            np.testing.assert_array_equal(one[part], alone[0].swapaxes(0, 1))
            np.testing.assert_array_equal(two[part], alone[0].swapaxes(0, 1))


@njit
def squared(score, b, h, i, j):
    return score + 0.1 * score * score * (1 + h) - 0.02 * j + 0.01 * i * b


@njit
def squared_grad(score, b, h, i, j):
    return 1 + 0.2 * score * (1 + h)


@pytest.mark.parametrize("more", [{}, {"is_causal": True, **FORWARD_OPTIONS["query_offset"]}])
def test_varlen_backward_of_score_mod_matches_padded_batch(packed, rng, more):
    inputs, grad_out = packed(np.float64), gradient_of_result(rng, np.float64)
    options = {"score_mod": squared, **more}
    out, lse = scaled_dot_product_attention_varlen(*inputs, QUERY_STARTS, KEY_STARTS, return_lse=True, **options)
    rest = (*inputs, out, lse, QUERY_STARTS, KEY_STARTS)
    options["score_mod_grad"] = squared_grad
    got = scaled_dot_product_attention_varlen_backward(grad_out, *rest, **options)
    want = reference.scaled_dot_product_attention_varlen_backward(grad_out, *rest, **options)
    for result, expected in zip(got, want, strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-10, atol=1e-11)
    with pytest.raises(ValueError, match="score_mod needs its derivative, score_mod_grad"):
        scaled_dot_product_attention_varlen_backward(grad_out, *rest, score_mod=squared)


def test_varlen_backward_strided_inputs_give_the_same(packed, rng):
    query, _, _ = packed()
    grad_out = gradient_of_result(rng, dv=24)
    joined = np.stack([query, query[::-1], -query, grad_out], axis=1)
    joined.flags.writeable = False
    starts = (QUERY_STARTS.tolist(),)
    got = gradients(*(joined[:, i] for i in range(4)), starts=starts)
    want = gradients(*(joined[:, i].copy() for i in range(4)), starts=starts)
    for result, expected in zip(got, want, strict=True):
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_varlen_backward_halves_are_computed_in_float32(packed, rng, dtype):
    inputs, grad_out = packed(dtype), gradient_of_result(rng, dtype)
    resolution = float(ml_dtypes.finfo(dtype).eps)
    for result, want in zip(gradients(*inputs, grad_out), twin(inputs, grad_out, np.float64, {}), strict=True):
        assert result.dtype == dtype
        assert np.abs(result.astype(float) - want).max() <= 4 * resolution * np.abs(want).max()


def test_varlen_backward_nan_stays_in_its_sequence(packed, rng):
    inputs, grad_out = packed(), gradient_of_result(rng)
    want = gradients(*inputs, grad_out)
    b = 5
    for x in inputs[1:]:
        x[KEY_STARTS[b]] = np.nan
    got = gradients(*inputs, grad_out)
    for result, expected, starts in zip(got, want, (QUERY_STARTS, KEY_STARTS, KEY_STARTS), strict=True):
        others = np.r_[0 : starts[b], starts[b + 1] : starts[-1]]
        np.testing.assert_array_equal(result[others], expected[others])


def test_varlen_backward_of_what_nothing_sees_is_zero(packed, rng):
    of_query, of_key, of_value = gradients(*packed(), gradient_of_result(rng))
    for b, (rows, keys) in enumerate(zip(QUERIES, KEYS, strict=True)):
        if rows == 0 or keys == 0:
            assert not of_query[slice(*QUERY_STARTS[b : b + 2])].any()
            assert not of_key[slice(*KEY_STARTS[b : b + 2])].any()
            assert not of_value[slice(*KEY_STARTS[b : b + 2])].any()
    for gradient in gradients(*packed(), gradient_of_result(rng), dropout_p=1.0):
        assert not gradient.any()
    nothing = np.zeros((0, 3, 8), np.float32)
    assert [x.shape for x in gradients(*[nothing] * 4, starts=([0, 0],))] == [(0, 3, 8)] * 3


Q, K, LSE = np.zeros((10, 4, 8), np.float32), np.zeros((12, 2, 8), np.float32), np.zeros((4, 10), np.float32)
ERRORS = [
    ((Q[:9], Q, K, K, Q, LSE), {}, ValueError, r"grad_out must have the shape of attention's result, \(10, 4, 8\)"),
    ((Q, Q, K, K, Q[..., :7], LSE), {}, ValueError, "out must have the shape"),
    ((Q, Q, K, K, Q, LSE.T), {}, ValueError, r"lse must have the shape.*\(4, 10\)"),
    ((Q, Q, K, K, Q, None), {}, TypeError, "lse must be what"),
    ((Q.astype(float), Q, K, K, Q, LSE), {}, TypeError, "grad_out must have the dtype of query"),
    ((Q, Q, K, K[:11], Q, LSE), {}, ValueError, "key has 12 tokens and value 11"),
    ((Q, Q, K, K, Q, LSE), {"query_offset": [1, 2]}, ValueError, "query_offset must be one integer"),
]


@pytest.mark.parametrize("arguments, options, error, message", ERRORS)
def test_varlen_backward_wrong_arguments_raise(arguments, options, error, message):
    with pytest.raises(error, match=message):
        scaled_dot_product_attention_varlen_backward(*arguments, [0, 10], [0, 12], **options)


@pytest.mark.parametrize("query_starts, key_starts", [([0], [0]), ([0, 3], [0, 0]), ([0, 0], [0, 4]), ([0, 0], [0, 0])])
def test_varlen_backward_twin_without_tokens_equals_the_function(query_starts, key_starts):
    query, key, value = (
        np.ones((query_starts[-1], 4, 3)),
        np.ones((key_starts[-1], 2, 3)),
        np.ones((key_starts[-1], 2, 5)),
    )
    given = (query, key, value, query_starts, key_starts)
    out, lse = reference.scaled_dot_product_attention_varlen(*given, return_lse=True)
    np.testing.assert_array_equal(out, scaled_dot_product_attention_varlen(*given))
    arguments = (out, query, key, value, out, lse, query_starts, key_starts)
    wanted = reference.scaled_dot_product_attention_varlen_backward(*arguments)
    for x, y in zip(scaled_dot_product_attention_varlen_backward(*arguments), wanted, strict=True):
        np.testing.assert_array_equal(x, y)
