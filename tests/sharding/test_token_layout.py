"""Orders of tokens, and how many pairs a causal mask leaves."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from fastcore.sharding import unzigzag, zigzag
from fastcore.sharding.token_layout import seen_pairs, token_parts


def test_zigzag_gives_a_device_an_early_and_a_late_chunk():
    np.testing.assert_array_equal(zigzag(np.arange(8), 2, axis=0), [0, 1, 6, 7, 2, 3, 4, 5])


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("length", [0, 1, 7, 12])
@pytest.mark.parametrize("devices", [1, 2, 3, 4, 8])
def test_unzigzag_undoes_zigzag(rng, devices, length, axis):
    shape = [3, 3]
    shape[axis] = length
    x = rng.normal(size=shape)
    order = zigzag(x, devices, axis=axis)
    assert order.shape[axis] == 2 * devices * -(-length // (2 * devices))
    np.testing.assert_array_equal(unzigzag(order, devices, length, axis=axis), x)


@pytest.mark.parametrize("layout", ["contiguous", "zigzag"])
@pytest.mark.parametrize("devices, length", [(1, 10), (3, 22), (4, 5), (4, 64)])
def test_token_parts_are_where_the_tokens_lie(devices, length, layout):
    tokens = np.arange(1, length + 1)
    block = 2 * -(-length // (2 * devices))
    whole = np.zeros(devices * block, int)
    whole[:length] = tokens
    blocks = (zigzag(tokens, devices, axis=0) if layout == "zigzag" else whole).reshape(devices, block)
    for part in token_parts(layout, devices, block, length):
        for device in range(devices):
            start, count = part.starts[device], part.counts[device]
            held = blocks[device, part.rows]
            np.testing.assert_array_equal(held[:count], tokens[start : start + count])
            assert not held[count:].any()


@hypothesis.given(st.integers(-30, 30), st.integers(0, 20), st.integers(0, 20))
def test_seen_pairs_counts_them(offset, queries, keys):
    i, j = np.ogrid[:queries, :keys]
    assert seen_pairs(np.array(offset), np.array(queries), np.array(keys)) == np.sum(j <= offset + i)


def test_zigzag_wrong_arguments_raise():
    with pytest.raises(ValueError, match="devices must be at least 1"):
        zigzag(np.zeros((2, 3)), 0)
    with pytest.raises(ValueError, match="axis must be an axis of array"):
        zigzag(np.zeros((2, 3)), 2, axis=2)
    with pytest.raises(TypeError, match="devices must be an integer"):
        zigzag(np.zeros((2, 3)), 2.0)
    with pytest.raises(ValueError, match="must hold 4 equal chunks"):
        unzigzag(np.zeros((6, 3)), 2)
    with pytest.raises(ValueError, match="length must lie between 0 and 8"):
        unzigzag(np.zeros((8, 3)), 2, 9)
