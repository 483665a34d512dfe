"""Regression metrics: errors of predictions, and the share of the targets' variance that they explain.

In all of them y_true and y_pred are (N,) or (N, D): N samples, D outputs. float32 and float64 are read in place with
any strides; other numbers are converted first, as scikit-learn does: to the widest float dtype among the arguments,
float64 if there is none. Sums are kept in float64, so that of float32 input the numbers are exact where scikit-learn
rounds to float32; arrays of results have scikit-learn's dtype.
"""

from typing import Any, Literal

import numpy as np

from fastcore._core.validate_regression import boolean, finite_targets, option, single_output, targets
from fastcore.metrics.kernels import regression as kernels
from fastcore.metrics.kernels import regression_blocks as sums
from fastcore.metrics.kernels.regression import score
from fastcore.metrics.regression_scores import (
    averaged,
    determination,
    explained_variance,
    median_of,
    medians,
    ratios,
    records_of,
)
from fastcore.metrics.warning import warn_undefined

_ndarray = np.ndarray
_INFINITY = float("inf")
_UNIFORM = "uniform_average"
_F32, _F64 = np.dtype(np.float32), np.dtype(np.float64)
WITH_VARIANCE = ("raw_values", "uniform_average", "variance_weighted")
ZERO_TARGETS = ("error", "skip", "epsilon", "nan")

# The short way of each function: one call of compiled code, 1 us, which gives NaN or infinity where it does not have
# the answer. What follows checks everything, has the messages, and computes with the same instructions.


def mean_squared_error(
    y_true: Any, y_pred: Any, *, sample_weight: Any = None, multioutput: Any = "uniform_average"
) -> Any:
    """Mean of (y_true - y_pred)**2.

    Parameters
    ----------
    y_true, y_pred : (N,) or (N, D) numbers
    sample_weight : (N,) numbers, optional
    multioutput : 'raw_values', 'uniform_average', or (D,) weights of the outputs
        'raw_values' gives the error of each output, the others their mean.

    Returns
    -------
    float, or (D,) for 'raw_values'

    Raises
    ------
    ValueError : shapes differ, no samples, NaN, infinity, or weights that sum to 0
    TypeError : not an array; an argument of a wrong kind is both

    Notes
    -----
    Source: scikit-learn 1.9, `mean_squared_error`.
    """
    if sample_weight is None and multioutput is _UNIFORM and type(y_true) is type(y_pred) is _ndarray:
        result = score(kernels.SQUARED, y_true, y_pred)
        if result < _INFINITY:
            return result
    checked = targets(y_true, y_pred, sample_weight, multioutput, "mean_squared_error")
    return averaged(records_of(kernels.SQUARES, checked).mean(sums.SQUARE), checked)


def root_mean_squared_error(
    y_true: Any, y_pred: Any, *, sample_weight: Any = None, multioutput: Any = "uniform_average"
) -> Any:
    """Square root of the `mean_squared_error` of each output.

    Parameters
    ----------
    y_true, y_pred, sample_weight, multioutput : as in `mean_squared_error`
        The roots are averaged over outputs.

    Returns
    -------
    float, or (D,) for 'raw_values'

    Raises
    ------
    ValueError, TypeError : as `mean_squared_error`
    """
    if sample_weight is None and multioutput is _UNIFORM and type(y_true) is type(y_pred) is _ndarray:
        result = score(kernels.ROOT, y_true, y_pred)
        if result < _INFINITY:
            return result
    checked = targets(y_true, y_pred, sample_weight, multioutput, "root_mean_squared_error")
    with np.errstate(invalid="ignore"):  # of negative weights
        return averaged(np.sqrt(records_of(kernels.SQUARES, checked).mean(sums.SQUARE)), checked)


def mean_absolute_error(
    y_true: Any, y_pred: Any, *, sample_weight: Any = None, multioutput: Any = "uniform_average"
) -> Any:
    """Mean of |y_true - y_pred|.

    Parameters
    ----------
    y_true, y_pred, sample_weight, multioutput : as in `mean_squared_error`

    Returns
    -------
    float, or (D,) for 'raw_values'

    Raises
    ------
    ValueError, TypeError : as `mean_squared_error`
    """
    if sample_weight is None and multioutput is _UNIFORM and type(y_true) is type(y_pred) is _ndarray:
        result = score(kernels.ABSOLUTE, y_true, y_pred)
        if result < _INFINITY:
            return result
    checked = targets(y_true, y_pred, sample_weight, multioutput, "mean_absolute_error")
    return averaged(records_of(kernels.ABSOLUTES, checked).mean(sums.ABSOLUTE), checked)


