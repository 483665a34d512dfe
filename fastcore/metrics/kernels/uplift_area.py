"""Areas under uplift and Qini curves, summed up while the scores are put in order: no curve is written."""

from typing import Any

import numpy as np
from numba import prange, types

from fastcore._core.jit import kernel
from fastcore._core.work import Direct, SharedWork, call_by_address, next_item
from fastcore.metrics.kernels.score_buckets import CHUNKS, LARGEST_SMALL, NOT_FINITE
from fastcore.metrics.kernels.score_order import add_codes, as_floats, exclusive_sums, ordered_buckets
from fastcore.metrics.kernels.score_sort import scratch_of, sort_bucket

# The curves, as a number.
QINI, UPLIFT = 0, 1
FINE, OTHER_LENGTHS, OTHER_OUTCOME, OTHER_TREATMENT, OTHER_SCORE = 0, 1, 2, 3, 4
# Serial nanoseconds a row, for the choice between serial and parallel.
CODE_NS, AREA_NS = 0.8, 6.0
_INT64, _FLOAT64 = np.dtype(np.int64), np.dtype(np.float64)  # in native order, which their numbers do not tell


@kernel
def curve_value(control, treated, control_with, treated_with, curve):
    """Value of a curve where so many control and treated rows, and of them so many with a response, have a score.

    Qini: yt - yc * nt / nc (Radcliffe 2007); uplift: (yt / nt - yc / nc) * (nt + nc); a rate of no rows is 0.
    """
    if curve == QINI:
        return treated_with - (control_with * treated / control if control > 0.0 else 0.0)
    rate = treated_with / treated if treated > 0.0 else 0.0
    rate -= control_with / control if control > 0.0 else 0.0
    return rate * (control + treated)


@kernel
def area_of_sorted(scores, codes, above, curve):
    """Trapezoids over the distinct scores of a sorted bucket; ``above`` (4,): rows of each code in buckets above it."""
    control, treated, control_with, treated_with = above[0] + above[1], above[2] + above[3], above[1], above[3]
    last = curve_value(control, treated, control_with, treated_with, curve)
    area = 0.0
    treated_rows = responses = treated_responses = rows_before = 0
    for i in range(scores.size - 1, -1, -1):
        code = int(codes[i])
        treated_rows += code >> 1
        responses += code & 1
        treated_responses += code & (code >> 1)
        if i == 0 or scores[i - 1] != scores[i]:
            rows = scores.size - i
            value = curve_value(
                control + (rows - treated_rows),
                treated + treated_rows,
                control_with + (responses - treated_responses),
                treated_with + treated_responses,
                curve,
            )
            area += (rows - rows_before) * (value + last)
            last = value
            rows_before = rows
    return area / 2


def area_small(y_true, uplift, treatment, curve):
    """(status, area, rows of each code)."""
    size = y_true.size
    counts = np.zeros(4)
    if size != uplift.size or size != treatment.size:
        return OTHER_LENGTHS, 0.0, 0, 0, 0, 0
    outcomes = treatments = np.int64(0)
    finite = True
    scores, codes = np.empty(size), np.empty(size, np.uint8)
    for i in range(size):
        outcomes |= y_true[i]
        treatments |= treatment[i]
        finite &= abs(uplift[i]) < np.inf
        scores[i] = uplift[i]
        codes[i] = 2 * (treatment[i] & 1) + (y_true[i] & 1)
    status = FINE
    if outcomes & ~1 != 0:
        status = OTHER_OUTCOME
    elif treatments & ~1 != 0:
        status = OTHER_TREATMENT
    elif not finite:
        status = OTHER_SCORE
    if status != FINE:
        return status, 0.0, 0, 0, 0, 0
    sort_bucket(scores, codes, np.empty(0), scratch_of(size, False))
    area = area_of_sorted(scores, codes, counts, curve)
    add_codes(codes, np.empty(0), counts)
    return FINE, area, np.int64(counts[0]), np.int64(counts[1]), np.int64(counts[2]), np.int64(counts[3])


def code_items(y_true, treatment, codes, ored, counter):
    """codes = 2 * treatment + outcome; ored[chunk] = the bits that occur in its outcomes and in its treatments."""
    size = (codes.size + CHUNKS - 1) // CHUNKS
    chunk = next_item(counter, -1)
    while chunk < CHUNKS:
        first = min(chunk * size, codes.size)
        outcome, treated = y_true[first : first + size], treatment[first : first + size]
        target = codes[first : first + size]
        outcomes = treatments = np.int64(0)
        for i in range(target.size):
            outcomes |= outcome[i]
            treatments |= treated[i]
            target[i] = np.uint8(2 * treated[i] + outcome[i])
        ored[chunk, 0], ored[chunk, 1] = outcomes, treatments
        chunk = next_item(counter, chunk)


