"""Activations, element by element."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastcore._core import validate, validate_activation, validate_nn
from fastcore.nn.kernels.gelu import FEWEST_SHARED as FEWEST_GELU
from fastcore.nn.kernels.gelu import activate, activate_few
from fastcore.nn.kernels.swiglu import FEWEST_SHARED as FEWEST_SILU
from fastcore.nn.kernels.swiglu import gate_few_backward, gate_if_small, gate_rows, gate_rows_backward
from fastcore.nn.rows import are_few, as_rows, put_rows, target_rows

_FLOAT32 = np.dtype(np.float32)
_ndarray = np.ndarray
_empty = np.empty
_ONE_ROW = 1, -1


def _are_contiguous(*arrays: np.ndarray) -> bool:
    return all(x.flags.c_contiguous for x in arrays)


def gelu(input: Any, approximate: str = "none", *, bias: Any = None, out: np.ndarray | None = None) -> np.ndarray:
    """Gaussian error linear unit, x * Phi(x) with the normal distribution function Phi.

    Parameters
    ----------
    input : (..., D) float32, float64, float16 or ml_dtypes.bfloat16
        Read in place where the last axis is contiguous and the others join to one, else copied.
    approximate : "none" or "tanh"
        tanh: x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x**3))).
    bias : (D,), dtype of input, optional; added first, as the linear layer before would
    out : shape and dtype of input, optional; written in place and returned. May be `input`.

    Returns
    -------
    (..., D), dtype of input; float16 and bfloat16 are computed in float32. -inf gives NaN, as in PyTorch.

    Raises
    ------
    ValueError : shapes disagree, or an unknown `approximate`
    TypeError : unsupported or mixed dtypes, or `approximate` is no string

    Notes
    -----
    Source: Hendrycks and Gimpel 2016, "Gaussian Error Linear Units", section 2.
    """
    # The short way for a small array: 1.5 us against 12 us; the rest as in `rms_norm`.
    if out is bias is None and _is_kind(approximate) and are_few(FEWEST_GELU, input):
        result = _empty(input.shape, _FLOAT32)
        activate_few(input.reshape(_ONE_ROW), result.reshape(_ONE_ROW), approximate == "tanh")
        return result
    return _gelu({"input": input}, approximate, bias, out)


def gelu_backward(
    grad_out: Any, input: Any, approximate: str = "none", *, bias: Any = None, out: np.ndarray | None = None
) -> np.ndarray:
    """Gradient of `gelu`: grad_out times the derivative at input + bias.

    Parameters
    ----------
    grad_out : shape and dtype of input
    input, approximate, bias : as in `gelu`
    out : shape and dtype of input, optional; written in place and returned. May be `grad_out` or `input`.

    Returns
    -------
    The gradient of input; that of a bias is its sum over all axes but the last. float16 and bfloat16 are computed in
    float32 and rounded once. Infinities give NaN, as in PyTorch.

    Raises
    ------
    ValueError : shapes disagree, or an unknown `approximate`
    TypeError : unsupported or mixed dtypes, or `approximate` is no string

    Notes
    -----
    The derivatives are Phi(x) + x phi(x), phi the normal density, and (1 + t) / 2 + x / 2 (1 - t**2) u' with
    t = tanh(u), u = sqrt(2 / pi) * (x + 0.044715 x**3). Source: as `gelu`.
    """
    if out is bias is None and _is_kind(approximate) and are_few(FEWEST_GELU, input, grad_out):
        result = _empty(input.shape, _FLOAT32)
        rows = [x.reshape(_ONE_ROW) for x in (input, result, grad_out)]
        activate_few(rows[0], rows[1], approximate == "tanh", rows[2])
        return result
    return _gelu({"input": input, "grad_out": grad_out}, approximate, bias, out)


def _is_kind(approximate: Any) -> bool:
    return type(approximate) is str and (approximate == "none" or approximate == "tanh")


def _gelu(arrays: dict[str, Any], approximate: str, bias: Any, out: np.ndarray | None) -> np.ndarray:
    """GELU of the first array, or its derivative times the second if there is one, given with their names."""
    arrays = {name: validate.float_array(x, name) for name, x in arrays.items()}
    validate.choice(approximate, "approximate", ("none", "tanh"))
    input, *others = arrays.values()
    if others:
        validate.same_dtype(arrays)
        validate_nn.one_shape(arrays)
    computing = validate.computing_dtype(input.dtype)
    addend = np.empty(0, computing)
    if bias is not None:
        bias = validate.float_array(bias, "bias")
        validate.same_dtype({"input": input, "bias": bias})
        validate_nn.shape_of_last_axis(bias, input)
        addend = np.ascontiguousarray(bias, computing)
    shape = input.shape
    result = np.empty(shape, input.dtype) if out is None else validate.output_array(out, shape, input.dtype)
    if input.size:
        # Without a bias, contiguous memory is one row: the kernel cuts it into equal blocks whatever the shape.
        is_one_row = input.ndim == 0 or (bias is None and _are_contiguous(input, *others, result))
        rows = [as_rows(x, input.size if is_one_row else shape[-1], computing) for x in (input, *others)]
        target = target_rows(result, rows, [addend])
        activate(rows[0], addend, target, approximate == "tanh", *rows[1:])
        put_rows(target, result)
    return result


def silu(input: Any, *, out: np.ndarray | None = None) -> np.ndarray:
    """Sigmoid linear unit, x / (1 + exp(-x)), also called swish.

    Parameters
    ----------
    input : any shape, float32, float64, float16 or ml_dtypes.bfloat16
        Read in place where the last axis is contiguous and the others join to one, else copied.
    out : shape and dtype of input, optional; written in place and returned. May be `input`.

    Returns
    -------
    The shape and dtype of input; float16 and bfloat16 are computed in float32. -inf gives NaN, as in PyTorch.

    Raises
    ------
    ValueError : out has another shape, or cannot be written
    TypeError : unsupported dtypes

    Notes
    -----
    Source: Elfwing, Uchibe and Doya 2018, "Sigmoid-Weighted Linear Units", eq. 6.
    """
    if type(input) is _ndarray and out is None and input.dtype is _FLOAT32 and input.ndim == 2:
        result = _empty(input.shape, _FLOAT32)
        if gate_if_small(input, input, False, result):
            return result
    return _gate({"input": input}, out)


def silu_backward(grad_out: Any, input: Any, *, out: np.ndarray | None = None) -> np.ndarray:
    """Gradient of `silu`: grad_out * s * (1 + input * (1 - s)) with s = 1 / (1 + exp(-input)).

    Parameters
    ----------
    grad_out : shape and dtype of input
    input : as in `silu`
    out : shape and dtype of input, optional; written in place and returned. May be `grad_out` or `input`.

    Returns
    -------
    The shape and dtype of input; float16 and bfloat16 are computed in float32. Infinities give NaN, as in PyTorch.

    Raises
    ------
    ValueError : shapes disagree, or out cannot be written
    TypeError : unsupported or mixed dtypes
    """
    if out is None and are_few(FEWEST_SILU, grad_out, input):
        result = _empty(input.shape, _FLOAT32)
        gate_few_backward(*(x.reshape(_ONE_ROW) for x in (grad_out, input, result)))
        return result
    (grad_input,) = _gate_backward({"grad_out": grad_out, "input": input}, [out], ["out"])
    return grad_input


def swiglu(gate: Any, up: Any, *, out: np.ndarray | None = None) -> np.ndarray:
    """silu(gate) * up, in one pass over memory: what Llama's feed-forward block does between its products.

    Parameters
    ----------
    gate, up : one shape and dtype, as in `silu`; also the halves of one array, h[:, :D] and h[:, D:]
    out : shape and dtype of gate, optional; written in place and returned. May be `gate` or `up`.

    Returns
    -------
    The shape and dtype of gate; float16 and bfloat16 are computed in float32 and rounded once

    Raises
    ------
    ValueError : shapes disagree
    TypeError : unsupported or mixed dtypes

    Notes
    -----
    Source: Shazeer 2020, "GLU Variants Improve Transformer", eq. 6, without the products.
    """
    # The short way for a token of a language model: 1.5 us against 18 us; the rest as in `rms_norm`.
    if (
        type(gate) is type(up) is _ndarray
        and out is None
        and gate.dtype is up.dtype is _FLOAT32
        and gate.ndim == up.ndim == 2
    ):
        result = _empty(gate.shape, _FLOAT32)
        if gate_if_small(gate, up, True, result):
            return result
    return _gate({"gate": gate, "up": up}, out)


def swiglu_backward(
    grad_out: Any, gate: Any, up: Any, *, out: tuple[np.ndarray | None, np.ndarray | None] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of `swiglu`, in one pass over memory.

    Parameters
    ----------
    grad_out : shape and dtype of gate
    gate, up : as in `swiglu`
    out : two arrays of the shape and dtype of gate, each optional (None); written in place and returned
        Each may be `grad_out`, `gate` or `up`; they must not overlap each other.

    Returns
    -------
    grad_gate, grad_up : grad_out * up * s * (1 + gate * (1 - s)) and grad_out * gate * s, s = 1 / (1 + exp(-gate));
        float16 and bfloat16 are computed in float32 and rounded once

    Raises
    ------
    ValueError : shapes disagree, or the arrays of out overlap each other
    TypeError : unsupported or mixed dtypes, or out is no pair
    """
    if out is None and are_few(FEWEST_SILU, grad_out, gate, up):
        pair = _empty(gate.shape, _FLOAT32), _empty(gate.shape, _FLOAT32)
        gate_few_backward(*(x.reshape(_ONE_ROW) for x in (grad_out, gate, pair[0], up, pair[1])))
        return pair
    targets = validate_activation.output_pair(out)
    arrays = {"grad_out": grad_out, "gate": gate, "up": up}
    grad_gate, grad_up = _gate_backward(arrays, targets, ["out[0]", "out[1]"])
    return grad_gate, grad_up


