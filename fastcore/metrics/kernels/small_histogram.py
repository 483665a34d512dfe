"""Pairs of labels in short columns of integers: ranges, counts and the labels that occur by one call of 2 us."""

import numpy as np
from numba import types

from fastcore._core.jit import kernel
from fastcore._core.work import Direct
from fastcore.metrics.kernels import columns
from fastcore.metrics.kernels.columns import BLOCK, add_codes, item_size, scratch_for
from fastcore.metrics.kernels.integer_labels import column_range

# Longer columns, wider ranges and more cells are for `pair_histogram`, whose calls are small beside its work.
LONGEST = 4096
MOST_LABELS, MOST_CELLS = 64, 1024
# What the kernel writes: numbers of labels, then the labels of the first column, of the second, and the matrix.
HEADER = 2
RESULT = HEADER + 2 * MOST_LABELS + MOST_CELLS


@kernel
def write_present(cells, num, step, num_others, step_others, low, result, at):
    """Write to result[at:] those of the labels low, low + 1, ... that occur; their number."""
    found = 0
    for i in range(num):
        total = np.int64(0)
        for j in range(num_others):
            total += cells[i * step + j * step_others]
        if total > 0:
            result[at + found] = low + i
            found += 1
    return found


def count_few(a, stride_a, kind_a, b, stride_b, kind_b, length, result):
    """Write ``result``; whether all labels are integers, of narrow ranges."""
    scratch = scratch_for(stride_a == item_size(kind_a) and stride_b == item_size(kind_b))
    low_a, high_a, integers_a = column_range(a, stride_a, kind_a, 0, length, scratch)
    low_b, high_b, integers_b = column_range(b, stride_b, kind_b, 0, length, scratch)
    # Unsigned: the ends may be 2**64 - 1 apart.
    widest = max(np.uint64(high_a) - np.uint64(low_a), np.uint64(high_b) - np.uint64(low_b))
    if not (integers_a and integers_b) or widest >= np.uint64(MOST_LABELS):
        return False
    num_a, num_b = high_a - low_a + 1, high_b - low_b + 1
    if num_a * num_b > MOST_CELLS:
        return False
    codes, cells = np.empty(min(length, BLOCK), np.int32), np.zeros(num_a * num_b, np.int64)
    for start in range(0, length, BLOCK):
        count = min(BLOCK, length - start)
        codes[:] = 0
        add_codes(a, stride_a, kind_a, start, count, low_a, num_a, num_b, codes, scratch)
        add_codes(b, stride_b, kind_b, start, count, low_b, num_b, 1, codes, scratch)
        for i in range(count):
            cells[np.int64(codes[i])] += 1
    labels_b, matrix = HEADER + MOST_LABELS, HEADER + 2 * MOST_LABELS
    result[0] = write_present(cells, num_a, num_b, num_b, 1, low_a, result, HEADER)
    result[1] = write_present(cells, num_b, 1, num_a, num_b, low_b, result, labels_b)
    for i in range(result[0]):
        row = (result[HEADER + i] - low_a) * num_b - low_b
        for j in range(result[1]):
            result[matrix + i * result[1] + j] = cells[row + result[labels_b + j]]
    return True


_COUNT_FEW = Direct(count_few, types.boolean(*[types.int64] * 7, types.Array(types.int64, 1, "C")))


def small_histogram(a, b):
    """(classes_a, classes_b, matrix), all int64, of what `columns.readable` gave, up to LONGEST labels; or None."""
    result = np.empty(RESULT, np.int64)
    if not _COUNT_FEW.call(*columns.column(a), *columns.column(b), len(a), result):
        return None
    num_a, num_b = result[:HEADER].tolist()
    start, end = HEADER + MOST_LABELS, HEADER + 2 * MOST_LABELS
    matrix = result[end : end + num_a * num_b].reshape(num_a, num_b)
    return result[HEADER : HEADER + num_a], result[start : start + num_b], matrix
