"""Activations, element by element."""

from typing import Any

import numpy as np

from fastcore._core import validate, validate_nn
from fastcore.nn.kernels.gelu import activate
from fastcore.nn.kernels.swiglu import gate_if_small, gate_rows
from fastcore.nn.rows import as_rows, put_rows, target_rows

_FLOAT32 = np.dtype(np.float32)
_ndarray = np.ndarray
_empty = np.empty


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
    input = validate.float_array(input, "input")
    validate.choice(approximate, "approximate", ("none", "tanh"))
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
        is_one_row = input.ndim == 0 or (bias is None and input.flags.c_contiguous and result.flags.c_contiguous)
        rows = as_rows(input, input.size if is_one_row else shape[-1], computing)
        target = target_rows(result, [rows], [addend])
        activate(rows, addend, target, approximate == "tanh")
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
    return _gate({"input": input}, out)


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
        if gate_if_small(gate, up, result):
            return result
    return _gate({"gate": gate, "up": up}, out)


def _gate(factors: dict[str, Any], out: np.ndarray | None) -> np.ndarray:
    """SiLU of the first array, times the second if there is one, given with their names."""
    arrays = {name: validate.float_array(x, name) for name, x in factors.items()}
    dtype = validate.same_dtype(arrays)
    validate_nn.one_shape(arrays)
    computing = validate.computing_dtype(dtype)
    first, *others = arrays.values()
    result = np.empty(first.shape, dtype) if out is None else validate.output_array(out, first.shape, dtype)
    if first.size:
        # Contiguous memory is one row: the kernel cuts it into equal blocks whatever the shape.
        is_one_row = first.ndim == 0 or all(x.flags.c_contiguous for x in (first, *others, result))
        rows = [as_rows(x, first.size if is_one_row else first.shape[-1], computing) for x in (first, *others)]
        target = target_rows(result, rows, [])
        gate_rows(rows[0], rows[1] if others else None, target)
        put_rows(target, result)
    return result
