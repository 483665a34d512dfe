"""Chebyshev moments of points and of values, in one read of both: what a least-squares fit is made of.

With T_i T_j = (T_{i+j} + T_{|i-j|}) / 2 the (d + 1)**2 inner products of the Chebyshev basis are sums of T_k, k <= 2d,
and those with the values are d + 1 more. The points u lie in the lanes, four vectors at a time against the latency of
the recurrence T_{k+1} = 2u T_k - T_{k-1}. It is linear, so it carries w**2 T_k from the start and weights cost nothing.

Sums: four vectors are added as a tree, then to one accumulator of a chunk, 256 additions at most; chunks are added by
NumPy's pairwise sum. A sum depends on the points alone, not on threads, and rounding does not grow with their number.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import prange, types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.work import ALONE, SharedWork, call_by_address, next_item
from fastcore.polynomial.kernels.four_vectors import (
    LANES,
    STEP,
    add_squares,
    first_at,
    first_of,
    four_at,
    mapped,
    minus,
    plus_product,
    squared,
    store_four,
    weighted,
)

# Points of a chunk, the item of a thread: 30 us of work at degree 10, 256 additions a lane.
CHUNK = 8192
# Points of a block, whose errors lie in the first cache.
BLOCK = 1024
# Nanoseconds of a point (Zen 4, AVX-512): of the extent, and of the sums a degree.
EXTENT_NS = 0.1
DEGREE_NS = 0.11


class Mapping(NamedTuple):
    """How points become arguments of the basis, u = offset + scale * x, and what weights are multiplied by."""

    offset: float
    scale: float
    weight_scale: float = 1.0


@kernel
def next_of(two_u, now, past):
    """T_{k+1} from T_k and T_{k-1}."""
    return simd.fma(two_u, now, -past)


@kernel
def add_vector(place, vector):
    """One accumulator plus LANES sums."""
    simd.store(place, simd.load(place, LANES) + vector)


@kernel(inline=True)
def add_group(points, weights, is_weighted, values, sums, size_x, size_y):
    """Add w**2 T_k to sums[k], k < size_x, and w**2 T_k y to the size_y sums behind, for four vectors of points.

    size_x is 0 or 2 size_y - 1. The unit is at its limit of 4 multiplications a step and 4 for y; additions are free.
    """
    a, b, c, d = points
    e, f, g, h = weights
    t, u, v, w = values
    p, q, r, s = points
    if is_weighted:
        p, q, r, s = e * p, f * q, g * r, h * s
    a, b, c, d = a + a, b + b, c + c, d + d
    place = sums
    place_y = simd.advance(sums, size_x * LANES)
    if size_x > 0:
        add_vector(place, (e + f) + (g + h))
    if is_weighted:
        t, u, v, w = t * e, u * f, v * g, w * h
    add_vector(place_y, (t + u) + (v + w))
    t, u, v, w = values
    for _ in range(1, size_y):
        if size_x > 0:
            place = simd.advance(place, LANES)
            add_vector(place, (p + q) + (r + s))
        place_y = simd.advance(place_y, LANES)
        add_vector(place_y, simd.fma(t, p, u * q) + simd.fma(v, r, w * s))
        e, f, g, h, p, q, r, s = p, q, r, s, next_of(a, p, e), next_of(b, q, f), next_of(c, r, g), next_of(d, s, h)
    for _ in range(size_y, size_x - 1):
        place = simd.advance(place, LANES)
        add_vector(place, (p + q) + (r + s))
        e, f, g, h, p, q, r, s = p, q, r, s, next_of(a, p, e), next_of(b, q, f), next_of(c, r, g), next_of(d, s, h)
    if size_x > 1:
        add_vector(simd.advance(place, LANES), (p + q) + (r + s))


@kernel
def clenshaw_step(two_u, now, past, coefficient):
    """coefficient + 2u now - past, four vectors."""
    a, b, c, d = two_u
    p, q, r, s = now
    t, u, v, w = past
    return (
        simd.fma(a, p, coefficient - t),
        simd.fma(b, q, coefficient - u),
        simd.fma(c, r, coefficient - v),
        simd.fma(d, s, coefficient - w),
    )


@kernel(inline=True)
def subtract_block(x, y, weight, is_weighted, count, mapping, coefficients, size, errors, is_kept):
    """Sum of w**2 (y - series)**2 of a block of points, by Clenshaw's recurrence; errors = y - series, if it is kept.

    coefficients: c_0, then halves of the others: the series is then b_0 - b_2, additions alone.
    Eight vectors against the latency: with four a degree took 5 cycles instead of 4.
    """
    offset, scale, weight_scale = 2.0 * mapping[0], 2.0 * mapping[1], mapping[2]
    zero = simd.broadcast(0.0, LANES)
    nothing = zero, zero, zero, zero
    last = zero + (simd.load_scalar(simd.advance(coefficients, size - 1)) if size > 1 else 0.0)
    last = last, last, last, last
    before = simd.load_scalar(simd.advance(coefficients, size - 2)) if size > 2 else 0.0
    squares, others = zero, zero
    for i in range(0, count, 2 * STEP):
        left = count - i
        here, there = simd.advance(x, i), simd.advance(x, i + STEP)
        if left >= 2 * STEP:
            two_u, two_v = mapped(four_at(here), offset, scale), mapped(four_at(there), offset, scale)
        else:
            two_u = mapped(first_at(here, left), offset, scale)
            two_v = mapped(first_at(there, left - STEP), offset, scale)
        now, past, now_v, past_v = last, nothing, last, nothing
        if size > 2:  # the first step, which has no past to subtract
            now, past = plus_product(before, two_u, last), last
            now_v, past_v = plus_product(before, two_v, last), last
        for k in range(size - 3, 0, -1):
            coefficient = simd.load_scalar(simd.advance(coefficients, k))
            past = clenshaw_step(two_u, now, past, coefficient)
            past_v = clenshaw_step(two_v, now_v, past_v, coefficient)
            now, past, now_v, past_v = past, now, past_v, now_v
        coefficient = simd.load_scalar(coefficients)
        now = minus(clenshaw_step(two_u, now, past, coefficient), past)
        now_v = minus(clenshaw_step(two_v, now_v, past_v, coefficient), past_v)
        here, there = simd.advance(y, i), simd.advance(y, i + STEP)
        if left >= 2 * STEP:
            first, second = minus(four_at(here), now), minus(four_at(there), now_v)
        else:
            first = first_of(minus(first_at(here, left), now), left)
            second = first_of(minus(first_at(there, left - STEP), now_v), left - STEP)
        if is_kept:
            store_four(simd.advance(errors, i), first)
            store_four(simd.advance(errors, i + STEP), second)
        if is_weighted:
            here, there = simd.advance(weight, i), simd.advance(weight, i + STEP)
            first = weighted(first, first_at(here, left), weight_scale)
            second = weighted(second, first_at(there, left - STEP), weight_scale)
        squares, others = add_squares(first, squares), add_squares(second, others)
    return simd.reduce_add(squares + others)


@kernel(inline=True)
def sum_block(x, values, weight, is_weighted, count, mapping, sums, size_x, size_y):
    """Add the moments of a block of points to sums, by lanes."""
    offset, scale, weight_scale = mapping
    one = simd.broadcast(1.0, LANES)
    ones = one, one, one, one
    for i in range(0, count, STEP):
        left = count - i
        if left >= STEP:
            points = mapped(four_at(simd.advance(x, i)), offset, scale)
            y = four_at(simd.advance(values, i))
            weights = squared(four_at(simd.advance(weight, i)), weight_scale) if is_weighted else ones
        else:  # lanes beyond the end have weight 0 at u = 0
            points = first_of(mapped(first_at(simd.advance(x, i), left), offset, scale), left)
            y = first_at(simd.advance(values, i), left)
            if is_weighted:
                weights = squared(first_at(simd.advance(weight, i), left), weight_scale)
            else:
                weights = first_of(ones, left)
        add_group(points, weights, is_weighted, y, sums, size_x, size_y)


def sum_items(x, y, weights, mapping, coefficients, sums_x, sums_y, squares, counter):
    """x (N,), y (K, N) of any strides, weights (N,) or empty; item: a chunk of one row of y.

    sums_x (2d + 1, C) or empty, sums_y (K, d + 1, C) or with no rows between: a sum of each of the C chunks.
    coefficients (K, d + 1) of Chebyshev series that are taken from y, or (K, 0); squares (K, C) are then the sums of
    w**2 (y - series)**2, or 0.
    """
    rows, count = y.shape
    chunks = squares.shape[1]
    size_x, size_y = sums_x.shape[0], sums_y.shape[1]
    size = coefficients.shape[1]
    is_weighted = weights.size > 0
    scratch = np.empty((size_x + size_y + 1) * LANES + 2 * BLOCK + size)
    # On a line of the cache: a vector across two costs twice.
    errors = simd.pointer_at((scratch.ctypes.data + 8 * LANES - 1) // (8 * LANES) * (8 * LANES), simd.f64)
    copied = simd.advance(errors, BLOCK)
    sums = simd.advance(copied, BLOCK)
    series = simd.advance(sums, (size_x + size_y) * LANES)
    stride = y.strides[1] // y.itemsize
    item = next_item(counter, -1)
    while item < rows * chunks:
        chunk, row = item // rows, item % rows
        own_x = size_x if row == 0 else 0
        for k in range(own_x + size_y):
            simd.store(simd.advance(sums, k * LANES), simd.broadcast(0.0, LANES))
        for k in range(size):
            simd.store_scalar(simd.advance(series, k), coefficients[row, k] * (1.0 if k == 0 else 0.5))
        total = 0.0
        for first in range(chunk * CHUNK, min((chunk + 1) * CHUNK, count), BLOCK):
            block = min(BLOCK, count - first)
            points = simd.advance(simd.pointer(x), first)
            values = simd.advance(simd.pointer(y), row * (y.strides[0] // y.itemsize) + first * stride)
            if stride != 1:
                for i in range(block):
                    simd.store_scalar(simd.advance(copied, i), simd.load_scalar(simd.advance(values, i * stride)))
                values = copied
            weight = simd.advance(simd.pointer(weights), first if is_weighted else 0)
            if size > 0:
                total += subtract_block(
                    points, values, weight, is_weighted, block, mapping, series, size, errors, size_y > 0
                )
                values = errors
            if size_y > 0:
                sum_block(points, values, weight, is_weighted, block, mapping, sums, own_x, size_y)
        squares[row, chunk] = total
        for k in range(own_x):
            sums_x[k, chunk] = simd.reduce_add(simd.load(simd.advance(sums, k * LANES), LANES))
        for k in range(size_y):
            sums_y[row, k, chunk] = simd.reduce_add(simd.load(simd.advance(sums, (own_x + k) * LANES), LANES))
        item = next_item(counter, item)


def sum_parallel(body, workers, x, y, weights, mapping, coefficients, sums_x, sums_y, squares, counter):
    """`sum_items` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (x, y, weights, mapping, coefficients, sums_x, sums_y, squares, counter))


