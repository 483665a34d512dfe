"""Layer normalisation of rows, optionally of the sum of two."""

from typing import Any, NamedTuple

import numpy as np
from numba import prange, types

from fastcore._core import simd, threads
from fastcore._core.jit import kernel
from fastcore._core.streaming import STREAMED_BYTES, elements_to_alignment, write_vector
from fastcore._core.tile import filled, lanes_of
from fastcore._core.work import ALONE, Direct, SharedWork, call_by_address, next_item
from fastcore.nn.kernels.elementwise import is_plain_rows

# Elements an item should have, so that taking it (30 ns) is nothing.
ITEM_ELEMENTS = 4096
# The same where results are streamed. Items of 32 KiB of float32, which cut the prefetcher's streams short, took 1.28
# times as long as a stream copy, 64 KiB 1.11, 256 KiB 1.01.
STREAMED_ITEM_ELEMENTS = 65536
# Serial nanoseconds per byte of a row, for the choice between serial and parallel: 0.16 ns a float32 from cache.
NS_PER_BYTE = 0.04
# Vectors summed side by side: one after the other, each addition would wait four cycles for the last.
UNROLL = 4
# Loads that differ from a store before them by a multiple of this and less than a vector wait for it.
PAGE_BYTES = 4096
# Where there is nothing to add.
NO_ROWS = np.empty((0, 0), np.float32)


class Moments(NamedTuple):
    """A row's mean, as a first guess and what to add to it, and its variance."""

    guess: Any
    correction: Any
    variance: Any


