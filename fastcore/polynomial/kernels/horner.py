"""Horner's rule for many points: points in the lanes, some registers of them side by side, coefficients broadcast.

One chain of FMAs waits 4 cycles for each; eight hide that, and one broadcast serves all of them: 8 % faster than four
at degree 50, 47 % with AVX2. Polynomials of few coefficients take four registers: at 1e6 points memory decides, and the
shorter blocks took 1.0 instead of 1.3 times as long as np.copyto at degree 5 (Zen 4, float64). In cached memory both
are equally fast there, with AVX2 four are up to 19 % faster.
Vectors of several registers are single values here, which LLVM takes apart.

Layouts, all C-contiguous and flat: c holds `rows` polynomials, ascending; out as many results of each; x the points of
all rows, or, where it is shorter than out, those that every row has. Every point is computed alike, whatever its place.
"""

from numba import prange, types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.simd.host import LaneCount
from fastcore._core.work import ALONE, Direct, SharedWork, call_by_address, next_item
from fastcore.polynomial.kernels.either import like
from fastcore.polynomial.kernels.error_free import horner_step

__all__ = ["ITEM_POINTS", "evaluate", "evaluate_one", "evaluate_pair", "evaluate_small", "item_rows", "worth_threads"]

WIDE_F64 = LaneCount(8 * simd.F64_LANES)
WIDE_F32 = LaneCount(8 * simd.F32_LANES)
HALF_F64 = LaneCount(4 * simd.F64_LANES)
HALF_F32 = LaneCount(4 * simd.F32_LANES)
FEW_COEFFICIENTS = 24  # four registers and eight take equally long, with AVX-512 and with AVX2

ITEM_POINTS = 8192  # a piece of work: 64 KB of points, 64 KB of results, 2.5 us for a line, 6 us at degree 20
# Serial nanoseconds: of a point (memory) and of each of its coefficients, measured at 1e6 points.
POINT_NS, COEFFICIENT_NS, PAIR_NS = 0.15, 0.035, 0.08
SERIAL_BELOW_NS = 1e6  # idle workers take up to 6 ms to wake (_core/threads.py), so less is not worth them


@kernel(inline=True)
def values_of_points(c, count, x, out, size, wide, lanes):
    """out[i] = P(x[i]) for i < size; c (count,), x and out are pointers."""
    top = simd.load_scalar(simd.advance(c, count - 1))
    i = 0
    while i + wide <= size:
        points = simd.load(simd.advance(x, i), wide)
        values = like(points, top)
        for k in range(count - 2, -1, -1):
            values = simd.fma(values, points, simd.load_scalar(simd.advance(c, k)))
        simd.store(simd.advance(out, i), values)
        i += wide
    while i < size:
        part = simd.load_first(simd.advance(x, i), lanes, size - i)
        result = like(part, top)
        for k in range(count - 2, -1, -1):
            result = simd.fma(result, part, simd.load_scalar(simd.advance(c, k)))
        simd.store_first(simd.advance(out, i), result, size - i)
        i += lanes


@kernel(inline=True)
def pair_at(c, count, points):
    """(P, P') at a vector of points; c is a pointer."""
    value = like(points, simd.load_scalar(simd.advance(c, count - 1)))
    slope = like(points, 0.0)
    if count > 1:  # 0 * x is NaN for an infinite x
        slope = value
        value = simd.fma(value, points, simd.load_scalar(simd.advance(c, count - 2)))
    for k in range(count - 3, -1, -1):
        slope = simd.fma(slope, points, value)
        value = simd.fma(value, points, simd.load_scalar(simd.advance(c, k)))
    return value, slope


@kernel(inline=True)
def pairs_of_points(c, count, x, values, slopes, size, wide, lanes):
    """values[i] = P(x[i]), slopes[i] = P'(x[i]) for i < size; all but the numbers are pointers."""
    i = 0
    while i + wide <= size:
        value, slope = pair_at(c, count, simd.load(simd.advance(x, i), wide))
        simd.store(simd.advance(values, i), value)
        simd.store(simd.advance(slopes, i), slope)
        i += wide
    while i < size:
        last, last_slope = pair_at(c, count, simd.load_first(simd.advance(x, i), lanes, size - i))
        simd.store_first(simd.advance(values, i), last, size - i)
        simd.store_first(simd.advance(slopes, i), last_slope, size - i)
        i += lanes


