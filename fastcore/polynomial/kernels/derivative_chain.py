"""Real roots by the chain of derivatives: between neighbouring critical points a polynomial is monotone.

From the last derivative, which is linear, up: the roots of each cut the line into pieces on which the one before it is
monotone, so that a change of sign brackets exactly one root, which `monotone.find_root` finds. Nothing here can miss a
root that is farther from others than rounding can move it, and clusters, where isolation by bisection would not end,
are points whose value is zero within rounding. d**2 root searches of degree d: what `solve` and inverses use.
`real_chain`, for `real_roots`, is another one: it takes roots beyond 1 as those of the reversed polynomial and proves
each sign, at several times the cost; here most signs are told in working precision, since `solve` proves x alone.

A polynomial is double-double, heads and tails: the coefficients of derivatives are products that do not fit 53 bits,
and T40, whose terms of 1e15 sum to 1, would have other roots if they were rounded.
"""

import numpy as np

from fastcore._core.jit import kernel
from fastcore.polynomial.kernels.error_free import UNIT, two_product, two_sum
from fastcore.polynomial.kernels.monotone import (
    ENOUGH,
    HIDDEN,
    LARGEST,
    NONE,
    POLISH,
    QUICK_STEP,
    TOP,
    compensated,
    exact_steps,
    find_root,
    first_point,
    taylor,
)
from fastcore.polynomial.kernels.scaling import exponent, power_of_two, scaled

# Exponents that terms may have: values of 2**1000 do not overflow when they are summed, and the rounding errors of
# products above 2**-960 are not lost.
HIGHEST_EXPONENT = 1000
LOWEST_EXPONENT = -960

RISES = 1  # kinds of candidates: the value changes its sign upwards,
FALLS = -1  # or downwards,
TOUCHES = 0  # or does not, and comes to zero within rounding

LEFT, RIGHT = np.int64(-1), np.int64(1)  # of a type, as in `monotone`


@kernel
def chain_size(degree):
    """Elements of heads and of tails: all derivatives with a root, one after the other."""
    return (degree + 1) * (degree + 2) // 2


@kernel(fastmath=False)
def fill_chain(heads, tails, degree):
    """Derivatives behind the polynomial, degree + 1 elements, that heads and tails begin with.

    Each is multiplied by a power of two near 1 / its degree, so that factorials do not overflow: the roots stay.
    """
    here = 0
    for size in range(degree, 1, -1):
        there = here + size + 1
        shift = 0
        while 3 << shift < 2 * size:
            shift += 1
        unit = 1.0 / (1 << shift)
        for k in range(size):
            factor = (k + 1) * unit
            product, error = two_product(heads[here + k + 1], factor)
            heads[there + k], tails[there + k] = two_sum(product, error + tails[here + k + 1] * factor)
        here = there


