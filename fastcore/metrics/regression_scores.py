"""From the sums of the kernels to scores of outputs, and from these to what a caller asked for."""

from typing import Any

import numpy as np

from fastcore._core.validate_regression import Targets, finite_targets, no_zero_targets, weights_with_sum
from fastcore.metrics.kernels import regression_blocks as sums
from fastcore.metrics.kernels.regression import LARGEST, WEIGHTED, Block, measure, score_many
from fastcore.metrics.kernels.regression_median import SMALL, bounds, picked_median, written_median
from fastcore.metrics.weighted_median import weighted_median

# The largest weight may lie between: moments hold products of three sums of weights and targets of up to 1e50.
SMALLEST_WEIGHT, LARGEST_WEIGHT = 1e-100, 1e100


class Records:
    """Sums over the rows of each output."""

    def __init__(self, checked: Targets, records: np.ndarray) -> None:
        self._records = records
        self.weight: Any = float(len(checked.true)) if checked.weight is None else records[:, sums.WEIGHT]

    def mean(self, *fields: int) -> np.ndarray:
        """(D,) weighted mean of what was summed in the fields."""
        with np.errstate(all="ignore"):
            total = self._records[:, fields[0]]
            for field in fields[1:]:
                total = total + self._records[:, field]
            return np.asarray(total / self.weight)

    def total(self, field: int) -> np.ndarray:
        """(D,) sum."""
        return self._records[:, field]

    def around_mean(self, field: int, square: int) -> np.ndarray:
        """(D,) weighted sum of the squares around the mean; infinite where squares are too large for float64."""
        with np.errstate(all="ignore"):
            total, squares = self._records[:, field], self._records[:, square]
            # The records are around the mean, or near: where squares overflow, the product would make NaN of infinity.
            return np.where(np.isinf(squares), squares, squares - total * total / self.weight)


def records_of(block: Block, checked: Targets) -> Records:
    """Sums of finite targets; those of `block` at least."""
    weights_with_sum(checked)
    chosen = block if checked.weight is None else WEIGHTED
    weight = None if checked.weight is None else _of_medium_size(checked.weight)
    records = measure(chosen, checked.true, checked.pred, weight)
    if not np.isfinite(records).all():
        finite_targets(checked)
    return Records(checked, records)


def _of_medium_size(weight: np.ndarray) -> np.ndarray:
    """Weights times a power of two, which no score depends on, where their squares would leave float64's range."""
    largest = np.abs(weight).max(initial=0.0)
    if largest == 0.0 or SMALLEST_WEIGHT < largest < LARGEST_WEIGHT or not np.isfinite(largest):
        return weight
    return np.ldexp(weight, -int(np.frexp(largest)[1]))


def averaged(values: np.ndarray, checked: Targets, weights: np.ndarray | None = None) -> Any:
    """Scores of outputs as `multioutput` says; `weights` is what 'variance_weighted' weights by."""
    multioutput = checked.multioutput
    if isinstance(multioutput, str):
        if multioutput == "raw_values":
            with np.errstate(over="ignore"):
                return values.astype(checked.result_dtype)
        multioutput = weights if multioutput == "variance_weighted" else None
    return float(np.average(values, weights=multioutput))


def determination(records: Records, checked: Targets, force_finite: bool) -> Any:
    """R², averaged."""
    denominator = records.around_mean(sums.TARGET, sums.TARGET_SQUARE)
    return _fraction(records.total(sums.SQUARE), denominator, checked, force_finite)


def explained_variance(records: Records, checked: Targets, force_finite: bool) -> Any:
    """The explained variance score, averaged."""
    numerator = records.around_mean(sums.ERROR, sums.ERROR_SQUARE) / records.weight
    denominator = records.around_mean(sums.TARGET, sums.TARGET_SQUARE) / records.weight
    return _fraction(numerator, denominator, checked, force_finite)


def _fraction(numerator: np.ndarray, denominator: np.ndarray, checked: Targets, force_finite: bool) -> Any:
    """1 - numerator / denominator of outputs, averaged."""
    with np.errstate(all="ignore"):
        values = 1.0 - numerator / denominator
    if force_finite:
        values = np.where(numerator == 0.0, 1.0, np.where(denominator == 0.0, 0.0, values))
    return averaged(values, checked, denominator if denominator.any() else None)


def ratios(records: Records, zero_target: str) -> np.ndarray:
    """Mean of error / target of outputs."""
    zeros = records.total(sums.ROWS_ZERO)
    if zero_target == "epsilon":
        return records.mean(sums.RATIO, sums.RATIO_CLIPPED)
    values = records.mean(sums.RATIO, sums.RATIO_TINY)
    if not zeros.any():
        return values
    if zero_target == "error":
        no_zero_targets(int(zeros.sum()))
    if zero_target == "nan":
        return np.where(zeros > 0, np.nan, values)
    with np.errstate(all="ignore"):
        return np.asarray(values * (records.weight / (records.weight - records.total(sums.WEIGHT_ZERO))))


def median_of(true: np.ndarray, pred: np.ndarray) -> float:
    """Median of the absolute errors of vectors of one length and dtype, float32 or float64; NaN: not finite."""
    rows = len(true)
    if rows > SMALL:
        around = bounds(true[:, None], pred[:, None])
        largest, found, picked = score_many(LARGEST, true, pred, bounds=around)
        if not largest < np.inf:
            return float("nan")
        median = picked_median(found, picked, rows, around, true.itemsize)
        if median is not None:
            return median
    return written_median(true, pred)


def medians(checked: Targets) -> Any:
    """Median of the absolute errors, averaged."""
    result = np.empty(checked.true.shape[1], checked.dtype)
    for output in range(len(result)):
        true, pred = checked.true[:, output], checked.pred[:, output]
        median = median_of(true, pred) if checked.weight is None else float("nan")
        if median != median:
            with np.errstate(all="ignore"):
                errors = np.abs(true - pred)
                total = errors.sum(dtype=np.float64)
            if not total < np.inf:
                finite_targets(checked)
            if checked.weight is None:
                median = float(np.median(errors))
            else:
                errors = errors.astype(checked.dtype, copy=False)
                median = weighted_median(errors, checked.weight, np.finfo(checked.dtype).eps)
        result[output] = median
    return averaged(result, checked._replace(weight=None))
