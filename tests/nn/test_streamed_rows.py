"""Results beyond the caches, which are written past them: vectors in which one row ends and the next begins."""

import numpy as np
import pytest

from fastcore._core.streaming import STREAMED_BYTES
from fastcore.nn import add_layer_norm, layer_norm, layer_norm_backward, rms_norm, rms_norm_backward


def empty_at(offset, shape, wide):
    """float32 whose rows begin ``offset`` bytes behind a multiple of 64, with ``wide`` elements between them."""
    rows, size = shape
    memory = np.full(rows * (size + wide) * 4 + 128, 7, np.uint8)
    start = -memory.ctypes.data % 64 + offset
    flat = memory[start : start + rows * (size + wide) * 4].view(np.float32)
    return flat.reshape(rows, size + wide)[:, :size], flat.reshape(rows, size + wide)[:, size:]


@pytest.mark.parametrize("offset, wide", [(0, 0), (4, 0), (16, 0), (60, 0), (16, 3)])
@pytest.mark.parametrize("size", [20, 1001])
def test_streamed_results_are_those_of_rows_in_the_cache(rng, size, offset, wide):
    rows = STREAMED_BYTES // (4 * size) + 5
    x, grad_out = rng.standard_normal((2, rows, size), dtype=np.float32)
    weight, bias = rng.standard_normal((2, size), dtype=np.float32)
    out, between = empty_at(offset, x.shape, wide)
    kept = between.copy()
    calls = {
        layer_norm: ((x,), (weight, bias)),
        add_layer_norm: ((x, grad_out), (weight, bias)),
        rms_norm: ((x,), (weight,)),
        layer_norm_backward: ((grad_out, x), (weight, bias)),
        rms_norm_backward: ((grad_out, x), (weight,)),
    }
    for function, (arrays, vectors) in calls.items():
        is_backward = function.__name__.endswith("backward")
        function(*arrays, size, *vectors, out=(out, *(None for _ in vectors)) if is_backward else out)
        for part in (slice(0, 40), slice(rows // 2, rows // 2 + 40), slice(rows - 40, rows)):
            want = function(*(a[part] for a in arrays), size, *vectors)
            np.testing.assert_array_equal(out[part], want[0] if is_backward else want)
    np.testing.assert_array_equal(between, kept)
