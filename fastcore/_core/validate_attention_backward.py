"""Argument checks of attention's gradients: what the forward pass gave, and what came for it."""

from typing import Any

import numpy as np

from fastcore._core.validate import as_native_array, float_array, is_float_type


def result_array(x: Any, name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """`out` and `grad_out`: arrays like the forward function's result."""
    array = float_array(x, name)
    if array.dtype != dtype:
        raise TypeError(f"{name} must have the dtype of query, {dtype}. Got {array.dtype}. Convert it with .astype.")
    if array.shape != shape:
        raise ValueError(f"{name} must have the shape of attention's result, {shape}. Got {array.shape}.")
    return array


def statistics(x: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """`lse`, C-contiguous: what the forward function gave with `return_lse`."""
    if x is None:
        raise TypeError("lse must be what scaled_dot_product_attention(..., return_lse=True) gave. Got None.")
    array = as_native_array(x, "lse")
    if not is_float_type(array.dtype):
        raise TypeError(f"lse must be {dtype}, as the forward function gave it. Got {array.dtype}.")
    if array.shape != shape:
        raise ValueError(f"lse must have the shape of out without its last axis, {shape}. Got {array.shape}.")
    return np.require(array, dtype, ["C", "A"])


def differentiable_mask(mask: np.ndarray | None, wanted: bool) -> None:
    """`return_grad_mask` needs a mask that is added to the scores."""
    if wanted and (mask is None or mask.dtype == np.bool_):
        got = "no attn_mask" if mask is None else "a bool attn_mask"
        raise ValueError(f"return_grad_mask needs a float attn_mask: only what is added has a gradient. Got {got}.")


def sinks_for_gradient(sinks: Any, wanted: bool) -> None:
    """`return_grad_sinks` needs sinks."""
    if wanted and sinks is None:
        raise ValueError("return_grad_sinks needs sinks, as the forward call had them. Got none.")


def derivative_of_function(score_mod: Any, score_mod_grad: Any) -> None:
    """`score_mod` needs its derivative, and only that has one."""
    if score_mod is not None and score_mod_grad is None:
        raise ValueError(
            "score_mod needs its derivative, score_mod_grad: a numba.njit function (score, b, h, i, j) -> derivative of"
            " score_mod by its score. Got none. Pass one, e.g. njit(lambda score, b, h, i, j: 1.0) where score_mod only"
            " adds to the score or masks it."
        )
    if score_mod is None and score_mod_grad is not None:
        raise ValueError("score_mod_grad is the derivative of score_mod. Got no score_mod. Pass both or neither.")
