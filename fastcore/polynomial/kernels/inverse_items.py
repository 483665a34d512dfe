"""The values of an inverse as items of work: blocks to the SIMD kernel, what it is not certain of to the bracket.

Both are called by their addresses, so that they are compiled once, for float64; float32 is converted a block at a time.
"""

import numpy as np
from numba import prange, types

from fastcore._core.jit import kernel
from fastcore._core.work import SharedWork, call_by_address, next_item
from fastcore.polynomial.kernels import status
from fastcore.polynomial.kernels.inverse import BLOCK, BLOCK_ARGUMENTS, BLOCKS, PAIR
from fastcore.polynomial.kernels.inverse_finish import ANSWER
from fastcore.polynomial.kernels.inverse_solver import SOLVER

ITEM = 8192
VALUE_NS = 4.0  # measured, for the choice between serial and parallel


@kernel(fastmath=False)
def copy(source, target):
    """As many as the shorter of them has, converted: slices assigned to slices take three times as long."""
    for i in range(min(source.size, target.size)):
        target[i] = source[i]


@kernel(fastmath=False)
def finish_lane(value, j, c, sections, settings, out, scratch, finisher, solver):
    """Element j, whose y is value, for which the table does not do."""
    x, residual, bound, iterations, statuses, converged = out
    heads, tails, result = scratch
    if not abs(value) < np.inf:
        result[:3] = np.nan
        result[3], result[4] = 0.0, status.NOT_FINITE
    else:
        guess = np.float64(x[j])
        call_by_address(finisher, (c, sections, settings, value, guess, heads, tails, result, solver))
    x[j], residual[j], bound[j] = result[0], result[1], result[2]
    iterations[j], statuses[j] = result[3], result[4]
    converged[j] = statuses[j] == status.CONVERGED or statuses[j] == status.TOUCHING


def solve_items(
    y,
    c,
    sections,
    offsets,
    rows,
    shift,
    settings,
    block,
    finisher,
    solver,
    x,
    residual,
    bound,
    iterations,
    statuses,
    converged,
    counter,
):
    """Items of ITEM values; see `inverse_values`. block, finisher, solver: addresses."""
    out = x, residual, bound, iterations, statuses, converged
    spare = np.zeros((4, BLOCK))
    places, failed = np.zeros(BLOCK, np.int64), np.zeros(BLOCK + 1, np.int64)
    scratch = np.zeros(c.size), np.zeros(c.size), np.zeros(5)
    copy_y, copy_x, copy_residual, copy_bound = spare[0], spare[1], spare[2], spare[3]
    item = next_item(counter, -1)
    while item * ITEM < y.size:
        for start in range(item * ITEM, min((item + 1) * ITEM, y.size), BLOCK):
            stop = min(start + BLOCK, y.size)
            count = stop - start
            whole = (count + PAIR - 1) // PAIR * PAIR
            if y.itemsize == 8 and count == whole:
                here = (
                    y[start:].ctypes.data,
                    x[start:].ctypes.data,
                    residual[start:].ctypes.data,
                    bound[start:].ctypes.data,
                )
            else:
                copy(y[start:stop], copy_y)
                copy_y[count:whole] = y[stop - 1]
                here = copy_y.ctypes.data, copy_x.ctypes.data, copy_residual.ctypes.data, copy_bound.ctypes.data
            from_y, to_x, to_residual, to_bound = here
            call_by_address(
                block,
                (
                    np.int64(from_y),
                    c,
                    sections,
                    offsets,
                    rows,
                    shift,
                    settings,
                    np.int64(to_x),
                    np.int64(to_residual),
                    np.int64(to_bound),
                    count if count == whole else whole,
                    places,
                    failed,
                ),
            )
            if not (y.itemsize == 8 and count == whole):
                copy(copy_x, x[start:stop])
                copy(copy_residual, residual[start:stop])
                copy(copy_bound, bound[start:stop])
            iterations[start:stop] = 1
            statuses[start:stop] = status.CONVERGED
            converged[start:stop] = True
            for k in range(1, failed[0] + 1):
                if failed[k] < count:
                    j = start + failed[k]
                    finish_lane(np.float64(y[j]), j, c, sections, settings, out, scratch, finisher, solver)
        item = next_item(counter, item)


def solve_parallel(
    body,
    workers,
    y,
    c,
    sections,
    offsets,
    rows,
    shift,
    settings,
    block,
    finisher,
    solver,
    x,
    residual,
    bound,
    iterations,
    statuses,
    converged,
    counter,
):
    table = y, c, sections, offsets, rows, shift, settings, block, finisher, solver
    out = x, residual, bound, iterations, statuses, converged
    for _ in prange(workers):
        call_by_address(body, (*table, *out, counter))


def _arguments(dtype):
    numbers = types.Array(dtype, 1, "C")
    flags = [types.Array(kind, 1, "C") for kind in (types.int8, types.int8, types.boolean)]
    addresses = [types.int64] * 3
    return [types.Array(dtype, 1, "C", readonly=True), *BLOCK_ARGUMENTS, *addresses, *[numbers] * 3, *flags]


_WORK = {
    np.dtype(np.float64): SharedWork(solve_items, solve_parallel, _arguments(types.float64)),
    np.dtype(np.float32): SharedWork(solve_items, solve_parallel, _arguments(types.float32)),
}


def inverse_values(y, c, sections, offsets, rows, shift, settings, out):
    """Solve for all of y.

    Parameters
    ----------
    y (N,) float32 or float64, contiguous
    c, sections, offsets, rows, shift : `Table` of inverse_build.py
    settings : (SETTINGS,) float64, of the dtype of y
    out : x, residual, bound (N,) of the dtype of y; iterations, statuses (N,) int8; converged (N,) bool; written
    """
    addresses = BLOCKS.address, ANSWER.address, SOLVER.address
    _WORK[y.dtype](VALUE_NS * y.size, y, c, sections, offsets, rows, shift, settings, *addresses, *out)
