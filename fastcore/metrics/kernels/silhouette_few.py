"""Silhouettes of few points in one call of compiled code: of ten, calls and arrays between stages took four fifths."""

import numpy as np
from numba import types

from fastcore._core.jit import kernel
from fastcore._core.work import Direct, call_by_address
from fastcore.metrics.kernels import silhouette_layout as layout
from fastcore.metrics.kernels.silhouette_rows import items_of, sum_each_row
from fastcore.metrics.kernels.silhouette_tile import LARGEST, SMALLEST, WIDTH

MOST_POINTS = 128

_number_labels = kernel(layout.number_labels)
_arrange_points = kernel(layout.arrange_points)
_fill_panels = kernel(layout.fill_panels)
_silhouettes_of = kernel(layout.silhouettes_of)


def silhouettes_if_plain(x, labels, metric, sum_rows, out):
    """out = silhouettes, and their sum; NaN where labels, numbers or lengths need to be looked at by others.

    sum_rows : address of the compiled `silhouette_rows.sum_rows`
    """
    if labels.size != x.shape[0] or x.shape[1] == 0:
        return np.nan
    codes = np.empty(labels.size, np.int64)
    num_clusters = _number_labels(labels, codes)
    if not 1 < num_clusters < labels.size:
        return np.nan
    no_divisors = np.empty(0)
    clusters, _, order, cluster_at = _arrange_points(codes, num_clusters, no_divisors, 0)
    panels = np.empty((order.size // WIDTH, x.shape[1], WIDTH))
    if not SMALLEST < _fill_panels(x, order, no_divisors, panels) < LARGEST:
        return np.nan
    within, nearest = np.zeros(order.size), np.full(order.size, np.inf)
    counter = np.empty(0, np.int64)
    items = items_of(order.size)
    arguments = (panels, metric, clusters, cluster_at, labels.size, 0, items, within, nearest, counter)
    if not call_by_address(sum_rows, arguments):
        return np.nan
    return _silhouettes_of(within, nearest, order, clusters, cluster_at, out)


_F64, _I64 = types.float64, types.int64
_few = Direct(
    silhouettes_if_plain,
    _F64(
        types.Array(_F64, 2, "A", readonly=True),
        types.Array(_I64, 1, "A", readonly=True),
        _I64,
        _I64,
        types.Array(_F64, 1, "C"),
    ),
)


def silhouettes_of_few(x, labels, metric, out):
    """Silhouettes of 3 to MOST_POINTS points (N, D) float64 with labels int64 of any length; out (N,) zeros.

    Returns
    -------
    float : sum of out; NaN where this way is not for them, and out is to be filled by another
    """
    return _few.call(x, labels, metric, sum_each_row.body.address, out)
