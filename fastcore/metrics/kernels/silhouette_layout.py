"""Points in the order of their clusters, in panels (`silhouette_tile.py`); and silhouettes out of sums over them."""

import numpy as np
from numba import types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.work import Direct
from fastcore.metrics.kernels.silhouette_tile import LANES, WIDTH, quotient


def number_labels(labels, codes):
    """codes (N,) = place of each integer label among the distinct ones; how many these are, 0 for a range too large."""
    lowest, highest = labels[0], labels[0]
    for i in range(labels.size):
        lowest, highest = min(lowest, labels[i]), max(highest, labels[i])
    values = highest - lowest + 1  # 0 or less where that is beyond int64
    if not 0 < values <= 4 * labels.size + 256:
        return 0
    code_of = np.zeros(values, np.int64)
    for i in range(labels.size):
        code_of[labels[i] - lowest] = 1
    count = 0
    for value in range(values):
        occurs = code_of[value]
        code_of[value] = count
        count += occurs
    for i in range(labels.size):
        codes[i] = code_of[labels[i] - lowest]
    return count


def arrange_points(codes, num_clusters, divisors, longest):
    """Places of points, sorted by cluster.

    Parameters
    ----------
    codes : (N,) cluster of each point, in [0, num_clusters)
    divisors : (N,) what a point is divided by; those with 0 get no place. (0,): all have one
    longest : most points of a strip, a multiple of WIDTH; 0 for no strips

    Returns
    -------
    clusters : (K, 3) first place, points with a place, points in all
    strips : (S, 3) first place, points, cluster of runs of at most `longest` points of one cluster, which starts a
        panel. (0, 3) where clusters are so small that they lie without gaps, and each pair is to be computed twice
    order : (places,) point at each place, -1 in gaps
    cluster_at : (places,) cluster of each place
    """
    clusters = np.zeros((num_clusters, 3), np.int64)
    for i in range(codes.size):
        code = codes[i]
        clusters[code, 2] += 1
        if divisors.size == 0 or divisors[i] != 0.0:
            clusters[code, 1] += 1
    points, padded, num_strips = 0, 0, 0
    for cluster in range(num_clusters):
        members = clusters[cluster, 1]
        points += members
        padded += (members + WIDTH - 1) // WIDTH * WIDTH
        num_strips += (members + longest - 1) // max(longest, 1)
    # Rows of 8 are computed whole in both ways, and a strip's own square twice.
    once = longest > 0 and padded * (padded + longest) < 2 * points * points
    if not once:
        num_strips = 0
    strips = np.empty((num_strips, 3), np.int64)
    places, strip = 0, 0
    for cluster in range(num_clusters):
        clusters[cluster, 0] = places
        members = clusters[cluster, 1]
        if once:
            for first in range(0, members, longest):
                strips[strip, 0] = places + first
                strips[strip, 1] = min(longest, members - first)
                strips[strip, 2] = cluster
                strip += 1
            members = (members + WIDTH - 1) // WIDTH * WIDTH
        places += members
    places = (places + WIDTH - 1) // WIDTH * WIDTH
    order = np.full(places, -1, np.int64)
    cluster_at = np.full(places, -1, np.int64)
    following = clusters[:, 0].copy()
    for i in range(codes.size):
        if divisors.size == 0 or divisors[i] != 0.0:
            code = codes[i]
            order[following[code]] = i
            cluster_at[following[code]] = code
            following[code] += 1
    return clusters, strips, order, cluster_at


@kernel
def fill_panel(x, order, divisors, panel):
    """A panel (D, WIDTH) of the points at the places `order` (WIDTH,); zeros where there is none."""
    for i in range(WIDTH):
        point = order[i]
        if point < 0:
            for k in range(panel.shape[0]):
                panel[k, i] = 0.0
        elif divisors.size:
            row, divisor = x[point], divisors[point]
            for k in range(panel.shape[0]):
                panel[k, i] = quotient(np.float64(row[k]), divisor)
        else:
            row = x[point]
            for k in range(panel.shape[0]):
                panel[k, i] = np.float64(row[k])


