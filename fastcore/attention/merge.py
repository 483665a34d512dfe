"""`merge_attention_states`: attention over two sets of keys from the results over each."""

import math
from typing import Any

import numpy as np

from fastcore._core import validate, validate_attention
from fastcore.attention.kernels.merge import merge_states


def merge_attention_states(out_a: Any, lse_a: Any, out_b: Any, lse_b: Any) -> tuple[np.ndarray, np.ndarray]:
    """Merge two results of attention by the same queries over disjoint keys into the result over all of them.

    Parameters
    ----------
    out_a, out_b : (..., L, Dv), both float32, float64, float16 or ml_dtypes.bfloat16, e.g. (B, H, L, Dv)
        Read in place where the last axis is contiguous (up to four axes), else copied.
    lse_a, lse_b : (..., L) float, natural log, as `return_lse` gives it
        -inf marks a row that saw no key; its `out` is not looked at.

    Returns
    -------
    out : (..., L, Dv), dtype of out_a. A row without keys on both sides gives zeros.
    lse : (..., L), float64 for float64 and float32 for all others; -inf for a row without keys on both sides

    Raises
    ------
    ValueError : shapes disagree
    TypeError : unsupported or mixed dtypes

    Notes
    -----
    out = (e^lse_a out_a + e^lse_b out_b) / (e^lse_a + e^lse_b), shifted by the larger lse. Source: Dao et al. 2023,
    Flash-Decoding, "split along keys, merge by log-sum-exp".
    """
    out_a, out_b = validate.float_array(out_a, "out_a"), validate.float_array(out_b, "out_b")
    lse_a, lse_b = validate.float_array(lse_a, "lse_a"), validate.float_array(lse_b, "lse_b")
    dtype = validate.same_dtype({"out_a": out_a, "out_b": out_b})
    computing = validate.computing_dtype(dtype)
    validate_attention.states(out_a, lse_a, out_b, lse_b)

    out = np.empty(out_a.shape, computing)
    lse = np.empty(lse_a.shape, computing)
    if lse.size:
        merge_states(
            _four_axes(out_a, computing),
            _four_axes(lse_a[..., None], computing),
            _four_axes(out_b, computing),
            _four_axes(lse_b[..., None], computing),
            _four_axes(out, computing),
            _four_axes(lse[..., None], computing),
        )
    with np.errstate(over="ignore"):  # float16 ends at 65504
        return out.astype(dtype, copy=False), lse


def _four_axes(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """`x` as (B, H, L, n): axes of 1 in front, or the first ones joined."""
    x = validate.readable_in_place(x.astype(dtype, copy=False))
    return x.reshape((*(1,) * (4 - x.ndim), *x.shape) if x.ndim <= 4 else (math.prod(x.shape[:-3]), *x.shape[-3:]))
