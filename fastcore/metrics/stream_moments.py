"""Streams of metrics that follow from means and variances: regression, and the average treatment effect.

Moments are kept as sums around a centre and merged by moving one centre to the other (Chan, Golub and LeVeque 1983,
"Algorithms for Computing the Sample Variance", eq. 1.5), so that no large numbers cancel, however far data is from 0.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from fastcore._core import validate_regression as validate
from fastcore._core import validate_streams as check
from fastcore._core.validate_targets import option, real
from fastcore._core.validate_uplift import both_values, outcomes, zeros_and_ones
from fastcore.metrics.kernels import regression as kernels
from fastcore.metrics.kernels import regression_blocks as sums
from fastcore.metrics.kernels.regression import MOMENT_FIELDS, measure_around, measure_with_centres
from fastcore.metrics.kernels.treatment import FIELDS, KIND_OF, TREATMENT_KIND_OF, effect_from, moments
from fastcore.metrics.regression import WITH_VARIANCE
from fastcore.metrics.regression_scores import Records, averaged, determination, explained_variance, ratios
from fastcore.metrics.regression_summary import RegressionReport
from fastcore.metrics.stream_state import Stream
from fastcore.metrics.treatment_effect import normal_quantile, with_interval
from fastcore.metrics.warning import warn_undefined

# What of `regression_blocks` a metric is made of.
_BLOCKS = {
    "mean_squared_error": kernels.SQUARES,
    "root_mean_squared_error": kernels.SQUARES,
    "mean_absolute_error": kernels.ABSOLUTES,
    "max_error": kernels.ABSOLUTES,
    "r2_score": kernels.MOMENTS,
}
_NAN = float("nan")
_F32, _F64 = np.dtype(np.float32), np.dtype(np.float64)
_UNIFORM = "uniform_average"


class Sums(NamedTuple):
    """Sums over rows of D outputs, moments around centres."""

    records: np.ndarray  # (D, FIELDS)
    centres: np.ndarray | None  # (D, 2) of targets and of errors, for metrics that look at moments
    weighted: bool
    dtype: np.dtype  # that the metric would compute in
    largest: np.ndarray  # (D,) absolute error, of integers exact
    largest_dtype: np.dtype


def merged_sums(a: Sums, b: Sums) -> Sums:
    """Of the rows of both."""
    records, centres = a.records + b.records, None
    if a.centres is not None and b.centres is not None:
        centres = a.centres.copy()
        with np.errstate(all="ignore"):
            _merge_moments(a, b, records, centres)
    return Sums(
        records,
        centres,
        a.weighted or b.weighted,
        np.result_type(a.dtype, b.dtype),
        np.maximum(a.largest, b.largest),
        np.result_type(a.largest_dtype, b.largest_dtype),
    )


def _are_vectors(y_true: Any, y_pred: Any) -> bool:
    """Whether both are vectors of one length and dtype that kernels read."""
    return (
        type(y_true) is type(y_pred) is np.ndarray
        and y_true.dtype is y_pred.dtype
        and (y_true.dtype is _F64 or y_true.dtype is _F32)
        and y_true.ndim == 1
        and y_true.shape == y_pred.shape
        and y_true.strides[0] % y_true.itemsize == y_pred.strides[0] % y_pred.itemsize == 0
    )


def _merge_moments(a: Sums, b: Sums, records: np.ndarray, centres: np.ndarray) -> None:
    """Write the moments of both, around the means of both; ``centres`` are those of `a` at first."""
    weight, weight_b = records[:, sums.WEIGHT], b.records[:, sums.WEIGHT]
    for column, (field, square) in enumerate(MOMENT_FIELDS):
        moved = centres[:, column] - b.centres[:, column]  # type: ignore[index]
        part = b.records[:, field]
        total = a.records[:, field] + (part - weight_b * moved)
        squares = a.records[:, square] + (b.records[:, square] - moved * (2.0 * part - weight_b * moved))
        # On to the mean of both; what rounding of the centre leaves over stays in the sum.
        mean = centres[:, column] + np.where(weight != 0.0, total / weight, 0.0)
        moved = mean - centres[:, column]
        centres[:, column] = mean
        records[:, field] = total - weight * moved
        records[:, square] = squares - moved * (2.0 * total - weight * moved)


class RegressionStream(Stream):
    """Metrics of regression but for the median."""

    def __init__(
        self, metric: Callable[..., Any], arguments: Sequence[str], options: dict[str, Any], sample: Sequence[Any]
    ) -> None:
        super().__init__(metric, arguments, options, sample)
        if self._name == "regression_report":
            check.without_median(self._all_options["median"])
        self._block = _BLOCKS.get(self._name, kernels.REPORT)
        self._has_moments = "force_finite" in self._all_options
        self._averages = WITH_VARIANCE if "force_finite" in self._all_options else WITH_VARIANCE[:2]
        self._multioutput = self._all_options.get("multioutput", _UNIFORM)

    def _targets(self, arrays: Sequence[Any], promote: bool) -> validate.Targets:
        y_true, y_pred = arrays
        if _are_vectors(y_true, y_pred) and isinstance(self._multioutput, str):  # 3 us instead of 30
            return validate.Targets(y_true[:, None], y_pred[:, None], None, self._multioutput, y_true.dtype)
        return validate.targets(
            y_true,
            y_pred,
            None,
            self._multioutput,
            self._name,
            averages=self._averages,
            may_be_none=True,
            promote=promote,
        )

    def _read(self, arrays: Sequence[Any], sample_weight: Any) -> Sums:
        only_largest = self._name == "max_error"
        checked = self._targets(arrays, only_largest)
        rows, outputs = checked.true.shape
        if only_largest:
            validate.single_output(outputs, self._name)
        weight = check.weights(sample_weight, rows)
        dtype = checked.dtype
        if getattr(getattr(sample_weight, "dtype", None), "kind", "") == "f":
            dtype = np.result_type(dtype, sample_weight.dtype)
        block = self._block if weight is None else kernels.WEIGHTED
        if self._has_moments:
            records, centres = measure_with_centres(block, checked.true, checked.pred, weight)
        else:
            records, centres = measure_around(block, checked.true, checked.pred, weight, np.zeros((outputs, 2))), None
        if weight is None:
            records[:, sums.WEIGHT] = rows
        if not np.isfinite(records).all():
            validate.finite_targets(checked)
        if self._all_options.get("zero_target") == "error":
            validate.no_zero_targets(int(records[:, sums.ROWS_ZERO].sum()))
        largest, largest_dtype = records[:, sums.LARGEST], checked.dtype
        if self._name == "regression_report":
            exact = self._targets(arrays, True)
            largest_dtype = exact.dtype
            if weight is not None or not _are_vectors(*arrays):
                centre = np.zeros((outputs, 2))
                largest = measure_around(kernels.ABSOLUTES, exact.true, exact.pred, None, centre)[:, sums.LARGEST]
        return Sums(records, centres, weight is not None, dtype, largest, largest_dtype)

    def _agree(self, pieces: Sequence[Sums]) -> None:
        for piece in pieces[1:]:
            check.same_number_of_outputs(len(pieces[0].records), len(piece.records), "outputs")

    def _join(self, pieces: Sequence[Sums]) -> Sums:
        total = pieces[0]
        for piece in pieces[1:]:
            total = merged_sums(total, piece)
        return total

    def _evaluate(self, piece: Sums, rows: int) -> Any:
        # Stands for the targets: shape, and whether there are weights.
        outputs = len(piece.records)
        like = np.broadcast_to(np.float64(0.0), (rows, outputs))
        weight = np.ones(1) if piece.weighted else None
        multioutput = validate.output_weights(self._multioutput, outputs)
        checked = validate.Targets(like, like, weight, multioutput, piece.dtype)
        if piece.weighted:
            validate.weights_with_sum(checked._replace(weight=piece.records[:1, sums.WEIGHT]))
        return _SCORES[self._name](Records(checked, piece.records), checked, piece, self._all_options)


def _mean_of(field: int, root: bool = False) -> Callable[..., Any]:
    def score(records: Records, checked: validate.Targets, piece: Sums, options: dict[str, Any]) -> Any:
        with np.errstate(invalid="ignore"):  # of negative weights
            values = np.sqrt(records.mean(field)) if root else records.mean(field)
        return averaged(values, checked)

    return score


def _percentage(records: Records, checked: validate.Targets, piece: Sums, options: dict[str, Any]) -> Any:
    factor = 100.0 if options["unit"] == "percent" else 1.0
    if options["sign"] == "pred_minus_true":
        factor = -factor
    values = ratios(records, options["zero_target"])
    if options["zero_target"] == "skip" and np.isnan(values).any():
        warn_undefined("The mean percentage error is not defined where all targets are 0.", stacklevel=5)
    return averaged(factor * values, checked)


def _determination(records: Records, checked: validate.Targets, piece: Sums, options: dict[str, Any]) -> Any:
    if len(checked.true) < 2:
        warn_undefined("R^2 score is not well-defined with less than two samples.", stacklevel=5)
        return _NAN
    return determination(records, checked, options["force_finite"])


def _explained(records: Records, checked: validate.Targets, piece: Sums, options: dict[str, Any]) -> Any:
    return explained_variance(records, checked, options["force_finite"])


def _largest(records: Records, checked: validate.Targets, piece: Sums, options: dict[str, Any]) -> float:
    with np.errstate(over="ignore"):
        return float(piece.largest.astype(piece.largest_dtype)[0])


def _report(records: Records, checked: validate.Targets, piece: Sums, options: dict[str, Any]) -> RegressionReport:
    by_variance = checked.multioutput is None or checked.multioutput == WITH_VARIANCE[-1]
    plain = checked._replace(multioutput=_UNIFORM) if by_variance else checked
    arguments = records, plain, piece, options
    return RegressionReport(
        _SCORES["mean_squared_error"](*arguments),
        _SCORES["root_mean_squared_error"](*arguments),
        _SCORES["mean_absolute_error"](*arguments),
        averaged(ratios(records, options["zero_target"]), plain),
        _SCORES["mean_absolute_percentage_error"](*arguments),
        _determination(records, checked, piece, options),
        _explained(records, checked, piece, options),
        averaged(piece.largest, plain._replace(weight=None, dtype=piece.largest_dtype)),
        _NAN,
    )


_SCORES: dict[str, Callable[..., Any]] = {
    "mean_squared_error": _mean_of(sums.SQUARE),
    "root_mean_squared_error": _mean_of(sums.SQUARE, root=True),
    "mean_absolute_error": _mean_of(sums.ABSOLUTE),
    "mean_absolute_percentage_error": _mean_of(sums.ABSOLUTE_RATIO),
    "mean_percentage_error": _percentage,
    "r2_score": _determination,
    "explained_variance_score": _explained,
    "max_error": _largest,
    "regression_report": _report,
}


# --- average treatment effect -----------------------------------------------------------------------------------------

Moments = tuple[float, float, float, float]


def merged_moments(a: Moments, b: Moments) -> Moments:
    """Rows, centre, and the sums of residuals and of their squares, of two sets of rows together."""
    if a[0] == 0.0 or b[0] == 0.0:
        return b if a[0] == 0.0 else a
    moved = a[1] - b[1]
    total = a[2] + (b[2] - b[0] * moved)
    squares = a[3] + (b[3] - moved * (2.0 * b[2] - b[0] * moved))
    rows = a[0] + b[0]
    mean = a[1] + total / rows
    moved = mean - a[1]
    return rows, mean, total - rows * moved, squares - moved * (2.0 * total - rows * moved)


def _are_plain(outcome: Any, treatment: Any) -> bool:
    """Whether kernels read both where they are."""
    return (
        type(outcome) is type(treatment) is np.ndarray
        and outcome.ndim == treatment.ndim == 1
        and outcome.dtype in KIND_OF
        and treatment.dtype in TREATMENT_KIND_OF
        and outcome.flags.c_contiguous
        and treatment.flags.c_contiguous
    )


class EffectStream(Stream):
    """`average_treatment_effect` without pairs."""

    fan: ClassVar[int] = 1

    def __init__(
        self, metric: Callable[..., Any], arguments: Sequence[str], options: dict[str, Any], sample: Sequence[Any]
    ) -> None:
        super().__init__(metric, arguments, options, sample)
        check.without_pairs(self._all_options["pairs"])

    def _read(self, arrays: Sequence[Any], sample_weight: Any) -> np.ndarray:
        outcome, treatment = arrays
        if _are_plain(outcome, treatment):  # one pass, which says whether treatments are 0 and 1, and outcomes finite
            parts = moments(outcome, treatment)
            if parts[:, 8].all() and np.isfinite(parts).all():
                return self._join([parts])
        flags = np.ascontiguousarray(zeros_and_ones(treatment, "treatment"))
        y = outcomes(outcome, "outcome")
        return self._join([moments(y, flags)])

    def _join(self, pieces: Sequence[np.ndarray]) -> np.ndarray:
        """(1, FIELDS) of parts (P, FIELDS)."""
        treated: Moments = (0.0, 0.0, 0.0, 0.0)
        control = treated
        for part in np.concatenate(pieces).tolist():
            treated = merged_moments(treated, part[:4])
            control = merged_moments(control, part[4:8])
        joined = np.ones((1, FIELDS))
        joined[0, :8] = *treated, *control
        return joined

    def _evaluate(self, piece: np.ndarray, rows: int) -> Any:
        name = self._name
        confidence = real(self._all_options["confidence"], "confidence", 0, 1, name, closed="neither")
        distribution = option(self._all_options["distribution"], "distribution", ("t", "normal"), name)
        both_values(int(piece[0, 0]), rows, "treatment")
        with np.errstate(all="ignore"):
            _, *found, treated, control, t = effect_from(piece, normal_quantile(confidence))
        few = "a group has one row"
        return with_interval((*found, t), (int(treated), int(control)), confidence, distribution, few)
