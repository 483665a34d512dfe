"""Steps of optimisers, in place: one pass over a parameter, its gradient and its state."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

from fastcore._core import validate
from fastcore._core import validate_optimizer as check
from fastcore.nn.kernels import optimizer as kernels
from fastcore.nn.rows import as_rows, put_rows

_COMPUTED = (np.dtype(np.float32), np.dtype(np.float64))


def sgd_step(
    param: np.ndarray,
    grad: Any,
    momentum_buffer: np.ndarray | None = None,
    step: int | None = None,
    *,
    lr: float = 1e-3,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
) -> np.ndarray:
    """Gradient descent, with momentum if wanted: a step in place.

    Parameters
    ----------
    param : any shape, float32, float64, float16 or ml_dtypes.bfloat16, writable
        Changed where it lies if it is contiguous in some order of its axes, or its last axis is; else copied and put
        back. So is the buffer, whose axes are taken in the order of param's.
    grad : shape and dtype of param; only read
    momentum_buffer : shape of param, float64 for float64, else float32; needed where momentum is not 0, else untouched
    step : int from 1, optional
        In step 1 the buffer, whatever it holds, becomes the gradient. None: not the first, or a buffer of zeros, which
        without dampening is the same.
    lr : float, learning rate, not negative
    momentum : float, not negative
    dampening : float; the gradient enters the buffer times 1 - dampening, but for the first step
    weight_decay : float, not negative; times param it is added to the gradient
    nesterov : bool; needs momentum, and no dampening (Sutskever et al. 2013)
    maximize : bool; against the gradient's sign

    Returns
    -------
    param

    Raises
    ------
    ValueError : shapes disagree, a number is out of range; an array that changes is read-only, holds a place twice, as
        broadcast views do, or overlaps another that does. Nothing is written then.
    TypeError : unsupported or mixed dtypes; an array that changes is no numpy.ndarray

    Notes
    -----
    The numbers of `torch.optim.SGD`. float16 and bfloat16 are computed in float32 and rounded once a step, so changes
    below half a unit of the last place are lost: keep float32 parameters where that matters.
    """
    states = {} if momentum_buffer is None else {"momentum_buffer": momentum_buffer}
    rows, targets = _prepared(param, grad, states)
    momentum = check.momentum_buffer(momentum_buffer, momentum)
    dampening = validate.finite_float(dampening, "dampening")
    is_nesterov = check.nesterov(nesterov, momentum, dampening)
    number = check.step_of_momentum(step, dampening if momentum else 0.0)
    by = kernels.DescentNumbers(
        scale=-1.0 if validate.flag(maximize, "maximize") else 1.0,
        l2=validate.not_negative_float(weight_decay, "weight_decay"),
        momentum=momentum,
        new=1.0 - dampening,
        rate=validate.not_negative_float(lr, "lr"),
    )
    if rows:
        buffer = rows[1] if momentum else rows[0][:0]
        kernels.descent(rows[0], rows[-1], buffer, number == 1, is_nesterov, by)
        _put(rows, targets)
    return param


def adam_step(
    param: np.ndarray,
    grad: Any,
    exp_avg: np.ndarray,
    exp_avg_sq: np.ndarray,
    step: int,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    max_exp_avg_sq: np.ndarray | None = None,
    maximize: bool = False,
) -> np.ndarray:
    """Adam, weight decay as a part of the gradient: a step in place.

    Parameters
    ----------
    param : any shape, float32, float64, float16 or ml_dtypes.bfloat16, writable
        Changed where it lies if it is contiguous in some order of its axes, or its last axis is; else copied and put
        back. So are the other arrays, whose axes are taken in the order of param's.
    grad : shape and dtype of param; only read
    exp_avg, exp_avg_sq : shape of param, float64 for float64, else float32; zeros before the first step
        Running means of the gradient and of its square.
    step : int from 1: of this call
    lr : float, learning rate, not negative
    betas : two floats in [0, 1), decay of the running means
    eps : float, not negative, added to the root
    weight_decay : float, not negative; times param it is added to the gradient
    max_exp_avg_sq : as exp_avg_sq, optional: the largest one so far, to divide by (AMSGrad, Reddi et al. 2018)
    maximize : bool; against the gradient's sign

    Returns
    -------
    param

    Raises
    ------
    ValueError : shapes disagree, a number is out of range; an array that changes is read-only, holds a place twice, as
        broadcast views do, or overlaps another that does. Nothing is written then.
    TypeError : unsupported or mixed dtypes; an array that changes is no numpy.ndarray

    Notes
    -----
    The numbers of `torch.optim.Adam`. Source: Kingma and Ba 2015, algorithm 1. float16 and bfloat16 are computed in
    float32 and rounded once a step, so changes below half a unit of the last place are lost: keep float32 parameters
    where that matters.
    """
    decay = validate.not_negative_float(weight_decay, "weight_decay")
    given = (param, grad, exp_avg, exp_avg_sq, max_exp_avg_sq)
    return _adam(given, step, lr, betas, eps, maximize, l2=decay)


def adamw_step(
    param: np.ndarray,
    grad: Any,
    exp_avg: np.ndarray,
    exp_avg_sq: np.ndarray,
    step: int,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
    max_exp_avg_sq: np.ndarray | None = None,
    maximize: bool = False,
) -> np.ndarray:
    """Adam with decoupled weight decay: a step in place.

    Parameters
    ----------
    param, grad, exp_avg, exp_avg_sq, step, lr, betas, eps, max_exp_avg_sq, maximize : as in `adam_step`
    weight_decay : float, not negative; param is multiplied by 1 - lr * weight_decay

    Returns
    -------
    param

    Raises
    ------
    ValueError, TypeError : as in `adam_step`

    Notes
    -----
    The numbers of `torch.optim.AdamW`. Source: Loshchilov and Hutter 2019, algorithm 2.
    """
    rate = validate.not_negative_float(lr, "lr")
    decay = validate.not_negative_float(weight_decay, "weight_decay")
    given = (param, grad, exp_avg, exp_avg_sq, max_exp_avg_sq)
    return _adam(given, step, lr, betas, eps, maximize, shrink=1.0 - rate * decay)


def _adam(
    given: tuple[Any, ...],
    step: Any,
    lr: Any,
    betas: Any,
    eps: Any,
    maximize: Any,
    *,
    l2: float = 0.0,
    shrink: float = 1.0,
) -> np.ndarray:
    """Both of them; given are param, grad and the states, the last of which may be None."""
    param, grad, exp_avg, exp_avg_sq, largest = given
    states = {"exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq}
    if largest is not None:
        states["max_exp_avg_sq"] = largest
    rows, targets = _prepared(param, grad, states)
    number = check.step_number(step)
    beta1, beta2 = check.betas(betas)
    by = kernels.AdamNumbers(
        scale=-1.0 if validate.flag(maximize, "maximize") else 1.0,
        l2=l2,
        shrink=shrink,
        beta1=beta1,
        new1=1.0 - beta1,
        beta2=beta2,
        new2=1.0 - beta2,
        rate=validate.not_negative_float(lr, "lr") / (1.0 - beta1**number),
        root=(1.0 - beta2**number) ** -0.5,
        epsilon=validate.not_negative_float(eps, "eps"),
    )
    if rows:
        largest_rows = rows[0][:0] if largest is None else rows[3]
        kernels.adam(rows[0], rows[-1], rows[1], rows[2], largest_rows, by)
        _put(rows, targets)
    return param


def _prepared(param: Any, grad: Any, states: Mapping[str, Any]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """What a kernel takes and what is to be put back: rows of param, of the states and last of the gradient.

    Nothing where there is no element. All arrays are checked.
    """
    # The short way for what is usual: a third of the time of all that follows, and a small call takes half as long.
    rows = _plain_rows([param, *states.values(), grad])
    if rows:
        return rows, []
    dtype = check.parameter(param)
    check.states(states, param, dtype)
    grad = validate.float_array(grad, "grad")
    check.gradient(grad, param)
    if param.size == 0:
        return [], []
    arrays = _in_order([param, *states.values(), grad])
    return _rows(arrays, dtype), arrays[:-1]


def _plain_rows(arrays: list[Any]) -> list[np.ndarray]:
    """One row each where all are plain arrays of one shape and dtype that share no memory, else nothing."""
    first = arrays[0]
    if type(first) is not np.ndarray or first.dtype not in _COMPUTED or first.size == 0:
        return []
    for x in arrays:
        # carray: C-contiguous, aligned, writable.
        if type(x) is not np.ndarray or x.dtype is not first.dtype or x.shape != first.shape or not x.flags.carray:
            return []
    if any(np.may_share_memory(x, y) for x, y in combinations(arrays, 2)):
        return []
    return [x.reshape(1, -1) for x in arrays]


def _in_order(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Their axes in the order of the first one's steps, the longest first: a transposed matrix then has whole rows."""
    if all(x.flags.c_contiguous for x in arrays):
        return arrays
    first = arrays[0]
    order = sorted(range(first.ndim), key=lambda axis: -abs(first.strides[axis]))
    return [x.transpose(order) for x in arrays]


def _rows(arrays: list[np.ndarray], dtype: np.dtype) -> list[np.ndarray]:
    """As rows: one where all are contiguous. The last array, which is only read, overlaps no other afterwards."""
    is_one_row = arrays[0].ndim == 0 or all(x.flags.c_contiguous for x in arrays)
    size = arrays[0].size if is_one_row else arrays[0].shape[-1]
    *rows, gradient = (as_rows(x, size, dtype) for x in arrays)
    if any(np.may_share_memory(gradient, x) for x in rows) and validate.shares_memory(gradient, rows):
        gradient = gradient.copy()
    return [*rows, gradient]


def _put(rows: list[np.ndarray], arrays: list[np.ndarray]) -> None:
    """Write back what had to be copied."""
    for written, target in zip(rows, arrays):
        put_rows(written, target)
