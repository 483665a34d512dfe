"""Sums of `regression_blocks` over arrays of any length, stride and number of columns, one read of memory.

Rows are taken in chunks, and chunks are added in their order, so that a result depends on the number of rows alone and
not on who added what. A chunk is read in blocks: in place where it is contiguous float64, else converted beforehand.
"""

from typing import NamedTuple

import numpy as np
from numba import prange, types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.work import Direct, SharedWork, call_by_address, next_item
from fastcore.metrics.kernels import regression_blocks as blocks
from fastcore.metrics.kernels.regression_blocks import BLOCK, FIELDS, LANES
from fastcore.metrics.kernels.regression_median import PICK, PICKED_FIELDS, room

# Rows of a chunk, the item of a thread: 5 to 20 us of work.
CHUNK = 16 * BLOCK
# Where the mean is further than ten standard deviations from the centre, more than two digits would be lost.
SMALLEST_SHARE = 0.01
# Nanoseconds of a row in `pick_block`.
PICK_NS = 0.3
# What `score` gives.
SQUARED, ROOT, ABSOLUTE, LARGEST, DETERMINATION, EXPLAINED, ABSOLUTE_RATIO, RATIO, ALL = range(9)
# Elements of a record that is asked for by name.
RECORD_AND_SCORES = FIELDS + ALL

_F32, _F64 = np.dtype(np.float32), np.dtype(np.float64)
_NAN = float("nan")
# The moments of targets and of errors in a record, for the two centres.
MOMENT_FIELDS = ((blocks.TARGET, blocks.TARGET_SQUARE), (blocks.ERROR, blocks.ERROR_SQUARE))
_NO_WEIGHTS = np.zeros(0)
_NO_RECORD = np.zeros(0)
_NO_BUFFER = np.zeros((0, 0))


class Block(NamedTuple):
    """A function of `regression_blocks`, what a row of float64 costs one thread in it, and how many it gets alone."""

    function: Direct
    nanoseconds: float

    @property
    def serial_rows(self) -> int:
        """Rows below which no threading layer would share the work."""
        return int(30_000 / self.nanoseconds)


SQUARES = Block(blocks.SQUARES, 0.2)
ABSOLUTES = Block(blocks.ABSOLUTES, 0.2)
MOMENTS = Block(blocks.DETERMINATION, 0.22)
REPORT = Block(blocks.REPORT, 0.55)
WEIGHTED = Block(blocks.WEIGHTED, 0.75)
_BLOCK_OF = {SQUARED: SQUARES, ROOT: SQUARES, ABSOLUTE: ABSOLUTES, LARGEST: ABSOLUTES, DETERMINATION: MOMENTS}


@kernel
def convert_rows(source, stride, count, target):
    """target[i] = source[i * stride], as float64; the stride is in elements."""
    if stride == 1:
        whole = count - count % LANES
        for i in range(0, whole, LANES):
            simd.store(simd.advance(target, i), simd.convert(simd.load(simd.advance(source, i), LANES), simd.f64))
        for i in range(whole, count):
            simd.store_scalar(simd.advance(target, i), simd.load_scalar(simd.advance(source, i)))
    elif stride == 0:
        value = np.float64(simd.load_scalar(source))
        for i in range(count):
            simd.store_scalar(simd.advance(target, i), value)
    else:
        for i in range(count):
            simd.store_scalar(simd.advance(target, i), simd.load_scalar(simd.advance(source, i * stride)))


@kernel
def column_rows(array, row, column, count, scratch):
    """Pointer to `count` rows of a column as contiguous float64: in place, or in `scratch`."""
    row_stride, column_stride = array.strides[0] // array.itemsize, array.strides[1] // array.itemsize
    first = simd.advance(simd.pointer(array), row * row_stride + column * column_stride)
    if array.itemsize == 8 and row_stride == 1:
        return simd.cast_pointer(first, simd.f64)
    convert_rows(first, row_stride, count, scratch)
    return scratch


@kernel
def vector_rows(array, row, count, scratch):
    """Pointer to `count` elements of a vector as contiguous float64: in place, or in `scratch`."""
    stride = array.strides[0] // array.itemsize
    first = simd.advance(simd.pointer(array), row * stride)
    if array.itemsize == 8 and stride == 1:
        return simd.cast_pointer(first, simd.f64)
    convert_rows(first, stride, count, scratch)
    return scratch