@kernel(inline=True)
def place_of(item, rows, row_points, item_rows):
    """(first row, row to stop at, first point, points) of a piece of work; rows are empty behind the last."""
    pieces = (row_points + ITEM_POINTS - 1) // ITEM_POINTS
    first = item // pieces * item_rows
    start = item % pieces * ITEM_POINTS
    return first, min(first + item_rows, rows), start, min(ITEM_POINTS, row_points - start)


@kernel
def values_of_items(c, x, out, rows, item_rows, counter, wide, half, lanes):
    count, size = c.size // rows, out.size // rows
    x_step = size if x.size == out.size else 0
    item = next_item(counter, -1)
    first, stop, start, points = place_of(item, rows, size, item_rows)
    while first < stop:
        for row in range(first, stop):
            source = simd.advance(simd.pointer(x), row * x_step + start)
            target = simd.advance(simd.pointer(out), row * size + start)
            coefficients = simd.advance(simd.pointer(c), row * count)
            if count <= FEW_COEFFICIENTS:
                values_of_points(coefficients, count, source, target, points, half, lanes)
            else:
                values_of_points(coefficients, count, source, target, points, wide, lanes)
        item = next_item(counter, item)
        first, stop, start, points = place_of(item, rows, size, item_rows)


@kernel
def pairs_of_items(c, x, values, slopes, rows, item_rows, counter, wide, lanes):
    count, size = c.size // rows, values.size // rows
    x_step = size if x.size == values.size else 0
    item = next_item(counter, -1)
    first, stop, start, points = place_of(item, rows, size, item_rows)
    while first < stop:
        for row in range(first, stop):
            place = row * size + start
            coefficients = simd.advance(simd.pointer(c), row * count)
            source = simd.advance(simd.pointer(x), row * x_step + start)
            target, other = simd.advance(simd.pointer(values), place), simd.advance(simd.pointer(slopes), place)
            pairs_of_points(coefficients, count, source, target, other, points, wide, lanes)
        item = next_item(counter, item)
        first, stop, start, points = place_of(item, rows, size, item_rows)


def values_f64(c, x, out, rows, item_rows, counter):
    values_of_items(c, x, out, rows, item_rows, counter, WIDE_F64, HALF_F64, simd.F64_LANES)


def values_f32(c, x, out, rows, item_rows, counter):
    values_of_items(c, x, out, rows, item_rows, counter, WIDE_F32, HALF_F32, simd.F32_LANES)


def values_parallel(body, workers, c, x, out, rows, item_rows, counter):
    for _ in prange(workers):
        call_by_address(body, (c, x, out, rows, item_rows, counter))


def pairs_f64(c, x, values, slopes, rows, item_rows, counter):
    pairs_of_items(c, x, values, slopes, rows, item_rows, counter, HALF_F64, simd.F64_LANES)


def pairs_parallel(body, workers, c, x, values, slopes, rows, item_rows, counter):
    for _ in prange(workers):
        call_by_address(body, (c, x, values, slopes, rows, item_rows, counter))


@kernel(inline=True)
def value_of_row(c, count, x):
    """P(x) for one number, by the same arithmetic as in lanes."""
    value = simd.load_scalar(simd.advance(c, count - 1))
    for k in range(count - 2, -1, -1):
        value = horner_step(value, value, x, simd.load_scalar(simd.advance(c, k)))[0]
    return value


