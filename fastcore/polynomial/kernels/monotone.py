"""One root of a polynomial in a bracket where it is monotone: Halley's and Newton's steps, bisection as safeguard.

Steps in working precision until rounding hides the sign of the value, then, where that leaves x uncertain, Newton's
with the value in twice the precision. Each evaluation shrinks the bracket by its sign; a step that leaves the bracket,
or one that does not halve the residual, is replaced by bisection, so that the bracket is a guarantee and the steps only
make it fast.
"""

import numpy as np

from fastcore._core.jit import kernel
from fastcore.polynomial.kernels.error_free import UNIT, two_product, two_sum

LARGEST = 1.7976931348623157e308
# A value of Horner's rule at least this many times its scale has the right sign: 2 u of rounding and 2 u for
# coefficients that are double-double and lose their tails, and as much again.
HIDDEN = 8.0 * UNIT
# Numba compiles a callee again for each literal integer: these are of a type instead.
TOP, NONE, POLISH, ENOUGH = np.int64(0), np.int64(-1), np.int64(8), np.int64(200)
# Halley's step triples the digits: after one below this the next would be below the last place.
QUICK_STEP = 2.0**-24
SLOW = 9  # steps; from a good start four do


@kernel
def taylor(heads, start, degree, x):
    """Value, slope and half the second derivative at x, and the scale of rounding: sum |s_k| |x|**k of Horner's s_k.

    UNIT * 2 * scale bounds the rounding error of the value (Higham 2002, sec. 5.1).
    """
    size = abs(x)
    value = heads[start + degree]
    slope = 0.0
    curvature = 0.0
    scale = 0.5 * abs(value)
    for k in range(start + degree - 1, start - 1, -1):
        curvature = curvature * x + slope
        slope = slope * x + value
        value = value * x + heads[k]
        scale = scale * size + abs(value)
    return value, slope, curvature, scale


@kernel(fastmath=False)
def compensated(heads, tails, start, degree, x):
    """Value in twice the working precision, slope, and sum |c_k| |x|**k (Graillat, Langlois, Louvet 2009)."""
    size = abs(x)
    value = heads[start + degree]
    error = tails[start + degree]
    scale = abs(value)
    slope = 0.0
    for k in range(start + degree - 1, start - 1, -1):
        slope = slope * x + value
        scale = scale * size + abs(heads[k])
        product, below = two_product(value, x)
        value, lost = two_sum(product, heads[k])
        error = error * x + (below + lost + tails[k])
    return value + error, slope, scale


@kernel
def middle(a, b):
    """A point between a < b: of their exponents where these differ, so that 1e-50 is as near as 1e50."""
    if a < 0.0 < b:
        return 0.0
    small, large = min(abs(a), abs(b)), max(abs(a), abs(b))
    if large <= 4.0 * small:
        return a + 0.5 * (b - a)
    size = large * 2.0**-32 if small == 0.0 else np.sqrt(small) * np.sqrt(large)
    return size if b > 0.0 else -size


@kernel
def quick_steps(heads, start, degree, a, b, rises, x, limit):
    """Halley's steps from x in the working precision.

    Returns
    -------
    a, b, x, iterations : the bracket that is left, and the last point
    settled : whether the last step was small, and not because rounding hides the sign
    """
    last = np.inf
    for iteration in range(1, limit + 1):
        value, slope, curvature, scale = taylor(heads, start, degree, x)
        hidden = not abs(value) > min(HIDDEN * scale, LARGEST)
        if not hidden:
            if (value > 0.0) == rises:
                b = x
            else:
                a = x
        step = value / slope
        bend = step * curvature / slope
        if abs(bend) <= 0.25:
            step /= 1.0 - bend
        elif bend < 0.0:
            # Far from the root, beside a critical point: to where the parabola through the value crosses (Euler's).
            step *= 2.0 / (1.0 + np.sqrt(1.0 - 4.0 * bend))
        if hidden:
            certain = HIDDEN * scale <= QUICK_STEP * abs(slope * x)
            return a, b, (x - step if certain and a < x - step < b else x), iteration, certain
        following = x - step
        inside = a < following < b
        # Steps halve the value of x**d, but take d to halve x: roots of many sizes need their exponents bisected.
        slow = iteration >= SLOW and iteration % 3 == 0 and abs(step) > 2.0**-6 * abs(x)
        if not inside or slow or not abs(value) <= 0.5 * last:
            following = middle(a, b)
            inside = False
        last = abs(value)
        if following == x or not a < following < b:
            return a, b, x, iteration, False
        small = abs(following - x) <= QUICK_STEP * abs(following)
        x = following
        if small and inside:
            return a, b, x, iteration, True
    return a, b, x, limit, False