def fill_panels(x, order, divisors, panels):
    """Points in their places, in float64 and divided; largest magnitude, NaN where one is not finite."""
    zero = simd.broadcast(0.0, LANES)
    largest, spoilt = zero, zero
    for p in range(panels.shape[0]):
        panel = panels[p]
        fill_panel(x, order[p * WIDTH : (p + 1) * WIDTH], divisors, panel)
        # In vectors: the largest of single numbers took 1.1 ns each, waiting for the last.
        for first in range(0, panel.size, LANES):
            values = simd.load(simd.advance(simd.pointer(panel), first), LANES)
            largest = simd.maximum(simd.maximum(values, -values), largest)
            spoilt = simd.fma(values, zero, spoilt)  # NaN of NaN and infinities
    return simd.reduce_max(largest) + simd.reduce_add(spoilt)


def euclidean_norms(x, smallest, out):
    """out[i] = Euclidean norm of row i, 0 where that is below `smallest`, NaN where a number is not finite."""
    for i in range(x.shape[0]):
        row = x[i]
        largest, squares, spoilt = 0.0, 0.0, 0.0
        for k in range(row.size):
            value = np.float64(row[k])
            spoilt += value * 0.0
            squares += value * value
            largest = max(largest, abs(value))
        norm = np.sqrt(squares)
        if largest > 1e140 or 0.0 < largest < 1e-140:  # squares leave the range
            squares = 0.0
            for k in range(row.size):
                ratio = np.float64(row[k]) / largest
                squares += ratio * ratio
            norm = largest * np.sqrt(squares)
        out[i] = spoilt + (0.0 if norm < smallest else norm)


def silhouettes_of(within, nearest, order, clusters, cluster_at, out):
    """out[i] = silhouette of point i; their sum. Points without a place keep what `out` has."""
    for place in range(order.size):
        if order[place] < 0:
            continue
        size = clusters[cluster_at[place], 2]
        a, b = within[place], nearest[place]
        if size > 1:
            a = quotient(a, size - 1)
        value = quotient(b - a, max(a, b))  # NaN of 0 / 0 and of distances that are NaN
        out[order[place]] = value if size > 1 and value == value else 0.0
    total = 0.0
    for i in range(out.size):
        total += out[i]
    return total


_I64, _F64 = types.int64, types.float64
_VECTOR, _PLACES, _TABLE = types.Array(_F64, 1, "C"), types.Array(_I64, 1, "C"), types.Array(_I64, 2, "C")

_PANELS = types.Array(_F64, 3, "C")


def _matrix(dtype):
    return types.Array(dtype, 2, "A", readonly=True)


number = Direct(number_labels, _I64(types.Array(_I64, 1, "A", readonly=True), _PLACES))
arrange = Direct(
    arrange_points,
    types.Tuple([_TABLE, _TABLE, _PLACES, _PLACES])(types.Array(_I64, 1, "A", readonly=True), _I64, _VECTOR, _I64),
)
FILL = {
    np.dtype("f4"): Direct(fill_panels, _F64(_matrix(types.float32), _PLACES, _VECTOR, _PANELS)),
    np.dtype("f8"): Direct(fill_panels, _F64(_matrix(_F64), _PLACES, _VECTOR, _PANELS)),
}
NORMS = {
    np.dtype("f4"): Direct(euclidean_norms, types.void(_matrix(types.float32), _F64, _VECTOR)),
    np.dtype("f8"): Direct(euclidean_norms, types.void(_matrix(_F64), _F64, _VECTOR)),
}
silhouettes = Direct(silhouettes_of, _F64(_VECTOR, _VECTOR, _PLACES, _TABLE, _PLACES, _VECTOR))