@kernel(inline=True)
def values_of_eight(c, count, x, x_step, out):
    """One value of each of eight polynomials side by side: gathered into lanes they took twice as long."""
    row = simd.advance(c, count - 1)
    x0, x1 = simd.load_scalar(x), simd.load_scalar(simd.advance(x, x_step))
    x2, x3 = simd.load_scalar(simd.advance(x, 2 * x_step)), simd.load_scalar(simd.advance(x, 3 * x_step))
    x4, x5 = simd.load_scalar(simd.advance(x, 4 * x_step)), simd.load_scalar(simd.advance(x, 5 * x_step))
    x6, x7 = simd.load_scalar(simd.advance(x, 6 * x_step)), simd.load_scalar(simd.advance(x, 7 * x_step))
    y0, y1 = simd.load_scalar(row), simd.load_scalar(simd.advance(row, count))
    y2, y3 = simd.load_scalar(simd.advance(row, 2 * count)), simd.load_scalar(simd.advance(row, 3 * count))
    y4, y5 = simd.load_scalar(simd.advance(row, 4 * count)), simd.load_scalar(simd.advance(row, 5 * count))
    y6, y7 = simd.load_scalar(simd.advance(row, 6 * count)), simd.load_scalar(simd.advance(row, 7 * count))
    for _ in range(1, count):
        row = simd.advance(row, -1)
        y0 = horner_step(y0, y0, x0, simd.load_scalar(row))[0]
        y1 = horner_step(y1, y1, x1, simd.load_scalar(simd.advance(row, count)))[0]
        y2 = horner_step(y2, y2, x2, simd.load_scalar(simd.advance(row, 2 * count)))[0]
        y3 = horner_step(y3, y3, x3, simd.load_scalar(simd.advance(row, 3 * count)))[0]
        y4 = horner_step(y4, y4, x4, simd.load_scalar(simd.advance(row, 4 * count)))[0]
        y5 = horner_step(y5, y5, x5, simd.load_scalar(simd.advance(row, 5 * count)))[0]
        y6 = horner_step(y6, y6, x6, simd.load_scalar(simd.advance(row, 6 * count)))[0]
        y7 = horner_step(y7, y7, x7, simd.load_scalar(simd.advance(row, 7 * count)))[0]
    for i, value in enumerate((y0, y1, y2, y3, y4, y5, y6, y7)):
        simd.store_scalar(simd.advance(out, i), value)


def one_each(c, x, out, rows, item_rows, counter):
    """out[i] = P_i(x[i]): a polynomial for each point."""
    count = c.size // rows
    x_step = 1 if x.size == rows else 0
    item = next_item(counter, -1)
    while item * item_rows < rows:
        row, stop = item * item_rows, min((item + 1) * item_rows, rows)
        while row < stop:
            coefficients = simd.advance(simd.pointer(c), row * count)
            point, result = simd.advance(simd.pointer(x), row * x_step), simd.advance(simd.pointer(out), row)
            if row + 8 <= stop:
                values_of_eight(coefficients, count, point, x_step, result)
                row += 8
            else:
                simd.store_scalar(result, value_of_row(coefficients, count, simd.load_scalar(point)))
                row += 1
        item = next_item(counter, item)


def one_value(c, x):
    return value_of_row(simd.pointer(c), c.size, x)


def _flat(dtype, readonly=True):
    return types.Array(dtype, 1, "C", readonly=readonly)


def _shared(dtype, body, driver, results):
    arrays = [_flat(dtype), _flat(dtype)] + [_flat(dtype, readonly=False)] * results
    return SharedWork(body, driver, [*arrays, types.int64, types.int64])


_VALUES = {"d": _shared(types.float64, values_f64, values_parallel, 1)}
_VALUES["f"] = _shared(types.float32, values_f32, values_parallel, 1)
_PAIRS = _shared(types.float64, pairs_f64, pairs_parallel, 2)
_EACH = {
    char: _shared(kind, one_each, values_parallel, 1) for char, kind in (("d", types.float64), ("f", types.float32))
}
_ONE = Direct(one_value, types.float64(_flat(types.float64), types.float64))


def item_rows(row_points):
    """Polynomials of one piece of work."""
    return max(1, ITEM_POINTS // row_points)


def worth_threads(work_ns):
    """The estimate of work for `SharedWork`, which stays serial where threads are not worth it."""
    return work_ns if work_ns >= SERIAL_BELOW_NS else 0.0


def evaluate_small(c, x, out):
    """One float64 polynomial at less than about 1e5 points."""
    _VALUES["d"].body.call(c, x, out, 1, 1, ALONE)


def evaluate_one(c, x):
    """One float64 polynomial at one number."""
    return _ONE.call(c, x)


def evaluate(c, x, out, rows):
    """Values: float32 or float64 arrays, flat as described above, none empty."""
    if rows == out.size and rows > 1:
        work = c.size * 2 * COEFFICIENT_NS + rows * 8 * POINT_NS
        _EACH[out.dtype.char](worth_threads(work), c, x, out, rows, ITEM_POINTS)
        return
    work = out.size * (POINT_NS + COEFFICIENT_NS * (c.size // rows))
    _VALUES[out.dtype.char](worth_threads(work), c, x, out, rows, item_rows(out.size // rows))


def evaluate_pair(c, x, values, slopes, rows):
    """Values and first derivatives: float64."""
    work = values.size * (2 * POINT_NS + PAIR_NS * (c.size // rows))
    _PAIRS(worth_threads(work), c, x, values, slopes, rows, item_rows(values.size // rows))
