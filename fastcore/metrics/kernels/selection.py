"""The element of a rank, without a sort: quickselect whose partition packs the lanes of a vector."""

import numpy as np

from fastcore._core import simd
from fastcore._core.jit import kernel

LANES = simd.F64_LANES
# Elements that are sorted by insertion.
FEW = 24


@kernel
def sort_few(values, count):
    """Sort by insertion."""
    for i in range(1, count):
        value = simd.load_scalar(simd.advance(values, i))
        j = i
        while j > 0 and simd.load_scalar(simd.advance(values, j - 1)) > value:
            simd.store_scalar(simd.advance(values, j), simd.load_scalar(simd.advance(values, j - 1)))
            j -= 1
        simd.store_scalar(simd.advance(values, j), value)


@kernel
def median_of_three(a, b, c):
    """The one in the middle."""
    return max(min(a, b), min(max(a, b), c))


@kernel
def pivot_of(values, count):
    """The median of the medians of three times three elements: a guess at the median of all."""
    step = count // 9
    at = simd.advance(values, step // 2)
    a, b, c = (
        simd.load_scalar(at),
        simd.load_scalar(simd.advance(at, step)),
        simd.load_scalar(simd.advance(at, 2 * step)),
    )
    at = simd.advance(at, 3 * step)
    d, e, f = (
        simd.load_scalar(at),
        simd.load_scalar(simd.advance(at, step)),
        simd.load_scalar(simd.advance(at, 2 * step)),
    )
    at = simd.advance(at, 3 * step)
    g, h, i = (
        simd.load_scalar(at),
        simd.load_scalar(simd.advance(at, step)),
        simd.load_scalar(simd.advance(at, 2 * step)),
    )
    return median_of_three(median_of_three(a, b, c), median_of_three(d, e, f), median_of_three(g, h, i))


@kernel
def split(values, spare, count, pivot):
    """Pack what is less than the pivot at the front of `values`, what is greater into `spare`; how many these are."""
    less, greater = np.int64(0), np.int64(0)
    whole = count - count % LANES
    for i in range(0, whole, LANES):
        x = simd.load(simd.advance(values, i), LANES)
        # At most i elements stand at the front, so that none is overwritten that was not read.
        less += simd.store_selected(simd.advance(values, less), x, x < pivot)
        greater += simd.store_selected(simd.advance(spare, greater), x, x > pivot)
    for i in range(whole, count):
        x = simd.load_scalar(simd.advance(values, i))
        if x < pivot:
            simd.store_scalar(simd.advance(values, less), x)
            less += 1
        elif x > pivot:
            simd.store_scalar(simd.advance(spare, greater), x)
            greater += 1
    return less, greater


@kernel
def largest_of(values, count):
    """The largest of some elements that are not negative, 0 of none."""
    highest = simd.broadcast(0.0, LANES)
    for i in range(0, count, LANES):
        highest = simd.maximum(simd.load_first(simd.advance(values, i), LANES, count - i), highest)
    return simd.reduce_max(highest)


@kernel
def select_rank(values, spare, count, rank):
    """(the element before, the element of) a rank, 0 <= rank < count, as they stand in order; before the first: 0.

    values : pointer to float64, not negative, no NaN; overwritten
    spare : pointer to as many elements and LANES more
    """
    before = 0.0  # the largest of what was left out below
    while count > FEW:
        pivot = pivot_of(values, count)
        less, greater = split(values, spare, count, pivot)
        equal = count - less - greater
        if rank < less:
            count = less
        elif rank < less + equal:
            if rank > less:
                return pivot, pivot
            return (largest_of(values, less) if less > 0 else before), pivot
        else:
            rank -= less + equal
            before = pivot
            values, spare, count = spare, values, greater
    sort_few(values, count)
    if rank > 0:
        before = simd.load_scalar(simd.advance(values, rank - 1))
    return before, simd.load_scalar(simd.advance(values, rank))
