"""Attention over packed sequences: each gives what it gives by itself, or as a row of a padded batch."""

import itertools

import ml_dtypes
import numpy as np
import pytest

from fastcore import num_threads, reference, scaled_dot_product_attention, scaled_dot_product_attention_varlen
from tests.attention.test_inputs import strided
from tests.attention.test_score_mod import all_arguments

# Lengths on both sides of every tile: none, one query, narrow tiles, wide ones, and one that dominates.
QUERIES, KEYS = [0, 3, 1, 40, 0, 33, 70, 17, 0], [5, 3, 0, 31, 0, 50, 90, 64, 7]


def starts_of(lengths):
    return np.concatenate([[0], np.cumsum(lengths)])


QUERY_STARTS, KEY_STARTS = starts_of(QUERIES), starts_of(KEYS)

# Every option once, so that any two make a test.
OPTIONS = {
    "is_causal": {"is_causal": True},
    "window": {"window": (20, 9)},
    "softcap": {"softcap": 1.5},
    "scale": {"scale": -0.31},
    "query_offset": {"query_offset": np.array([0, 4, 1, -30, 7, 55, 50, 60, 1])},
    "alibi_slopes": {"alibi_slopes": 0.3 * np.random.default_rng(3).random((9, 4))},
    "sinks": {"sinks": [0.5, -np.inf, 2.0, -3.0]},
    "dropout": {"dropout_p": 0.3, "seed": (7 << 32) + 5},
}


PAIRS = [(), *((x,) for x in OPTIONS), *itertools.combinations(OPTIONS, 2)]
# Its twin takes a second a call; in pairs with all options it is tested for batches.
OPTIONS["score_mod"] = {"score_mod": all_arguments}
PAIRS += [("score_mod",), ("score_mod", "query_offset")]


@pytest.fixture(scope="module")
def packed():
    """make(dtype, seed, D, Dv) -> query, key, value of 4 heads on 2."""

    def make(dtype=np.float32, seed=0, d=24, dv=40):
        rng = np.random.default_rng(seed)
        shapes = (QUERY_STARTS[-1], 4, d), (KEY_STARTS[-1], 2, d), (KEY_STARTS[-1], 2, dv)
        return tuple(rng.normal(size=shape).astype(dtype) for shape in shapes)

    return make


def attend(query, key, value, **options):
    return scaled_dot_product_attention_varlen(query, key, value, QUERY_STARTS, KEY_STARTS, **options)


def twin(inputs, dtype, options):
    inputs = (x.astype(dtype) for x in inputs)
    return reference.scaled_dot_product_attention_varlen(*inputs, QUERY_STARTS, KEY_STARTS, return_lse=True, **options)


@pytest.mark.parametrize("names", PAIRS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_varlen_options_match_padded_batch(packed, dtype, names):
    options = {key: value for name in names for key, value in OPTIONS[name].items()}
    inputs = packed(dtype)
    got = attend(*inputs, return_lse=True, **options)
    exact = twin(inputs, np.float64, options)
    plain = exact if dtype == np.float64 else twin(inputs, np.float32, options)
    for result, want, rough in zip(got, exact, plain, strict=True):
        assert result.dtype == dtype
        seen = np.isfinite(want)
        np.testing.assert_array_equal(result[~seen], want[~seen])
        largest = np.abs(want[seen]).max()
        bound = 1e-12 * largest if dtype == np.float64 else 2 * np.abs(rough[seen] - want[seen]).max() + 1e-6 * largest
        assert np.abs(result[seen] - want[seen]).max() <= bound


def alone(inputs, b, **options):
    """Sequence ``b`` by the function for batches: (1, H, L, Dv)."""
    rows, keys = slice(*QUERY_STARTS[b : b + 2]), slice(*KEY_STARTS[b : b + 2])
    query, key, value = (x[part].swapaxes(0, 1)[None] for x, part in zip(inputs, (rows, keys, keys), strict=True))
    return scaled_dot_product_attention(query, key, value, **options)


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"softcap": 2.0, "window": (9, None)}])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_varlen_sequence_has_the_bits_that_it_has_alone(packed, dtype, options):
    inputs = packed(dtype)
    result, lse = attend(*inputs, **options, return_lse=True)
    np.testing.assert_array_equal(attend(*inputs, **options), result)
    for b in range(len(QUERIES)):
        if QUERIES[b] == 1:
            continue  # alone, all heads that share keys would be in one tile
        want, want_lse = alone(inputs, b, **options, return_lse=True)
        rows = slice(*QUERY_STARTS[b : b + 2])
        np.testing.assert_array_equal(result[rows], want[0].swapaxes(0, 1))
        np.testing.assert_array_equal(lse[:, rows], want_lse[0])


