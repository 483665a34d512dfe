"""Batch normalisation, its gradient, and how it is merged into the layer before it."""

from typing import Any

import numpy as np

from fastcore._core import validate, validate_channels
from fastcore.nn.channels import ChannelLayout, put_vector
from fastcore.nn.kernels.batch_norm import process
from fastcore.nn.kernels.channel_sums import (
    APPLY,
    BIAS,
    FINISH,
    GIVEN,
    MEAN,
    MOMENTS,
    PRODUCTS,
    SLOPES,
    SUMS,
    VARIANCE,
    WEIGHT,
    WITH_GRAD,
)
from fastcore.nn.rows import put_rows, target_rows


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """(input - mean) / sqrt(variance + eps) * weight + bias, moments of each channel.

    Axes: N samples, C channels, any others.

    Parameters
    ----------
    input : (N, C, ...) float32, float64, float16 or ml_dtypes.bfloat16
        Read in place where the axes after C join to one, or lie before C in memory (channels_last), else copied.
    running_mean, running_var : (C,), the moments for inference
        In training each may be None and is not used but updated, in place and last: old * (1 - momentum) + new *
        momentum.
    weight, bias : (C,), each optional
        The four vectors have one dtype, that of input, or float32 where input is float16 or bfloat16.
    training : bool; whether the moments are those of `input`, of the N samples and all places
    momentum : float
    eps : float, not negative
    out : shape and dtype of input, optional; written in place and returned. May be `input`.

    Returns
    -------
    (N, C, ...), dtype of input and, without `out`, its order of axes in memory; float16 and bfloat16 are computed in
    float32

    Raises
    ------
    ValueError : shapes disagree, eps is negative, a running statistic is missing in inference or cannot be written in
        training, or training has one value a channel
    TypeError : unsupported or mixed dtypes

    Notes
    -----
    The result divides by the variance of the numbers themselves; `running_var` gets the unbiased estimate, times n /
    (n - 1), as in PyTorch. Input without elements updates nothing. Sums are taken around the means of parts of the
    input: 1e4 + noise in float32 is normalised to float32's accuracy. Source: Ioffe and Szegedy 2015, "Batch
    Normalization", algorithms 1 and 2.
    """
    input = validate_channels.channel_array(input, "input")
    training = validate.flag(training, "training")
    vectors = _vectors(input, running_mean, running_var, weight, bias, training)
    if training:
        validate_channels.updatable(running_mean, running_var)
    momentum = validate.finite_float(momentum, "momentum")
    eps = validate.not_negative_float(eps, "eps")
    result = np.empty_like(input, subok=False) if out is None else validate.output_array(out, input.shape, input.dtype)
    if training:
        validate_channels.own_memory({"running_mean": running_mean, "running_var": running_var}, result)
    if input.size == 0:
        return result
    layout = ChannelLayout(input)
    x = layout.view(input, validate.computing_dtype(input.dtype))
    target = target_rows(layout.axes(result), [x], [])
    table = _table(vectors, input.shape[1], training)
    what = SUMS | MOMENTS if training else GIVEN
    process(x, x, target, table, eps, what | FINISH | APPLY, is_columns=layout.is_columns)
    put_rows(target, layout.axes(result))
    if training:
        count = input.size // input.shape[1]
        unbiased = table[VARIANCE] * (count / (count - 1))
        with np.errstate(all="ignore"):
            for name, new in (("running_mean", table[MEAN]), ("running_var", unbiased)):
                if name in vectors:
                    old = vectors[name].astype(np.float64)
                    vectors[name][...] = old * (1.0 - momentum) + new * momentum
    return result


