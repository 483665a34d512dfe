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
from fastcore._core.threads import SMALLEST_WORK_NS
from fastcore._core.work import Direct, SharedWork, call_by_address, next_item

# What `y_kind` and `t_kind` say about bytes. Treatments of one byte are read as int8: 255 is -1, and refused as that.
F64, F32, I64, U8 = 0, 1, 2, 3
KIND_OF = {np.dtype("f8"): F64, np.dtype("f4"): F32, np.dtype("i8"): I64, np.dtype("u1"): U8, np.dtype("?"): U8}
TREATMENT_KIND_OF = {np.dtype("i8"): I64, np.dtype("?"): U8, np.dtype("u1"): U8, np.dtype("i1"): U8}
# Rows summed around one pair of means: moving them costs 40 ns. Bytes that count the treated of a lane get one a row of
# every second vector, and hold 255.
BLOCK = 480 * simd.F64_LANES
# Rows looked at for a first mean.
AHEAD = 256
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
    """Of ``count`` rows at y and t: rows, S and Q of the treated, of control, and whether all of t is 0 or 1.

    S and Q are around the centre of each group. Two vectors side by side hide the latency of additions.
    """
    lanes = simd.F64_LANES
    zero = simd.broadcast(0.0, lanes, simd.f64)
    mean_t, mean_c = zero + centre_t, zero + centre_c
    s, s2, q, q2 = zero, zero, zero, zero
    r, r2, p, p2 = zero, zero, zero, zero
    n = simd.load_first(t, lanes, 0)  # zeros of the dtype of t
    n2, seen = n, n
    whole = count - count % (2 * lanes)
    for first in range(0, whole, 2 * lanes):
        at, flags = simd.advance(y, first), simd.advance(t, first)
        a = simd.convert(simd.load(at, lanes), simd.f64)
        b = simd.convert(simd.load(simd.advance(at, lanes), lanes), simd.f64)
        ta, tb = simd.load(flags, lanes), simd.load(simd.advance(flags, lanes), lanes)
        n, n2, seen = n + ta, n2 + tb, seen | ta | tb
        # From != 0, or from one comparison, LLVM makes each masked sum of an unmasked one and a blend.
        is_t, is_t2, is_c, is_c2 = ta > 0, tb > 0, ta < 1, tb < 1
        d, d2 = a - simd.select(is_t, mean_t, mean_c), b - simd.select(is_t2, mean_t, mean_c)
        s, s2 = simd.select(is_t, s + d, s), simd.select(is_t2, s2 + d2, s2)
        r, r2 = simd.select(is_c, r + d, r), simd.select(is_c2, r2 + d2, r2)
        q, q2 = simd.select(is_t, simd.fma(d, d, q), q), simd.select(is_t2, simd.fma(d2, d2, q2), q2)
        p, p2 = simd.select(is_c, simd.fma(d, d, p), p), simd.select(is_c2, simd.fma(d2, d2, p2), p2)
    for first in range(whole, count, lanes):
        a = simd.convert(simd.load_first(simd.advance(y, first), lanes, count - first), simd.f64)
        ta = simd.load_first(simd.advance(t, first), lanes, count - first)
        n, seen = n + ta, seen | ta
        is_t, is_c = ta > 0, ta < 1
        d = simd.select(simd.iota_i32(lanes) < count - first, a - simd.select(is_t, mean_t, mean_c), zero)
        s, r = simd.select(is_t, s + d, s), simd.select(is_c, r + d, r)
        q, p = simd.select(is_t, simd.fma(d, d, q), q), simd.select(is_c, simd.fma(d, d, p), p)
    is_valid = simd.reduce_min(seen) >= 0 and simd.reduce_max(seen) <= 1
    # Counts of at most 241 a lane, of which int8 keeps the low bits.
    treated = simd.reduce_add((simd.convert(n, simd.i64) & 255) + (simd.convert(n2, simd.i64) & 255))
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
def first_centres(y, t, rows, treated, control):
    """Centres for a block: those of the rows before it, or where a group has none, means of its first rows here."""
    centre_t, centre_c = treated[1], control[1]
    for size in (min(AHEAD, rows), rows):
        ahead_t, ahead_c, _ = residuals(y, t, size, treated[1], control[1])
        if treated[0] == 0.0 and ahead_t[0] > 0:
            centre_t = treated[1] + ahead_t[1] / ahead_t[0]
        if control[0] == 0.0 and ahead_c[0] > 0:
            centre_c = control[1] + ahead_c[1] / ahead_c[0]
        if treated[0] + ahead_t[0] > 0 and control[0] + ahead_c[0] > 0:
            break
    return centre_t, centre_c


