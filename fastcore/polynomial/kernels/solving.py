"""One problem P(x) = y, or many: what is special is decided here, the rest by the chain of derivatives."""

import numpy as np
from numba import prange, types

from fastcore._core.jit import kernel
from fastcore._core.work import Direct, SharedWork, call_by_address, next_item
from fastcore.polynomial.kernels.derivative_chain import (
    RISES,
    TOUCHES,
    candidates,
    chain_size,
    critical_points,
    fill_chain,
    load_scaled,
)
from fastcore.polynomial.kernels.descent import descend
from fastcore.polynomial.kernels.error_free import UNIT
from fastcore.polynomial.kernels.monotone import LARGEST, TOP, compensated, find_root, taylor
from fastcore.polynomial.kernels.pieces import fill_pieces
from fastcore.polynomial.kernels.scaling import scaled
from fastcore.polynomial.kernels.status import (
    CONVERGED,
    MAX_ITERATIONS,
    NO_REAL_SOLUTION,
    NOT_FINITE,
    TOUCHING,
    ZERO_POLYNOMIAL,
)

HYBRID, NEWTON, DESCENT, PIECES = 0, 1, 2, 3  # methods
REGULAR = np.int64(-1)  # no status: the problem has a degree above 0 and is finite
# Nor is this: coefficients too far apart for the chain, whose values would overflow: `solving_wide` solves these. Of
# random ones, 3 % were not solved at 1e+-60, 25 % at 1e+-150; none within this.
WIDE = np.int64(-2)
WIDEST, WIDEST_Y = 2.0**250, 2.0**900
# Nor of degrees above: of 30 random polynomials of degree 299 one had 6 of 7 roots missed. Up to 199, none of 150 had;
# many y of one polynomial are solved in lanes up to half of that.
HIGHEST, HIGHEST_OF_MANY = 40, 100

PROBLEMS_PER_CHUNK = 64
CHAIN_NS = 20.0  # of the critical points, times the square of the degree; measured 15 to 50 by the number of roots
ANSWER_NS = 40.0  # of each problem beside that, times the degree


@kernel
def kind_of(c, y, x0, highest):
    """(status, REGULAR or WIDE, degree): what can be said without solving."""
    finite = abs(y) < np.inf and x0 == x0
    degree = 0
    largest, smallest = 0.0, np.inf
    for k in range(c.size):
        size = abs(c[k])
        finite &= size < np.inf
        if size != 0.0:
            degree = k
            largest, smallest = max(largest, size), min(smallest, size)
    if not finite:
        return NOT_FINITE, degree
    if degree > 0:
        is_wide = degree > highest or largest > smallest * WIDEST or abs(y) > smallest * WIDEST_Y
        return (WIDE if is_wide else REGULAR), degree
    return (ZERO_POLYNOMIAL if c[0] == y else NO_REAL_SOLUTION), degree


@kernel
def without_solving(status, c, y, x0):
    """The answer to a problem that is not REGULAR."""
    if status in (NOT_FINITE, WIDE):
        return np.nan, np.nan, np.nan, 0, status
    return x0, abs(c[0] - y), UNIT * abs(c[0] - y), 0, status


@kernel
def judged(heads, tails, degree, shift, slack, ytol, x, iterations, status):
    """The answer at x: residual, bound and, where status is CONVERGED, whether that is so."""
    value, _, terms = compensated(heads, tails, TOP, degree, x)
    _, _, _, scale = taylor(heads, TOP, degree, x)
    if status == TOUCHING:  # what the candidate was judged by
        scale = max(scale, terms)
    rounding = 2.0 * UNIT * scale + abs(tails[0]) + slack
    residual, bound = scaled(abs(value), -shift), scaled(rounding, -shift)
    # In the scaled units: inf <= inf of the others is no proof.
    if status == CONVERGED and not (residual <= ytol or abs(value) <= min(rounding, LARGEST)):
        status = MAX_ITERATIONS
    return x, residual, bound, iterations, status


