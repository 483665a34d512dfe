"""Products with blocks of 4 and 8 bits against the weights written out."""

import numpy as np
import pytest

import fastcore
from examples.smollm2.blocks import KINDS, BlockMatrix

SHAPES = [(32, 1), (32, 16), (64, 33), (576, 40), (96, 300)]


def blocks(rng, kind: str, size: int, features: int) -> tuple[np.ndarray, np.ndarray]:
    """(rows of blocks as in a file, weights (features in, features out) in float64)."""
    scales = rng.normal(size=(features, size // 32, 2 if kind == "Q4_1" else 1)).astype(np.float16)
    numbers = rng.integers(0, 256, (features, size // 32, KINDS[kind] - scales[0, 0].nbytes)).astype(np.uint8)
    if kind == "Q4_1":
        wide = np.concatenate([numbers & 15, numbers >> 4], axis=-1)
        weights = wide * scales[..., :1].astype(float) + scales[..., 1:].astype(float)
    else:
        weights = numbers.view(np.int8) * scales.astype(float)
    data = np.concatenate([scales.view(np.uint8), numbers], axis=-1)
    return data.reshape(features, -1), weights.reshape(features, size).T


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_astype_gives_the_weights(rng, kind, shape):
    data, weights = blocks(rng, kind, *shape)
    matrix = BlockMatrix(data, kind)
    assert matrix.shape == shape
    np.testing.assert_allclose(matrix.astype(np.float64), weights, rtol=0, atol=2**-24 * np.abs(weights).max())


@pytest.mark.parametrize("rows", [1, 2, 4, 7, 16])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_product_is_as_exact_as_numpy(rng, kind, shape, rows):
    data, weights = blocks(rng, kind, *shape)
    x = rng.normal(size=(rows, shape[0])).astype(np.float32)
    want, bound = x.astype(float) @ weights, np.abs(x.astype(float)) @ np.abs(weights)
    got = x @ BlockMatrix(data, kind)
    assert got.dtype == np.float32
    # The sum of scaled numbers and that of minima are rounded apart: 2 more roundings than a sum of weights has.
    assert (np.abs(got - want) <= (shape[0] + 2) * 2**-24 * bound).all()
    plain = np.abs(x @ weights.astype(np.float32) - want).max()
    assert np.abs(got - want).max() <= 4 * plain + 2**-23 * bound.max()


@pytest.mark.parametrize("kind", KINDS)
def test_product_of_one_thread_equals_that_of_many(rng, kind):
    matrix = BlockMatrix(blocks(rng, kind, 288, 3000)[0], kind)
    x = rng.normal(size=(9, 288)).astype(np.float32)
    with fastcore.num_threads(1):
        serial = x @ matrix
    np.testing.assert_array_equal(x @ matrix, serial)


def test_product_takes_any_strides_and_no_rows(rng):
    matrix = BlockMatrix(blocks(rng, "Q4_1", 64, 48)[0], "Q4_1")
    x = rng.normal(size=(64, 5)).astype(np.float32)
    np.testing.assert_array_equal(x.T @ matrix, np.ascontiguousarray(x.T) @ matrix)
    assert (x.T[:0] @ matrix).shape == (0, 48)


@pytest.mark.parametrize("shape", [(3, 32), (64,), (1, 2, 64)])
def test_product_of_other_features_is_refused(rng, shape):
    matrix = BlockMatrix(blocks(rng, "Q8_0", 64, 48)[0], "Q8_0")
    with pytest.raises(ValueError, match=r"x must be \(N, 64\) to be multiplied with \(64, 48\); got \("):
        np.zeros(shape, np.float32) @ matrix


@pytest.mark.parametrize("kind", KINDS)
def test_memory_is_that_of_the_file(rng, kind):
    data, _ = blocks(rng, kind, 64, 48)
    assert BlockMatrix(data, kind).nbytes == data.nbytes