@kernel
def root_bound(heads, start, degree):
    """A power of two above the absolute value of all roots, LARGEST at most (Fujiwara 1916)."""
    leading = exponent(heads[start + degree])
    largest = -1023
    for k in range(degree):
        distance = degree - k
        if heads[start + k] != 0.0:
            # ceil of the logarithm's upper bound over the distance
            largest = max(largest, -((leading - 1 - exponent(heads[start + k])) // distance))
    if largest >= 1022:
        return LARGEST
    return power_of_two(largest + 1)


@kernel
def load_scaled(c, degree, y, heads, tails):
    """Put 2**shift * (c - y) in front of the chain, so that its values do not overflow and few underflow.

    c (n,) float64, finite, n > degree, c[degree] not 0; y finite. Both parts of the constant term together are exact.

    Returns
    -------
    shift
    """
    largest = exponent(y)
    lowest = degree
    for k in range(degree, -1, -1):
        if c[k] != 0.0:
            largest = max(largest, exponent(c[k]))
            lowest = k
    # A coefficient between both ends that is so much smaller than either that it underflows counts at no x.
    smallest = min(exponent(c[lowest]), exponent(c[degree]))
    shift = -1 - largest
    fill_scaled(c, degree, y, shift, heads, tails)
    if degree == 0:
        return shift
    # No term is larger than this one is at the bound of the roots, degree + 1 times.
    reach = exponent(heads[degree]) + degree * (exponent(root_bound(heads, TOP, degree)) + 1)
    room = smallest + shift - LOWEST_EXPONENT
    if reach > HIGHEST_EXPONENT:
        more = -min(reach - HIGHEST_EXPONENT, max(room, 0))
    else:
        more = min(max(-room, 0), HIGHEST_EXPONENT - max(reach, 0))
    if more != 0:
        shift += more
        fill_scaled(c, degree, y, shift, heads, tails)
    return shift


@kernel
def fill_scaled(c, degree, y, shift, heads, tails):
    """heads and tails of 2**shift * (c - y)."""
    for k in range(degree + 1):
        heads[k] = scaled(c[k], shift)
        tails[k] = 0.0
    heads[0], tails[0] = two_sum(heads[0], scaled(-y, shift))


@kernel
def decided_value(heads, tails, start, degree, derivative, x, a, b, slack):
    """Value at a point where it may be about zero, found to as many digits as that takes.

    Parameters
    ----------
    derivative : where the derivative starts, whose root x is to be polished; or -1
    x, a, b : a <= x <= b
    slack : what else than the coefficients' rounding may move the value, absolute

    Returns
    -------
    x, value, curvature : value is 0 where its sign cannot be told; curvature is half the second derivative
    near : whether rounding the coefficients once can change its sign
    least : abs(value), also where it cannot be told from 0
    """
    value, slope, curvature, scale = taylor(heads, start, degree, x)
    if abs(value) > min(HIDDEN * scale, LARGEST):
        return x, value, curvature, False, abs(value)
    value, slope, scale = compensated(heads, tails, start, degree, x)
    # No point to polish, an end: x is rounded as well, so that x**2 - 1 is near 0 at the float64 below 1.
    noise = (UNIT if derivative >= 0 else 2.0 * UNIT) * scale + slack
    near = not abs(value) > noise
    if near and derivative >= 0:
        x, _, _ = exact_steps(heads, tails, derivative, degree - 1, a, b, curvature > 0.0, x, 2.0 * UNIT, POLISH)
        value, slope, scale = compensated(heads, tails, start, degree, x)
        noise = UNIT * scale + slack
        near = not abs(value) > noise
        # what the polynomial's second-order error is, and how far the value is from the one where the slope is 0
        least = UNIT * UNIT * 8.0 * (degree + 1) * (degree + 1) * scale + 0.5 * slope * slope / abs(curvature)
    else:
        least = UNIT * UNIT * 8.0 * (degree + 1) * (degree + 1) * scale
    told = abs(value) > min(least, noise)
    return x, (value if told else 0.0), curvature, near, abs(value)


@kernel
def sign_at_infinity(leading, degree, direction):
    """The value's limit, infinite, of the sign of the leading coefficient or, of odd degree to the left, the other."""
    rises = (leading > 0.0) == (direction > 0 or degree % 2 == 0)
    return np.inf if rises else -np.inf


@kernel(inline=True)  # a call costs `solve` 0.3 of its 4 us
def end_value(heads, tails, start, degree, x, is_open, direction, slack):
    """(value, near, least) of `decided_value` at x, the LEFT or RIGHT end; an open one has the sign of infinity."""
    if is_open:
        return sign_at_infinity(heads[start + degree], degree, direction), False, np.inf
    _, value, _, near, least = decided_value(heads, tails, start, degree, NONE, x, x, x, slack)
    return value, near, least


@kernel
def level_breaks(heads, tails, start, degree, low, high, open_low, open_high, breaks, count, roots):
    """Points between which the antiderivative is monotone, in (low, high): roots, and points of value about zero.

    Parameters
    ----------
    start, degree : of the polynomial whose roots are asked for
    low, high : float64, finite
    open_low, open_high : whether there are no roots beyond, and the sign there is that of infinity
    breaks, count : the same of its derivative
    roots : (degree,) float64, written

    Returns
    -------
    the number of roots written, ascending
    """
    derivative = start + degree + 1 if degree > 1 else NONE
    centre = -heads[start + degree - 1] / (degree * heads[start + degree])
    left, left_curvature = low, 0.0
    left_value, _, _ = end_value(heads, tails, start, degree, low, open_low, LEFT, 0.0)
    found = 0
    for i in range(count + 1):
        if i < count:
            after = breaks[i + 1] if i + 1 < count else high
            right, right_value, right_curvature, near, _ = decided_value(
                heads, tails, start, degree, derivative, breaks[i], left, after, 0.0
            )
        else:
            right, right_curvature, near = high, 0.0, False
            right_value, _, _ = end_value(heads, tails, start, degree, high, open_high, RIGHT, 0.0)
        if (left_value < 0.0 and right_value > 0.0) or (left_value > 0.0 and right_value < 0.0):
            x = first_point(left, left_value, left_curvature, right, right_value, right_curvature, centre)
            rises = right_value > 0.0
            x, _, _ = find_root(heads, tails, start, degree, left, right, rises, x, QUICK_STEP, ENOUGH)
            roots[found] = x
            found += 1
        elif near:
            roots[found] = right
            found += 1
        left, left_value, left_curvature = right, right_value, right_curvature
    return found


@kernel
def critical_points(heads, tails, degree, low, high, points, spare):
    """Points in (low, high) that cut it into pieces on which the polynomial is monotone within rounding, ascending.

    Parameters
    ----------
    heads, tails : `fill_chain`
    degree : that of the polynomial, the leading coefficient is not 0
    low, high : float64, infinite ends allowed
    points, spare : (degree,) float64; the points are written to the first

    Returns
    -------
    the number of points
    """
    if degree < 2:
        return 0
    first = degree + 1
    bound = root_bound(heads, first, degree - 1)
    # Gauss and Lucas: the roots of all further derivatives lie within the bound of the first one's.
    open_low, open_high = low < -bound, high > bound
    low, high = max(low, -bound), min(high, bound)
    if not low < high:
        return 0
    count = TOP
    start = chain_size(degree) - 3
    for level_degree in range(1, degree):
        count = level_breaks(heads, tails, start, level_degree, low, high, open_low, open_high, points, count, spare)
        points, spare = spare, points
        start -= level_degree + 2
    if degree % 2 == 0:  # an odd number of exchanges: what is called points here is the caller's spare
        for i in range(count):
            spare[i] = points[i]
    return count


@kernel
def candidates(heads, tails, degree, low, high, slack, points, count, left, right, first, kinds):
    """Where there are solutions in [low, high]: brackets with a change of sign, and points of value about zero.

    Neighbours between which nothing can be told from zero are one. A point that is zero within rounding beside a change
    of sign is no candidate of its own.

    Parameters
    ----------
    heads, tails : `fill_chain`
    low, high : float64, infinite ends allowed, low <= high
    slack : absolute error of the constant term
    points, count : `critical_points`
    left, right, first : (degree + 1,) float64, written: the bracket and where to look first; the point where it touches
    kinds : (degree + 1,) int64, written: RISES, FALLS or TOUCHES

    Returns
    -------
    number : of candidates
    nearest : the one of all these points where the absolute value is least
    """
    bound = root_bound(heads, TOP, degree)
    open_low, open_high = low < -bound, high > bound
    low, high = max(low, -bound), min(high, bound)
    if not low <= high:  # the domain is beyond all roots
        return 0, (low if open_high else high)
    centre = -heads[degree - 1] / (degree * heads[degree])
    last, last_curvature = low, 0.0
    last_value, near, size = end_value(heads, tails, TOP, degree, low, open_low, LEFT, slack)
    number, nearest, least = 0, low, size
    best, best_size = low, size if near else np.inf  # of the points about zero since the last candidate or clear sign
    beside = False  # whether such points lie beside a candidate
    sign_from, sign = low, last_value  # the last point with a sign
    for i in range(count + 1):
        if i < count:
            after = points[i + 1] if i + 1 < count else high
            x, value, curvature, near, size = decided_value(
                heads, tails, TOP, degree, degree + 1, points[i], max(last, low), after, slack
            )
        else:
            x, curvature = high, 0.0
            value, near, size = end_value(heads, tails, TOP, degree, high, open_high, RIGHT, slack)
        if size < least:
            nearest, least = x, size
        if (sign < 0.0 and value > 0.0) or (sign > 0.0 and value < 0.0):
            left[number], right[number] = sign_from, x
            kinds[number] = RISES if value > 0.0 else FALLS
            if sign_from == last:
                first[number] = first_point(last, last_value, last_curvature, x, value, curvature, centre)
            else:
                first[number] = best
            number += 1
            best_size = np.inf
            beside = True
        if near:
            if not beside and size < best_size:
                best, best_size = x, size
        else:
            if best_size < np.inf:
                first[number], kinds[number] = best, TOUCHES
                number += 1
            best_size = np.inf
            beside = False
        if value != 0.0:
            sign_from, sign = x, value
        last, last_value, last_curvature = x, value, curvature
    if best_size < np.inf:
        first[number], kinds[number] = best, TOUCHES
        number += 1
    return number, nearest