@kernel
def is_nearer(a, b, x0):
    """Whether a is nearer to x0 than b is, or as near and lower."""
    if a <= x0 and b <= x0:
        return a > b
    if a >= x0 and b >= x0:
        return a < b
    return abs(a - x0) < abs(b - x0) or (abs(a - x0) == abs(b - x0) and a < b)


@kernel
def nearest_root(heads, tails, degree, x0, tolerance, limit, left, right, first, kinds, number):
    """(x, iterations, status) of the solution nearest to x0. number > 0 candidates; a bracket is solved only where it
    may hold a nearer solution than is known. kinds is used up."""
    x, iterations, status = np.nan, 0, NO_REAL_SOLUTION
    done = TOUCHES + 2
    for _ in range(number):
        chosen, point = -1, np.nan
        for i in range(number):
            if kinds[i] != done:
                # the point of the bracket that is nearest to x0
                here = first[i] if kinds[i] == TOUCHES else min(max(x0, left[i]), right[i])
                if chosen < 0 or is_nearer(here, point, x0):
                    chosen, point = i, here
        if status != NO_REAL_SOLUTION and not is_nearer(point, x, x0):
            break
        if kinds[chosen] == TOUCHES:
            x, iterations, status = first[chosen], 1, TOUCHING
        else:
            a, b, rises = left[chosen], right[chosen], kinds[chosen] == RISES
            root, _, steps = find_root(heads, tails, TOP, degree, a, b, rises, first[chosen], tolerance, limit)
            if status == NO_REAL_SOLUTION or is_nearer(root, x, x0):
                x, iterations, status = root, steps, CONVERGED
        kinds[chosen] = done
    return x, iterations, status


@kernel
def local_answer(heads, tails, degree, low, high, x0, method, tolerance, limit, shift, slack, ytol):
    """The answer of a local method, from x0."""
    start = min(max(x0, max(low, -LARGEST)), min(high, LARGEST))
    x, steps = descend(heads, tails, degree, start, low, high, method == NEWTON, tolerance, limit)
    return judged(heads, tails, degree, shift, slack, ytol, x, steps, CONVERGED)


@kernel
def slack_of(c, y, shift):
    """What rounding y and the constant term can move the scaled difference by."""
    return UNIT * (abs(scaled(c[0], shift)) + abs(scaled(y, shift))) if y != 0.0 else 0.0


@kernel
def is_exact_end(x, low, high, residual):
    """Whether x is an end of the domain, and a solution exactly: that touches nothing."""
    return residual == 0.0 and x in (low, high)


@kernel
def prepare(c, degree, low, high, heads, tails, points, spare):
    """(shift, number of critical points) of P, which do not depend on y; the chain is filled."""
    shift = load_scaled(c, degree, 0.0, heads, tails)
    fill_chain(heads, tails, degree)
    return shift, critical_points(heads, tails, degree, low, high, points, spare)


@kernel
def nearest_answer(c, y, x0, degree, low, high, xtol, ytol, limit, count, heads, tails, scratch, kinds):
    """The answer nearest to x0, or the point of least |P - y|, of a problem that `prepare` prepared."""
    shift = load_scaled(c, degree, y, heads, tails)
    slack = slack_of(c, y, shift)
    points, left, right, first = scratch[0], scratch[2], scratch[3], scratch[4]
    number, nearest = candidates(heads, tails, degree, low, high, slack, points, count, left, right, first, kinds)
    if number == 0:
        return judged(heads, tails, degree, shift, slack, ytol, nearest, 0, NO_REAL_SOLUTION)
    x, steps, status = nearest_root(heads, tails, degree, x0, xtol, limit, left, right, first, kinds, number)
    x, residual, bound, steps, status = judged(heads, tails, degree, shift, slack, ytol, x, steps, status)
    if status == TOUCHING and is_exact_end(x, low, high, residual):
        status = CONVERGED
    return x, residual, bound, steps, status


