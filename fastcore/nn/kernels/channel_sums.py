"""Sums over the elements of channels, by chunks that depend on the shape alone, and the moments they combine to.

A channel is many planes of consecutive elements. A chunk is as many of them as have `PLANE_LIMIT` elements together, or
a part of one; where the elements of a channel lie one by one, between those of the others, it is `COLUMN_LIMIT` of
them. A chunk is in the cache when it is read again, so its sums are around its own mean, whatever the data.
"""

from typing import Any, NamedTuple

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.tile import filled, lanes_of

# Elements of a chunk: 16 KiB of float32, half of a first-level cache.
PLANE_LIMIT = 4096
COLUMN_LIMIT = 256
# What is kept of a chunk: a number near its mean, and around it the sums of x, of its square, of the slope (the
# gradient of the result), and of the slope times x.
CENTRE, DEVIATION, SQUARES, SLOPE, PRODUCT = range(5)
# What is known of a channel, all float64.
WEIGHT, BIAS, MEAN, VARIANCE, SLOPES, PRODUCTS = range(6)

# What a launch does, and what it takes into account: a gradient of the result, moments that are given, a result too
# large for the caches.
SUMS, MOMENTS, FINISH, APPLY, WITH_GRAD, GIVEN, STREAMED = 1, 2, 4, 8, 16, 32, 64


class Chunk(NamedTuple):
    """Elements [start, start + length) of each of some consecutive planes."""

    plane: Any
    planes: Any
    start: Any
    length: Any