@kernel(fastmath=False)
def moments_of(y, t, count, part):
    """Fill one part from ``count`` rows."""
    treated, control = (0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)
    is_valid = True
    for first in range(0, count, BLOCK):
        rows = min(BLOCK, count - first)
        at, flags = simd.advance(y, first), simd.advance(t, first)
        centre_t, centre_c = treated[1], control[1]
        if treated[0] == 0.0 or control[0] == 0.0:
            centre_t, centre_c = first_centres(at, flags, rows, treated, control)
        block_t, block_c, good = residuals(at, flags, rows, centre_t, centre_c)
        is_valid = is_valid and good
        treated = moved_to_mean(treated[0] + block_t[0], centre_t, treated[2] + block_t[1], treated[3] + block_t[2])
        control = moved_to_mean(control[0] + block_c[0], centre_c, control[2] + block_c[1], control[3] + block_c[2])
    for field in range(4):
        part[field], part[4 + field] = treated[field], control[field]
    part[8] = 1.0 if is_valid else 0.0


@kernel(fastmath=False)
def moments_of_flags(at, flags, wide, t_kind, count, part):
    """`moments_of` treatments of one byte or of eight."""
    if t_kind == U8:
        moments_of(at, flags, count, part)
    else:
        moments_of(at, wide, count, part)


@kernel(fastmath=False)
def moments_of_bytes(y, y_kind, t, t_kind, first, count, part):
    """`moments_of` rows from ``first`` on, of outcomes and treatments given as bytes and kinds."""
    flags = simd.advance(simd.cast_pointer(t, simd.i8), first)
    wide = simd.advance(simd.cast_pointer(t, simd.i64), first)
    if y_kind == F64:
        at = simd.advance(simd.cast_pointer(y, simd.f64), first)
        moments_of_flags(at, flags, wide, t_kind, count, part)
    elif y_kind == F32:
        at = simd.advance(simd.cast_pointer(y, simd.f32), first)
        moments_of_flags(at, flags, wide, t_kind, count, part)
    elif y_kind == I64:
        at = simd.advance(simd.cast_pointer(y, simd.i64), first)
        moments_of_flags(at, flags, wide, t_kind, count, part)
    else:
        at = simd.advance(y, first)
        moments_of_flags(at, flags, wide, t_kind, count, part)


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


@kernel(fastmath=False)
def t_quantile(z, freedom):
    """Quantile of Student's t from the normal one of the same probability, or NaN where it is not good to 1e-14.

    Cornish and Fisher's expansion, Abramowitz and Stegun 26.7.5. tests/metrics/test_treatment_effect.py has the bound.
    """
    if not (freedom >= 400.0 and 0.0 <= z <= 3.5):
        return np.nan
    w = z * z
    g1 = (w + 1.0) / 4.0
    g2 = ((5.0 * w + 16.0) * w + 3.0) / 96.0
    g3 = (((3.0 * w + 19.0) * w + 17.0) * w - 15.0) / 384.0
    g4 = ((((79.0 * w + 776.0) * w + 1482.0) * w - 1920.0) * w - 945.0) / 92160.0
    g5 = (((((27.0 * w + 339.0) * w + 930.0) * w - 1782.0) * w - 765.0) * w + 17955.0) / 368640.0
    v = 1.0 / freedom
    return z + z * v * (g1 + v * (g2 + v * (g3 + v * (g4 + v * g5))))