def mean_absolute_percentage_error(
    y_true: Any, y_pred: Any, *, sample_weight: Any = None, multioutput: Any = "uniform_average"
) -> Any:
    """Mean of |y_true - y_pred| / max(|y_true|, 2**-52): a fraction, not percent.

    Parameters
    ----------
    y_true, y_pred, sample_weight, multioutput : as in `mean_squared_error`

    Returns
    -------
    float, or (D,) for 'raw_values'; huge where a target is 0 and its prediction is not

    Raises
    ------
    ValueError, TypeError : as `mean_squared_error`

    Notes
    -----
    In float16, where 2**-52 is 0, scikit-learn gives infinity or NaN for a target of 0. Here that is computed in
    float64, too.
    """
    if sample_weight is None and multioutput is _UNIFORM and type(y_true) is type(y_pred) is _ndarray:
        result = score(kernels.ABSOLUTE_RATIO, y_true, y_pred)
        if result < _INFINITY:
            return result
    checked = targets(y_true, y_pred, sample_weight, multioutput, "mean_absolute_percentage_error")
    return averaged(records_of(kernels.REPORT, checked).mean(sums.ABSOLUTE_RATIO), checked)


def mean_percentage_error(
    y_true: Any,
    y_pred: Any,
    *,
    sample_weight: Any = None,
    multioutput: Any = "uniform_average",
    zero_target: Literal["error", "skip", "epsilon", "nan"] = "error",
    unit: Literal["fraction", "percent"] = "fraction",
    sign: Literal["true_minus_pred", "pred_minus_true"] = "true_minus_pred",
) -> Any:
    """Mean of (y_true - y_pred) / y_true: how far, and to which side, predictions are off on average.

    Parameters
    ----------
    y_true, y_pred, sample_weight, multioutput : as in `mean_squared_error`
    zero_target : what a target of 0, by which nothing can be divided, does
        'error' raises, 'skip' leaves its row out, 'epsilon' divides by 2**-52 as `mean_absolute_percentage_error` does,
        'nan' makes the output's result NaN. Rows with a weight of 0 count as left out.
    unit : 'fraction' (0.1 for predictions 10 % below the targets) or 'percent' (10.0)
    sign : 'true_minus_pred' is positive where predictions are below (positive) targets, 'pred_minus_true' where above

    Returns
    -------
    float, or (D,) for 'raw_values'. NaN where 'skip' leaves no row.

    Raises
    ------
    ValueError : as `mean_squared_error`; a target is 0 and `zero_target` is 'error'
    TypeError : as `mean_squared_error`

    Notes
    -----
    Positive and negative errors cancel. scikit-learn does not have this metric.
    """
    function = "mean_percentage_error"
    option(zero_target, "zero_target", ZERO_TARGETS, function)
    factor = 100.0 if option(unit, "unit", ("fraction", "percent"), function) == "percent" else 1.0
    if option(sign, "sign", ("true_minus_pred", "pred_minus_true"), function) == "pred_minus_true":
        factor = -factor
    if sample_weight is None and multioutput is _UNIFORM and type(y_true) is type(y_pred) is _ndarray:
        result = score(kernels.RATIO, y_true, y_pred)
        if -_INFINITY < result < _INFINITY:
            return factor * result
    checked = targets(y_true, y_pred, sample_weight, multioutput, function)
    values = ratios(records_of(kernels.REPORT, checked), zero_target)
    if zero_target == "skip" and np.isnan(values).any():
        warn_undefined("The mean percentage error is not defined where all targets are 0.")
    return averaged(factor * values, checked)


