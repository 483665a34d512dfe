"""Sums of distances from each point to each cluster, for many small clusters: every pair is computed twice.

Points lie cluster after cluster without gaps. A vector of points goes past all of them; at each cluster's end the mean
distance from it is compared. The way of `silhouette_pairs.py` starts a panel for each cluster, which fills up to seven
eighths of it with nothing.
"""

import numpy as np
from numba import prange, types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.work import SharedWork, call_by_address, next_item
from fastcore.metrics.kernels.silhouette_tile import LANES, WIDTH, distances

# Points that stay in the cache while the panels of an item go past them.
STRIP = 64
PANELS_PER_ITEM = 8
VECTORS_PER_ITEM = PANELS_PER_ITEM * WIDTH // LANES


@kernel
def items_of(places):
    """Number of items."""
    return (places + PANELS_PER_ITEM * WIDTH - 1) // (PANELS_PER_ITEM * WIDTH)


@kernel
def store_tile(panels, metric, column, row, to):
    """Distances of LANES points at place `column` from the 8 at `row`, a vector for each of these."""
    a, b, c, d, e, f, g, h = distances(panels, column, row, metric)
    simd.store(to, a)
    simd.store(simd.advance(to, LANES), b)
    simd.store(simd.advance(to, 2 * LANES), c)
    simd.store(simd.advance(to, 3 * LANES), d)
    simd.store(simd.advance(to, 4 * LANES), e)
    simd.store(simd.advance(to, 5 * LANES), f)
    simd.store(simd.advance(to, 6 * LANES), g)
    simd.store(simd.advance(to, 7 * LANES), h)


@kernel
def compare_mean(total, members, size, is_own, within, nearest):
    """Keep the sum of distances from a cluster where it is the own one, else its mean where that is the least.

    within, nearest : pointers to LANES
    """
    # Points without a place are at distance 2 from all: rows of zeros, and squares of unit vectors.
    total = total + 2.0 * (size - members)
    simd.store(within, simd.select(is_own, total, simd.load(within, LANES)))
    least = simd.load(nearest, LANES)
    simd.store(nearest, simd.select(is_own, least, simd.minimum(total / float(size), least)))


@kernel
def vector_past_strip(panels, metric, clusters, cluster_at, column, first, count, running_at, within, nearest, tile):
    """Take LANES points at place `column` past the `count` points from place `first` on.

    running_at : pointer to the sums of distances from the current cluster so far, LANES
    tile : pointer to WIDTH vectors of scratch
    """
    running = simd.load(running_at, LANES)
    own = simd.load(simd.advance(simd.pointer(cluster_at), column), LANES)
    within_at, nearest_at = simd.advance(simd.pointer(within), column), simd.advance(simd.pointer(nearest), column)
    cluster = cluster_at[first]
    end = clusters[cluster, 0] + clusters[cluster, 1]
    for row in range(first, first + count, WIDTH):
        store_tile(panels, metric, column, row, tile)
        for r in range(min(WIDTH, first + count - row)):
            running = running + simd.load(simd.advance(tile, r * LANES), LANES)
            while row + r + 1 == end and cluster < clusters.shape[0]:
                members, size = clusters[cluster, 1], clusters[cluster, 2]
                compare_mean(running, members, size, own == cluster, within_at, nearest_at)
                running = simd.broadcast(0.0, LANES)
                cluster += 1
                if cluster < clusters.shape[0]:
                    end = clusters[cluster, 0] + clusters[cluster, 1]
    simd.store(running_at, running)


def sum_rows(panels, metric, clusters, cluster_at, points, begin_item, end_item, within, nearest, counter):
    """Take items of PANELS_PER_ITEM panels until none is left.

    Parameters
    ----------
    panels : (P, D, WIDTH), from a cache line's start on
    clusters : (K, 3) first place, points with a place, points in all
    cluster_at : (places,) cluster of each place
    points : number of places with a point
    within, nearest : (places,) sum of distances in the own cluster; least mean distance from another
    """
    scratch = np.empty((VECTORS_PER_ITEM + WIDTH) * LANES)
    running = simd.pointer(scratch)
    tile = simd.advance(running, VECTORS_PER_ITEM * LANES)
    item = next_item(counter, -1)
    while begin_item + item < end_item:
        begin = (begin_item + item) * PANELS_PER_ITEM * WIDTH
        end = min(begin + PANELS_PER_ITEM * WIDTH, within.size)
        scratch[:] = 0.0
        for first in range(0, points, STRIP):
            count = min(STRIP, points - first)
            for column in range(begin, end, LANES):
                sums = simd.advance(running, column - begin)
                vector_past_strip(
                    panels, metric, clusters, cluster_at, column, first, count, sums, within, nearest, tile
                )
        item = next_item(counter, item)


def sum_rows_parallel(
    body, workers, panels, metric, clusters, cluster_at, points, begin_item, end_item, within, nearest, counter
):
    """`sum_rows` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(
            body,
            (panels, metric, clusters, cluster_at, points, begin_item, end_item, within, nearest, counter),
        )


_I64 = types.int64
_VECTOR = types.Array(types.float64, 1, "C")

sum_each_row = SharedWork(
    sum_rows,
    sum_rows_parallel,
    [
        types.Array(types.float64, 3, "C"),
        _I64,
        types.Array(_I64, 2, "C"),
        types.Array(_I64, 1, "C"),
        _I64,
        _I64,
        _I64,
        _VECTOR,
        _VECTOR,
    ],
)
