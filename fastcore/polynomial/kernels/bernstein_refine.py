"""From brackets to verified roots, a root a lane, whichever polynomial it belongs to."""

from numba import types

from fastcore._core import simd
from fastcore._core.jit import kernel
from fastcore.polynomial.kernels.bernstein import LANES, MIRRORED, RISING
from fastcore.polynomial.kernels.either import absolute
from fastcore.polynomial.kernels.error_free import UNIT, two_product, two_sum
from fastcore.polynomial.kernels.real_single import EDGE
from fastcore.polynomial.kernels.scaling import power_of_two

__all__ = ["WIDE", "refine"]

WIDE = 2 * int(LANES)  # two vectors: while one waits for a result, the other computes

MOST_STEPS = 14  # of Newton's rule; what takes more is for `real_single`
MOST_EXACT_STEPS = 4  # of the same in twice the precision
# Relative: the next step is about the square, times what grows where roots are near.
SMALL_STEP = 2.0**-20
TINY_STEP = 2.0**-36


@kernel(fastmath=False)
def gather_coefficients(coefficients, columns, degree, codes, is_reversed, buffer):
    """buffer (degree + 1, WIDE): the coefficients of P(x), of P(-x) in mirrored lanes; from the last if reversed."""
    column = codes >> 2
    sign = simd.select((codes & MIRRORED) == MIRRORED, simd.broadcast(-1.0, WIDE), 1.0)
    # The powers of -1 that go with the coefficients in their order of storage.
    factor = simd.broadcast(1.0, WIDE)
    row = simd.advance(coefficients, (degree + 1 if is_reversed else 1) * columns)
    step = -columns if is_reversed else columns
    for k in range(degree + 1):
        simd.store(simd.advance(buffer, k * WIDE), simd.gather(row, column) * factor)
        factor = factor * sign
        row = simd.advance(row, step)
    return sign


@kernel(fastmath=False, inline=True)
def newton(buffer, degree, low, high, x, rising):
    """(x, steps): x near the one root in (low, high); steps of each lane, MOST_STEPS where it did not get there."""
    steps = simd.broadcast(0.0, WIDE)
    going = steps == 0.0
    top = simd.load(simd.advance(buffer, degree * WIDE), WIDE)
    for _ in range(MOST_STEPS):
        value = simd.fma(top, x, simd.load(simd.advance(buffer, (degree - 1) * WIDE), WIDE))
        slope = top
        place = simd.advance(buffer, (degree - 2) * WIDE)
        for _ in range(degree - 1):
            slope = simd.fma(slope, x, value)
            value = simd.fma(value, x, simd.load(place, WIDE))
            place = simd.advance(place, -WIDE)
        before = ~((value > 0.0) ^ rising)
        low, high = simd.select(before, x, low), simd.select(before, high, x)
        step = value / slope
        new = x - step
        inside = (new > low) & (new < high)
        new = simd.select(inside, new, (low + high) * 0.5)
        steps = simd.select(going, steps + 1.0, steps)
        x = simd.select(going, new, x)
        going = going & ~(inside & (absolute(step) <= x * SMALL_STEP))
        if not simd.any_lane(going):
            break
    return x, steps


@kernel(fastmath=False, inline=True)
def evaluate_lanes(buffer, degree, x):
    """(P(x) as if in twice the precision, P'(x), sum of |c_k| x**k) at x > 0."""
    value = simd.load(simd.advance(buffer, degree * WIDE), WIDE)
    error = simd.broadcast(0.0, WIDE)
    slope = error
    size = absolute(value)
    place = simd.advance(buffer, (degree - 1) * WIDE)
    for _ in range(degree):
        coefficient = simd.load(place, WIDE)
        slope = simd.fma(slope, x, value)
        product, of_product = two_product(value, x)
        value, of_sum = two_sum(product, coefficient)
        error = simd.fma(error, x, of_product + of_sum)
        size = simd.fma(size, x, absolute(coefficient))
        place = simd.advance(place, -WIDE)
    return value + error, slope, size


@kernel(fastmath=False)
def disc(value, slope, size, x, degree):
    """(within the backward error, radius around x that holds a root)."""
    most = absolute(value) * (1.0 + 2.0 * UNIT) + size * ((2.0 * degree + 4.0) * UNIT) ** 2
    least = absolute(slope) - size / x * (4.0 * degree * degree * UNIT)
    radius = most / least * (degree * (1.0 + 8.0 * UNIT))
    return (least > 0.0) & (absolute(value) <= size * (4.0 * degree * UNIT)), radius