@kernel
def exact_steps(heads, tails, start, degree, a, b, rises, x, tolerance, limit):
    """Newton's steps from x with compensated values, until one is at most tolerance * abs(x); that one is taken too.

    Returns
    -------
    x, residual, iterations : residual is abs(value) at x, the least that was seen
    """
    best, least, last = x, np.inf, np.inf
    nearly = False
    for iteration in range(1, limit + 1):
        value, slope, _ = compensated(heads, tails, start, degree, x)
        if abs(value) < least:
            best, least = x, abs(value)
        if value == 0.0 or nearly:
            return best, least, iteration
        if (value > 0.0) == rises:
            b = min(b, x)
        else:
            a = max(a, x)
        following = x - value / slope
        nearly = abs(following - x) <= tolerance * abs(x)
        slow = iteration >= SLOW and iteration % 3 == 0 and abs(following - x) > 2.0**-6 * abs(x)
        if not a <= following <= b or slow or not (nearly or abs(value) <= 0.5 * last):
            following = middle(a, b)
            nearly = False
            if not a < following < b:
                return best, least, iteration
        if following == x:
            return best, least, iteration
        last = abs(value)
        x = following
    return best, least, limit


@kernel
def find_root(heads, tails, start, degree, a, b, rises, x, tolerance, limit):
    """The root in (a, b), where the value changes its sign once, first looked for at x.

    tolerance is relative to abs(x). From QUICK_STEP on, the root is not polished where it is well-conditioned, and the
    residual not known; nor at the limit of iterations.

    Returns
    -------
    x, residual, iterations
    """
    if a < 0.0 < b and heads[start] == 0.0 and tails[start] == 0.0:
        return 0.0, 0.0, 1  # steps towards it would only halve the exponent
    a, b, x, iterations, settled = quick_steps(heads, start, degree, a, b, rises, x, limit)
    if iterations >= limit or (settled and tolerance >= QUICK_STEP):
        return x, np.nan, iterations
    x, residual, more = exact_steps(heads, tails, start, degree, a, b, rises, x, tolerance, limit - iterations)
    return x, residual, iterations + more


@kernel
def first_point(a, value_a, curvature_a, b, value_b, curvature_b, centre):
    """Where to look first in (a, b): on the parabola or cubic with the curvature and values of critical points.

    An end that is not a critical point has curvature 0. centre, the mean of all roots, is the answer of degree 1.
    """
    if curvature_a != 0.0 and curvature_b != 0.0:
        share = value_a / (value_a - value_b)
        # the cubic through both with slope 0: 3 t**2 - 2 t**3 = share, as a series in sqrt(share / 3)
        w = np.sqrt(min(share, 1.0 - share) * (1.0 / 3.0))
        t = w * (1.0 + w * (1.0 / 3.0 + w * (5.0 / 18.0 + w * 0.3)))
        x = a + t * (b - a) if share < 0.5 else b - t * (b - a)
    elif curvature_a != 0.0:
        x = min(a + np.sqrt(-value_a / curvature_a), b)
    elif curvature_b != 0.0:
        x = max(b - np.sqrt(-value_b / curvature_b), a)
    else:
        x = centre
    return x if a <= x <= b else middle(a, b)
