"""Activations, element by element."""

from typing import Any

import numpy as np

from fastcore._core import validate
from fastcore.nn.kernels.gelu import activate
from fastcore.nn.rows import as_rows, put_rows, target_rows


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
        validate.shape_of_last_axis(bias, input)
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