def solve_single(c, y, x0, low, high, xtol, ytol, limit, method, table):
    """x, residual, error_bound, iterations, status of one problem.

    With method PIECES, the table (5, n + 1) of `many_values` instead, for y = 0: the polynomial in its last row, and
    number and place in the places of iterations and status, shift in that of x. Of a kernel of its own, the chain of
    derivatives would be compiled once more.
    """
    x0 = min(max(x0, low), high) if x0 == x0 else x0
    status, degree = kind_of(c, y, x0, HIGHEST_OF_MANY if method == PIECES else HIGHEST)
    if status == WIDE and method in (NEWTON, DESCENT):
        status = REGULAR
    if status != REGULAR:
        return without_solving(status, c, y, x0)
    size = chain_size(degree)
    chain = np.empty((2, size))
    heads, tails = chain[0], chain[1]
    if method in (NEWTON, DESCENT):
        shift = load_scaled(c, degree, y, heads, tails)
        slack = slack_of(c, y, shift)
        return local_answer(heads, tails, degree, low, high, x0, method, xtol, limit, shift, slack, ytol)
    scratch = np.empty((5, degree + 1))
    kinds = np.empty(degree + 1, np.int64)
    shift, count = prepare(c, degree, low, high, heads, tails, scratch[0], scratch[1])
    if method == PIECES:
        for k in range(degree + 1):
            table[4, k] = heads[k]
        number, place = fill_pieces(heads, tails, degree, low, high, scratch[0], count, x0, table)
        return np.float64(shift), 0.0, 0.0, number, place
    return nearest_answer(c, y, x0, degree, low, high, xtol, ytol, limit, count, heads, tails, scratch, kinds)


@kernel
def put(x, residual, bound, iterations, status, slot, out):
    """Write one answer."""
    xs, residuals, bounds, steps, statuses, converged = out
    xs[slot], residuals[slot], bounds[slot], steps[slot] = x, residual, bound, iterations
    statuses[slot] = status
    converged[slot] = status in (CONVERGED, TOUCHING)


@kernel
def all_answers(c, y, degree, low, high, xtol, ytol, limit, count, heads, tails, scratch, kinds, slot, out):
    """Write all answers, ascending, from a slot on, or a NaN that says that there are none. The number of answers."""
    shift = load_scaled(c, degree, y, heads, tails)
    slack = slack_of(c, y, shift)
    points, left, right, first = scratch[0], scratch[2], scratch[3], scratch[4]
    number, _ = candidates(heads, tails, degree, low, high, slack, points, count, left, right, first, kinds)
    if number == 0:
        put(np.nan, np.nan, np.nan, 0, NO_REAL_SOLUTION, slot, out)
    for i in range(number):
        x, steps, status = first[i], 1, TOUCHING
        if kinds[i] != TOUCHES:
            rises = kinds[i] == RISES
            x, _, steps = find_root(heads, tails, TOP, degree, left[i], right[i], rises, x, xtol, limit)
            status = CONVERGED
        x, residual, bound, steps, status = judged(heads, tails, degree, shift, slack, ytol, x, steps, status)
        if status == TOUCHING and is_exact_end(x, low, high, residual):
            status = CONVERGED
        put(x, residual, bound, steps, status, slot + i, out)
    return number


