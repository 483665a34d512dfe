"""Real roots of one polynomial by the chain of its derivatives: slow, and sure of clusters and multiple roots.

Between neighbouring roots of a derivative a polynomial is monotone: a change of sign is one root, none is none. From
the linear derivative down, each level's roots cut the next one's range. All levels are evaluated by compensated Horner
with coefficients of double-double precision, so signs are known wherever u**2 can tell.

`derivative_chain`, for `solve`, is another one, several times as fast: it tells most signs in working precision and has
no bound to prove a root by, nor the reversed polynomial for roots beyond 1.
"""

import numpy as np

from fastcore._core.jit import kernel
from fastcore.polynomial.kernels import status
from fastcore.polynomial.kernels.either import float_bits, float_of_bits
from fastcore.polynomial.kernels.error_free import UNIT, dd_multiply_number
from fastcore.polynomial.kernels.monotone import TOP, compensated

__all__ = ["LARGEST_COEFFICIENT", "evaluate", "roots_within"]

# Coefficients are scaled to just below, so that those 1e-300 times as large keep all bits of their products' errors.
LARGEST_COEFFICIENT = 2.0**900
SMALLEST_BOUND = 2.0**-1000  # what underflows of error terms can sum up to
STEPS = 250  # a bracket is a float64 after 64 bisections of its bits; every other step may be Newton's
SLOW = 9  # steps; from a good start six do


@kernel(fastmath=False)
def evaluate(high, low, degree, total_degree, x):
    """(P(x), P'(x), sum of |c_k| |x|**k, bound on the error of P(x)) of coefficients high + low.

    high, low (degree + 1,) at least; the low parts may be off by 3 u**2 of the high ones for each of the
    total_degree - degree derivatives taken. P' is rounded at each step. Source: Graillat, Langlois, Louvet 2009.
    """
    value, slope, size = compensated(high, low, TOP, degree, x)
    relative = (2.0 * total_degree + 4.0) * UNIT
    return value, slope, size, UNIT * abs(value) + relative * relative * size + SMALLEST_BOUND


@kernel(fastmath=False)
def middle(low, high):
    """A point between, halving the distance; the logarithmic one where that is large."""
    if low < 0.0 < high:
        return 0.0
    near, far = (low, high) if high > 0.0 else (high, low)
    if abs(far) <= 4.0 * abs(near):
        return near + 0.5 * (far - near)
    bits = (float_bits(abs(near)) + float_bits(abs(far))) >> 1
    return float_of_bits(bits) if far > 0.0 else -float_of_bits(bits)


@kernel(fastmath=False)
def root_between(high, low, degree, total_degree, left, right, value_left, value_right):
    """(x, evaluations): the root in (left, right), where values have opposite signs and P is monotone.

    Newton's steps; a bisection where one leaves the bracket or is not half the step before.
    """
    rising = value_left < 0.0
    before = right - left
    x = left - value_left * (before / (value_right - value_left))
    if not left < x < right:
        x = middle(left, right)
    for done in range(1, STEPS):
        value, slope, _, bound = evaluate(high, low, degree, total_degree, x)
        if abs(value) <= bound:
            return x, done
        if (value < 0.0) == rising:
            left = x
        else:
            right = x
        step = value / slope
        new = x - step
        if new == x:
            return x, done
        # Far out, where P is like x**d, Newton's steps halve x, and would not end before a root of 1e-150.
        slow = done >= SLOW and done % 3 == 0 and abs(step) > 2.0**-6 * abs(x)
        if left < new < right and abs(step) <= 0.5 * before and not slow:
            before = abs(step)
            x = new
            if before <= UNIT * abs(x):
                return x, done
        else:
            x = middle(left, right)
            before = right - left
            if not left < x < right:
                return x, done
    return x, STEPS