def batch_norm_backward(
    grad_out: Any,
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    out: tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None] | None = None,
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Gradients of `batch_norm`; the moments are computed again.

    Parameters
    ----------
    grad_out : (N, C, ...), shape and dtype of input; the gradient of the result
    input, ... : as in `batch_norm`. The running statistics are not updated, and in training not used; nor is momentum.
    out : (grad_input, grad_weight, grad_bias), optional; each an array of the shape and dtype of its argument, written
        in place and returned, or None. grad_input may be `grad_out` or `input`.

    Returns
    -------
    grad_input : (N, C, ...), dtype of input and, without `out`, its order of axes in memory
    grad_weight, grad_bias : (C,), dtype of weight and bias; None where there is none

    Raises
    ------
    ValueError, TypeError : as in `batch_norm`

    Notes
    -----
    In training the moments depend on the input, and their gradients are part of grad_input; in inference they are
    constants. Source: Ioffe and Szegedy 2015, section 3.
    """
    input = validate_channels.channel_array(input, "input")
    grad_out = validate_channels.gradient_of_result(grad_out, input)
    training = validate.flag(training, "training")
    vectors = _vectors(input, running_mean, running_var, weight, bias, training)
    validate.finite_float(momentum, "momentum")
    eps = validate.not_negative_float(eps, "eps")
    grad_input, *others = validate_channels.gradients(out, input, vectors.get("weight"), vectors.get("bias"))
    table = _table(vectors, input.shape[1], training)
    if input.size:
        layout = ChannelLayout(input)
        computing = validate.computing_dtype(input.dtype)
        x, grad = layout.view(input, computing), layout.view(grad_out, computing)
        target = target_rows(layout.axes(grad_input), [x, grad], [])
        what = FINISH | APPLY if training else 0
        if training or weight is not None or bias is not None:
            what |= SUMS | MOMENTS | WITH_GRAD | (0 if training else GIVEN)
            process(x, grad, target, table, eps, what, is_columns=layout.is_columns)
        if not training:
            _scale(grad, target, table, eps, is_columns=layout.is_columns)
        put_rows(target, layout.axes(grad_input))
        with np.errstate(all="ignore"):
            table[PRODUCTS] /= np.sqrt(table[VARIANCE] + eps)
    grad_weight, grad_bias = (
        put_vector(table[i], vector) for i, vector in zip((PRODUCTS, SLOPES), others, strict=True)
    )
    return grad_input, grad_weight, grad_bias


def _scale(grad: np.ndarray, target: np.ndarray, table: np.ndarray, eps: float, *, is_columns: bool) -> None:
    """grad * weight / sqrt(variance + eps): the gradient of the input where the moments are given."""
    table = table.copy()
    table[[BIAS, MEAN]] = 0.0
    what = FINISH | APPLY | GIVEN
    process(grad, grad, target, table, eps, what, is_columns=is_columns)


def fold_batch_norm(
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    bn_weight: Any = None,
    bn_bias: Any = None,
    eps: float = 1e-5,
    *,
    transpose: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias of a linear or convolution layer that does what it and a `batch_norm` after it do in inference.

    Parameters
    ----------
    weight : (C, ...) float32, float64, float16 or ml_dtypes.bfloat16, the layer's: C output channels
    bias : (C,), optional
    running_mean, running_var : (C,), of the batch norm
    bn_weight, bn_bias : (C,), of the batch norm, each optional
        The vectors have one dtype, that of weight, or float32 where weight is float16 or bfloat16.
    eps : float, not negative
    transpose : bool; the output channels are axis 1, as those of a transposed convolution

    Returns
    -------
    weight : shape and dtype of weight
    bias : (C,), dtype of weight

    Raises
    ------
    ValueError : shapes disagree, a running statistic is missing, or eps is negative
    TypeError : unsupported or mixed dtypes

    Notes
    -----
    Computed in float64 and rounded once. PyTorch's `torch.nn.utils.fusion.fuse_conv_bn_weights`, with the arguments in
    the order of `batch_norm`. With groups a transposed convolution cannot be merged so: its axis 1 has the channels of
    one group.
    """
    weight = validate.float_array(weight, "weight")
    axis = 1 if validate.flag(transpose, "transpose") else 0
    channels = validate_channels.size_of_axis(weight, "weight", axis)
    given = {
        "bias": bias,
        "running_mean": running_mean,
        "running_var": running_var,
        "bn_weight": bn_weight,
        "bn_bias": bn_bias,
    }
    vectors = validate_channels.one_a_channel(given, channels, weight.dtype)
    validate_channels.running_statistics(running_mean, running_var)
    eps = validate.not_negative_float(eps, "eps")
    zero, wide = np.zeros(channels), {name: x.astype(np.float64) for name, x in vectors.items()}
    with np.errstate(all="ignore"):
        scale = wide.get("bn_weight", 1.0) / np.sqrt(wide["running_var"] + eps)
        shift = (wide.get("bias", zero) - wide["running_mean"]) * scale + wide.get("bn_bias", zero)
        along = scale.reshape([-1 if i == axis else 1 for i in range(weight.ndim)])
        return (weight * along).astype(weight.dtype), shift.astype(weight.dtype)


def _vectors(
    input: np.ndarray, running_mean: Any, running_var: Any, weight: Any, bias: Any, training: bool
) -> dict[str, np.ndarray]:
    """The vectors that are given, checked."""
    given = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    vectors = validate_channels.one_a_channel(given, input.shape[1], input.dtype)
    if training:
        validate_channels.more_than_one_value(input.shape, input.shape[1], "channel in training")
    else:
        validate_channels.running_statistics(running_mean, running_var)
    return vectors


def _table(vectors: dict[str, np.ndarray], channels: int, training: bool) -> np.ndarray:
    """What is known of the channels, as the kernels take it."""
    table = np.zeros((6, channels))
    table[WEIGHT] = vectors.get("weight", 1.0)
    rows = {"bias": BIAS} if training else {"bias": BIAS, "running_mean": MEAN, "running_var": VARIANCE}
    for name, row in rows.items():
        if name in vectors:
            table[row] = vectors[name]
    return table
