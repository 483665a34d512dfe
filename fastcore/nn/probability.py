"""From scores to probabilities: softmax and its logarithm along an axis, and their derivatives."""

import math
from typing import Any

import numpy as np

from fastcore._core import validate, validate_activation, validate_nn
from fastcore.nn.kernels.softmax import FEWEST_SHARED, normalize, normalize_few
from fastcore.nn.rows import are_few, put_rows, target_rows

_FLOAT32 = np.dtype(np.float32)
_empty = np.empty


def softmax(input: Any, dim: int = -1, *, dtype: Any = None, out: np.ndarray | None = None) -> np.ndarray:
    """exp(input) / sum(exp(input)), the sum along `dim`.

    Parameters
    ----------
    input : any shape, float32, float64, float16 or ml_dtypes.bfloat16
        Read in place where the last axis is contiguous and the axes before `dim`, and those from behind it, join to
        one each; else copied.
    dim : int, an axis of input; negative ones count from the end
    dtype : NumPy dtype of the result, one of the four, optional; input is cast to it first, as in PyTorch
    out : shape of input, dtype of the result, optional; written in place and returned. May be `input`.

    Returns
    -------
    The shape of input, its dtype or `dtype`; float16 and bfloat16 are computed in float32 and rounded once. A sum
    over only -inf gives NaN, one with +inf or NaN, too, as in PyTorch.

    Raises
    ------
    ValueError : no such axis, or out has another shape or cannot be written
    TypeError : unsupported dtypes

    Notes
    -----
    The largest element is subtracted first, so that nothing overflows. Vectors hold neighbours of the last axis,
    whatever `dim` is. One row, or one strip of neighbouring columns, is done by one thread.
    """
    result = _of_few(input, dim, dtype, out, is_log=False)
    return _normalize({"input": input}, dim, dtype, out, is_log=False) if result is None else result


def log_softmax(input: Any, dim: int = -1, *, dtype: Any = None, out: np.ndarray | None = None) -> np.ndarray:
    """input - log(sum(exp(input))), the sum along `dim`.

    Parameters
    ----------
    input, dim, dtype, out : as in `softmax`

    Returns
    -------
    As of `softmax`, its logarithm; -inf where that is 0

    Raises
    ------
    ValueError : no such axis, or out has another shape or cannot be written
    TypeError : unsupported dtypes
    """
    result = _of_few(input, dim, dtype, out, is_log=True)
    return _normalize({"input": input}, dim, dtype, out, is_log=True) if result is None else result


def softmax_backward(
    grad_out: Any, output: Any, dim: int = -1, *, dtype: Any = None, out: np.ndarray | None = None
) -> np.ndarray:
    """Gradient of `softmax` from what it returned: output * (grad_out - sum(grad_out * output)).

    Parameters
    ----------
    grad_out : shape and dtype of output
    output : what `softmax` returned; memory as of its `input`
    dim : as in `softmax`
    dtype : NumPy dtype of the result, optional: that of the input where `softmax` was given another
    out : shape of output, dtype of the result, optional; written in place and returned. May be `grad_out` or `output`.

    Returns
    -------
    The shape of output, its dtype or `dtype`; float16 and bfloat16 are computed in float32 and rounded once

    Raises
    ------
    ValueError : shapes disagree, or no such axis
    TypeError : unsupported or mixed dtypes
    """
    result = _of_few(output, dim, dtype, out, grad_out, is_log=False)
    if result is not None:
        return result
    return _normalize({"output": output, "grad_out": grad_out}, dim, dtype, out, is_log=False)


def log_softmax_backward(
    grad_out: Any, output: Any, dim: int = -1, *, dtype: Any = None, out: np.ndarray | None = None
) -> np.ndarray:
    """Gradient of `log_softmax` from what it returned: grad_out - exp(output) * sum(grad_out).

    Parameters
    ----------
    grad_out, output, dim, dtype, out : as in `softmax_backward`

    Returns
    -------
    As of `softmax_backward`

    Raises
    ------
    ValueError : shapes disagree, or no such axis
    TypeError : unsupported or mixed dtypes
    """
    result = _of_few(output, dim, dtype, out, grad_out, is_log=True)
    if result is not None:
        return result
    return _normalize({"output": output, "grad_out": grad_out}, dim, dtype, out, is_log=True)


def _of_few(input: Any, dim: Any, dtype: Any, out: Any, *grad: Any, is_log: bool) -> np.ndarray | None:
    """The short way for a few rows of scores: 1.5 us against 15 us. None if that is not what came."""
    if (
        dtype is not None
        or out is not None
        or type(dim) is not int
        or dim != -1
        or not are_few(FEWEST_SHARED, input, *grad)
    ):
        return None
    result = _empty(input.shape, _FLOAT32)
    form = (1, -1, input.shape[-1] if input.ndim else 1)
    normalize_few(input.reshape(form), result.reshape(form), is_log, *[x.reshape(form) for x in grad])
    return result


def _normalize(named: dict[str, Any], dim: int, dtype: Any, out: np.ndarray | None, *, is_log: bool) -> np.ndarray:
    """Softmax of the first array; where there is a second, gradient of what made the first."""
    arrays = {name: validate.float_array(x, name) for name, x in named.items()}
    source = validate.same_dtype(arrays)
    validate_nn.one_shape(arrays)
    first, *grads = arrays.values()
    dim = validate_activation.dimension(dim, first, next(iter(arrays)))
    result_dtype = validate_activation.result_dtype(dtype, source)
    if not grads and source != result_dtype:
        with np.errstate(over="ignore"):  # float16 ends at 65504
            first = first.astype(result_dtype)
    shape = first.shape
    result = _empty(shape, result_dtype) if out is None else validate.output_array(out, shape, result_dtype)
    if first.size:
        inner = math.prod(shape[dim + 1 :])
        # Along the last axis, or what is as good as that; a number is one row.
        depth = shape[dim] if shape else 1
        form = (1, first.size // depth, depth) if inner == 1 else (math.prod(shape[:dim]), depth, inner)
        computing = validate.computing_dtype(first.dtype)
        blocks = [validate.readable_in_place(x.astype(computing, copy=False).reshape(form)) for x in (first, *grads)]
        target = target_rows(result, blocks, [])
        normalize(blocks[0], target, is_log, inner == 1, *blocks[1:])
        put_rows(target, result)
    return result
