"""Four vectors at once, as a tuple: as many as it takes against the latency of a recurrence."""

from fastcore._core import simd
from fastcore._core.jit import kernel

LANES = simd.F64_LANES
STEP = 4 * LANES


@kernel
def four_at(place):
    """Four vectors that lie side by side."""
    return (
        simd.load(place, LANES),
        simd.load(simd.advance(place, LANES), LANES),
        simd.load(simd.advance(place, 2 * LANES), LANES),
        simd.load(simd.advance(place, 3 * LANES), LANES),
    )


@kernel
def first_at(place, count):
    """The first `count` elements of four vectors, and 0 in the other lanes."""
    return (
        simd.load_first(place, LANES, max(count, 0)),
        simd.load_first(simd.advance(place, LANES), LANES, max(count - LANES, 0)),
        simd.load_first(simd.advance(place, 2 * LANES), LANES, max(count - 2 * LANES, 0)),
        simd.load_first(simd.advance(place, 3 * LANES), LANES, max(count - 3 * LANES, 0)),
    )


@kernel
def store_four(place, four):
    """Write four vectors side by side."""
    a, b, c, d = four
    simd.store(place, a)
    simd.store(simd.advance(place, LANES), b)
    simd.store(simd.advance(place, 2 * LANES), c)
    simd.store(simd.advance(place, 3 * LANES), d)


@kernel
def lanes_below(vector, count):
    """The lanes below `count` of a vector, and 0 in the others."""
    return simd.select(simd.iota_i64(LANES) < count, vector, 0.0)


@kernel
def first_of(four, count):
    """The first `count` elements of four vectors in registers, and 0 in the other lanes."""
    a, b, c, d = four
    return (
        lanes_below(a, count),
        lanes_below(b, count - LANES),
        lanes_below(c, count - 2 * LANES),
        lanes_below(d, count - 3 * LANES),
    )


@kernel
def mapped(four, offset, scale):
    """offset + scale * x, rounded twice as in numpy.polynomial, so that its polynomials see the same u, to the bit."""
    a, b, c, d = four
    return offset + scale * a, offset + scale * b, offset + scale * c, offset + scale * d


@kernel
def squared(four, scale):
    """(scale * w)**2."""
    a, b, c, d = four
    a, b, c, d = a * scale, b * scale, c * scale, d * scale
    return a * a, b * b, c * c, d * d


@kernel
def minus(left, right):
    """left - right, four vectors."""
    a, b, c, d = left
    e, f, g, h = right
    return a - e, b - f, c - g, d - h


@kernel
def weighted(four, weights, scale):
    """scale * w * y."""
    a, b, c, d = four
    p, q, r, s = weights
    return a * (p * scale), b * (q * scale), c * (r * scale), d * (s * scale)


@kernel
def add_squares(four, total):
    """total plus the squares of four vectors, one vector."""
    a, b, c, d = four
    return simd.fma(a, a, simd.fma(b, b, simd.fma(c, c, simd.fma(d, d, total))))


@kernel
def plus_product(number, left, right):
    """number + left * right, four vectors."""
    a, b, c, d = left
    e, f, g, h = right
    total = simd.broadcast(number, LANES, simd.f64)
    return simd.fma(a, e, total), simd.fma(b, f, total), simd.fma(c, g, total), simd.fma(d, h, total)