def code_parallel(body, workers, y_true, treatment, codes, ored, counter):
    for _ in prange(workers):
        call_by_address(body, (y_true, treatment, codes, ored, counter))


def area_items(scores, codes, starts, bases, curve, areas, counter):
    bucket = next_item(counter, -1)
    while bucket < areas.size:
        first, end = starts[bucket], starts[bucket + 1]
        areas[bucket] = area_of_sorted(scores[first:end], codes[first:end], bases[bucket], curve)
        bucket = next_item(counter, bucket)


def area_parallel(body, workers, scores, codes, starts, bases, curve, areas, counter):
    for _ in prange(workers):
        call_by_address(body, (scores, codes, starts, bases, curve, areas, counter))


_F64, _I64 = types.float64, types.int64


def _read(dtype: Any, layout: str = "C") -> Any:
    return types.Array(dtype, 1, layout, readonly=True)


_SMALL = Direct(
    area_small,
    types.Tuple((_I64, _F64, _I64, _I64, _I64, _I64))(_read(_I64, "A"), _read(_F64, "A"), _read(_I64, "A"), _I64),
)
_CODES = SharedWork(
    code_items,
    code_parallel,
    [_read(_I64), _read(_I64), types.Array(types.uint8, 1, "C"), types.Array(_I64, 2, "C")],
)
_AREA = SharedWork(
    area_items,
    area_parallel,
    [_read(_F64), _read(types.uint8), _read(_I64), types.Array(_F64, 2, "C"), _I64, types.Array(_F64, 1, "C")],
)


def uplift_area(y_true: np.ndarray, uplift: np.ndarray, treatment: np.ndarray, curve: int) -> tuple[Any, ...]:
    """(status, area, and the rows of the codes 0 to 3): the area under a curve in rows times responses.

    Parameters
    ----------
    y_true, treatment : (N,) integers or bools, 0 or 1
    uplift : (N,) float32, float64 or int64
    curve : QINI or UPLIFT, the area under `curve_value`

    Returns
    -------
    status FINE, or OTHER_LENGTHS, OTHER_OUTCOME, OTHER_TREATMENT, OTHER_SCORE (not finite, or another dtype), and then
    no area. The same as `fastcore.reference.metrics_uplift.uplift_area`.
    """
    if (
        y_true.dtype is treatment.dtype is _INT64
        and uplift.dtype is _FLOAT64
        and y_true.ndim == uplift.ndim == treatment.ndim == 1
        and 0 < y_true.size <= LARGEST_SMALL
    ):
        return _SMALL.call(y_true, uplift, treatment, curve)
    return _uplift_area(y_true, uplift, treatment, curve)


def _uplift_area(y_true: np.ndarray, uplift: np.ndarray, treatment: np.ndarray, curve: int) -> tuple[Any, ...]:
    """`uplift_area` of other dtypes, or of many rows."""
    if not y_true.shape == uplift.shape == treatment.shape or y_true.ndim != 1 or y_true.size == 0:
        return _failed(OTHER_LENGTHS)
    if not uplift.dtype.isnative or (uplift.dtype.char not in "fd" and uplift.dtype != _INT64):
        return _failed(OTHER_SCORE)
    scores, _ = as_floats(uplift)
    flags = []
    for given, status in ((y_true, OTHER_OUTCOME), (treatment, OTHER_TREATMENT)):
        if given.dtype.kind not in "iub" or (given.dtype.kind == "u" and given.max() > 1):
            return _failed(status)
        flags.append(given.astype(np.int64, order="C", copy=False))
    if scores.size <= LARGEST_SMALL:
        return _SMALL.call(flags[0], scores.astype(np.float64), flags[1], curve)
    codes, ored = np.empty(scores.size, np.uint8), np.zeros((CHUNKS, 2), np.int64)
    _CODES(CODE_NS * codes.size, *flags, codes, ored)
    outcomes, treatments = np.bitwise_or.reduce(ored, axis=0)
    if outcomes & ~1:
        return _failed(OTHER_OUTCOME)
    if treatments & ~1:
        return _failed(OTHER_TREATMENT)
    faults, buckets, sums, groups = ordered_buckets(scores, codes, 4, None)
    if faults & NOT_FINITE:
        return _failed(OTHER_SCORE)
    totals = sums.sum(axis=0)
    exclusive_sums(sums, groups)
    areas = np.empty(groups.size)
    _AREA(AREA_NS * scores.size, buckets.scores, buckets.codes, buckets.starts, sums, curve, areas)
    return FINE, float(areas.sum()), *(int(count) for count in totals)


def _failed(status: int) -> tuple[Any, ...]:
    return status, 0.0, 0, 0, 0, 0
