"""The driver of `many_values`: chunks of y, and what the lanes leave."""

import numpy as np
from numba import prange, types

from fastcore._core.work import SharedWork, call_by_address, next_item
from fastcore.polynomial.kernels.error_free import UNIT, two_sum
from fastcore.polynomial.kernels.many_values import ALONE, UNSOLVED, least_point, load_chunk, solve_chunk
from fastcore.polynomial.kernels.scaling import scaled
from fastcore.polynomial.kernels.solving import HYBRID, OUT, PIECES, SINGLE, judged, put, reserve_answers, solve_many
from fastcore.polynomial.kernels.status import CONVERGED, MAX_ITERATIONS, NO_REAL_SOLUTION

CHUNK = 1024  # y; a multiple of LANES. 9 rows of it, 74 KB, stay in the second-level cache
VALUE_NS = 6.0  # of a y, times the degree: measured 20 to 40 ns of degree 10


def values_items(degree, shift, number, place, table, y, x0, xtol, ytol, out, counter):
    """The answers of y[i] = P(x) nearest to x0; status ALONE where y needs more care."""
    work, ys, marks = np.empty((9, CHUNK)), np.empty(CHUNK), np.empty(CHUNK, np.int8)
    places, taken, settled = np.empty(CHUNK, np.int32), np.empty(CHUNK, np.uint8), np.empty(CHUNK, np.bool_)
    heads, tails = np.empty(degree + 1), np.zeros(degree + 1)
    for k in range(degree + 1):
        heads[k] = table[4, k]
    constant = heads[0]
    xs, residuals, bounds, steps, statuses, converged = out
    chunk = next_item(counter, -1)
    while chunk * CHUNK < y.size:
        first = chunk * CHUNK
        part = y[first : first + CHUNK]
        load_chunk(part, shift, ys, marks)
        solve_chunk(heads, degree, number, place, table, x0, xtol, ys, part.size, work, marks, places, taken, settled)
        for j in range(part.size):
            i = first + j
            if marks[j] == UNSOLVED:
                x = least_point(number, table, ys[j])
                heads[0], tails[0] = two_sum(constant, -ys[j])
                slack = UNIT * (abs(constant) + abs(ys[j]))
                answer = judged(heads, tails, degree, shift, slack, ytol, x, 0, NO_REAL_SOLUTION)
                heads[0], tails[0] = constant, 0.0
                put(answer[0], answer[1], answer[2], answer[3], answer[4], i, out)
                continue
            xs[i], steps[i] = work[0, j], np.int32(work[3, j])
            residuals[i], bounds[i] = scaled(work[1, j], -shift), scaled(work[2, j], -shift)
            fine = residuals[i] <= max(ytol, bounds[i])
            statuses[i] = ALONE if marks[j] == ALONE else CONVERGED if fine else MAX_ITERATIONS
            converged[i] = fine
        chunk = next_item(counter, chunk)


def values_parallel(body, workers, degree, shift, number, place, table, y, x0, xtol, ytol, out, counter):
    for _ in prange(workers):
        call_by_address(body, (degree, shift, number, place, table, y, x0, xtol, ytol, out, counter))


_F64, _I64 = types.float64, types.int64
_VALUES = SharedWork(
    values_items,
    values_parallel,
    [
        _I64,
        _I64,
        _I64,
        _I64,
        types.Array(_F64, 2, "C"),
        types.Array(_F64, 1, "C", readonly=True),
        _F64,
        _F64,
        _F64,
        OUT,
    ],
)


def solve_values(c, y, x0, low, high, xtol, ytol, limit):
    """Answers of y[i] = P(x) nearest to x0, six arrays (N,); or None where this is not for P: constant, not finite."""
    if x0 != x0 or not np.isfinite(c).all() or not c[1:].any():
        return None
    degree = int(np.flatnonzero(c)[-1])
    table = np.empty((5, degree + 2))
    x0 = min(max(x0, low), high)
    shift, _, _, number, place = SINGLE.call(c, 0.0, x0, low, high, xtol, ytol, limit, PIECES, table)
    if number == 0:
        return None
    out = reserve_answers(y.size)
    _VALUES(VALUE_NS * degree * y.size, degree, int(shift), number, place, table, y, x0, xtol, ytol, out)
    left = np.flatnonzero(out[4] == ALONE)
    if left.size:
        few = solve_many(
            c[None],
            np.zeros(left.size, np.int64),
            y[left],
            np.full(left.size, x0),
            low,
            high,
            xtol,
            ytol,
            limit,
            HYBRID,
            1,
            False,
        )[0]
        for each, rest in zip(out, few, strict=True):
            each[left] = rest
    return out
