"""Dropout, written from its definition."""

from typing import Any

import numpy as np

from fastcore.reference.philox import philox4x32


def dropout(input: Any, p: float = 0.5, training: bool = True, *, seed: int, offset: int = 0) -> np.ndarray:
    """Twin of `fastcore.nn.dropout`: keep elements whose word is at least floor(p * 2**32).

    Parameters
    ----------
    input : any shape
    p, training, seed, offset : as in the public function

    Returns
    -------
    The shape and dtype of input
    """
    x = np.asarray(input)
    if not training or p == 0:
        return x.copy()
    if p == 1:
        return np.zeros_like(x)
    computing = np.dtype(np.float64 if x.dtype == np.float64 else np.float32)
    positions = np.uint64(offset) + np.arange(x.size, dtype=np.uint64)
    block = positions // np.uint64(4)
    counter = np.zeros((x.size, 4), np.uint64)
    counter[:, 0], counter[:, 1] = block & np.uint64(0xFFFFFFFF), block >> np.uint64(32)
    words = philox4x32(counter, (seed & 0xFFFFFFFF, seed >> 32))
    word = np.take_along_axis(words, (positions % np.uint64(4)).astype(np.int64)[:, None], axis=1)
    kept = (word >= np.uint64(int(p * 2**32))).reshape(x.shape)
    return np.where(kept, x.astype(computing) * computing.type(1 / (1 - p)), 0).astype(x.dtype)


def dropout_backward(grad_out: Any, p: float = 0.5, training: bool = True, *, seed: int, offset: int = 0) -> np.ndarray:
    """Twin of `fastcore.nn.dropout_backward`: the same mask and factor on the gradient."""
    return dropout(grad_out, p, training, seed=seed, offset=offset)