def extent_items(x, extents, counter):
    """extents[chunk]: smallest and largest element; NaN is passed over."""
    item = next_item(counter, -1)
    while item < extents.shape[0]:
        first = item * CHUNK
        count = min(CHUNK, x.size - first)
        place = simd.advance(simd.pointer(x), first)
        low = simd.broadcast(np.inf, LANES)
        high = -low
        a, b, c, d = low, low, low, low
        e, f, g, h = high, high, high, high
        whole = count - count % STEP
        for i in range(0, whole, STEP):
            p, q, r, s = four_at(simd.advance(place, i))
            a, b, c, d = simd.minimum(p, a), simd.minimum(q, b), simd.minimum(r, c), simd.minimum(s, d)
            e, f, g, h = simd.maximum(p, e), simd.maximum(q, f), simd.maximum(r, g), simd.maximum(s, h)
        for i in range(whole, count, LANES):
            inside = simd.iota_i64(LANES) < count - i
            p = simd.load_first(simd.advance(place, i), LANES, count - i)
            a = simd.minimum(simd.select(inside, p, low), a)
            e = simd.maximum(simd.select(inside, p, high), e)
        extents[item, 0] = simd.reduce_min(simd.minimum(simd.minimum(a, b), simd.minimum(c, d)))
        extents[item, 1] = simd.reduce_max(simd.maximum(simd.maximum(e, f), simd.maximum(g, h)))
        item = next_item(counter, item)