def test_varlen_result_does_not_depend_on_neighbours_or_threads(packed):
    inputs = packed()
    with num_threads(2):
        result = attend(*inputs, is_causal=True)
    with num_threads(1):
        np.testing.assert_array_equal(attend(*inputs, is_causal=True), result)
    for first, end in ((3, 4), (5, 7), (1, 8)):
        rows, keys = slice(QUERY_STARTS[first], QUERY_STARTS[end]), slice(KEY_STARTS[first], KEY_STARTS[end])
        part = scaled_dot_product_attention_varlen(
            inputs[0][rows], inputs[1][keys], inputs[2][keys], QUERY_STARTS[first : end + 1] - QUERY_STARTS[first],
            KEY_STARTS[first : end + 1] - KEY_STARTS[first], is_causal=True,
        )  # fmt: skip
        np.testing.assert_array_equal(part, result[rows])


def test_varlen_single_queries_match_padded_batch(rng):
    """One new token a sequence goes to the kernels of decoding, together with sequences that do not."""
    for rows in ([1] * 9, [1, 1, 40, 1, 2, 1, 1, 0, 1]):
        keys = [3, 700, 40, 1, 0, 65, 9, 2, 300]
        query, key, value = (rng.normal(size=(n, h, 32)).astype(np.float32)
                             for n, h in ((sum(rows), 8), (sum(keys), 2), (sum(keys), 2)))  # fmt: skip
        starts = starts_of(rows), starts_of(keys)
        for options in ({}, {"is_causal": True, "query_offset": np.array(keys) - rows}, {"is_causal": True}):
            got = scaled_dot_product_attention_varlen(query, key, value, *starts, **options)
            want = reference.scaled_dot_product_attention_varlen(query, key, value, *starts, **options)
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=2e-6)


def test_varlen_without_key_starts_takes_those_of_the_query(packed, rng):
    query, _, _ = packed()
    starts = QUERY_STARTS.tolist()
    got = scaled_dot_product_attention_varlen(query, query, query, starts)
    want = scaled_dot_product_attention_varlen(query, query, query, QUERY_STARTS, QUERY_STARTS)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("kind", [list, tuple, lambda x: x.astype(np.int32), lambda x: x.astype(">u8"),
                                  lambda x: np.repeat(x, 2)[::2]])  # fmt: skip
def test_varlen_starts_of_any_kind(packed, kind):
    inputs = packed()
    got = scaled_dot_product_attention_varlen(*inputs, kind(QUERY_STARTS), kind(KEY_STARTS))
    np.testing.assert_array_equal(got, attend(*inputs))


@pytest.mark.parametrize("how", ["qkv", "heads first", "reversed", "last axis", "unaligned", "big-endian"])
def test_varlen_strides_do_not_change_the_result(packed, how):
    query, _, _ = packed()
    joined = np.stack([query, query[::-1], -query], axis=1)
    if how == "qkv":
        views = [joined[:, i] for i in range(3)]
    elif how == "heads first":
        views = [np.ascontiguousarray(joined[:, i].swapaxes(0, 1)).swapaxes(0, 1) for i in range(3)]
    elif how == "big-endian":
        views = [joined[:, i].astype(">f4") for i in range(3)]
    else:
        views = [strided(joined[:, i][None], how)[0] for i in range(3)]
    want = scaled_dot_product_attention_varlen(*(joined[:, i].copy() for i in range(3)), QUERY_STARTS)
    for x in views:
        x.flags.writeable = False
    np.testing.assert_array_equal(scaled_dot_product_attention_varlen(*views, QUERY_STARTS), want)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_varlen_halves_are_computed_in_float32(packed, dtype):
    inputs = packed(dtype)
    result, lse = attend(*inputs, return_lse=True, is_causal=True)
    want, want_lse = twin(inputs, np.float64, {"is_causal": True})
    assert (result.dtype, lse.dtype) == (dtype, np.float32)
    resolution = float(ml_dtypes.finfo(dtype).eps)
    np.testing.assert_allclose(result.astype(float), want, rtol=resolution, atol=resolution)
    np.testing.assert_allclose(lse, want_lse, rtol=4 * resolution, atol=4 * resolution)


@pytest.mark.parametrize("where", ["fresh", "strided", "query", "value"])
def test_varlen_out_is_written_in_place(packed, where):
    query, key, value = packed(dv=24)
    want = attend(query, key, value)
    if where == "strided":
        out = np.zeros((query.shape[0], 3, *query.shape[1:]), np.float32)[:, 1]
    elif where == "value":
        value = np.repeat(np.concatenate([value, value]), 2, axis=1)
        value, out = value[: KEY_STARTS[-1], ::2], value[: query.shape[0]]
    else:
        out = query if where == "query" else np.full_like(query, np.nan)
    assert attend(query, key, value, out=out) is out
    np.testing.assert_array_equal(out, want)


