"""Layer normalisation, alone and fused with the residual sum before it."""

import math
from typing import Any

import numpy as np

from fastcore._core import validate
from fastcore.nn.kernels.layer_norm import normalize
from fastcore.nn.rows import as_rows, put_rows, target_rows


def layer_norm(
    input: Any,
    normalized_shape: Any,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    *,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """(input - mean) / sqrt(variance + eps) * weight + bias, moments over the last axes.

    Parameters
    ----------
    input : (..., *normalized_shape) float32, float64, float16 or ml_dtypes.bfloat16
        Read in place where its normalised axes are contiguous and the others join to one, else copied.
    normalized_shape : int or tuple of ints; the last axes of input, of at least one element
    weight, bias : normalized_shape, dtype of input, each optional
    eps : float, not negative
    out : shape and dtype of input, optional; written in place and returned. May be `input`.

    Returns
    -------
    (..., *normalized_shape), dtype of input; float16 and bfloat16 are computed in float32

    Raises
    ------
    ValueError : shapes disagree, or eps is negative
    TypeError : unsupported or mixed dtypes

    Notes
    -----
    The variance divides by the number of elements, as in PyTorch, and is summed around the mean: 1e4 + noise in float32
    is normalised to float32's accuracy. Source: Ba, Kiros and Hinton 2016, "Layer Normalization", eq. 4.
    """
    return _normalize({"input": input}, normalized_shape, weight, bias, eps, out)


def add_layer_norm(
    input: Any,
    residual: Any,
    normalized_shape: Any,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    *,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """`layer_norm` of input + residual, in one pass over memory.

    Parameters
    ----------
    input, residual : (..., *normalized_shape), one shape and dtype, as in `layer_norm`
    normalized_shape, weight, bias, eps : as in `layer_norm`
    out : shape and dtype of input, optional; written in place and returned. May be `input` or `residual`.

    Returns
    -------
    (..., *normalized_shape), dtype of input; float16 and bfloat16 are added and normalised in float32

    Raises
    ------
    ValueError : shapes disagree, or eps is negative
    TypeError : unsupported or mixed dtypes
    """
    return _normalize({"input": input, "residual": residual}, normalized_shape, weight, bias, eps, out)


def _normalize(
    summands: dict[str, Any], normalized_shape: Any, weight: Any, bias: Any, eps: Any, out: np.ndarray | None
) -> np.ndarray:
    """Layer norm of the sum of one or two arrays, given with their names."""
    arrays = {name: validate.float_array(x, name) for name, x in summands.items()}
    vectors = {name: validate.float_array(x, name) for name, x in (("weight", weight), ("bias", bias)) if x is not None}
    dtype = validate.same_dtype(arrays | vectors)
    computing = validate.computing_dtype(dtype)
    input = arrays["input"]
    axes = validate.normalized_axes(normalized_shape, input)
    validate.shapes_of_summands(arrays)
    validate.shapes_of_vectors(vectors, axes)
    eps = validate.not_negative_float(eps, "eps")

    result = np.empty(input.shape, dtype) if out is None else validate.output_array(out, input.shape, dtype)
    if input.size:
        size = math.prod(axes)
        scale = _flat(vectors.get("weight"), np.ones, size, computing)
        shift = _flat(vectors.get("bias"), np.zeros, size, computing)
        rows = [as_rows(x, size, computing) for x in arrays.values()]
        target = target_rows(result, rows, [scale, shift])
        residual = rows[1] if len(rows) == 2 else np.empty((0, size), computing)
        normalize(rows[0], residual, scale, shift, eps, target)
        put_rows(target, result)
    return result


def _flat(vector: np.ndarray | None, default: Any, size: int, dtype: np.dtype) -> np.ndarray:
    """`vector`, or what stands for none, as (size,)."""
    return default(size, dtype) if vector is None else np.ascontiguousarray(vector, dtype).reshape(size)