def measure_items(block, pick, target, prediction, weight, centres, records, low, high, buffer, picked, counter):
    """Take chunks of rows until none is left, and sum each by its own."""
    rows, columns = target.shape
    scratch = np.empty(2 * BLOCK)
    left = simd.pointer(scratch)
    right = simd.advance(left, BLOCK)
    item = next_item(counter, -1)
    while item < records.shape[0]:
        stop = min((item + 1) * CHUNK, rows)
        for start in range(item * CHUNK, stop, BLOCK):
            count = min(BLOCK, stop - start)
            for column in range(columns):
                y = column_rows(target, start, column, count, left)
                p = column_rows(prediction, start, column, count, right)
                w = simd.advance(simd.pointer(weight), start)
                record = simd.advance(simd.pointer(records), (item * columns + column) * FIELDS)
                call_by_address(block, (y, p, w, count, centres[column, 0], centres[column, 1], record))
                if picked.shape[0] > 0:
                    found = simd.advance(simd.pointer(buffer), item * buffer.shape[1])
                    record = simd.advance(simd.pointer(picked), item * PICKED_FIELDS)
                    call_by_address(pick, (y, p, found, count, low, high, record))
        item = next_item(counter, item)


def measure_parallel(
    body, workers, block, pick, target, prediction, weight, centres, records, low, high, buffer, picked, counter
):
    """`measure_items` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(
            body, (block, pick, target, prediction, weight, centres, records, low, high, buffer, picked, counter)
        )


@kernel(fastmath=False)
def add_part(total, part):
    """total += part, a record of more rows."""
    for field in range(FIELDS):
        total[field] = max(total[field], part[field]) if field == blocks.LARGEST else total[field] + part[field]


@kernel(fastmath=False)
def sum_rows(block, target, prediction, centre_target, centre_error, scratch, part, total):
    """total = the record of two vectors, as `measure_items` gives it."""
    rows = target.size
    left = simd.pointer(scratch)
    right = simd.advance(left, BLOCK)
    for field in range(FIELDS):
        total[field] = 0.0
    for first in range(0, rows, CHUNK):
        for field in range(FIELDS):
            part[field] = 0.0
        stop = min(first + CHUNK, rows)
        for start in range(first, stop, BLOCK):
            count = min(BLOCK, stop - start)
            y = vector_rows(target, start, count, left)
            p = vector_rows(prediction, start, count, right)
            record = simd.pointer(part)
            call_by_address(block, (y, p, record, count, centre_target, centre_error, record))
        add_part(total, part)


@kernel(fastmath=False)
def is_far(sum_, squares, weight):
    """Whether the centre is too far from the mean for the moments around it."""
    return abs(squares - sum_ * sum_ / weight) < SMALLEST_SHARE * squares


@kernel(fastmath=False)
def moments_are_far(record, weight):
    """`is_far` for the targets or the errors."""
    return is_far(record[blocks.TARGET], record[blocks.TARGET_SQUARE], weight) or is_far(
        record[blocks.ERROR], record[blocks.ERROR_SQUARE], weight
    )


@kernel(fastmath=False)
def fraction(numerator, denominator):
    """1 - numerator / denominator, and what stands for it where it is not finite."""
    if numerator == 0.0:
        return 1.0
    return 0.0 if denominator == 0.0 else 1.0 - numerator / denominator


@kernel(fastmath=False)
def score_of(kind, record, rows, itemsize):
    """One number of a record of `rows` rows, NaN where that needs a word with the caller."""
    targets = record[blocks.TARGET_SQUARE] - record[blocks.TARGET] * record[blocks.TARGET] / rows
    if kind == SQUARED:
        return record[blocks.SQUARE] / rows
    if kind == ROOT:
        return np.sqrt(record[blocks.SQUARE] / rows)
    if kind == ABSOLUTE:
        return record[blocks.ABSOLUTE] / rows
    if kind == LARGEST:
        if not record[blocks.ABSOLUTE] < np.inf:
            return np.nan
        largest = record[blocks.LARGEST]
        return np.float64(np.float32(largest)) if itemsize == 4 else largest
    if not record[blocks.SQUARE] < np.inf or not abs(targets) < np.inf:
        return np.nan
    if kind == DETERMINATION:
        return fraction(record[blocks.SQUARE], targets) if rows > 1 else np.nan
    if kind == EXPLAINED:
        errors = record[blocks.ERROR_SQUARE] - record[blocks.ERROR] * record[blocks.ERROR] / rows
        return fraction(errors / rows, targets / rows)
    if kind == ABSOLUTE_RATIO:
        return record[blocks.ABSOLUTE_RATIO] / rows
    if kind == RATIO and record[blocks.ROWS_ZERO] == 0.0:
        return (record[blocks.RATIO] + record[blocks.RATIO_TINY]) / rows
    return np.nan


@kernel
def derive_scores(record, rows, itemsize):
    """Write the scores of `rows` rows behind the sums."""
    for kind in range(ALL):
        record[FIELDS + kind] = score_of(kind, record, rows, itemsize)


def score_rows(kind, block, most, target, prediction, record):
    """A score of two vectors, NaN where they are more than `most` rows, or need a look first: NaN, lengths, none.

    A record that is not empty gets the sums, and behind them all scores.
    """
    rows, size = target.size, target.itemsize
    if rows != prediction.size or rows == 0 or rows > most:
        return np.nan
    if target.strides[0] % size != 0 or prediction.strides[0] % size != 0:  # a field of a structured array
        return np.nan
    total = record if record.size > 0 else np.empty(FIELDS)
    part = np.empty(FIELDS)
    in_place = size == 8 and target.strides[0] == 8 and prediction.strides[0] == 8
    scratch = np.empty(1 if in_place else 2 * BLOCK)
    middle = np.float64(target[0])
    offset = middle - np.float64(prediction[0])
    sum_rows(block, target, prediction, middle, offset, scratch, part, total)
    if kind >= DETERMINATION and moments_are_far(total, rows):
        middle += total[blocks.TARGET] / rows
        offset += total[blocks.ERROR] / rows
        sum_rows(block, target, prediction, middle, offset, scratch, part, total)
    if record.size > 0:
        derive_scores(record, rows, size)
    return score_of(kind, total, rows, size)


def fold_records(kind, records, rows, itemsize, record):
    """A score from the records of the chunks of one column; NaN also where they must be summed again around the means.

    A record that is not empty gets the sums, and behind them all scores.
    """
    total = record if record.size > 0 else np.empty(FIELDS)
    for field in range(FIELDS):
        total[field] = 0.0
    for chunk in range(records.shape[0]):
        add_part(total, records[chunk, 0])
    if kind >= DETERMINATION and moments_are_far(total, rows):
        return np.nan
    if record.size > 0:
        derive_scores(record, rows, itemsize)
    return score_of(kind, total, rows, itemsize)


def _argument_types(dtype):
    matrix, vector = types.Array(dtype, 2, "A", readonly=True), types.Array(types.float64, 1, "C", readonly=True)
    centres, records = types.Array(types.float64, 2, "C", readonly=True), types.Array(types.float64, 3, "C")
    buffer = types.Array(types.float64, 2, "C")
    number = types.float64
    return [types.int64, types.int64, matrix, matrix, vector, centres, records, number, number, buffer, buffer]


def _score_signature(dtype):
    vector = types.Array(dtype, 1, "A", readonly=True)
    return types.float64(types.int64, types.int64, types.int64, vector, vector, types.Array(types.float64, 1, "C"))


_MEASURE = {
    _F32: SharedWork(measure_items, measure_parallel, _argument_types(types.float32)),
    _F64: SharedWork(measure_items, measure_parallel, _argument_types(types.float64)),
}
_SCORE_F32 = Direct(score_rows, _score_signature(types.float32))
_SCORE_F64 = Direct(score_rows, _score_signature(types.float64))
_FOLD = Direct(
    fold_records,
    types.float64(
        types.int64,
        types.Array(types.float64, 3, "C"),
        types.int64,
        types.int64,
        types.Array(types.float64, 1, "C"),
    ),
)
# kind -> (address of its block, rows that it gets alone), once it was asked for
_PLANS: list[tuple[int, int] | None] = [None] * 9


def _plan(kind):
    block = _BLOCK_OF.get(kind, REPORT)
    plan = _PLANS[kind] = (block.function.address, block.serial_rows)
    return plan


def score(kind, target, prediction, record=_NO_RECORD):
    """A score of two ndarrays; NaN or infinity where they take a closer look.

    A score is of vectors of one length, both float32 or both float64, finite.
    """
    dtype = target.dtype
    if dtype is not prediction.dtype or target.ndim != 1 or prediction.ndim != 1:
        return _NAN
    plan = _PLANS[kind] or _plan(kind)
    if dtype is _F64:
        result = _SCORE_F64.call(kind, *plan, target, prediction, record)
    elif dtype is _F32:
        result = _SCORE_F32.call(kind, *plan, target, prediction, record)
    else:
        return _NAN
    if result != result and len(target) > plan[1]:
        return score_many(kind, target, prediction, record)[0]
    return result


def score_many(kind, target, prediction, record=_NO_RECORD, bounds=None):
    """A score of any two vectors as `score` has it, by threads where they are many; NaN also where it does not fit.

    bounds : `regression_median.Bounds`, optional; absolute errors between them are put aside

    Returns
    -------
    score, what was put aside, its records : the last two for `regression_median.picked_median`
    """
    rows, size = len(target), target.itemsize
    if rows != len(prediction) or rows == 0 or target.strides[0] % size or prediction.strides[0] % size:
        return _NAN, _NO_BUFFER, _NO_BUFFER
    middle = float(target[0])
    centres = np.array([[middle, middle - float(prediction[0])]])
    chunks = -(-rows // CHUNK)
    records = np.zeros((chunks, 1, FIELDS))
    block = _BLOCK_OF.get(kind, REPORT)
    work_ns = block.nanoseconds * rows
    pick, found, picked = 0, _NO_BUFFER, _NO_BUFFER
    low = high = 0.0
    if bounds is not None:
        pick, (low, high, share) = PICK.address, bounds
        found, picked = room(chunks, min(rows, CHUNK), share)
        work_ns += PICK_NS * rows
    target, prediction, address = target[:, None], prediction[:, None], block.function.address
    _MEASURE[target.dtype](
        work_ns, address, pick, target, prediction, _NO_WEIGHTS, centres, records, low, high, found, picked
    )
    return _FOLD.call(kind, records, rows, size, record), found, picked


def measure(block, target, prediction, weight=None):
    """Sums over the rows of matrices.

    Parameters
    ----------
    block : Block
    target, prediction : (N, D), N > 0, both float32 or both float64, any strides in whole elements
    weight : (N,) float64, contiguous; for `WEIGHTED` only

    Returns
    -------
    (D, FIELDS) records, around the means where the first row is too far from them
    """
    return measure_with_centres(block, target, prediction, weight)[0]


def measure_with_centres(block, target, prediction, weight=None):
    """`measure`, and the centres (D, 2) of targets and of errors that the records are around."""
    with np.errstate(all="ignore"):
        middle = target[0].astype(np.float64)
        centres = np.column_stack((middle, middle - prediction[0]))
        total = measure_around(block, target, prediction, weight, centres)
        weights = total[:, blocks.WEIGHT] if weight is not None else float(len(target))
        shift, is_far = np.zeros_like(centres), False
        for column, (field, square) in enumerate(MOMENT_FIELDS):
            shift[:, column] = total[:, field] / weights
            squares = total[:, square]
            around_mean = squares - total[:, field] * total[:, field] / weights
            # Not `<`: of squares that overflow around the first row the difference is NaN.
            is_far |= bool(np.any(~(np.abs(around_mean) >= SMALLEST_SHARE * np.abs(squares))))
    if is_far and np.isfinite(shift).all():
        centres += shift
        return measure_around(block, target, prediction, weight, centres), centres
    return total, centres


def measure_around(block, target, prediction, weight, centres):
    rows, columns = target.shape
    records = np.zeros((-(-rows // CHUNK), columns, FIELDS))
    weights = _NO_WEIGHTS if weight is None else weight
    address = block.function.address
    _MEASURE[target.dtype](
        block.nanoseconds * target.size,
        *(address, 0, target, prediction, weights, centres, records, 0.0, 0.0, _NO_BUFFER, _NO_BUFFER),
    )
    total = np.add.reduce(records, axis=0)
    total[:, blocks.LARGEST] = records[:, :, blocks.LARGEST].max(axis=0)
    return total