def _gate(factors: dict[str, Any], out: np.ndarray | None) -> np.ndarray:
    """SiLU of the first array, times the second if there is one, given with their names."""
    (result,), rows = _gate_rows(factors, [out], ["out"])
    if rows:
        target = target_rows(result, rows, [])
        gate_rows(rows[0], target, *rows[1:])
        put_rows(target, result)
    return result


def _gate_backward(
    factors: dict[str, Any], outs: Sequence[np.ndarray | None], names: Sequence[str]
) -> list[np.ndarray]:
    """Gradients of `_gate`; the first array is that of its result."""
    results, rows = _gate_rows(factors, outs, names)
    if rows:
        targets = [target_rows(result, rows, []) for result in results]
        gate_rows_backward(rows[0], rows[1], targets[0], *rows[2:], *targets[1:])
        for target, result in zip(targets, results, strict=True):
            put_rows(target, result)
    return results


def _gate_rows(
    factors: dict[str, Any], outs: Sequence[np.ndarray | None], names: Sequence[str]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Check the arrays; the results to fill, and the arrays as rows: none where there are no elements."""
    arrays = {name: validate.float_array(x, name) for name, x in factors.items()}
    dtype = validate.same_dtype(arrays)
    validate_nn.one_shape(arrays)
    inputs = list(arrays.values())
    shape = inputs[0].shape
    results = [
        _empty(shape, dtype) if out is None else validate.output_array(out, shape, dtype, name)
        for out, name in zip(outs, names, strict=True)
    ]
    validate_activation.separate_outputs(results, names)
    if inputs[0].size == 0:
        return results, []
    # Contiguous memory is one row: the kernel cuts it into equal blocks whatever the shape.
    size = inputs[0].size if not shape or _are_contiguous(*inputs, *results) else shape[-1]
    return results, [as_rows(x, size, validate.computing_dtype(dtype)) for x in inputs]
