"""Proximal operators of the penalties: prox(x) = argmin_z |z - x|**2 / 2 + penalty(z)."""

import math
from typing import Any

import numpy as np

from fastcore._core import validate
from fastcore._core.validate_regularization import axis_of, group_labels
from fastcore.nn.kernels.group_shrinkage import shrink_groups
from fastcore.nn.kernels.shrinkage import shrink
from fastcore.nn.rows import as_rows, put_rows, target_rows


def soft_threshold(x: Any, threshold: float, *, out: np.ndarray | None = None) -> np.ndarray:
    """sign(x) * max(|x| - threshold, 0): the proximal operator of threshold * sum(|x|).

    Parameters
    ----------
    x : any shape, float32, float64, float16 or ml_dtypes.bfloat16
        Read in place where the last axis is contiguous and the others join to one, else copied.
    threshold : float, not negative; for a proximal gradient step the step size times alpha
    out : shape and dtype of x, optional; written in place and returned. May be `x`.

    Returns
    -------
    The shape and dtype of x; float16 and bfloat16 are computed in float32. NaN stays NaN.

    Raises
    ------
    ValueError : threshold is negative or not finite, or out has another shape
    TypeError : unsupported dtypes

    Notes
    -----
    Source: Parikh and Boyd 2014, "Proximal algorithms", section 6.5.2.
    """
    return _shrink(x, validate.not_negative_float(threshold, "threshold"), 0.0, out)


def prox_l2(x: Any, strength: float, *, out: np.ndarray | None = None) -> np.ndarray:
    """x / (1 + strength): the proximal operator of strength / 2 * sum(x**2), of `l2_penalty`.

    Parameters
    ----------
    x, out : as in `soft_threshold`
    strength : float, not negative; for a proximal gradient step the step size times alpha

    Returns
    -------
    The shape and dtype of x

    Raises
    ------
    ValueError, TypeError : as `soft_threshold`

    Notes
    -----
    Source: Parikh and Boyd 2014, "Proximal algorithms", section 6.1.1.
    """
    return _shrink(x, 0.0, validate.not_negative_float(strength, "strength"), out)


def prox_elastic_net(x: Any, strength: float, l1_ratio: float = 0.5, *, out: np.ndarray | None = None) -> np.ndarray:
    """The proximal operator of `elastic_net_penalty` with alpha = strength.

    soft_threshold(x, strength * l1_ratio) / (1 + strength * (1 - l1_ratio)), in one pass.

    Parameters
    ----------
    x, out : as in `soft_threshold`
    strength : float, not negative; for a proximal gradient step the step size times alpha
    l1_ratio : float in [0, 1]

    Returns
    -------
    The shape and dtype of x

    Raises
    ------
    ValueError : l1_ratio outside [0, 1], and as `soft_threshold`
    TypeError : as `soft_threshold`

    Notes
    -----
    Source: Parikh and Boyd 2014, "Proximal algorithms", section 6.5.3.
    """
    strength = validate.not_negative_float(strength, "strength")
    l1_ratio = validate.probability(l1_ratio, "l1_ratio")
    return _shrink(x, strength * l1_ratio, strength * (1.0 - l1_ratio), out)


def prox_group_lasso(
    x: Any, strength: float, groups: Any = None, axis: int = -1, *, out: np.ndarray | None = None
) -> np.ndarray:
    """x * max(0, 1 - strength / norm) with the norm of an element's group: whole groups become 0.

    The proximal operator of strength * sum over groups of their Euclidean norms.

    Parameters
    ----------
    x : one axis or more; dtypes and strides as in `soft_threshold`
    strength : float, not negative; for a proximal gradient step the step size times alpha
    groups : (D,) integers, optional; D is the length of x along axis
        The labels of the groups that each vector along `axis` falls into. None: each vector is one group.
    axis : int; weights of shape (outputs, inputs): -1 makes the weights of an output a group, 0 those of an input
    out : shape and dtype of x, optional; written in place and returned. May be `x`.

    Returns
    -------
    The shape and dtype of x; a group with a NaN becomes NaN. A strength of 0 gives a copy.

    Raises
    ------
    ValueError : x has no axis, `axis` is none of x, groups has another length, strength is negative or not finite
    TypeError : unsupported dtypes, or groups are no integers

    Notes
    -----
    The groups are not weighted by the roots of their sizes. Norms are taken in float64: those of float64 groups below
    1e-154 count as 0. Source: Yuan and Lin 2006, "Model selection and estimation in regression with grouped variables",
    eq. 2.4; Parikh and Boyd 2014, section 6.5.4.
    """
    x = validate.float_array(x, "x")
    strength = validate.not_negative_float(strength, "strength")
    axis = axis_of(axis, x)
    labels = None if groups is None else group_labels(groups, x.shape[axis])
    result = np.empty(x.shape, x.dtype) if out is None else validate.output_array(out, x.shape, x.dtype)
    if x.size == 0:
        return result
    if strength == 0.0:
        np.copyto(result, x)
        return result
    size, inner = x.shape[axis], math.prod(x.shape[axis + 1 :])
    starts, members, count = _runs(labels, size)
    rows = as_rows(x, size if inner == 1 else inner, validate.computing_dtype(x.dtype))
    target = target_rows(result, [rows], [])
    shrink_groups(rows, target, starts, members, count, inner > 1, strength)
    return put_rows(target, result)


def _shrink(x: Any, threshold: float, decay: float, out: np.ndarray | None) -> np.ndarray:
    """Soft thresholding, then division by 1 + decay."""
    x = validate.float_array(x, "x")
    result = np.empty(x.shape, x.dtype) if out is None else validate.output_array(out, x.shape, x.dtype)
    if x.size:
        # Contiguous memory is one row: the kernel cuts it into equal blocks whatever the shape.
        is_one_row = x.ndim == 0 or (x.flags.c_contiguous and result.flags.c_contiguous)
        rows = as_rows(x, x.size if is_one_row else x.shape[-1], validate.computing_dtype(x.dtype))
        target = target_rows(result, [rows], [])
        shrink(rows, target, threshold, 1.0 + decay)
        put_rows(target, result)
    return result


def _runs(labels: np.ndarray | None, size: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Where runs of one label begin, with ``size`` at the end, the group 0, 1 ... of each, and the number of groups."""
    if labels is None:
        return np.array([0, size]), np.zeros(1, np.int64), 1
    starts = np.concatenate([[0], np.flatnonzero(labels[1:] != labels[:-1]) + 1, [size]])
    names, members = np.unique(labels[starts[:-1]], return_inverse=True)
    return starts.astype(np.int64), members.astype(np.int64), len(names)