def r2_score(
    y_true: Any,
    y_pred: Any,
    *,
    sample_weight: Any = None,
    multioutput: Any = "uniform_average",
    force_finite: bool = True,
) -> Any:
    """R², the coefficient of determination: 1 - sum((y_true - y_pred)**2) / sum((y_true - mean(y_true))**2).

    Parameters
    ----------
    y_true, y_pred, sample_weight : as in `mean_squared_error`
    multioutput : 'raw_values', 'uniform_average', 'variance_weighted', (D,) weights, or None for the uniform average
    force_finite : for constant targets 1.0 if all predictions are right and else 0.0, instead of NaN and -infinity

    Returns
    -------
    float, or (D,) for 'raw_values'; NaN with an `UndefinedMetricWarning` for less than two samples

    Raises
    ------
    ValueError, TypeError : as `mean_squared_error`

    Notes
    -----
    Moments are summed around the first target, or around the mean where that is far from it, so that float32 targets
    around 1000, or targets that are nearly constant and far from 0, lose nothing; constant targets have a variance of
    exactly 0 (scikit-learn's is the rounding of the mean: R² of 0.1, three times, is -9e33 there).
    """
    if (
        sample_weight is None
        and multioutput is _UNIFORM
        and force_finite is True
        and type(y_true) is type(y_pred) is _ndarray
    ):
        result = score(kernels.DETERMINATION, y_true, y_pred)
        if result > -_INFINITY:
            return result
    boolean(force_finite, "force_finite", "r2_score")
    checked = targets(y_true, y_pred, sample_weight, multioutput, "r2_score", averages=WITH_VARIANCE, may_be_none=True)
    if len(checked.true) < 2:
        finite_targets(checked)
        warn_undefined("R^2 score is not well-defined with less than two samples.")
        return float("nan")
    return determination(records_of(kernels.MOMENTS, checked), checked, force_finite)


def explained_variance_score(
    y_true: Any,
    y_pred: Any,
    *,
    sample_weight: Any = None,
    multioutput: Any = "uniform_average",
    force_finite: bool = True,
) -> Any:
    """1 - variance(y_true - y_pred) / variance(y_true): `r2_score` for predictions that are off by a constant.

    Parameters
    ----------
    y_true, y_pred, sample_weight : as in `mean_squared_error`
    multioutput : 'raw_values', 'uniform_average', 'variance_weighted', or (D,) weights
    force_finite : as in `r2_score`

    Returns
    -------
    float, or (D,) for 'raw_values'

    Raises
    ------
    ValueError, TypeError : as `mean_squared_error`
    """
    if (
        sample_weight is None
        and multioutput is _UNIFORM
        and force_finite is True
        and type(y_true) is type(y_pred) is _ndarray
    ):
        result = score(kernels.EXPLAINED, y_true, y_pred)
        if result > -_INFINITY:
            return result
    boolean(force_finite, "force_finite", "explained_variance_score")
    checked = targets(y_true, y_pred, sample_weight, multioutput, "explained_variance_score", averages=WITH_VARIANCE)
    return explained_variance(records_of(kernels.REPORT, checked), checked, force_finite)


def max_error(y_true: Any, y_pred: Any) -> float:
    """The largest |y_true - y_pred|.

    Parameters
    ----------
    y_true, y_pred : (N,) or (N, 1) numbers; integers are subtracted exactly

    Returns
    -------
    float

    Raises
    ------
    ValueError : as `mean_squared_error`; more than one output
    TypeError : as `mean_squared_error`

    Notes
    -----
    Of unsigned integers scikit-learn's differences wrap around: 1 - 2 is 255 in uint8. Here it is 1.
    """
    if type(y_true) is type(y_pred) is _ndarray:
        result = score(kernels.LARGEST, y_true, y_pred)
        if result < _INFINITY:
            return result
    checked = targets(y_true, y_pred, None, None, "max_error", may_be_none=True, promote=True)
    single_output(checked.true.shape[1], "max_error")
    largest = records_of(kernels.ABSOLUTES, checked).total(sums.LARGEST)
    with np.errstate(over="ignore"):
        return float(largest.astype(checked.dtype)[0])


def median_absolute_error(
    y_true: Any, y_pred: Any, *, multioutput: Any = "uniform_average", sample_weight: Any = None
) -> Any:
    """Median of |y_true - y_pred|.

    Parameters
    ----------
    y_true, y_pred, multioutput, sample_weight : as in `mean_squared_error`; integers are subtracted exactly

    Returns
    -------
    float, or (D,) for 'raw_values'. The mean of the two middle errors where no single one is in the middle, which by
    weights is: half of them lie on either side.

    Raises
    ------
    ValueError, TypeError : as `mean_squared_error`

    Notes
    -----
    Nothing is sorted: a sample bounds the median, and one read puts aside the few errors between the bounds.
    """
    if (
        sample_weight is None
        and multioutput is _UNIFORM
        and type(y_true) is type(y_pred) is _ndarray
        and y_true.dtype is y_pred.dtype
        and (y_true.dtype is _F64 or y_true.dtype is _F32)
        and y_true.ndim == 1
        and y_true.shape == y_pred.shape
        and y_true.size
    ):
        result = median_of(y_true, y_pred)
        if result == result:
            return result
    checked = targets(y_true, y_pred, sample_weight, multioutput, "median_absolute_error", promote=True)
    return medians(checked)
