"""Silhouettes of points: which kernels run on which part of the work."""

import math

import numpy as np

from fastcore._core import threads
from fastcore.metrics.kernels.silhouette_few import MOST_POINTS, silhouettes_of_few
from fastcore.metrics.kernels.silhouette_given import sum_dense, sum_sparse
from fastcore.metrics.kernels.silhouette_layout import FILL, NORMS, arrange, number, silhouettes
from fastcore.metrics.kernels.silhouette_pairs import add_shares, sum_pairs
from fastcore.metrics.kernels.silhouette_rows import PANELS_PER_ITEM, items_of, sum_each_row
from fastcore.metrics.kernels.silhouette_tile import EUCLIDEAN, LARGEST, MANHATTAN, SMALLEST, SQUARED, WIDTH

__all__ = [
    "EUCLIDEAN",
    "MANHATTAN",
    "MOST_POINTS",
    "NO_DIVISORS",
    "SQUARED",
    "codes_of_integers",
    "norms_of",
    "silhouettes_of_blocks",
    "silhouettes_of_few",
    "silhouettes_of_points",
    "silhouettes_of_sparse",
]

# Serial nanoseconds of a pair of points: a square root and sums, and each coordinate.
NS_PER_PAIR, NS_PER_COORDINATE = 0.35, 0.037
# A launch cannot be interrupted, so it should end within this time.
NS_PER_LAUNCH = 3e8
NS_PER_DISTANCE = 1.0
SHARES_BYTES = 1 << 24
# Long strips read the other points less often: 20,000 x 128 do not fit in a cache (5.9 ns a pair with strips of 64). Of
# a short one's own square, which is computed twice, there is less.
SHORT_STRIP, LONG_STRIP = 64, 256
MANY_POINTS = 4000
NO_DIVISORS = np.ones(0)


def aligned(shape):
    """Uninitialised float64 from a cache line's start on, so that no vector straddles two."""
    count = math.prod(shape)
    memory = np.empty(count + 8)
    start = -(memory.__array_interface__["data"][0] // 8) % 8  # a tenth of the time of memory.ctypes
    return memory[start : start + count].reshape(shape)


def codes_of_integers(labels):
    """Codes (N,) int64 of int64 labels, N > 0, and how many are distinct: 0 where their range is large."""
    codes = np.empty(len(labels), np.int64)
    return codes, number.call(labels, codes)


def silhouettes_of_points(x, codes, num_clusters, metric, divisors, out):
    """Silhouettes of points: EUCLIDEAN, SQUARED or MANHATTAN distances.

    Parameters
    ----------
    x : (N, D) float32 or float64
    codes : (N,) int64, cluster of each point in [0, num_clusters)
    divisors : (N,) what each point is divided by first; a point with 0 is at distance 2 from all, which is a row of
        zeros among squares of unit vectors. (0,): nothing is divided
    out : (N,) zeros, float64

    Returns
    -------
    float : sum of out, NaN where x is not finite
    """
    longest = SHORT_STRIP if len(codes) < MANY_POINTS else LONG_STRIP
    clusters, strips, order, cluster_at = arrange.call(codes, num_clusters, divisors, longest)
    places, size = order.size, x.shape[1]
    if places == 0:
        return 0.0
    panels = aligned((places // WIDTH, size, WIDTH))
    largest = FILL[x.dtype].call(x, order, divisors, panels)
    if largest != largest:
        return largest
    if not SMALLEST < largest < LARGEST and largest > 0:
        np.ldexp(panels, -np.frexp(largest)[1], out=panels)
    within = np.zeros(places)
    nearest = np.full(places, 2.0 if divisors.size and not clusters[:, 1].all() else np.inf)
    ns_per_pair = NS_PER_PAIR + NS_PER_COORDINATE * size
    if len(strips):
        _pairs_once(panels, metric, clusters, strips, within, nearest, ns_per_pair)
    else:
        _pairs_twice(panels, metric, clusters, cluster_at, within, nearest, ns_per_pair)
    return silhouettes.call(within, nearest, order, clusters, cluster_at, out)


def _pairs_once(panels, metric, clusters, strips, within, nearest, ns_per_pair):
    places = within.size
    strip_ns = max(strips[:, 1]) * places * ns_per_pair
    per_launch = min(SHARES_BYTES // (8 * places), int(threads.pool_size() * NS_PER_LAUNCH / strip_ns))
    per_launch = max(per_launch, threads.pool_size())
    shares = np.empty((min(per_launch, len(strips)), places))
    running = np.zeros(places)
    for begin in range(0, len(strips), per_launch):
        end = min(begin + per_launch, len(strips))
        work_ns = float(strips[begin:end, 1] @ (places - strips[begin:end, 0])) * ns_per_pair
        sum_pairs(work_ns, panels, metric, clusters, strips, begin, end, shares, within, nearest)
        add_shares.call(clusters, strips, begin, end, shares, running, within, nearest)


def _pairs_twice(panels, metric, clusters, cluster_at, within, nearest, ns_per_pair):
    points = int(clusters[:, 1].sum())
    item_ns = PANELS_PER_ITEM * WIDTH * points * ns_per_pair
    items = items_of(within.size)
    per_launch = max(int(threads.pool_size() * NS_PER_LAUNCH / item_ns), 4 * threads.pool_size())
    for begin in range(0, items, per_launch):
        end = min(begin + per_launch, items)
        work_ns = (end - begin) * item_ns
        sum_each_row(work_ns, panels, metric, clusters, cluster_at, points, begin, end, within, nearest)


def norms_of(x, smallest):
    """(N,) Euclidean norm of each row of x, 0 where it is below `smallest`, NaN where it is not finite."""
    norms = np.empty(len(x))
    NORMS[x.dtype].call(x, smallest, norms)
    return norms


def silhouettes_of_blocks(blocks, codes, num_clusters, out):
    """Silhouettes from the distances in blocks of rows, float64 (R, N), one after the other.

    Returns
    -------
    float : least distance; out (N,) is filled
    """
    within, nearest, lowest = np.empty(len(codes)), np.empty(len(codes)), np.empty(len(codes))
    sizes = np.bincount(codes, minlength=num_clusters)
    first = 0
    for block in blocks:
        work_ns = NS_PER_DISTANCE * block.size
        sum_dense(work_ns, block, first, codes, sizes, within, nearest, lowest)
        first += len(block)
    _fill(within, nearest, sizes, codes, out)
    return lowest.min()


def silhouettes_of_sparse(distances, codes, num_clusters, out):
    """The same from a CSR matrix of distances; what it does not store is 0."""
    within, nearest = np.empty(len(codes)), np.empty(len(codes))
    sizes = np.bincount(codes, minlength=num_clusters)
    data = np.ascontiguousarray(distances.data, np.float64)
    columns, starts = (np.ascontiguousarray(x, np.int64) for x in (distances.indices, distances.indptr))
    sum_sparse(NS_PER_DISTANCE * data.size, data, columns, starts, codes, sizes, within, nearest)
    _fill(within, nearest, sizes, codes, out)


def _fill(within, nearest, sizes, codes, out):
    """Silhouettes from sums in the order of the points."""
    clusters = np.zeros((len(sizes), 3), np.int64)
    clusters[:, 2] = sizes
    silhouettes.call(within, nearest, np.arange(len(codes)), clusters, codes, out)