def extent_parallel(body, workers, x, extents, counter):
    """`extent_items` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (x, extents, counter))


_READ = types.Array(types.float64, 1, "C", readonly=True)
_READ_ROWS = types.Array(types.float64, 2, "C", readonly=True)
_READ_STRIDED = types.Array(types.float64, 2, "A", readonly=True)
_ROWS = types.Array(types.float64, 2, "C")
_BLOCKS = types.Array(types.float64, 3, "C")
_MAPPING = types.UniTuple(types.float64, 3)

_SUMS = SharedWork(sum_items, sum_parallel, [_READ, _READ_STRIDED, _READ, _MAPPING, _READ_ROWS, _ROWS, _BLOCKS, _ROWS])
_EXTENTS = SharedWork(extent_items, extent_parallel, [_READ, _ROWS])
_NONE = np.zeros(0)


def extent(x: np.ndarray) -> tuple[float, float]:
    """Smallest and largest of x, (N,) float64, C-contiguous, N > 0. NaN is passed over: inf, -inf if all are NaN."""
    chunks = -(-x.size // CHUNK)
    extents = np.empty((chunks, 2))
    if chunks == 1:
        _EXTENTS.body.call(x, extents, ALONE)
        low, high = extents[0]
    else:
        _EXTENTS(EXTENT_NS * x.size, x, extents)
        low, high = extents[:, 0].min(), extents[:, 1].max()
    return float(low), float(high)


def moments(
    x: np.ndarray, y: np.ndarray, weights: np.ndarray | None, mapping: Mapping, degree: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sums over the points of w**2 T_k(u), k <= 2 degree, (2d + 1,), and of w**2 T_k(u) y, k <= degree, (K, d + 1).

    x (N,), y (K, N), weights (N,) or None: float64, native and aligned; all but y C-contiguous. What is not finite, or
    overflows, makes the last sums so; in x that needs a degree above 0.
    """
    chunks, rows = -(-x.size // CHUNK), len(y)
    sums_x, sums_y = np.empty((2 * degree + 1, chunks)), np.empty((rows, degree + 1, chunks))
    _sum(
        DEGREE_NS * (degree + 2), x, y, weights, mapping, np.empty((rows, 0)), sums_x, sums_y, np.empty((rows, chunks))
    )
    return _total(sums_x), _total(sums_y)


def residuals(
    x: np.ndarray, y: np.ndarray, weights: np.ndarray | None, mapping: Mapping, series: np.ndarray, with_moments: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Sums of w**2 (y - p(u))**2, (K,), and of w**2 T_k(u) (y - p(u)), (K, d + 1), or (K, 0) without moments.

    series (K, d + 1): Chebyshev coefficients of p, a row for each of y.
    """
    chunks, (rows, size) = -(-x.size // CHUNK), series.shape
    sums_y = np.empty((rows, size if with_moments else 0, chunks))
    squares = np.empty((rows, chunks))
    nanoseconds = DEGREE_NS * (size + 1) * (2 if with_moments else 1)
    _sum(nanoseconds, x, y, weights, mapping, series, np.empty((0, chunks)), sums_y, squares)
    return _total(squares), _total(sums_y)


def _sum(nanoseconds: float, x: np.ndarray, y: np.ndarray, weights: Any, mapping: Mapping, *arrays: np.ndarray) -> None:
    """Call the kernel, past the choice of threads where there is one chunk alone."""
    weights = _NONE if weights is None else weights
    if y.size <= CHUNK:
        _SUMS.body.call(x, y, weights, tuple(mapping), *arrays, ALONE)
    else:
        _SUMS(nanoseconds * y.size, x, y, weights, tuple(mapping), *arrays)


def _total(parts: np.ndarray) -> np.ndarray:
    """Sums over the chunks, the last axis."""
    if parts.shape[-1] == 1:
        return parts[..., 0]
    with np.errstate(over="ignore", invalid="ignore"):
        total: np.ndarray = parts.sum(axis=-1)
    return total