def test_varlen_nan_behind_the_bounds_and_in_neighbours_stays_there(packed):
    query, key, value = packed()
    want = attend(query, key, value, is_causal=True)
    b = 6
    for x in (key, value):
        x[KEY_STARTS[b] + QUERIES[b] :] = np.nan  # no query of sequence 6 sees them, those behind see nothing else
    got = attend(query, key, value, is_causal=True)
    np.testing.assert_array_equal(got[: QUERY_STARTS[b + 1]], want[: QUERY_STARTS[b + 1]])
    assert np.isnan(got[QUERY_STARTS[b + 1] :]).all()


@pytest.mark.parametrize("starts", [[0], [0, 0], [0, 0, 0]])
def test_varlen_of_nothing_is_nothing(starts):
    nothing = np.zeros((0, 3, 8), np.float32)
    out, lse = scaled_dot_product_attention_varlen(nothing, nothing, nothing, starts, return_lse=True)
    assert (out.shape, lse.shape) == ((0, 3, 8), (3, 0))
    query = np.ones((4, 3, 8), np.float32)
    out, lse = scaled_dot_product_attention_varlen(query, nothing, nothing, [0, 4], [0, 0], return_lse=True)
    np.testing.assert_array_equal(out, 0)
    np.testing.assert_array_equal(lse, -np.inf)
    assert scaled_dot_product_attention_varlen(query[:, :0], nothing[:, :0], nothing[:, :0], [0, 4], [0, 0]).size == 0


def test_varlen_drops_everything():
    query = np.ones((4, 3, 8), np.float32)
    out, lse = scaled_dot_product_attention_varlen(query, query, query, [0, 4], dropout_p=1.0, return_lse=True)
    np.testing.assert_array_equal(out, 0)
    assert np.isfinite(lse).all()


Q, K = np.zeros((10, 4, 8), np.float32), np.zeros((12, 2, 8), np.float32)
ERRORS = [
    ((Q[None], K[None], K[None], [0, 10], [0, 12]), {}, ValueError, "three axes.*without a batch axis"),
    ((Q, K, K[:11], [0, 10], [0, 12]), {}, ValueError, "key has 12 tokens and value 11"),
    ((Q, K[..., :4], K, [0, 10], [0, 12]), {}, ValueError, "query has head size 8 and key 4"),
    ((Q[:, :3], K, K, [0, 10], [0, 12]), {}, ValueError, "key has 2 heads; the 3 heads of query"),
    ((Q, K, K.astype(float), [0, 10], [0, 12]), {}, TypeError, "one dtype"),
    ((Q, K, K, [0, 10]), {}, ValueError, "key_starts must be given.*10 tokens of query and 12 of key"),
    ((Q, K, K, [0, 10], [0, 5, 12]), {}, ValueError, "of the same sequences. Got 1 and 2 sequences"),
    ((Q, K, K, [1, 10], [0, 12]), {}, ValueError, "query_starts must start with 0. Got 1"),
    ((Q, K, K, [0, 10], [0, 11]), {}, ValueError, "key_starts must end with the number of tokens of key, 12. Got 11"),
    ((Q, K, K, [0, 7, 5, 10], [0, 5, 5, 12]), {}, ValueError, "query_starts must not fall. Got 7, then 5, at 1 and 2"),
    ((Q, K, K, [[0, 10]], [0, 12]), {}, ValueError, r"query_starts must be \(B \+ 1,\).*Got shape \(1, 2\)"),
    ((Q, K, K, [], [0, 12]), {}, ValueError, r"Got shape \(0,\)"),
    ((Q, K, K, 10, [0, 12]), {}, ValueError, r"Got shape \(\)"),
    ((Q, K, K, [0.0, 10.0], [0, 12]), {}, TypeError, "query_starts must hold integers. Got float64"),
    ((Q, K, K, None, [0, 12]), {}, TypeError, "query_starts must be an array. Got None"),
    ((Q, K, K, np.ma.masked_array([0, 10]), [0, 12]), {}, TypeError, "query_starts must be a plain array"),
    ((Q, K, K, [0, 10], [0, 12]), {"query_offset": [1, 2]}, ValueError, "query_offset must be one integer"),
    ((Q, K, K, [0, 10], [0, 12]), {"out": np.zeros((10, 4, 7), np.float32)}, ValueError, r"\(10, 4, 8\)"),
    ((Q, K, K, [0, 10], [0, 12]), {"alibi_slopes": np.ones((2, 4))}, ValueError, r"\(1, 4\)"),
    ((Q, K, K, [0, 10], [0, 12]), {"sinks": np.ones(3)}, ValueError, "sinks must have shape"),
    ((Q, K, K, [0, 10], [0, 12]), {"window": 3}, TypeError, "window"),
    ((Q, K, K, [0, 10], [0, 12]), {"dropout_p": 1.5}, ValueError, "dropout_p"),
]  # fmt: skip


@pytest.mark.parametrize("arguments, options, error, message", ERRORS)
def test_varlen_wrong_arguments_raise(arguments, options, error, message):
    with pytest.raises(error, match=message):
        scaled_dot_product_attention_varlen(*arguments, **options)
