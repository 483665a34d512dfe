"""Medians of absolute errors by weights."""

import numpy as np

# Rows that are sorted as they are; of more a sample tells which ones the median is among.
SMALL = 8192
# Standard deviations of a sample's rank to each side.
DEVIATIONS = 3.5


def weighted_median(errors, weights, tolerance):
    """Median of finite errors (N,), each counted by its weight (N,) float64; half a weight more decides.

    tolerance : by how much the weights up to an error must exceed the half for it to be the median alone; otherwise the
        mean with the next one (Hyndman and Fan 1996, definition 2, as `numpy.percentile` has it for equal weights).
    """
    if len(errors) > SMALL and weights.min() >= 0:
        bounds = _bounds_of_weighted(errors, weights)
        up_to_low = errors <= bounds[0]
        between = (errors > bounds[0]) & (errors <= bounds[1])
        median = _sorted_median(errors[between], weights[between], weights[up_to_low].sum(), weights.sum(), tolerance)
        if median is not None:
            return median
    return _sorted_median(errors, weights, 0.0, None, tolerance)


def _bounds_of_weighted(errors, weights):
    rows = np.linspace(0, len(errors) - 1, SMALL // 2, dtype=np.int64)
    sample, weight = errors[rows], weights[rows]
    order = np.argsort(sample)
    share = np.cumsum(weight[order])
    if share[-1] == 0.0:
        return sample[order[0]], sample[order[-1]]
    reach = DEVIATIONS * 0.5 * np.sqrt(np.square(weight).sum()) / share[-1]
    ranks = np.searchsorted(share / share[-1], [0.5 - reach, 0.5 + reach])
    low, high = order[np.minimum(ranks, len(order) - 1)]
    return sample[low], sample[high]


def _sorted_median(errors, weights, before, total, tolerance):
    """The weighted median of some errors; None where it may be among those that were left out."""
    if len(errors) == 0:
        return None
    order = np.argsort(errors)
    up_to = before + np.cumsum(weights[order])
    is_all = total is None
    half = 0.5 * (up_to[-1] if is_all else total)
    if half == 0.0:
        half = np.nextafter(0.0, 1.0)
    if not is_all and not before < half <= up_to[-1]:
        return None
    last = len(order) - 1
    at = min(int(np.searchsorted(up_to, half)), last)
    median = errors[order[at]]
    if up_to[at] - half > tolerance:
        return median
    following = at + 1
    if following > last or weights[order[following]] == 0.0:
        following = int(np.searchsorted(up_to, up_to[at], side="right"))
    if following > last:
        if not is_all:
            return None
        following = at
    return (median + errors[order[following]]) / 2