def solve_items(c, rows, y, x0, low, high, xtol, ytol, limit, method, slots, out, counts, counter):
    """Problems y[i] = P_rows[i](x), each with `slots` places for answers: 1 for the nearest, or all."""
    n = c.shape[1]
    chain = np.empty((2, chain_size(n - 1)))
    heads, tails = chain[0], chain[1]
    scratch = np.empty((5, n))
    kinds = np.empty(n, np.int64)
    chunk = next_item(counter, -1)
    while chunk * PROBLEMS_PER_CHUNK < y.size:
        row, count = -1, 0
        for i in range(chunk * PROBLEMS_PER_CHUNK, min((chunk + 1) * PROBLEMS_PER_CHUNK, y.size)):
            own = c[rows[i]]
            start = min(max(x0[i], low), high) if x0[i] == x0[i] else x0[i]
            status, degree = kind_of(own, y[i], start, HIGHEST)
            if counts.size:
                counts[i] = 0
            if status == WIDE and method != HYBRID:
                status = REGULAR
            if status != REGULAR:
                x, residual, bound, steps, status = without_solving(status, own, y[i], start)
                if counts.size:
                    x = residual = bound = np.nan
                put(x, residual, bound, steps, status, i * slots, out)
                continue
            if method != HYBRID:
                shift = load_scaled(own, degree, y[i], heads, tails)
                slack = slack_of(own, y[i], shift)
                x, residual, bound, steps, status = local_answer(
                    heads, tails, degree, low, high, start, method, xtol, limit, shift, slack, ytol
                )
                put(x, residual, bound, steps, status, i, out)
                continue
            if rows[i] != row:
                row = rows[i]
                _, count = prepare(own, degree, low, high, heads, tails, scratch[0], scratch[1])
            if counts.size == 0:
                x, residual, bound, steps, status = nearest_answer(
                    own, y[i], start, degree, low, high, xtol, ytol, limit, count, heads, tails, scratch, kinds
                )
                put(x, residual, bound, steps, status, i, out)
            else:
                counts[i] = all_answers(
                    own, y[i], degree, low, high, xtol, ytol, limit, count, heads, tails, scratch, kinds, i * slots, out
                )
        chunk = next_item(counter, chunk)


def solve_parallel(body, workers, c, rows, y, x0, low, high, xtol, ytol, limit, method, slots, out, counts, counter):
    for _ in prange(workers):
        call_by_address(body, (c, rows, y, x0, low, high, xtol, ytol, limit, method, slots, out, counts, counter))


_F64, _I64 = types.float64, types.int64
_C_VECTOR = types.Array(_F64, 1, "C", readonly=True)
_TABLE = types.Array(_F64, 2, "C")
NO_TABLE = np.empty((0, 0))
SINGLE = Direct(
    solve_single,
    types.Tuple((_F64, _F64, _F64, _I64, _I64))(_C_VECTOR, _F64, _F64, _F64, _F64, _F64, _F64, _I64, _I64, _TABLE),
)
_I64_VECTOR = types.Array(_I64, 1, "C", readonly=True)
OUT = types.Tuple(
    (
        *(types.Array(_F64, 1, "C") for _ in range(3)),
        *(types.Array(each, 1, "C") for each in (types.int32, types.int8)),
        types.Array(types.bool_, 1, "C"),
    )
)
_ITEMS = SharedWork(
    solve_items,
    solve_parallel,
    [
        types.Array(_F64, 2, "C", readonly=True),
        _I64_VECTOR,
        _C_VECTOR,
        _C_VECTOR,
        _F64,
        _F64,
        _F64,
        _F64,
        _I64,
        _I64,
        _I64,
        OUT,
        types.Array(_I64, 1, "C"),
    ],
)


def reserve_answers(size):
    """The six arrays of answers, unwritten."""
    return (
        *(np.empty(size) for _ in range(3)),
        np.empty(size, np.int32),
        np.empty(size, np.int8),
        np.empty(size, bool),
    )


def solve_many(c, rows, y, x0, low, high, xtol, ytol, limit, method, slots, every):
    """Answers of y[i] = P_rows[i](x): six arrays (N * slots,) as in the record, and the counts (N,) or (0,)."""
    out = reserve_answers(y.size * slots)
    if slots > 1:
        for each in out[:3]:
            each[:] = np.nan
        out[3][:], out[4][:], out[5][:] = 0, NO_REAL_SOLUTION, False
    counts = np.empty(y.size if every else 0, np.int64)
    degree = c.shape[1] - 1
    work_ns = min(c.shape[0], y.size) * CHAIN_NS * degree * degree + y.size * ANSWER_NS * (degree + 3)
    _ITEMS(work_ns, c, rows, y, x0, low, high, xtol, ytol, limit, method, slots, out, counts)
    return out, counts
