"""All regression metrics at once."""

from typing import Any, Literal, NamedTuple

import numpy as np

from fastcore._core.validate_regression import Targets, boolean, finite_targets, option, targets
from fastcore.metrics.kernels import regression as kernels
from fastcore.metrics.kernels import regression_blocks as sums
from fastcore.metrics.kernels.regression_median import SMALL, bounds, picked_median, written_median
from fastcore.metrics.regression import WITH_VARIANCE, ZERO_TARGETS
from fastcore.metrics.regression_scores import (
    averaged,
    determination,
    explained_variance,
    medians,
    ratios,
    records_of,
)
from fastcore.metrics.warning import warn_undefined

_ndarray = np.ndarray
_NAN, _INFINITY = float("nan"), float("inf")
_F32, _F64 = np.dtype(np.float32), np.dtype(np.float64)
_UNIFORM = "uniform_average"


class RegressionReport(NamedTuple):
    """The regression metrics of one set of predictions: floats, or (D,) arrays for 'raw_values'."""

    mean_squared_error: Any
    root_mean_squared_error: Any
    mean_absolute_error: Any
    mean_percentage_error: Any
    mean_absolute_percentage_error: Any
    r2_score: Any
    explained_variance_score: Any
    max_error: Any
    median_absolute_error: Any


def regression_report(
    y_true: Any,
    y_pred: Any,
    *,
    sample_weight: Any = None,
    multioutput: Any = "uniform_average",
    force_finite: bool = True,
    zero_target: Literal["error", "skip", "epsilon", "nan"] = "nan",
    median: bool = True,
) -> RegressionReport:
    """All regression metrics, reading the data once.

    Parameters
    ----------
    y_true, y_pred : (N,) or (N, D) numbers
    sample_weight : (N,) numbers, optional; `max_error` does not look at them
    multioutput : 'raw_values', 'uniform_average', 'variance_weighted', or (D,) weights of the outputs
        'variance_weighted' is of R² and explained variance; the errors are averaged uniformly then.
    force_finite : as in `r2_score`
    zero_target : as in `mean_percentage_error`, but NaN by default
    median : whether the median absolute error is computed, which needs a selection; else it is NaN

    Returns
    -------
    RegressionReport : a named tuple; each number is that of the function of its name. `max_error` is averaged over
        outputs as the others are, where the function takes one output only.

    Raises
    ------
    ValueError, TypeError : as `mean_squared_error`
    """
    if (
        sample_weight is None
        and multioutput is _UNIFORM
        and force_finite is True
        and zero_target == "nan"
        and type(y_true) is type(y_pred) is _ndarray
        and y_true.dtype is y_pred.dtype
        and y_true.ndim == 1
        and y_true.shape == y_pred.shape
        and (median is True or median is False)
    ):
        report = _of_vectors(y_true, y_pred, median)
        if report is not None:
            return report
    function = "regression_report"
    option(zero_target, "zero_target", ZERO_TARGETS, function)
    boolean(force_finite, "force_finite", function)
    with_median = boolean(median, "median", function)
    checked = targets(y_true, y_pred, sample_weight, multioutput, function, averages=WITH_VARIANCE, may_be_none=True)
    # The order statistics of integers are exact beyond 2**53, which the sums are not.
    exact = targets(
        y_true, y_pred, sample_weight, multioutput, function, averages=WITH_VARIANCE, may_be_none=True, promote=True
    )
    if len(checked.true) < 2:
        finite_targets(checked)
        warn_undefined("R^2 score is not well-defined with less than two samples.")
    return _of_targets(checked, exact, force_finite, zero_target, with_median)


def _of_vectors(true: np.ndarray, pred: np.ndarray, with_median: bool) -> RegressionReport | None:
    """The report of vectors of one length and dtype, None where it takes a closer look."""
    rows, dtype = len(true), true.dtype
    if dtype is not _F64 and dtype is not _F32:
        return None
    record = np.zeros(kernels.RECORD_AND_SCORES)
    median = None
    if not with_median or rows <= SMALL:
        kernels.score(kernels.ALL, true, pred, record)
    else:
        around = bounds(true[:, None], pred[:, None])
        _, found, picked = kernels.score_many(kernels.ALL, true, pred, record, around)
        median = picked_median(found, picked, rows, around, dtype.itemsize)
    scores = record.tolist()[sums.FIELDS :]
    mse, rmse, mae, largest, r2, explained, mape, mpe = scores
    # Infinity and NaN in the data reach these; NaN of less than two rows the fourth.
    if not (record[sums.WEIGHT] > 0.0 and mse < _INFINITY and mape < _INFINITY and explained > -_INFINITY < r2):
        return None
    if median is None:
        median = written_median(true, pred) if with_median else _NAN
    return RegressionReport(mse, rmse, mae, mpe, mape, r2, explained, largest, median)


def _of_targets(
    checked: Targets, exact: Targets, force_finite: bool, zero_target: str, with_median: bool
) -> RegressionReport:
    """The report of any targets; `exact` holds them in the dtype of order statistics."""
    records = records_of(kernels.REPORT, checked)
    by_variance = checked.multioutput is None or checked.multioutput is WITH_VARIANCE[-1]
    plain = checked._replace(multioutput=_UNIFORM) if by_variance else checked
    ordered = exact._replace(multioutput=plain.multioutput)
    squared = records.mean(sums.SQUARE)
    with np.errstate(invalid="ignore"):  # of negative weights
        root = np.sqrt(squared)
    largest = records_of(kernels.ABSOLUTES, exact._replace(weight=None)).total(sums.LARGEST)
    return RegressionReport(
        averaged(squared, plain),
        averaged(root, plain),
        averaged(records.mean(sums.ABSOLUTE), plain),
        averaged(ratios(records, zero_target), plain),
        averaged(records.mean(sums.ABSOLUTE_RATIO), plain),
        _NAN if len(checked.true) < 2 else determination(records, checked, force_finite),
        explained_variance(records, checked, force_finite),
        averaged(largest, ordered),
        medians(ordered) if with_median else _NAN,
    )
