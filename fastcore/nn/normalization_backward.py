"""Gradients of the normalisations of `fastcore.nn.normalization`."""

import math
from typing import Any

import numpy as np

from fastcore._core import validate, validate_nn
from fastcore.nn.kernels import layer_norm_backward as layer_kernels
from fastcore.nn.kernels import rms_norm_backward as rms_kernels
from fastcore.nn.kernels.row_sums import new_sums
from fastcore.nn.norm_arguments import EPSILON_F32, default_epsilon, flat_vector, is_short, two_axes
from fastcore.nn.rows import as_rows, put_rows, target_rows

_FLOAT32 = np.dtype(np.float32)
_empty = np.empty


def layer_norm_backward(
    grad_out: Any,
    input: Any,
    normalized_shape: Any,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    *,
    out: tuple[np.ndarray | None, ...] | None = None,
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Gradients of `layer_norm`, whose mean and deviation are computed again from `input`.

    Parameters
    ----------
    grad_out : shape and dtype of input: the gradient of a scalar for the result of `layer_norm`
    input, normalized_shape, weight, bias, eps : as in `layer_norm`; of bias only whether there is one matters
    out : (grad_input, grad_weight, grad_bias), each an array of the shape and dtype of its gradient or None for a new
        one, optional; written in place and returned. out[0] may be `grad_out` or `input`.

    Returns
    -------
    (grad_input, grad_weight, grad_bias), in the shapes and the dtype of input, weight and bias; None for one of the
    latter that was not given. float16 and bfloat16 are computed in float32 and rounded once.

    Raises
    ------
    ValueError : shapes disagree, eps is negative, arrays of out overlap, or there is one for a gradient that is None
    TypeError : unsupported or mixed dtypes, or out is no tuple

    Notes
    -----
    With n = (input - mean) / deviation and g = grad_out * weight: grad_input = (g - mean(g) - n * mean(g * n)) /
    deviation. grad_weight and grad_bias, the sums of grad_out * n and grad_out over all rows, have the same bits for
    any number of threads. Source: Ba, Kiros and Hinton 2016, "Layer Normalization", eq. 4, differentiated.
    """
    # The short way for small float32 arrays, as in `layer_norm`.
    if out is None and is_short(input, normalized_shape, weight, bias, eps, grad_out):
        grad_input = _empty(input.shape, _FLOAT32)
        rows, slopes, target = two_axes(input, grad_out, grad_input)
        sums = new_sums(rows.shape, 2, _FLOAT32)
        if layer_kernels.gradient_if_small(slopes, rows, None, weight, eps, target, sums):
            grad_weight, grad_bias = sums[0].reshape(2, normalized_shape)
            return grad_input, grad_weight, grad_bias
    return _layer_norm_backward(grad_out, {"input": input}, normalized_shape, weight, bias, eps, out)


def add_layer_norm_backward(
    grad_out: Any,
    input: Any,
    residual: Any,
    normalized_shape: Any,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    *,
    out: tuple[np.ndarray | None, ...] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Gradients of `add_layer_norm`; those of input and residual are equal, and one array unless `out` says otherwise.

    Parameters
    ----------
    grad_out : shape and dtype of input: the gradient of a scalar for the result of `add_layer_norm`
    input, residual, normalized_shape, weight, bias, eps : as in `add_layer_norm`
    out : (grad_input, grad_residual, grad_weight, grad_bias), as in `layer_norm_backward`; out[0], or out[1] where that
        is None, may be `grad_out`, `input` or `residual`

    Returns
    -------
    (grad_input, grad_residual, grad_weight, grad_bias), as in `layer_norm_backward`; the first two are one array, which
    is written once, where `out` does not have both. Copy it before writing to one of them.

    Raises
    ------
    ValueError, TypeError : as in `layer_norm_backward`
    """
    summands = {"input": input, "residual": residual}
    return _layer_norm_backward(grad_out, summands, normalized_shape, weight, bias, eps, out)


def rms_norm_backward(
    grad_out: Any,
    input: Any,
    normalized_shape: Any,
    weight: Any = None,
    eps: float | None = None,
    *,
    out: tuple[np.ndarray | None, ...] | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Gradients of `rms_norm`, whose root mean square is computed again from `input`.

    Parameters
    ----------
    grad_out : shape and dtype of input: the gradient of a scalar for the result of `rms_norm`
    input, normalized_shape, weight, eps : as in `rms_norm`
    out : (grad_input, grad_weight), as in `layer_norm_backward`

    Returns
    -------
    (grad_input, grad_weight), as in `layer_norm_backward`

    Raises
    ------
    ValueError, TypeError : as in `layer_norm_backward`

    Notes
    -----
    With n = input / r, r = sqrt(mean(input**2) + eps), and g = grad_out * weight: grad_input = (g - n * mean(g * n)) /
    r, grad_weight the sum of grad_out * n over all rows. Source: Zhang and Sennrich 2019, eq. 4, differentiated.
    """
    # The short way for small float32 arrays, as in `layer_norm`.
    if out is None and is_short(input, normalized_shape, weight, weight, 0.0 if eps is None else eps, grad_out):
        grad_input = _empty(input.shape, _FLOAT32)
        rows, slopes, target = two_axes(input, grad_out, grad_input)
        sums = new_sums(rows.shape, 1, _FLOAT32)
        if rms_kernels.gradient_if_small(slopes, rows, weight, EPSILON_F32 if eps is None else eps, target, sums):
            return grad_input, sums[0]
    arrays = {"input": validate.float_array(input, "input"), "grad_out": validate.float_array(grad_out, "grad_out")}
    vectors = {} if weight is None else {"weight": validate.float_array(weight, "weight")}
    dtype = validate.same_dtype(arrays | vectors)
    shape = arrays["input"].shape
    axes = validate_nn.normalized_axes(normalized_shape, arrays["input"])
    validate_nn.one_shape(arrays)
    validate_nn.shapes_of_vectors(vectors, axes)
    eps = default_epsilon(dtype) if eps is None else validate.not_negative_float(eps, "eps")
    outputs = validate_nn.gradient_outputs(out, {"input": shape, "weight": axes if vectors else None}, dtype)
    size, computing = math.prod(axes), validate.computing_dtype(dtype)
    result = np.empty(shape, dtype) if outputs[0] is None else outputs[0]
    sums = np.zeros((1, size), computing)
    if arrays["input"].size:
        rows, slopes = (as_rows(x, size, computing) for x in arrays.values())
        scale = flat_vector(vectors.get("weight"), np.ones, size, computing)
        target = target_rows(result, [rows, slopes], [scale])
        sums = rms_kernels.gradient(slopes, rows, scale, eps, target)
        put_rows(target, result)
    return result, *_vectors(sums, (vectors.get("weight"),), outputs[1:])


def _layer_norm_backward(
    grad_out: Any, summands: dict[str, Any], normalized_shape: Any, weight: Any, bias: Any, eps: Any, out: Any
) -> Any:
    """Gradients of layer norm of the sum of one or two arrays, given with their names."""
    arrays = {name: validate.float_array(x, name) for name, x in (summands | {"grad_out": grad_out}).items()}
    vectors = {name: validate.float_array(x, name) for name, x in (("weight", weight), ("bias", bias)) if x is not None}
    dtype = validate.same_dtype(arrays | vectors)
    shape = arrays["input"].shape
    axes = validate_nn.normalized_axes(normalized_shape, arrays["input"])
    validate_nn.one_shape(arrays)
    validate_nn.shapes_of_vectors(vectors, axes)
    eps = validate.not_negative_float(eps, "eps")
    shapes = dict.fromkeys(summands, shape) | {n: axes if n in vectors else None for n in ("weight", "bias")}
    outputs = validate_nn.gradient_outputs(out, shapes, dtype)

    size, computing = math.prod(axes), validate.computing_dtype(dtype)
    results = [x for x in outputs[: len(summands)] if x is not None] or [np.empty(shape, dtype)]
    sums = np.zeros((2, size), computing)
    if arrays["input"].size:
        rows = {name: as_rows(x, size, computing) for name, x in arrays.items()}
        scale = flat_vector(vectors.get("weight"), np.ones, size, computing)
        target = target_rows(results[0], list(rows.values()), [scale])
        residual = rows.get("residual", np.empty((0, size), computing))
        sums = layer_kernels.gradient(rows["grad_out"], rows["input"], residual, scale, eps, target)
        put_rows(target, results[0])
        for other in results[1:]:
            other[...] = results[0]
    gradients = (results * 2)[: len(summands)]
    return *gradients, *_vectors(sums, (vectors.get("weight"), vectors.get("bias")), outputs[len(summands) :])


def _vectors(sums: np.ndarray, vectors: Any, outputs: Any) -> Any:
    """The rows of `sums` as gradients of `vectors`, None where there is none, in `outputs` where given."""
    gradients: list[np.ndarray | None] = []
    for total, vector, output in zip(sums, vectors, outputs, strict=True):
        if vector is None:
            gradients.append(None)
            continue
        gradient = np.empty(vector.shape, vector.dtype) if output is None else output
        with np.errstate(over="ignore"):  # float16 ends at 65504
            gradient[...] = total.reshape(vector.shape)
        gradients.append(gradient)
    return gradients
