import numpy as np
import pytest

from benchmarks import streaming

SIZES = [(1,), (64,), (streaming.BLOCK_BYTES // 8 * 5 + 3, 1), (streaming.CHUNK_BYTES // 4, 100)]


@pytest.mark.parametrize("lengths", SIZES)
def test_bound_reads_every_whole_block_once(rng, lengths):
    arrays = [rng.integers(-(2**60), 2**60, length) for length in lengths]
    block = streaming.BLOCK_BYTES // 8
    expected = sum(int(array[: array.size // block * block].sum()) for array in arrays)
    for side in streaming.bound(arrays):
        assert (int(side.collect(side.call())) - expected) % 2**64 == 0


def test_chunks_are_as_long_as_asked_for_and_end_with_the_array():
    array = np.zeros(10 * streaming.BLOCK_BYTES + 8, np.uint8)
    addresses, blocks = streaming.chunks([array, array[:5]], 4 * streaming.BLOCK_BYTES)
    assert (addresses - array.ctypes.data).tolist() == [i * streaming.BLOCK_BYTES for i in (0, 4, 8)]
    assert blocks.tolist() == [4, 4, 2]


def test_copy_moves_half_of_the_bytes_each_way(rng):
    block = streaming.BLOCK_BYTES
    arrays = [rng.integers(0, 255, 5 * block, dtype=np.uint8), rng.integers(0, 255, (2, 2 * block), dtype=np.uint8)]
    for side in streaming.copy_bound(arrays, 2 * 7 * block):
        copied = side.collect(side.call())
        np.testing.assert_array_equal(copied[: 7 * block], np.concatenate([arrays[0], arrays[1].ravel()[: 2 * block]]))
