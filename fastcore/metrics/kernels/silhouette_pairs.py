"""Sums of distances from each point to each cluster, every pair of points computed once.

Clusters lie one after the other, each from a panel of its own on. A *strip* is a run of points of one cluster. Its
distances from itself and all that follows are summed along both axes: for its own points these are whole sums over each
cluster that follows, of which the smallest mean is kept; for the points that follow they are the strip's share of their
distances from its cluster. Shares are added in the order of the strips by `add_shares`, so that the result does not
depend on who computed which strip when.
"""

import numpy as np
from numba import prange, types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.work import Direct, SharedWork, call_by_address, next_item
from fastcore.metrics.kernels.silhouette_tile import LANES, WIDTH, distances, quotient


@kernel
def padded(count):
    """Places that this many points of a cluster take."""
    return (count + WIDTH - 1) // WIDTH * WIDTH


@kernel
def add_to(sums, row, vector):
    """sums[row] += vector; `sums` points to rows of LANES."""
    place = simd.advance(sums, row * LANES)
    simd.store(place, simd.load(place, LANES) + vector)


@kernel
def strip_by_vector(panels, metric, first, count, column, valid, sums):
    """Distances of the strip's `count` points, from place `first` on, from `valid` (of LANES) at `column`.

    Added to `sums` over the columns, returned summed over the strip.
    """
    zero = simd.broadcast(0.0, LANES)
    inside = simd.iota_i64(LANES) < valid
    total = zero
    for row in range(0, count, WIDTH):
        a, b, c, d, e, f, g, h = distances(panels, column, first + row, metric)
        left = count - row
        if left < WIDTH:
            b = b if left > 1 else zero
            c = c if left > 2 else zero
            d = d if left > 3 else zero
            e = e if left > 4 else zero
            f = f if left > 5 else zero
            g = g if left > 6 else zero
            h = zero
        total = total + (((a + b) + (c + d)) + ((e + f) + (g + h)))
        if valid < LANES:
            a, b = simd.select(inside, a, zero), simd.select(inside, b, zero)
            c, d = simd.select(inside, c, zero), simd.select(inside, d, zero)
            e, f = simd.select(inside, e, zero), simd.select(inside, f, zero)
            g, h = simd.select(inside, g, zero), simd.select(inside, h, zero)
        add_to(sums, row, a)
        add_to(sums, row + 1, b)
        add_to(sums, row + 2, c)
        add_to(sums, row + 3, d)
        add_to(sums, row + 4, e)
        add_to(sums, row + 5, f)
        add_to(sums, row + 6, g)
        add_to(sums, row + 7, h)
    return total


@kernel
def strip_by_cluster(panels, metric, first, count, begin, end, shares, sums):
    """sums[r] = distances of the strip's r-th point from those at places [begin, end), in LANES parts.

    Summed over the strip instead they go to `shares`, where they belong to points behind the strip.
    """
    zero = simd.broadcast(0.0, LANES)
    for r in range(padded(count)):
        simd.store(simd.advance(sums, r * LANES), zero)
    behind = first + padded(count)
    for column in range(begin, end, LANES):
        share = strip_by_vector(panels, metric, first, count, column, end - column, sums)
        if column >= behind:
            simd.store(simd.advance(shares, column), share)


def sum_strips(panels, metric, clusters, strips, begin_strip, end_strip, shares, within, nearest, counter):
    """Take strips until none is left: their points' sums within the cluster, least mean of those behind, and shares.

    Parameters
    ----------
    panels : (P, D, WIDTH), from a cache line's start on
    clusters : (K, 3) first place, points in panels, points in all
    strips : (S, 3) first place, points, cluster; those of [begin_strip, end_strip) are done
    shares : (strips to do, places)
    within, nearest : (places,) sum of distances in the own cluster; least mean distance from another
    """
    longest = 0
    for strip in range(begin_strip, end_strip):
        longest = max(longest, padded(strips[strip, 1]))
    scratch = np.empty(longest * LANES + 8)
    sums = simd.advance(simd.pointer(scratch), -(scratch.ctypes.data // 8) % 8)
    item = next_item(counter, -1)
    while begin_strip + item < end_strip:
        first, count, own = strips[begin_strip + item]
        share = simd.advance(simd.pointer(shares), item * shares.shape[1])
        for cluster in range(own, clusters.shape[0]):
            begin = first if cluster == own else clusters[cluster, 0]
            end = clusters[cluster, 0] + clusters[cluster, 1]
            strip_by_cluster(panels, metric, first, count, begin, end, share, sums)
            # Points without a place are at distance 2 from all: rows of zeros, and squares of unit vectors.
            other = 2.0 * (clusters[cluster, 2] - clusters[cluster, 1])
            for r in range(count):
                total = simd.reduce_add(simd.load(simd.advance(sums, r * LANES), LANES)) + other
                if cluster == own:
                    within[first + r] = total
                else:
                    nearest[first + r] = min(nearest[first + r], quotient(total, clusters[cluster, 2]))
        item = next_item(counter, item)


def sum_strips_parallel(
    body, workers, panels, metric, clusters, strips, begin_strip, end_strip, shares, within, nearest, counter
):
    """`sum_strips` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(
            body,
            (panels, metric, clusters, strips, begin_strip, end_strip, shares, within, nearest, counter),
        )


def add_shares_of(clusters, strips, begin_strip, end_strip, shares, running, within, nearest):
    """Add the shares of strips in their order; where a cluster's last one is reached, its means are compared.

    running : (places,) shares of the current cluster so far; zeros before the first call
    """
    places = running.size
    for strip in range(begin_strip, end_strip):
        first, count, cluster = strips[strip]
        behind = first + padded(count)
        share = shares[strip - begin_strip]
        for place in range(behind, places):
            running[place] += share[place]
        begin, members, size = clusters[cluster]
        if first + count == begin + members:
            other = 2.0 * (size - members)
            for place in range(begin, behind):
                within[place] += running[place]
                running[place] = 0.0
            for place in range(behind, places):
                nearest[place] = min(nearest[place], quotient(running[place] + other, size))
                running[place] = 0.0


_I64 = types.int64
_VECTOR, _MATRIX, _PANELS = (types.Array(types.float64, axes, "C") for axes in (1, 2, 3))
_TABLE = types.Array(_I64, 2, "C")

sum_pairs = SharedWork(
    sum_strips,
    sum_strips_parallel,
    [_PANELS, _I64, _TABLE, _TABLE, _I64, _I64, _MATRIX, _VECTOR, _VECTOR],
)
add_shares = Direct(add_shares_of, types.void(_TABLE, _TABLE, _I64, _I64, _MATRIX, _VECTOR, _VECTOR, _VECTOR))