@kernel
def row_of(array, row):
    """Pointer to the first element of a row."""
    return simd.advance(simd.pointer(array), row * (array.strides[0] // array.itemsize))


@kernel
def add_rows(a, b, total, size):
    """total = a + b; ``total`` may be either."""
    lanes = lanes_of(a)
    whole = size - size % lanes
    for first in range(0, whole, lanes):
        left, right = simd.load(simd.advance(a, first), lanes), simd.load(simd.advance(b, first), lanes)
        simd.store(simd.advance(total, first), left + right)
    left = simd.load_first(simd.advance(a, whole), lanes, size - whole)
    right = simd.load_first(simd.advance(b, whole), lanes, size - whole)
    simd.store_first(simd.advance(total, whole), left + right, size - whole)


@kernel
def scratch_elements(count, size, itemsize):
    """Elements for ``count`` rows at `place_of`."""
    return (count * (size * itemsize // PAGE_BYTES + 1) + 1) * PAGE_BYTES // itemsize


@kernel
def hold(scratch):
    """Be called with scratch memory behind the last use of a pointer into it.

    Numba frees an array after the last statement that names it, whatever points there: other Python threads then wrote
    into the weights of these rows.
    """
    return scratch.size


@kernel
def place_of(scratch, row, out, size):
    """Pointer to a row of ``scratch`` that begins as far behind a page as ``out``.

    What is read and written at the same index of a row then begins so, too, if the arrays are large: memory of its own
    at any other distance made rows of 4 KiB take up to three times as long, whenever a load came just behind a store.
    """
    itemsize = scratch.itemsize
    start = simd.pointer(scratch)
    first = (simd.address_of(out) - simd.address_of(start)) % PAGE_BYTES
    return simd.advance(start, (first + row * (size * itemsize // PAGE_BYTES + 1) * PAGE_BYTES) // itemsize)


@kernel
def copied(row, target, size):
    """``target``, filled from ``row``."""
    lanes = lanes_of(row)
    whole = size - size % lanes
    for first in range(0, whole, lanes):
        simd.store(simd.advance(target, first), simd.load(simd.advance(row, first), lanes))
    rest = simd.load_first(simd.advance(row, whole), lanes, size - whole)
    simd.store_first(simd.advance(target, whole), rest, size - whole)
    return target


@kernel
def guess_of(row, size):
    """Mean of the first vector of a row."""
    lanes = lanes_of(row)
    count = min(size, lanes)
    return simd.reduce_add(simd.load_first(row, lanes, count)) / count


@kernel
def moments_around(row, guess, size):
    """Mean and variance by the sums of the differences from a guess of the mean, and of their squares.

    Where the mean is far above the deviation, differences are exact (Chan, Golub and LeVeque 1983, eq. 1.7).
    """
    lanes = lanes_of(row)
    zero = filled(row, 0.0)
    centre = zero + guess
    a, b, c, d = zero, zero, zero, zero
    aa, bb, cc, dd = zero, zero, zero, zero
    whole = size - size % (UNROLL * lanes)
    for first in range(0, whole, UNROLL * lanes):
        at = simd.advance(row, first)
        p = simd.load(at, lanes) - centre
        q = simd.load(simd.advance(at, lanes), lanes) - centre
        r = simd.load(simd.advance(at, 2 * lanes), lanes) - centre
        s = simd.load(simd.advance(at, 3 * lanes), lanes) - centre
        a, b, c, d = a + p, b + q, c + r, d + s
        aa, bb, cc, dd = simd.fma(p, p, aa), simd.fma(q, q, bb), simd.fma(r, r, cc), simd.fma(s, s, dd)
    for first in range(whole, size, lanes):
        p = simd.load_first(simd.advance(row, first), lanes, size - first) - centre
        p = simd.select(simd.iota_i32(lanes) < size - first, p, zero)  # past the end it is -centre
        a, aa = a + p, simd.fma(p, p, aa)
    part = 1.0 / size
    correction = simd.reduce_add((a + b) + (c + d)) * part
    variance = simd.reduce_add((aa + bb) + (cc + dd)) * part - correction * correction
    if variance < 0.0:  # by rounding, where all elements are equal: float32 rows of 1e12 and an eps of 1e-5 gave NaN
        variance = 0.0
    return Moments(guess, correction, variance)


@kernel
def moments_of(row, size):
    """Mean and variance, read once, or twice where the first elements are unlike the rest.

    A guess within a deviation of the mean costs the variance one bit; further off, it is replaced by the mean found.
    """
    moments = moments_around(row, guess_of(row, size), size)
    if moments.correction * moments.correction > moments.variance:
        moments = moments_around(row, moments.guess + moments.correction, size)
    return moments


@kernel
def mean_of(row, moments):
    """The mean as vectors of ``row``: the nearest number, and what is left.

    What is left of the sum of guess and correction, exactly (Knuth 1997, 4.2.2, theorem B): a row less its guess and
    then its correction would be rounded twice.
    """
    guess, correction = filled(row, moments.guess), filled(row, moments.correction)
    mean = guess + correction
    taken = mean - guess
    return mean, (guess - (mean - taken)) + (correction - taken)


class Ends(NamedTuple):
    """Where elements of a row go that are no whole vectors: the first ``head`` to ``before``, the last to ``after``."""

    head: Any
    before: Any
    after: Any
    is_joined: Any


@kernel
def ends_of(out, edge, itemsize, size, is_joined, is_followed):
    """`Ends` of a row: ``out`` itself, or the vector ``edge`` where the rows before and after it end in one with it.

    A common store into a line that is in no cache holds up the streamed ones behind it: two a row took a fifth of the
    time of rows of 4 KiB.
    """
    lanes = lanes_of(out)
    head = min(elements_to_alignment(out, lanes, itemsize), size)
    before = simd.advance(edge, lanes - head) if is_joined else out
    after = edge if is_followed else simd.advance(out, size - (size - head) % lanes)
    return Ends(head, before, after, is_joined and head > 0)


@kernel
def join(out, edge, ends):
    """Write the vector that ends the row before ``out`` and begins this one."""
    if ends.is_joined:
        lanes = lanes_of(out)
        simd.stream(simd.advance(out, ends.head - lanes), simd.load(edge, lanes))


@kernel
def are_joined(out):
    """Whether rows lie end to end, and are long enough for no vector to have parts of three."""
    size = out.shape[1]
    return out.strides[0] == size * out.itemsize and size >= 2 * lanes_of(simd.pointer(out))


@kernel
def scale_some(row, moments, inverse, weight, bias, out, first, count):
    """`scale_row` for ``count`` elements from ``first`` on, fewer than a vector has lanes, to the start of ``out``."""
    lanes = lanes_of(row)
    if count > 0:
        x = simd.load_first(simd.advance(row, first), lanes, count)
        mean, rest = mean_of(row, moments)
        normal = (x - mean - rest) * filled(row, inverse)
        scale = simd.load_first(simd.advance(weight, first), lanes, count)
        shift = simd.load_first(simd.advance(bias, first), lanes, count)
        simd.store_first(out, simd.fma(normal, scale, shift), count)


@kernel
def scale_row(row, moments, epsilon, weight, bias, out, edge, ends, size, streamed):
    """out = (row - mean) / sqrt(variance + epsilon) * weight + bias; ``out`` may be ``row``."""
    lanes = lanes_of(row)
    inverse = 1.0 / np.sqrt(moments.variance + epsilon)
    mean, rest = mean_of(row, moments)
    factor = filled(row, inverse)
    whole = size - (size - ends.head) % lanes
    scale_some(row, moments, inverse, weight, bias, ends.before, 0, ends.head)
    join(out, edge, ends)
    for first in range(ends.head, whole, lanes):
        normal = (simd.load(simd.advance(row, first), lanes) - mean - rest) * factor
        scale, shift = simd.load(simd.advance(weight, first), lanes), simd.load(simd.advance(bias, first), lanes)
        write_vector(simd.advance(out, first), simd.fma(normal, scale, shift), streamed)
    scale_some(row, moments, inverse, weight, bias, ends.after, whole, size - whole)


@kernel
def is_streamed(out, x):
    """Whether the rows of ``out`` are worth writing past the caches, into which x, which may be the same, was read."""
    is_large = out.size * out.itemsize >= STREAMED_BYTES
    return is_large and simd.address_of(simd.pointer(out)) != simd.address_of(simd.pointer(x))


def normalize_items(x, residual, weight, bias, epsilon, out, counter):
    """Take blocks of rows until none is left; ``residual`` has no rows where there is none to add."""
    rows, size = x.shape
    streamed = is_streamed(out, x) and is_streamed(out, residual)
    per_item = max(1, (STREAMED_ITEM_ELEMENTS if streamed else ITEM_ELEMENTS) // size)
    joined = streamed and are_joined(out)
    add = residual.shape[0] > 0
    scratch = np.empty(scratch_elements(3, size, x.itemsize), x.dtype)
    start_of_out = simd.pointer(out)
    scale = copied(simd.pointer(weight), place_of(scratch, 0, start_of_out, size), size)
    shift = copied(simd.pointer(bias), place_of(scratch, 1, start_of_out, size), size)
    total = place_of(scratch, 2, start_of_out, size)
    edges = np.empty(lanes_of(start_of_out), x.dtype)
    edge = simd.pointer(edges)
    item = next_item(counter, -1)
    while item * per_item < rows:
        start, stop = item * per_item, min((item + 1) * per_item, rows)
        for i in range(start, stop):
            row, target = row_of(x, i), row_of(out, i)
            if add:
                add_rows(row, row_of(residual, i), total, size)
                row = total
            ends = ends_of(target, edge, x.itemsize, size, joined and i > start, joined and i + 1 < stop)
            scale_row(row, moments_of(row, size), epsilon, scale, shift, target, edge, ends, size, streamed)
        item = next_item(counter, item)
    simd.stream_fence()
    hold(scratch)
    hold(edges)


def normalize_parallel(body, workers, x, residual, weight, bias, epsilon, out, counter):
    """`normalize_items` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (x, residual, weight, bias, epsilon, out, counter))


@kernel
def are_plain_rows(array, rows, size):
    """Whether these are (rows, size) that a kernel can read in place: aligned, each contiguous."""
    return is_plain_rows(array) and array.shape == (rows, size)


@kernel
def is_plain_vector(array, size):
    """The same of one row."""
    is_aligned = array.ctypes.data % array.itemsize == 0
    return is_aligned and array.size == size and array.strides[0] == array.itemsize


def normalize_small(x, residual, weight, bias, epsilon, out, body):
    """Normalise if everything is in order and there is not enough work for threads; whether that was so.

    ``body`` is the address of `normalize_items`.
    """
    rows, size = x.shape
    if x.size == 0 or x.size * x.itemsize * NS_PER_BYTE >= threads.SMALLEST_WORK_NS:
        return False
    if not (0.0 <= epsilon < np.inf and are_plain_rows(x, rows, size)):
        return False
    if not (is_plain_vector(weight, size) and is_plain_vector(bias, size)):
        return False
    if residual.shape[0] > 0 and not are_plain_rows(residual, rows, size):
        return False
    return call_by_address(body, (x, residual, weight, bias, epsilon, out, ALONE))


def _argument_types(dtype, layout="C"):
    read, vector = types.Array(dtype, 2, "A", readonly=True), types.Array(dtype, 1, layout, readonly=True)
    return [read, read, vector, vector, types.float64, types.Array(dtype, 2, "A")]


_NORMALIZE_F32 = SharedWork(normalize_items, normalize_parallel, _argument_types(types.float32))
_NORMALIZE_F64 = SharedWork(normalize_items, normalize_parallel, _argument_types(types.float64))
_SMALL = Direct(normalize_small, types.boolean(*_argument_types(types.float32, "A"), types.int64))


def normalize_if_small(x, residual, weight, bias, epsilon, out):
    """Whether these arrays were small and in order; then ``out`` is x, or x + residual, normalised.

    x (N, D), residual (., .) or None, weight, bias (.,), out (N, D), C-contiguous: float32; nothing else is relied on.
    All checks in compiled code.
    """
    rows = NO_ROWS if residual is None else residual
    return _SMALL.call(x, rows, weight, bias, epsilon, out, _NORMALIZE_F32.body.address)


def normalize(x, residual, weight, bias, epsilon, out):
    """out = layer norm of x, or of x + residual, row by row.

    x, residual, out (N, D), last axis contiguous, weight, bias (D,), C-contiguous: one of float32 and float64, N and D
    > 0; residual (0, D) for none. ``out`` may be x or residual, and no other array that overlaps them.
    """
    work = _NORMALIZE_F32 if x.itemsize == 4 else _NORMALIZE_F64
    work(x.nbytes * NS_PER_BYTE, x, residual, weight, bias, epsilon, out)
