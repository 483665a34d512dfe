"""Sums of given distances from each point to each cluster."""

import numpy as np
from numba import prange, types

from fastcore._core.jit import kernel
from fastcore._core.work import SharedWork, call_by_address, next_item
from fastcore.metrics.kernels.silhouette_tile import quotient

ROWS_PER_ITEM = 16


@kernel
def compare_sums(sums, sizes, own, row, within, nearest):
    """Keep the sum within the own cluster, and the least mean of the others."""
    within[row] = sums[own]
    least = np.inf
    for cluster in range(sizes.size):
        mean = quotient(sums[cluster], sizes[cluster])
        if cluster != own and not mean >= least:  # also NaN, which stays
            least = mean
            if mean != mean:
                break
    nearest[row] = least


def sum_dense_rows(distances, first, codes, sizes, within, nearest, lowest, counter):
    """Take blocks of rows until none is left.

    Parameters
    ----------
    distances : (R, N), of the points from `first` on from all
    codes : (N,) cluster of each point; sizes : (K,) points of each
    within, nearest, lowest : (N,) sum of distances in the own cluster; least mean distance from another; least distance
    """
    rows, points = distances.shape
    sums = np.empty(sizes.size)
    others = np.empty(sizes.size)
    item = next_item(counter, -1)
    while item * ROWS_PER_ITEM < rows:
        for i in range(item * ROWS_PER_ITEM, min((item + 1) * ROWS_PER_ITEM, rows)):
            row = distances[i]
            sums[:] = 0.0
            others[:] = 0.0
            least = np.inf
            # Two places to add to: neighbours are often of one cluster, and each addition would wait for the last.
            for j in range(0, points - 1, 2):
                a, b = row[j], row[j + 1]
                sums[codes[j]] += a
                others[codes[j + 1]] += b
                least = min(least, min(a, b))
            if points % 2 == 1:
                a = row[points - 1]
                sums[codes[points - 1]] += a
                least = min(least, a)
            for cluster in range(sizes.size):
                sums[cluster] += others[cluster]
            lowest[first + i] = least
            compare_sums(sums, sizes, codes[first + i], first + i, within, nearest)
        item = next_item(counter, item)


def sum_dense_rows_parallel(body, workers, distances, first, codes, sizes, within, nearest, lowest, counter):
    """`sum_dense_rows` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (distances, first, codes, sizes, within, nearest, lowest, counter))


def sum_sparse_rows(data, columns, starts, codes, sizes, within, nearest, counter):
    """`sum_dense_rows` of a CSR matrix: what is not stored is 0."""
    rows = starts.size - 1
    sums = np.empty(sizes.size)
    item = next_item(counter, -1)
    while item * ROWS_PER_ITEM < rows:
        for i in range(item * ROWS_PER_ITEM, min((item + 1) * ROWS_PER_ITEM, rows)):
            sums[:] = 0.0
            for at in range(starts[i], starts[i + 1]):
                sums[codes[columns[at]]] += data[at]
            compare_sums(sums, sizes, codes[i], i, within, nearest)
        item = next_item(counter, item)


def sum_sparse_rows_parallel(body, workers, data, columns, starts, codes, sizes, within, nearest, counter):
    """`sum_sparse_rows` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (data, columns, starts, codes, sizes, within, nearest, counter))


_VECTOR, _CODES = types.Array(types.float64, 1, "C"), types.Array(types.int64, 1, "C")


_MATRIX = types.Array(types.float64, 2, "A", readonly=True)

sum_dense = SharedWork(
    sum_dense_rows, sum_dense_rows_parallel, [_MATRIX, types.int64, _CODES, _CODES, _VECTOR, _VECTOR, _VECTOR]
)
sum_sparse = SharedWork(
    sum_sparse_rows, sum_sparse_rows_parallel, [_VECTOR, _CODES, _CODES, _CODES, _CODES, _VECTOR, _VECTOR]
)
