"""What each format costs in exactness: of keys and values, of scores, and of the results of attention."""

import re

import numpy as np
import pytest

from fastcore.kvcache import formats
from fastcore.reference import dequantize, quantize, scaled_dot_product_attention
from tests.attention.cached_case import Sequences

TOKENS, SIZE, QUERIES = 1000, 128, 200
# Elements of keys and values: normal, and of Student's t distribution with 5 degrees of freedom, whose largest of 128
# is 4 standard deviations and not 2.8.
DRAWS = {
    "normal": lambda rng, *shape: rng.standard_normal(shape).astype(np.float32),
    "heavy": lambda rng, *shape: rng.standard_t(5, shape).astype(np.float32),
}
# Errors relative to the root mean square: of an element, and of the result of attention over 1000 tokens whose scores
# have a standard deviation of 1. (normal element, normal result, heavy element, heavy result)
STATED = {
    "float32": (0.0, 0.0, 0.0, 0.0),
    "float16": (0.00021, 0.0003, 0.00021, 0.00033),
    "bfloat16": (0.0017, 0.0025, 0.0017, 0.0026),
    "int8": (0.0065, 0.0096, 0.0095, 0.016),
    "int4": (0.078, 0.11, 0.09, 0.14),
}


def relative(error, exact):
    return float(np.sqrt(np.mean(np.square(error)) / np.mean(np.square(exact))))


def as_stored(x, dtype):
    return dequantize(quantize(x, dtype), dtype, x.shape[-1]).astype(np.float64)


def scores(query, key):
    return query @ np.swapaxes(key, -1, -2)


def drawn(draw, rng):
    """Query, key, value in float32, and the scale that gives scores a standard deviation of 1."""
    key, value = (DRAWS[draw](rng, 1, 1, TOKENS, SIZE) for _ in range(2))
    query = rng.standard_normal((1, 1, QUERIES, SIZE)).astype(np.float32)
    return query, key, value, float(1.0 / np.std(scores(query, key)))


@pytest.mark.parametrize("draw", DRAWS)
def test_format_errors_are_those_stated(dtype, draw, rng):
    query, key, value, scale = drawn(draw, rng)
    exact = scaled_dot_product_attention(*(x.astype(np.float64) for x in (query, key, value)), scale=scale)
    rows = as_stored(key, dtype), as_stored(value, dtype)
    got = scaled_dot_product_attention(query.astype(np.float64), *rows, scale=scale)
    measured = relative(rows[0] - key, key), relative(got - exact, exact)
    np.testing.assert_allclose(measured, STATED[dtype][:2] if draw == "normal" else STATED[dtype][2:], rtol=0.2)


def test_format_errors_in_the_docstring_are_those_tested():
    row = r"^(float16|bfloat16|int8|int4)" + r" +([\d.]+) %" * 4 + "$"
    found = {name: numbers for name, *numbers in re.findall(row, formats.__doc__, re.M)}
    assert list(found) == list(STATED)[1:]
    for name, numbers in found.items():
        np.testing.assert_allclose([float(x) / 100 for x in numbers], STATED[name])


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("query_draw, share", [("normal", 1 / 256), ("heavy", 1 / 100)])
def test_int8_queries_of_16_bits_add_a_256th_to_the_error_of_scores(draw, query_draw, share, rng):
    """Of normal queries; those with a far outlier have coarser steps."""
    query = DRAWS[query_draw](rng, QUERIES, SIZE).astype(np.float64)
    key = DRAWS[draw](rng, TOKENS, SIZE)
    step = np.abs(query).max(axis=-1, keepdims=True) / 32767
    by_queries = relative(scores(np.rint(query / step) * step - query, key), scores(query, key))
    by_keys = relative(scores(query, as_stored(key, "int8") - key), scores(query, key))
    assert by_queries <= share * by_keys


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("new", [1, 4])
def test_int8_attention_in_fixed_point_adds_little_to_the_error_of_the_format(draw, new, rng):
    query, key, value, scale = drawn(draw, rng)
    case = Sequences(rng, "int8", [TOKENS], 1, SIZE, keys=[key[0]], values=[value[0]])
    added, own = [], []
    for first in range(0, QUERIES, new):
        few = query[:, :, first : first + new]
        inputs = (x.astype(np.float64) for x in (few, key, value))
        seen = case.mask(0, new)
        on_stored = case.expected(0, few[0], scale=scale)
        added.append(case.attend(few, scale=scale)[0] - on_stored)
        own.append(on_stored - scaled_dot_product_attention(*inputs, seen, scale=scale)[0])
    assert relative(added, own) <= 1 / 100