@kernel(fastmath=False)
def fill_derivatives(high, low, degree):
    """Rows 1 to degree - 1 from row 0: the derivatives, times powers of two."""
    for level in range(1, degree):
        largest = 0.0
        for k in range(degree + 1 - level):
            a, b = dd_multiply_number(high[level - 1, k + 1], low[level - 1, k + 1], k + 1.0)
            high[level, k], low[level, k] = a, b
            largest = max(largest, abs(a))
        while largest > LARGEST_COEFFICIENT:
            for k in range(degree + 1 - level):
                high[level, k] *= 2.0**-32
                low[level, k] *= 2.0**-32
            largest *= 2.0**-32


@kernel(fastmath=False)
def critical_points(high, low, degree, edge, nodes, roots, values):
    """Number of the roots of the first derivative in (-edge, edge), ascending in nodes[1:].

    What is zero within the error bound counts as one: needless cuts do no harm. nodes, roots, values: scratch.
    """
    count = 0
    for level in range(degree - 1, 0, -1):
        nodes[0], nodes[count + 1] = -edge, edge
        own_high, own_low = high[level], low[level]
        for i in range(count + 2):
            value, _, _, bound = evaluate(own_high, own_low, degree - level, degree, nodes[i])
            values[i] = 0.0 if abs(value) <= bound else value
        found = 0
        for i in range(count + 1):
            if i > 0 and values[i] == 0.0:
                roots[found] = nodes[i]
                found += 1
            if values[i] < 0.0 < values[i + 1] or values[i + 1] < 0.0 < values[i]:
                roots[found], _ = root_between(
                    own_high, own_low, degree - level, degree, nodes[i], nodes[i + 1], values[i], values[i + 1]
                )
                found += 1
        count = found
        for i in range(count):
            nodes[i + 1] = roots[i]
    nodes[0], nodes[count + 1] = -edge, edge
    return count


@kernel(fastmath=False)
def near_misses(nodes, values, sizes, count, tolerance, places, kinds, evaluations, found):
    """Add the points where P comes within rounding of zero and turns back; the number of roots afterwards.

    Runs of nodes that are that close to zero count once, and not where P crosses or touches zero among them.
    """
    i = 1
    while i < count - 1:
        if abs(values[i]) > tolerance * sizes[i]:
            i += 1
            continue
        first = i
        best = i
        one_sign = True
        while i < count and abs(values[i]) <= tolerance * sizes[i]:
            one_sign = one_sign and values[i] * values[first - 1] > 0.0
            if abs(values[i]) < abs(values[best]):
                best = i
            i += 1
        if one_sign and i < count and values[i] * values[first - 1] > 0.0:
            places[found], kinds[found], evaluations[found] = nodes[best], status.TOUCHING, 1
            found += 1
    return found


@kernel(fastmath=False)
def roots_within(high, low, degree, edge, nodes, values, sizes, places, kinds, evaluations):
    """Number of the distinct roots in [-edge, edge], which go to places, with CONVERGED or TOUCHING in kinds.

    high, low (degree, degree + 1) : row 0 the coefficients, the others scratch
    nodes, values, sizes, places (2 * degree + 4,) : scratch, and the roots in no order; kinds, evaluations: integers
    """
    fill_derivatives(high, low, degree)
    count = critical_points(high, low, degree, edge, nodes, places, values) + 2
    for i in range(count):
        value, _, size, bound = evaluate(high[0], low[0], degree, degree, nodes[i])
        values[i] = 0.0 if abs(value) <= bound else value
        sizes[i] = size
    found = np.int64(0)
    before = -1  # the last node with a sign, and the last one without since then
    zero = -1
    for i in range(count + 1):
        if i < count and values[i] == 0.0:
            zero = i
            continue
        crosses = i < count and before >= 0 and (values[before] < 0.0) != (values[i] < 0.0)
        if zero >= 0:
            places[found], kinds[found], evaluations[found] = nodes[zero], status.TOUCHING, 1
            if crosses:
                kinds[found] = status.CONVERGED
            found += 1
        elif crosses:
            x, evaluations[found] = root_between(
                high[0], low[0], degree, degree, nodes[before], nodes[i], values[before], values[i]
            )
            places[found], kinds[found] = x, status.CONVERGED
            found += 1
        before, zero = i, -1
    return near_misses(nodes, values, sizes, count, 4.0 * degree * UNIT, places, kinds, evaluations, found)
