"""Distances of 8 points from a vector of points, straight from their differences.

Points are in *panels* (P, D, 8): coordinate after coordinate of 8 points. A vector of one panel's points is read at
once, a single point of a panel is broadcast. Nothing is subtracted from squared norms, so data far from the origin lose
no digits.
"""

from fastcore._core import simd
from fastcore._core.jit import kernel

# Points of a panel, and of the rows of a tile.
WIDTH = 8
LANES = simd.F64_LANES if simd.F64_LANES < WIDTH else WIDTH

EUCLIDEAN, SQUARED, MANHATTAN = 0, 1, 2
# Squares of coordinates beyond these would leave the range of float64. Silhouettes have no unit: a power of two is
# taken out of all coordinates.
SMALLEST, LARGEST = 1e-100, 1e140


@kernel(fastmath=False)
def quotient(a, b):
    """a / b, rounded once: a reciprocal would tell equal means, and multiples of one vector, apart."""
    return a / b


@kernel(inline=True)
def panel_at(panels, place):
    """Pointer to the first coordinate of the point at `place`; its coordinates are WIDTH apart."""
    return simd.advance(simd.pointer(panels), place // WIDTH * (panels.shape[1] * WIDTH) + place % WIDTH)


@kernel(inline=True)
def differences(vector, rows):
    """`vector` minus each of the 8 elements at `rows`."""
    return (
        vector - simd.load_scalar(rows),
        vector - simd.load_scalar(simd.advance(rows, 1)),
        vector - simd.load_scalar(simd.advance(rows, 2)),
        vector - simd.load_scalar(simd.advance(rows, 3)),
        vector - simd.load_scalar(simd.advance(rows, 4)),
        vector - simd.load_scalar(simd.advance(rows, 5)),
        vector - simd.load_scalar(simd.advance(rows, 6)),
        vector - simd.load_scalar(simd.advance(rows, 7)),
    )


@kernel(inline=True)
def sums_of_squares(points, rows, end, step):
    """Squared distances of LANES points from 8.

    points, rows : pointers to the first coordinate; `end` is the offset behind the last
    step : WIDTH, as a number that LLVM does not know. It would unroll the loop and mix the subtractions with the FMAs
        of the round before: 0.32 ns a vector instead of 0.274, which is one FMA a cycle (Zen 4). Read from memory in
        eight subtractions, and these before the eight FMAs, the broadcasts cost nothing; from registers 0.37.
    """
    zero = simd.broadcast(0.0, LANES)
    a, b, c, d, e, f, g, h = zero, zero, zero, zero, zero, zero, zero, zero
    at = 0
    while at < end:
        s, t, u, v, w, x, y, z = differences(simd.load(simd.advance(points, at), LANES), simd.advance(rows, at))
        a, b, c, d = simd.fma(s, s, a), simd.fma(t, t, b), simd.fma(u, u, c), simd.fma(v, v, d)
        e, f, g, h = simd.fma(w, w, e), simd.fma(x, x, f), simd.fma(y, y, g), simd.fma(z, z, h)
        at += step
    return a, b, c, d, e, f, g, h


@kernel(inline=True)
def magnitude(x):
    return simd.maximum(x, -x)


@kernel(inline=True)
def sums_of_magnitudes(points, rows, end, step):
    """Manhattan distances, with the arguments of `sums_of_squares`."""
    zero = simd.broadcast(0.0, LANES)
    a, b, c, d, e, f, g, h = zero, zero, zero, zero, zero, zero, zero, zero
    at = 0
    while at < end:
        s, t, u, v, w, x, y, z = differences(simd.load(simd.advance(points, at), LANES), simd.advance(rows, at))
        a, b, c, d = a + magnitude(s), b + magnitude(t), c + magnitude(u), d + magnitude(v)
        e, f, g, h = e + magnitude(w), f + magnitude(x), g + magnitude(y), h + magnitude(z)
        at += step
    return a, b, c, d, e, f, g, h


@kernel(inline=True)
def distances(panels, column, row, metric):
    """Eight vectors: the distances of LANES points from place `column` on, from each of the 8 of the panel at `row`."""
    points, rows = panel_at(panels, column), panel_at(panels, row)
    end = panels.shape[1] * WIDTH
    if metric == MANHATTAN:
        return sums_of_magnitudes(points, rows, end, panels.shape[2])
    a, b, c, d, e, f, g, h = sums_of_squares(points, rows, end, panels.shape[2])
    if metric == EUCLIDEAN:
        a, b, c, d = simd.quick_sqrt(a), simd.quick_sqrt(b), simd.quick_sqrt(c), simd.quick_sqrt(d)
        e, f, g, h = simd.quick_sqrt(e), simd.quick_sqrt(f), simd.quick_sqrt(g), simd.quick_sqrt(h)
    return a, b, c, d, e, f, g, h
