"""Products with stored rows where a slip in the order of elements or an overflow of integers would show at once."""

import numpy as np
import pytest

from tests.attention.cached_case import FORMATS, Sequences, normal


@pytest.fixture(params=FORMATS)
def dtype(request):
    """Each storage format."""
    return request.param


@pytest.mark.parametrize("group", [1, 2, 3, 5])
@pytest.mark.parametrize("size, value_size", [(130, 100), (16, 16), (50, 1), (96, 272), (70, 64)])
def test_products_that_choose_one_key_give_its_value(dtype, group, size, value_size, rng):
    """Key j is the unit vector j, so each element of the queries and of the values has its own place."""
    keys = [np.eye(size, dtype=np.float32)[None]]
    case = Sequences(rng, dtype, [size], 1, size, value_size, 16, keys=keys)
    for first in range(0, size, group):
        chosen = np.arange(first, first + group) % size
        query = np.eye(size, dtype=np.float32)[chosen][None, :, None]
        got = case.attend(query, scale=1e4)
        np.testing.assert_allclose(got[0, :, 0], case.values[0][0, chosen], rtol=2e-7, atol=0)


SIGNS = {
    "plus": lambda i, size: i >= 0,
    "minus": lambda i, size: i < 0,
    "alternating": lambda i, size: i % 2 == 0,
    "halves": lambda i, size: i < size // 2,
}


def signs(name, *shape):
    """1 and -1 along the last axis."""
    row = np.where(SIGNS[name](np.arange(shape[-1]), shape[-1]), 1.0, -1.0)
    return np.broadcast_to(row, shape).astype(np.float32, order="C")


@pytest.mark.parametrize("size", [16, 64, 500, 512, 513, 1024])
@pytest.mark.parametrize("sign", SIGNS)
def test_products_of_the_largest_bytes_do_not_overflow(dtype, size, sign, rng):
    """Codes are 127 and queries 32767 throughout: 2.13e9 in 512 columns, of 2.15e9 that 32 bits hold."""
    keys = [np.concatenate([signs(name, 1, 20, size) for name in SIGNS], axis=1)]
    case = Sequences(rng, dtype, [80], 1, size, 16, keys=keys)
    for heads in (1, 3, 8):
        query = signs(sign, 1, heads, 1, size) * np.float32(0.9)
        case.check_all(query, scale=2.0 / size)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 61, 62, 63, 64, 65, 128, 1000])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_sums_of_equal_weights_of_the_largest_values_do_not_overflow(dtype, length, sign, rng):
    values = [np.full((1, length, 80), sign * 3.0, np.float32)]
    keys = [np.zeros((1, length, 16), np.float32)]
    case = Sequences(rng, dtype, [length], 1, 16, 80, keys=keys, values=values)
    for heads in (1, 2, 3, 8):
        got = case.attend(normal(rng, 1, heads, 1, 16))
        np.testing.assert_allclose(got, case.values[0][0, 0, 0], rtol=3e-6)


@pytest.mark.parametrize("place", [0, 63, 64, 200, 299])
@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_sums_of_values_of_very_different_sizes(dtype, place, factor, rng):
    """A row that is far larger, or smaller, than the others of its block, whatever its weight is."""
    values = [normal(rng, 1, 300, 40)]
    values[0][:, place] *= np.float32(factor)
    case = Sequences(rng, dtype, [300], 1, 32, 40, values=values)
    for heads in (1, 2, 3, 8):
        case.check_all(normal(rng, 1, heads, 1, 32) * np.float32(2.0))


@pytest.mark.parametrize("heads", [1, 2, 4, 8])
def test_weights_that_fall_off_steeply_or_rise_late(dtype, heads, rng):
    """The reference is raised in later blocks, and the first ones have weights near 0 or near 1."""
    slope = np.linspace(-1.0, 1.0, 400, dtype=np.float32)
    for direction in (1.0, -1.0):
        keys = [np.float32(direction) * slope[None, :, None] * np.ones((1, 400, 16), np.float32)]
        case = Sequences(rng, dtype, [400], 1, 16, 24, keys=keys)
        for scale in (0.01, 0.5, 20.0):
            case.check_all(np.abs(normal(rng, 1, heads, 1, 16)) + np.float32(0.1), scale=scale)
