"""Several Python threads at once: the scratch memory of one call is no other's."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fastcore import nn

W = np.random.default_rng(0).standard_normal(160).astype(np.float32)
CALLS = {
    "layer_norm": lambda x: nn.layer_norm(x, 160, W, W),
    "add_layer_norm": lambda x: nn.add_layer_norm(x, x, 160, W, W),
    "rms_norm": lambda x: nn.rms_norm(x, 160, W),
    "layer_norm_backward": lambda x: nn.layer_norm_backward(x, x[::-1], 160, W, W),
    "rms_norm_backward": lambda x: nn.rms_norm_backward(x, x[::-1], 160, W),
    "batch_norm": lambda x: nn.batch_norm(x, None, None, W, W, True),
    "group_norm": lambda x: nn.group_norm(x, 4, W, W),
    "softmax": lambda x: nn.softmax(x, -1),
}


@pytest.mark.parametrize("name", CALLS)
def test_many_callers(name):
    """Numba freed the scratch memory of normalisation before its rows were done: wrong weights in these calls."""
    call = CALLS[name]
    inputs = np.random.default_rng(1).standard_normal((8, 300, 160)).astype(np.float32)
    expected = [np.concatenate([np.ravel(a) for a in call(x)]) for x in inputs]

    def is_same(i):
        return all(
            np.array_equal(np.concatenate([np.ravel(a) for a in call(inputs[i])]), expected[i]) for _ in range(40)
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(is_same, range(8)))
