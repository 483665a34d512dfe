"""Moments of treated and of control outcomes in one pass over memory.

A block of rows is summed around the means so far, its rows' residuals and their squares by group; then the means move.
With n rows, S the sum of residuals and Q that of squares, mean = centre + S / n and M2 = Q - S**2 / n: no large numbers
cancel, however far the data is from zero or however it drifts, since a centre is never further from a block than the
block is from the rows before it, and that distance is part of M2. Chunks merge by moving one's centre to the other's
(Chan, Golub and LeVeque 1983, eq. 1.5), in their order, whoever computed them.
"""

import numpy as np
from numba import prange, types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore._core.work import ALONE, Direct, SharedWork, call_by_address, next_item

# What `y_kind` and `t_kind` say about bytes. Bools and int8 are read as uint8: -1 is 255, and refused as that.
F64, F32, I64, U8 = 0, 1, 2, 3
KIND_OF = {np.dtype("f8"): F64, np.dtype("f4"): F32, np.dtype("i8"): I64, np.dtype("u1"): U8, np.dtype("?"): U8}
TREATMENT_KIND_OF = {np.dtype("i8"): I64, np.dtype("?"): U8, np.dtype("u1"): U8, np.dtype("i1"): U8}
# Rows summed around one pair of means: 8 KB of float64, which L1 holds for the second look that a first block needs.
BLOCK = 1024
# Rows whose moments are one part. Fixed: results must not depend on the number of threads.
CHUNK = 65536
# Fields of a part: rows, centre, S and Q of the treated, the same of control, and whether all treatments were 0 or 1.
FIELDS = 9
# Serial nanoseconds a row: 0.20 to 0.27 from L2, 0.4 to 0.55 from memory.
NS_PER_ROW = 0.3

_bytes = np.uint8
_empty = np.empty


@kernel(fastmath=False)
def residuals(y, t, count, centre_t, centre_c):
    """Of ``count`` rows at y and t: treated rows, S and Q of the treated around their centre, S and Q of control, and
    the least and the largest t; two vectors side by side hide the latency of additions."""
    lanes = simd.F64_LANES
    zero = simd.broadcast(0.0, lanes, simd.f64)
    one, mean_t, mean_c = zero + 1.0, zero + centre_t, zero + centre_c
    s, s2, q, q2 = zero, zero, zero, zero
    r, r2, p, p2 = zero, zero, zero, zero
    n, n2 = zero, zero
    low = simd.load_first(t, lanes, min(count, lanes))
    high = low
    whole = count - count % (2 * lanes)
    for first in range(0, whole, 2 * lanes):
        a = simd.convert(simd.load(simd.advance(y, first), lanes), simd.f64)
        b = simd.convert(simd.load(simd.advance(y, first + lanes), lanes), simd.f64)
        ta, tb = simd.load(simd.advance(t, first), lanes), simd.load(simd.advance(t, first + lanes), lanes)
        low, high = simd.minimum(low, simd.minimum(ta, tb)), simd.maximum(high, simd.maximum(ta, tb))
        is_a, is_b = ta != 0, tb != 0
        da, db = simd.select(is_a, a - mean_t, zero), simd.select(is_b, b - mean_t, zero)
        s, s2, q, q2 = s + da, s2 + db, simd.fma(da, da, q), simd.fma(db, db, q2)
        da, db = simd.select(is_a, zero, a - mean_c), simd.select(is_b, zero, b - mean_c)
        r, r2, p, p2 = r + da, r2 + db, simd.fma(da, da, p), simd.fma(db, db, p2)
        n, n2 = n + simd.select(is_a, one, zero), n2 + simd.select(is_b, one, zero)
    for first in range(whole, count, lanes):
        a = simd.convert(simd.load_first(simd.advance(y, first), lanes, count - first), simd.f64)
        ta = simd.load_first(simd.advance(t, first), lanes, count - first)
        low, high = simd.minimum(low, ta), simd.maximum(high, ta)  # zeros past the end are valid treatments
        is_a, inside = ta != 0, simd.iota_i32(lanes) < count - first
        da = simd.select(is_a, a - mean_t, zero)
        s, q, n = s + da, simd.fma(da, da, q), n + simd.select(is_a, one, zero)
        da = simd.select(is_a, zero, simd.select(inside, a - mean_c, zero))
        r, p = r + da, simd.fma(da, da, p)
    is_valid = simd.reduce_min(low) >= 0 and simd.reduce_max(high) <= 1
    treated = np.int64(simd.reduce_add(n + n2))
    return (
        (treated, simd.reduce_add(s + s2), simd.reduce_add(q + q2)),
        (count - treated, simd.reduce_add(r + r2), simd.reduce_add(p + p2)),
        is_valid,
    )


@kernel(fastmath=False)
def moved_to_mean(rows, centre, s, q):
    """(rows, centre, S, Q) around their own mean; what rounding of the centre leaves over stays in S."""
    if rows == 0:
        return rows, centre, s, q
    mean = centre + s / rows
    moved = mean - centre
    return rows, mean, s - rows * moved, q - moved * (2.0 * s - rows * moved)


@kernel(fastmath=False)
def merged(a, b):
    """Moments of two sets of rows together."""
    if a[0] == 0.0 or b[0] == 0.0:
        return b if a[0] == 0.0 else a
    moved = a[1] - b[1]
    s = b[2] - b[0] * moved
    q = b[3] - moved * (2.0 * b[2] - b[0] * moved)
    return moved_to_mean(a[0] + b[0], a[1], a[2] + s, a[3] + q)


