"""Dropout whose mask is a function of seed and position."""

from typing import Any

import numpy as np

from fastcore._core import validate
from fastcore._core.validate_regularization import dropout_offset
from fastcore.nn.kernels.dropout import drop
from fastcore.nn.rows import as_rows, put_rows, target_rows

WORD_RANGE = 2**32


def dropout(
    input: Any,
    p: float = 0.5,
    training: bool = True,
    *,
    seed: int,
    offset: int = 0,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Zero each element with probability p and multiply the others by 1 / (1 - p).

    Parameters
    ----------
    input : any shape, float32, float64, float16 or ml_dtypes.bfloat16
        Read in place where the last axis is contiguous and the others join to one, else copied.
    p : float in [0, 1]
    training : bool; False copies
    seed : int in [0, 2**64); the key of the generator. No global state is read or changed.
    offset : int, not negative; the position of the first element in the sequence of random words
        The parts of a larger array, or the steps and layers of a training, take their numbers from one seed by it.
    out : shape and dtype of input, optional; written in place and returned. May be `input`.

    Returns
    -------
    The shape and dtype of input. p = 0 and training=False give a copy, p = 1 zeros. What is dropped is 0, also where it
    was NaN or infinite (PyTorch multiplies by 0 and gives NaN).

    Raises
    ------
    ValueError : p outside [0, 1], seed or offset out of range, or out has another shape
    TypeError : unsupported dtypes, or an argument of another kind

    Notes
    -----
    Element i, counted in C order, is kept when word (i + offset) % 4 of Philox4x32-10 at counter (i + offset) // 4 is
    at least floor(p * 2**32): one mask for all strides, dtypes and numbers of threads, and
    dropout(x, seed=s)[k:] equals dropout(x[k:], seed=s, offset=k). Not PyTorch's mask, which follows its global state.
    Source: Srivastava et al. 2014, "Dropout", section 10 for the scaling; Salmon et al. 2011, section 3.3, for Philox.
    """
    input = validate.float_array(input, "input")
    return _drop(input, p, training, seed, offset, out)


def dropout_backward(
    grad_out: Any,
    p: float = 0.5,
    training: bool = True,
    *,
    seed: int,
    offset: int = 0,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Gradient of `dropout` with respect to its input: grad_out under the same mask, which is drawn again.

    Parameters
    ----------
    grad_out : shape and dtype of the input of `dropout`, and read as that is
    p, training, seed, offset : as they were given to `dropout`
    out : shape and dtype of grad_out, optional; written in place and returned. May be `grad_out`.

    Returns
    -------
    The shape and dtype of grad_out

    Raises
    ------
    ValueError, TypeError : as `dropout`
    """
    grad_out = validate.float_array(grad_out, "grad_out")
    return _drop(grad_out, p, training, seed, offset, out)


def _drop(input: np.ndarray, p: Any, training: Any, seed: Any, offset: Any, out: np.ndarray | None) -> np.ndarray:
    p = validate.probability(p, "p")
    training = validate.flag(training, "training")
    seed = validate.random_seed(seed)
    offset = dropout_offset(offset, input.size)
    result = np.empty(input.shape, input.dtype) if out is None else validate.output_array(out, input.shape, input.dtype)
    if not training or p == 0.0:
        np.copyto(result, input)
    elif p == 1.0:
        result[...] = 0
    elif input.size:
        is_one_row = input.ndim == 0 or (input.flags.c_contiguous and result.flags.c_contiguous)
        rows = as_rows(input, input.size if is_one_row else input.shape[-1], validate.computing_dtype(input.dtype))
        target = target_rows(result, [rows], [])
        drop(rows, target, offset, int(p * WORD_RANGE), 1.0 / (1.0 - p), seed)
        put_rows(target, result)
    return result