@kernel(fastmath=False, inline=True)
def approach(buffer, degree, x):
    """(x, step): the root is at x - step, the step so small that its square counts no more."""
    step = x
    for _ in range(MOST_EXACT_STEPS):
        value, slope, _ = evaluate_lanes(buffer, degree, x)
        step = value / slope
        far = absolute(step) > x * TINY_STEP
        if not simd.any_lane(far):
            break
        x = simd.select(far, x - step, x)
    return x, step


@kernel(fastmath=False)
def finish(buffer, degree, x):
    """(root, |P| there, radius of a disc that holds a root, whether all is well) from x near the root."""
    x, step = approach(buffer, degree, x)
    root = x - step
    value, slope, size = evaluate_lanes(buffer, degree, root)
    fine, radius = disc(value, slope, size, root, degree)
    return root, absolute(value), radius, fine & (absolute(step) <= x * TINY_STEP)


@kernel(fastmath=False)
def finish_reversed(buffer, degree, t):
    """`finish` of 1 / t: the root of the polynomial whose coefficients are those in the buffer reversed."""
    t, step = approach(buffer, degree, t)
    near = t - step
    root = 1.0 / near
    # near is off t - step by what its subtraction rounded.
    product, of_product = two_product(near, root)
    root = root + root * (((1.0 - product) - of_product) - ((t - near) - step) * root)
    # P(root) = root**degree Q(1 / root), and 1 / root is back + rest.
    back = 1.0 / root
    product, of_product = two_product(back, root)
    rest = ((1.0 - product) - of_product) * back
    value, slope, size = evaluate_lanes(buffer, degree, back)
    value = simd.fma(rest, slope, value)
    fine, radius = disc(value, slope, size, back, degree)
    room = 1.0 - radius * root
    power = root
    for _ in range(degree - 1):
        power = power * root
    residual = absolute(value) * power
    fine = fine & (absolute(step) <= t * TINY_STEP) & (room > 0.5) & (residual < 1e300)
    return root, residual, radius * root * root / room * (1.0 + 8.0 * UNIT), fine


@kernel(fastmath=False)
def refine(
    coefficients, shifts, columns, degree, roots, capacity, count, is_reversed, buffer, answers, owners, found, bad
):
    """The roots of one list, behind the `found` answers there are; the number of answers then. All pointers.

    roots (4, capacity): low, high, start and code of each, of |x| or 1 / |x|
    answers (4, capacity): x, residual, radius, steps; owners: the column of each, negative where it is in `bad`
    """
    for start in range(0, count, WIDE):
        # Beyond the last one: the first one again.
        own = simd.advance(roots, start)
        own_codes = simd.cast_pointer(simd.advance(own, 3 * capacity), types.int64)
        valid = simd.iota_i64(WIDE) < count - start
        codes = simd.select(valid, simd.load(own_codes, WIDE), simd.load_scalar(own_codes))
        low = simd.select(valid, simd.load(own, WIDE), simd.load_scalar(own))
        own = simd.advance(own, capacity)
        high = simd.select(valid, simd.load(own, WIDE), simd.load_scalar(own))
        own = simd.advance(own, capacity)
        x = simd.select(valid, simd.load(own, WIDE), simd.load_scalar(own))
        sign = gather_coefficients(coefficients, columns, degree, codes, is_reversed, buffer)
        x, steps = newton(buffer, degree, low, high, x, (codes & RISING) == RISING)
        if is_reversed:
            root, residual, radius, fine = finish_reversed(buffer, degree, x)
            inside = (root * low <= 1.0) & (root * high >= 1.0)
        else:
            root, residual, radius, fine = finish(buffer, degree, x)
            inside = (root >= low) & (root <= high)
        # Where the two sides meet a root may be found from both.
        fine = fine & inside & (absolute(root - EDGE) > EDGE * 2.0**-48)
        column = codes >> 2
        stretch = power_of_two(simd.gather(shifts, column))
        lift = power_of_two(simd.gather(simd.advance(shifts, columns), column))
        own = simd.advance(answers, found)
        simd.store(own, root * sign * stretch)
        simd.store(simd.advance(own, capacity), residual * lift)
        simd.store(simd.advance(own, 2 * capacity), radius * stretch)
        simd.store(simd.advance(own, 3 * capacity), steps + 2.0)
        simd.store(simd.advance(owners, found), simd.select(fine, column, -1 - column))
        last = found + min(WIDE, count - start)
        if not simd.all_lanes(fine):
            for i in range(found, last):
                column_of_bad = -1 - simd.load_scalar(simd.advance(owners, i))
                if column_of_bad >= 0:
                    simd.store_scalar(simd.advance(bad, column_of_bad), 1)
        found = last
    return found
