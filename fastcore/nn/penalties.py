"""Penalties on weights, each with its gradient, in one pass over memory."""

from typing import Any, NamedTuple

import numpy as np

from fastcore._core import validate
from fastcore.nn.kernels.penalties import penalize
from fastcore.nn.rows import as_rows, put_rows, target_rows


class Penalty(NamedTuple):
    """What a penalty adds to a loss, and to the gradient with respect to the weights."""

    value: float
    gradient: np.ndarray


def l1_penalty(weights: Any, alpha: float = 1.0, *, out: np.ndarray | None = None) -> Penalty:
    """alpha * sum(|w|), and its subgradient alpha * sign(w), which is 0 at 0.

    Parameters
    ----------
    weights : any shape, float32, float64, float16 or ml_dtypes.bfloat16; copied where not C-contiguous
    alpha : float, not negative; 0 gives 0 for any weights
    out : shape and dtype of weights, optional; the gradient is written there. May be `weights`.

    Returns
    -------
    (value, gradient) : a float, and an array of the shape and dtype of weights
        The value is summed in float64, and does not depend on strides or the number of threads.

    Raises
    ------
    ValueError : alpha is negative or not finite, or out has another shape
    TypeError : unsupported dtypes

    Notes
    -----
    Source: Tibshirani 1996, "Regression shrinkage and selection via the lasso", eq. 2, as a penalty.
    """
    return _penalty(weights, alpha, 1.0, out)


def l2_penalty(weights: Any, alpha: float = 1.0, *, out: np.ndarray | None = None) -> Penalty:
    """alpha / 2 * sum(w**2), and its gradient alpha * w: weight decay.

    Parameters
    ----------
    weights, alpha, out : as in `l1_penalty`

    Returns
    -------
    (value, gradient), as `l1_penalty`

    Raises
    ------
    ValueError, TypeError : as `l1_penalty`

    Notes
    -----
    The half is that of scikit-learn's ElasticNet; with it the gradient is what `weight_decay` of an optimiser adds.
    Source: Hoerl and Kennard 1970, "Ridge regression", eq. 2.1, as a penalty.
    """
    return _penalty(weights, alpha, 0.0, out)


def elastic_net_penalty(
    weights: Any, alpha: float = 1.0, l1_ratio: float = 0.5, *, out: np.ndarray | None = None
) -> Penalty:
    """alpha * (l1_ratio * sum(|w|) + (1 - l1_ratio) / 2 * sum(w**2)), and its subgradient.

    Parameters
    ----------
    weights, alpha, out : as in `l1_penalty`
    l1_ratio : float in [0, 1]; 1 is `l1_penalty`, 0 `l2_penalty`

    Returns
    -------
    (value, gradient), as `l1_penalty`

    Raises
    ------
    ValueError : l1_ratio outside [0, 1], and as `l1_penalty`
    TypeError : as `l1_penalty`

    Notes
    -----
    Factors as in scikit-learn's ElasticNet. Source: Zou and Hastie 2005, "Regularization and variable selection via the
    elastic net", eq. 4.
    """
    return _penalty(weights, alpha, l1_ratio, out)


def _penalty(weights: Any, alpha: Any, l1_ratio: Any, out: np.ndarray | None) -> Penalty:
    w = validate.float_array(weights, "weights")
    alpha = validate.not_negative_float(alpha, "alpha")
    l1_ratio = validate.probability(l1_ratio, "l1_ratio")
    gradient = np.empty(w.shape, w.dtype) if out is None else validate.output_array(out, w.shape, w.dtype)
    if w.size == 0:
        return Penalty(0.0, gradient)
    slope, decay = alpha * l1_ratio, alpha * (1.0 - l1_ratio)
    row = as_rows(w, w.size, validate.computing_dtype(w.dtype))
    target = target_rows(gradient, [row], [])
    magnitudes, squares = penalize(row, target, slope, decay)
    put_rows(target, gradient)
    # A term whose factor is 0 is left out, as in the gradient: times infinity it would be NaN.
    return Penalty((slope * magnitudes if slope else 0.0) + (decay / 2.0 * squares if decay else 0.0), gradient)