@kernel(fastmath=False)
def effect_of_parts(parts):
    """(whether treatments were 0 or 1, effect, standard error, Welch's degrees of freedom, treated and control rows).

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
    freedom = n + m - 2.0
    if square > 0.0:  # by shares of the square: squares of squares leave float64's range for outcomes around 1e80
        share_t, share_c = square_t / square, square_c / square
        freedom = 1.0 / (share_t * share_t / (n - 1.0) + share_c * share_c / (m - 1.0))
    return is_valid, effect, np.sqrt(square), freedom, n, m


@kernel(fastmath=False)
def effect_and_quantile(parts, z):
    """`effect_of_parts`, and `t_quantile` of its degrees of freedom."""
    is_valid, effect, error, freedom, n, m = effect_of_parts(parts)
    return is_valid, effect, error, freedom, np.int64(n), np.int64(m), t_quantile(z, freedom)


def effect_of_many(parts, z):
    """`effect_and_quantile` by itself."""
    return effect_and_quantile(parts, z)


def effect_of_few(body, y, y_kind, t, t_kind, rows, z):
    """`effect_and_quantile` of `moments_items` in one call, which saves 0.9 us of 2.5 us for 10 rows."""
    parts = np.empty(((rows + CHUNK - 1) // CHUNK, FIELDS))
    if not call_by_address(body, (y, y_kind, t, t_kind, rows, parts, np.empty(0, np.int64))):
        parts[:, 8] = 0.0
    return effect_and_quantile(parts, z)


_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_PARTS = types.Array(types.float64, 2, "C")
_INPUT = [_BYTES, types.int64, _BYTES, types.int64, types.int64]
_MOMENTS = SharedWork(moments_items, moments_parallel, [_BYTES, types.int64, _BYTES, types.int64, types.int64, _PARTS])
_RESULT = types.Tuple([types.boolean, *[types.float64] * 3, types.int64, types.int64, types.float64])
_OF_MANY = Direct(effect_of_many, _RESULT(_PARTS, types.float64))
_OF_FEW = Direct(effect_of_few, _RESULT(types.int64, *_INPUT, types.float64))


def treatment_effect(outcome, treatment, z):
    """Effect of treatment on outcome, both (N,), C-contiguous, N > 0, of dtypes in the two tables of kinds.

    z : quantile of the normal distribution

    Returns whether treatments were 0 or 1, effect, standard error, Welch's degrees of freedom, treated rows, control
    rows, and the quantile of Student's t, or NaN where `t_quantile` does not give it.
    """
    rows = outcome.shape[0]
    y, t = outcome.view(_bytes), treatment.view(_bytes)
    y_kind, t_kind = KIND_OF[outcome.dtype], TREATMENT_KIND_OF[treatment.dtype]
    work_ns = rows * NS_PER_ROW
    if work_ns < SMALLEST_WORK_NS:
        return _OF_FEW.call(_MOMENTS.body.address, y, y_kind, t, t_kind, rows, z)
    return effect_from(moments(outcome, treatment), z)


def moments(outcome, treatment):
    """(P, FIELDS) moments of the groups, a row for each chunk, of what `treatment_effect` takes."""
    rows = outcome.shape[0]
    parts = _empty(((rows + CHUNK - 1) // CHUNK, FIELDS))
    y_kind, t_kind = KIND_OF[outcome.dtype], TREATMENT_KIND_OF[treatment.dtype]
    _MOMENTS(rows * NS_PER_ROW, outcome.view(_bytes), y_kind, treatment.view(_bytes), t_kind, rows, parts)
    return parts


def effect_from(parts, z):
    """What `treatment_effect` returns, of (P, FIELDS) parts."""
    return _OF_MANY.call(parts, z)