@kernel(fastmath=False)
def moments_of(y, t, count, part):
    """Fill one part from ``count`` rows."""
    treated, control = (0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)
    is_valid = True
    for first in range(0, count, BLOCK):
        rows = min(BLOCK, count - first)
        at, flags = simd.advance(y, first), simd.advance(t, first)
        centre_t, centre_c = treated[1], control[1]
        if treated[0] == 0.0 or control[0] == 0.0:  # a group without a centre: a look ahead for the mean of the block
            ahead_t, ahead_c, _ = residuals(at, flags, rows, centre_t, centre_c)
            if treated[0] == 0.0 and ahead_t[0] > 0:
                centre_t += ahead_t[1] / ahead_t[0]
            if control[0] == 0.0 and ahead_c[0] > 0:
                centre_c += ahead_c[1] / ahead_c[0]
        block_t, block_c, good = residuals(at, flags, rows, centre_t, centre_c)
        is_valid = is_valid and good
        treated = moved_to_mean(treated[0] + block_t[0], centre_t, treated[2] + block_t[1], treated[3] + block_t[2])
        control = moved_to_mean(control[0] + block_c[0], centre_c, control[2] + block_c[1], control[3] + block_c[2])
    for field in range(4):
        part[field], part[4 + field] = treated[field], control[field]
    part[8] = 1.0 if is_valid else 0.0


@kernel(fastmath=False)
def moments_of_bytes(y, y_kind, t, t_kind, first, count, part):
    """`moments_of` rows from ``first`` on, of outcomes and treatments given as bytes and kinds."""
    flags, wide = simd.advance(t, first), simd.advance(simd.cast_pointer(t, simd.i64), first)
    if y_kind == F64:
        at = simd.advance(simd.cast_pointer(y, simd.f64), first)
        if t_kind == U8:
            moments_of(at, flags, count, part)
        else:
            moments_of(at, wide, count, part)
    elif y_kind == F32:
        at = simd.advance(simd.cast_pointer(y, simd.f32), first)
        if t_kind == U8:
            moments_of(at, flags, count, part)
        else:
            moments_of(at, wide, count, part)
    elif y_kind == I64:
        at = simd.advance(simd.cast_pointer(y, simd.i64), first)
        if t_kind == U8:
            moments_of(at, flags, count, part)
        else:
            moments_of(at, wide, count, part)
    else:
        at = simd.advance(y, first)
        if t_kind == U8:
            moments_of(at, flags, count, part)
        else:
            moments_of(at, wide, count, part)


def moments_items(y, y_kind, t, t_kind, rows, parts, counter):
    """Fill parts, a row each, until none is left."""
    item = next_item(counter, -1)
    while item < parts.shape[0]:
        first = item * CHUNK
        count = min(CHUNK, rows - first)
        moments_of_bytes(simd.pointer(y), y_kind, simd.pointer(t), t_kind, first, count, parts[item])
        item = next_item(counter, item)


def moments_parallel(body, workers, y, y_kind, t, t_kind, rows, parts, counter):
    """`moments_items` in ``workers`` threads."""
    for _ in prange(workers):
        call_by_address(body, (y, y_kind, t, t_kind, rows, parts, counter))


def effect_of_parts(parts):
    """(whether treatments were 0 or 1, effect, standard error, Welch's degrees of freedom, treated rows, control rows).

    The standard error of a group of one row is NaN. Degrees of freedom: Welch 1947; n - 2 where nothing varies.
    """
    treated, control = (0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)
    is_valid = True
    for i in range(parts.shape[0]):
        part = parts[i]
        is_valid = is_valid and part[8] == 1.0
        treated = merged(treated, (part[0], part[1], part[2], part[3]))
        control = merged(control, (part[4], part[5], part[6], part[7]))
    n, m = treated[0], control[0]
    effect = (treated[1] - control[1]) + (treated[2] / n - control[2] / m)
    square_t = max(treated[3] - treated[2] * treated[2] / n, 0.0) / (n - 1.0) / n
    square_c = max(control[3] - control[2] * control[2] / m, 0.0) / (m - 1.0) / m
    square = square_t + square_c
    # Shares of the square, not squares of squares, which leave float64's range for outcomes around 1e80.
    share_t, share_c = square_t / square, square_c / square
    freedom = 1.0 / (share_t * share_t / (n - 1.0) + share_c * share_c / (m - 1.0)) if square > 0.0 else n + m - 2.0
    return is_valid, effect, np.sqrt(square), freedom, n, m


_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_PARTS = types.Array(types.float64, 2, "C")
_MOMENTS = SharedWork(moments_items, moments_parallel, [_BYTES, types.int64, _BYTES, types.int64, types.int64, _PARTS])
_EFFECT = Direct(effect_of_parts, types.Tuple([types.boolean, *[types.float64] * 5])(_PARTS))


def treatment_effect(outcome, treatment):
    """`effect_of_parts` of outcome and treatment (N,), C-contiguous, N > 0, of dtypes in the two tables of kinds."""
    rows = outcome.shape[0]
    y, t = outcome.view(_bytes), treatment.view(_bytes)
    y_kind, t_kind = KIND_OF[outcome.dtype], TREATMENT_KIND_OF[treatment.dtype]
    parts = _empty(((rows + CHUNK - 1) // CHUNK, FIELDS))
    if rows <= CHUNK:  # never worth a launch, nor asking
        _MOMENTS.body.call(y, y_kind, t, t_kind, rows, parts, ALONE)
    else:
        _MOMENTS(rows * NS_PER_ROW, y, y_kind, t, t_kind, rows, parts)
    return _EFFECT.call(parts)
