"""Sums and extremes over the rows of groups, in the order of the members: the same bits wherever the rows come from."""

from typing import Any

import numpy as np
from numba import prange, types

from fastcore._core.jit import kernel
from fastcore._core.work import SharedWork, call_by_address, next_item

SUM, LARGEST, SMALLEST = range(3)
# Columns an item has. 4096 rows of 1024 float32 are then 4 items; the running result, 1 KB, stays in the first cache.
CHUNK = 256
# Serial nanoseconds a byte read or written, from memory.
NS_PER_BYTE = 0.08


@kernel(fastmath=False)
def accumulate(row, operation, total):
    """One more member. Of equal numbers (0.0 and -0.0) the first stays; NaN wins."""
    if operation == SUM:
        for j in range(total.size):
            total[j] += row[j]
    elif operation == LARGEST:
        for j in range(total.size):
            if row[j] > total[j] or row[j] != row[j]:
                total[j] = row[j]
    else:
        for j in range(total.size):
            if row[j] < total[j] or row[j] != row[j]:
                total[j] = row[j]


@kernel(fastmath=False)
def finish(total, divisor):
    """Divide, and give every NaN the same bits: which operand's an addition hands on is up to the compiler."""
    nan = total.dtype.type(np.nan)
    for j in range(total.size):
        value = total[j] if divisor == 1 else total[j] / total.dtype.type(divisor)
        total[j] = value if value == value else nan


def reduce_items(rows, members, operation, divisor, targets, out, counter):
    """Take pieces of columns, group by group, until none is left."""
    columns = rows.shape[1]
    chunks = -(-columns // CHUNK)
    item = next_item(counter, -1)
    while item < members.shape[0] * chunks:
        group = item // chunks
        start = (item - group * chunks) * CHUNK
        stop = min(start + CHUNK, columns)
        total = out[targets[group, 0], start:stop]
        total[:] = rows[members[group, 0], start:stop]
        for member in range(1, members.shape[1]):
            accumulate(rows[members[group, member], start:stop], operation, total)
        finish(total, divisor)
        for target in range(1, targets.shape[1]):
            out[targets[group, target], start:stop] = total
        item = next_item(counter, item)


def reduce_parallel(body, workers, rows, members, operation, divisor, targets, out, counter):
    """`reduce_items` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (rows, members, operation, divisor, targets, out, counter))


def _argument_types(dtype):
    values = types.Array(dtype, 2, "C", readonly=True)
    indices = types.Array(types.int64, 2, "C", readonly=True)
    return [values, indices, types.int64, types.int64, indices, types.Array(dtype, 2, "C")]


_WORK: dict[Any, SharedWork] = {
    np.dtype(name): SharedWork(reduce_items, reduce_parallel, _argument_types(numba_type))
    for name, numba_type in (("f4", types.float32), ("f8", types.float64))
}


def reduce_floats(
    rows: np.ndarray, members: np.ndarray, operation: int, divisor: int, targets: np.ndarray, out: np.ndarray
) -> None:
    """``out[targets[g, t]] = (rows[members[g, 0]] + rows[members[g, 1]] + ...) / divisor`` for all groups and targets.

    rows, out : (rows, columns) float32 or float64, C-contiguous. members : (groups, n), targets : (groups, t) int64.
    """
    if out.size == 0 or members.size == 0:
        return
    moved = (members.size + targets.size) * rows.shape[1] * rows.itemsize
    _WORK[rows.dtype](NS_PER_BYTE * moved, rows, members, operation, divisor, targets, out)
