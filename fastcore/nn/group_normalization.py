"""Group normalisation and its gradient."""

from typing import Any

import numpy as np

from fastcore._core import validate, validate_channels
from fastcore.nn.channels import put_vector
from fastcore.nn.kernels.group_norm import normalize_groups
from fastcore.nn.rows import as_rows, put_rows, target_rows


def group_norm(
    input: Any,
    num_groups: int,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    *,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """(input - mean) / sqrt(variance + eps) * weight + bias, moments of each group of channels of each sample.

    Axes: N samples, C channels, any others. A group is C / num_groups consecutive channels.

    Parameters
    ----------
    input : (N, C, ...) float32, float64, float16 or ml_dtypes.bfloat16
        Read in place where all axes but the first join to one, else copied.
    num_groups : int; divides C
    weight, bias : (C,), of one dtype, that of input, or float32 where input is float16 or bfloat16; each optional
    eps : float, not negative
    out : shape and dtype of input, optional; written in place and returned. May be `input`.

    Returns
    -------
    (N, C, ...), dtype of input; float16 and bfloat16 are computed in float32

    Raises
    ------
    ValueError : shapes disagree, num_groups does not divide C, or there is one group of one element in all
    TypeError : unsupported or mixed dtypes

    Notes
    -----
    Sums are taken around means of parts of a group: 1e4 + noise in float32 is normalised to float32's accuracy. Source:
    Wu and He 2018, "Group Normalization", eqs. 1 to 4 and 7.
    """
    input = validate_channels.channel_array(input, "input")
    groups, vectors = _arguments(input, num_groups, weight, bias)
    eps = validate.not_negative_float(eps, "eps")
    shape = input.shape
    result = np.empty(shape, input.dtype) if out is None else validate.output_array(out, shape, input.dtype)
    if input.size:
        x = as_rows(input, input.size // input.shape[0], validate.computing_dtype(input.dtype))
        target = target_rows(result, [x], [])
        normalize_groups(x, None, target, *_factors(vectors, input.shape[1]), groups, eps)
        put_rows(target, result)
    return result


def group_norm_backward(
    grad_out: Any,
    input: Any,
    num_groups: int,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    *,
    out: tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None] | None = None,
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Gradients of `group_norm`; the moments are computed again.

    Parameters
    ----------
    grad_out : (N, C, ...), shape and dtype of input; the gradient of the result
    input, ... : as in `group_norm`
    out : (grad_input, grad_weight, grad_bias), optional; each an array of the shape and dtype of its argument, written
        in place and returned, or None. grad_input may be `grad_out` or `input`.

    Returns
    -------
    grad_input : (N, C, ...), dtype of input
    grad_weight, grad_bias : (C,), dtype of weight and bias; None where there is none

    Raises
    ------
    ValueError, TypeError : as in `group_norm`
    """
    input = validate_channels.channel_array(input, "input")
    grad_out = validate_channels.gradient_of_result(grad_out, input)
    groups, vectors = _arguments(input, num_groups, weight, bias)
    eps = validate.not_negative_float(eps, "eps")
    grad_input, *others = validate_channels.gradients(out, input, vectors.get("weight"), vectors.get("bias"))
    sums = np.zeros((input.shape[1], 2))
    if input.size:
        size, computing = input.size // input.shape[0], validate.computing_dtype(input.dtype)
        x, grad = as_rows(input, size, computing), as_rows(grad_out, size, computing)
        target = target_rows(grad_input, [x, grad], [])
        sums = normalize_groups(x, grad, target, *_factors(vectors, input.shape[1]), groups, eps)
        put_rows(target, grad_input)
    grad_weight, grad_bias = (put_vector(sums[:, i], vector) for i, vector in zip((1, 0), others, strict=True))
    return grad_input, grad_weight, grad_bias


def _arguments(input: np.ndarray, num_groups: Any, weight: Any, bias: Any) -> tuple[int, dict[str, np.ndarray]]:
    groups = validate_channels.group_count(num_groups, input)
    vectors = validate_channels.one_a_channel({"weight": weight, "bias": bias}, input.shape[1], input.dtype)
    validate_channels.more_than_one_value(input.shape, groups, "group")
    return groups, vectors


def _factors(vectors: dict[str, np.ndarray], channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias, or what stands for none, as the kernel takes them; always copies, that no result overwrites."""
    wide = {name: vector.astype(np.float64) for name, vector in vectors.items()}
    return wide.get("weight", np.ones(channels)), wide.get("bias", np.zeros(channels))