@kernel
def chunk_of(k, planes, size, limit):
    """Chunk ``k`` of a channel of planes of ``size`` elements."""
    if size >= limit:
        spans = (size + limit - 1) // limit
        start = k % spans * limit
        return Chunk(k // spans, 1, start, min(limit, size - start))
    per_chunk = limit // size
    plane = k * per_chunk
    return Chunk(plane, min(per_chunk, planes - plane), 0, size)


def chunk_count(planes: int, size: int, limit: int) -> int:
    """Chunks of a channel."""
    return planes * -(-size // limit) if size >= limit else -(-planes // (limit // size))


@kernel
def sum_of_planes(x, stride, planes, size):
    """Sum over planes of ``size`` elements, ``stride`` elements apart."""
    lanes = lanes_of(x)
    a, b = filled(x, 0.0), filled(x, 0.0)
    whole = size - size % (2 * lanes)
    left = size - whole
    for i in range(planes):
        row = simd.advance(x, i * stride)
        for first in range(0, whole, 2 * lanes):
            a = a + simd.load(simd.advance(row, first), lanes)
            b = b + simd.load(simd.advance(row, first + lanes), lanes)
        if left > 0:
            a = a + simd.load_first(simd.advance(row, whole), lanes, left)
            b = b + simd.load_first(simd.advance(row, whole + lanes), lanes, max(left - lanes, 0))
    return simd.reduce_add(a + b)


@kernel
def squares_of_planes(x, stride, planes, size, centre):
    """(sum of x - centre, of its squares) over planes."""
    lanes = lanes_of(x)
    zero, middle = filled(x, 0.0), filled(x, centre)
    a, b, aa, bb = zero, zero, zero, zero
    whole = size - size % (2 * lanes)
    left = size - whole
    lane = simd.iota_i32(lanes)
    for i in range(planes):
        row = simd.advance(x, i * stride)
        for first in range(0, whole, 2 * lanes):
            p = simd.load(simd.advance(row, first), lanes) - middle
            q = simd.load(simd.advance(row, first + lanes), lanes) - middle
            a, b, aa, bb = a + p, b + q, simd.fma(p, p, aa), simd.fma(q, q, bb)
        if left > 0:  # past the end it would be -centre
            p = simd.load_first(simd.advance(row, whole), lanes, left) - middle
            q = simd.load_first(simd.advance(row, whole + lanes), lanes, max(left - lanes, 0)) - middle
            p, q = simd.select(lane < left, p, zero), simd.select(lane < left - lanes, q, zero)
            a, b, aa, bb = a + p, b + q, simd.fma(p, p, aa), simd.fma(q, q, bb)
    return simd.reduce_add(a + b), simd.reduce_add(aa + bb)


@kernel
def slopes_of_planes(x, x_stride, grad, grad_stride, planes, size, centre):
    """(sum of grad, of grad * (x - centre)) over planes."""
    lanes = lanes_of(x)
    zero, middle = filled(x, 0.0), filled(x, centre)
    a, b, aa, bb = zero, zero, zero, zero
    whole = size - size % (2 * lanes)
    left = size - whole
    lane = simd.iota_i32(lanes)
    for i in range(planes):
        row, slopes = simd.advance(x, i * x_stride), simd.advance(grad, i * grad_stride)
        for first in range(0, whole, 2 * lanes):
            p = simd.load(simd.advance(row, first), lanes) - middle
            q = simd.load(simd.advance(row, first + lanes), lanes) - middle
            u, v = simd.load(simd.advance(slopes, first), lanes), simd.load(simd.advance(slopes, first + lanes), lanes)
            a, b, aa, bb = a + u, b + v, simd.fma(u, p, aa), simd.fma(v, q, bb)
        if left > 0:
            behind = max(left - lanes, 0)
            p = simd.load_first(simd.advance(row, whole), lanes, left) - middle
            q = simd.load_first(simd.advance(row, whole + lanes), lanes, behind) - middle
            p, q = simd.select(lane < left, p, zero), simd.select(lane < behind, q, zero)
            u = simd.load_first(simd.advance(slopes, whole), lanes, left)
            v = simd.load_first(simd.advance(slopes, whole + lanes), lanes, behind)
            a, b, aa, bb = a + u, b + v, simd.fma(u, p, aa), simd.fma(v, q, bb)
    return simd.reduce_add(a + b), simd.reduce_add(aa + bb)


@kernel
def sum_plane_chunk(x, stride, planes, size, sums):
    """Fill the first three of ``sums``, a pointer to the five of one chunk."""
    simd.store_scalar(simd.advance(sums, CENTRE), sum_of_planes(x, stride, planes, size) / (planes * size))
    centre = simd.load_scalar(simd.advance(sums, CENTRE))  # rounded
    deviation, squares = squares_of_planes(x, stride, planes, size, centre)
    simd.store_scalar(simd.advance(sums, DEVIATION), deviation)
    simd.store_scalar(simd.advance(sums, SQUARES), squares)


@kernel
def sum_plane_slopes(x, x_stride, grad, grad_stride, planes, size, sums):
    """Fill the last two of ``sums``, whose first three are there."""
    centre = simd.load_scalar(simd.advance(sums, CENTRE))
    slope, product = slopes_of_planes(x, x_stride, grad, grad_stride, planes, size, centre)
    simd.store_scalar(simd.advance(sums, SLOPE), slope)
    simd.store_scalar(simd.advance(sums, PRODUCT), product)


@kernel
def sum_column_chunk(x, x_stride, grad, grad_stride, rows, columns, sums, sums_stride, use_grad):
    """Fill ``sums`` of up to two vectors of columns; the five of one lie ``sums_stride`` elements apart."""
    lanes = lanes_of(x)
    behind = max(columns - lanes, 0)
    zero = filled(x, 0.0)
    a, b = zero, zero
    for i in range(rows):
        row = simd.advance(x, i * x_stride)
        a = a + simd.load_first(row, lanes, columns)
        b = b + simd.load_first(simd.advance(row, lanes), lanes, behind)
    left, right = a / rows, b / rows
    a, b, aa, bb = zero, zero, zero, zero
    s, t, sa, tb = zero, zero, zero, zero
    for i in range(rows):
        row = simd.advance(x, i * x_stride)
        p = simd.load_first(row, lanes, columns) - left
        q = simd.load_first(simd.advance(row, lanes), lanes, behind) - right
        a, b, aa, bb = a + p, b + q, simd.fma(p, p, aa), simd.fma(q, q, bb)
        if use_grad:
            slopes = simd.advance(grad, i * grad_stride)
            u = simd.load_first(slopes, lanes, columns)
            v = simd.load_first(simd.advance(slopes, lanes), lanes, behind)
            s, t, sa, tb = s + u, t + v, simd.fma(u, p, sa), simd.fma(v, q, tb)
    store_pair(simd.advance(sums, CENTRE * sums_stride), left, right, columns)
    store_pair(simd.advance(sums, DEVIATION * sums_stride), a, b, columns)
    store_pair(simd.advance(sums, SQUARES * sums_stride), aa, bb, columns)
    store_pair(simd.advance(sums, SLOPE * sums_stride), s, t, columns)
    store_pair(simd.advance(sums, PRODUCT * sums_stride), sa, tb, columns)


@kernel
def store_pair(out, left, right, count):
    """The first ``count`` lanes of two vectors."""
    lanes = lanes_of(out)
    simd.store_first(out, left, count)
    simd.store_first(simd.advance(out, lanes), right, max(count - lanes, 0))
