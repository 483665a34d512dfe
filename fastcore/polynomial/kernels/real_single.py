"""All distinct real roots of one polynomial of any degree, verified: scaling, exact paths, both sides of a circle.

|x| beyond the edge is searched as 1 / t in the reversed polynomial, so nothing overflows and roots of all sizes are
found with the same care.
"""

import math

from fastcore._core.jit import kernel
from fastcore.polynomial.kernels import status
from fastcore.polynomial.kernels.error_free import UNIT, two_product
from fastcore.polynomial.kernels.real_chain import LARGEST_COEFFICIENT, evaluate, roots_within
from fastcore.polynomial.kernels.scaling import exponent, power_of, shifted

__all__ = ["SCRATCH_ROWS", "real_roots_of_one", "scratch_columns"]

# The largest |x| that is not searched as 1 / t, in units that put the roots' geometric mean near 1. No root anyone
# would write down lies there.
EDGE = 1.0339744812389
SMALLEST_DISC = 2.0**-1074
FARTHEST = 2.0**100  # from 1, to which powers of x do not take what is computed out of the range
NEAR_STEPS = 40
SCRATCH_ROWS = 10  # of vectors, after the two tables of derivatives


@kernel
def scratch_columns(degree):
    return 2 * degree + 8


@kernel(fastmath=False)
def smallest_disc(high, degree, x, value, taylor, sizes):
    """A radius around x that holds a root: the least of (C(d, k) |P(x)| / |P^(k)(x) / k!|)**(1/k) over k.

    The sum over k roots of products of 1 / (z - x) is P^(k) / (k! P), and has C(d, k) terms. taylor, sizes: scratch
    (degree + 1,), for the derivatives by repeated synthetic division and for what bounds their rounding errors.
    """
    for k in range(degree + 1):
        taylor[k] = high[k]
        sizes[k] = abs(high[k])
    radius = math.inf
    ways = 1.0
    for k in range(degree + 1):
        for j in range(degree - 1, k - 1, -1):
            taylor[j] += x * taylor[j + 1]
            sizes[j] += abs(x) * sizes[j + 1]
        if k > 0:
            ways *= (degree - k + 1.0) / k
            least = abs(taylor[k]) - 4.0 * degree * UNIT * sizes[k]
            if least > 0.0:
                radius = min(radius, (1.0 + 8.0 * degree * UNIT) * (ways * value / least) ** (1.0 / k))
    return radius


@kernel(fastmath=False)
def disc_around(high, low, degree, x, correction, kind, taylor, sizes):
    """(|P|, sum |c_k| |x|**k, radius of a disc around it that holds a root) at x + correction, the latter tiny."""
    value, slope, size, bound = evaluate(high, low, degree, degree, x)
    value = abs(value + correction * slope)
    most = value + bound + abs(correction) * abs(slope) * (4.0 * degree * UNIT)
    radius = math.inf
    if kind == status.CONVERGED:
        least = abs(slope) - 4.0 * degree * degree * UNIT * size / max(abs(x), SMALLEST_DISC)
        if least > 0.0:
            radius = (1.0 + 4.0 * UNIT) * degree * most / least
    if not radius <= 1e-8 * abs(x):
        radius = min(radius, smallest_disc(high, degree, x, most, taylor, sizes))
    return value, size, radius


@kernel(fastmath=False)
def verify(high, low, degree, shift, stretch, place, is_reversed, kind, taylor, sizes):
    """(x, residual, radius, status) of a root found at `place`, all in the units of the caller's polynomial.

    high, low : coefficients, reversed where the root is 1 / place; P = 2**-shift * (these of x / 2**stretch)
    """
    y = 1.0 / place if is_reversed else place
    x = shifted(y, stretch)
    if abs(x) == math.inf:
        return x, math.inf, math.inf, status.DEGENERATE
    y = shifted(x, -stretch)  # x may have been rounded once more
    if is_reversed:
        t = 1.0 / y
        product, of_product = two_product(t, y)
        correction = ((1.0 - product) - of_product) / y
        value, size, radius = disc_around(high, low, degree, t, correction, kind, taylor, sizes)
        room = 1.0 - radius * abs(y)
        radius = (1.0 + 8.0 * UNIT) * radius * y * y / room if room > 0.0 else math.inf
        power, more = power_of(abs(y), degree)
        residual = shifted(value * power, more - shift)
    else:
        value, size, radius = disc_around(high, low, degree, y, 0.0, kind, taylor, sizes)
        residual = shifted(value, -shift)
    if not value <= 4.0 * degree * UNIT * size:
        kind = status.MAX_ITERATIONS
    return x, residual, max(shifted(radius, stretch), SMALLEST_DISC), kind


@kernel(fastmath=False)
def verify_near_one(c, bottom, degree, x, kind, high, low, taylor, sizes):
    """`verify` of a root near x in units that make it 1/2 to 1: (x, residual, radius, status).

    P's terms at a root are then of the size of its coefficients; in other units they may leave the range where all of
    the answers lie in it, as at the root 1e150 of 1 - 1e150 x + x**2. high, low : scratch (degree + 1,)
    """
    stretch = exponent(x) + 1
    shift = load_largest(c, bottom, degree, stretch, high, low)
    y = shifted(x, -stretch)
    for _ in range(NEAR_STEPS):
        value, slope, _, _ = evaluate(high, low, degree, degree, y)
        new = y - value / slope
        if kind != status.CONVERGED or not abs(new - y) <= 0.5 * abs(y):
            break
        done = abs(new - y) <= 2.0 * UNIT * abs(y)
        y = new
        if done:
            break
    x = shifted(y, stretch)
    y = shifted(x, -stretch)  # x may have been rounded once more
    value, size, radius = disc_around(high, low, degree, y, 0.0, kind, taylor, sizes)
    if not value <= 4.0 * degree * UNIT * size:
        kind = status.MAX_ITERATIONS
    return x, shifted(value, -shift), max(shifted(radius, stretch), SMALLEST_DISC), kind


@kernel(fastmath=False)
def load_largest(c, bottom, degree, stretch, high, low):
    """Coefficients in the unit 2**stretch of x, the largest almost LARGEST_COEFFICIENT; the exponent of P's unit."""
    largest = -1000000
    for k in range(degree + 1):
        if c[bottom + k] != 0.0:
            largest = max(largest, exponent(c[bottom + k]) + stretch * k)
    shift = exponent(LARGEST_COEFFICIENT) - largest - 1
    load_scaled(c, bottom, degree, stretch, shift, 0, high, low)
    return shift


@kernel(fastmath=False)
def quadratic(high, places, kinds):
    """Number of the roots of a quadratic; the discriminant's sign is exact."""
    a, b, c = high[2] * 2.0**-450, high[1] * 2.0**-450, high[0] * 2.0**-450
    p, of_p = two_product(b, b)
    q, of_q = two_product(4.0 * a, c)
    discriminant = (p - q) + (of_p - of_q)
    if discriminant > 0.0:
        far = -0.5 * (b + math.copysign(math.sqrt(discriminant), b))
        places[0], places[1] = far / a, c / far
        kinds[0] = kinds[1] = status.CONVERGED
        return 2
    vertex = -0.5 * b / a
    if -discriminant > 32.0 * UNIT * abs(a) * (abs(c) + abs(b * vertex) + abs(a) * vertex * vertex):
        return 0
    places[0], kinds[0] = vertex, status.TOUCHING
    return 1


@kernel(fastmath=False)
def polish(high, low, degree, x):
    """One step of Newton's with a compensated value."""
    value, slope, _, _ = evaluate(high, low, degree, degree, x)
    new = x - value / slope
    return new if abs(new - x) <= 2.0**-40 * abs(x) else x


@kernel(fastmath=False)
def load_scaled(c, bottom, degree, stretch, shift, is_reversed, high, low):
    for k in range(degree + 1):
        place = degree - k if is_reversed else k
        high[place] = shifted(c[bottom + k], stretch * k + shift)
        low[k] = 0.0


@kernel(fastmath=False)
def span_of(c):
    """(first, last) non-zero coefficient; (-1, -1) where all are zero, (-2, -2) where one is not finite."""
    first = last = -1
    for k in range(c.size):
        if not abs(c[k]) < math.inf:
            return -2, -2
        if c[k] != 0.0:
            last = k
            if first < 0:
                first = k
    return first, last


@kernel(fastmath=False)
def units_of(c, bottom, degree):
    """(stretch, shift): x = 2**stretch y makes the outermost coefficients alike; 2**shift the largest 2**900."""
    stretch = round((exponent(c[bottom]) - exponent(c[bottom + degree])) / degree)
    stretch = max(-2000, min(2000, int(stretch)))
    largest = -10000
    for k in range(degree + 1):
        if c[bottom + k] != 0.0:
            largest = max(largest, exponent(c[bottom + k]) + stretch * k)
    return stretch, exponent(LARGEST_COEFFICIENT) - largest - 1


@kernel(fastmath=False)
def sort_roots(x, residual, radius, evaluations, kinds, count):
    for i in range(1, count):
        a, b, c, d, e = x[i], residual[i], radius[i], evaluations[i], kinds[i]
        j = i
        while j > 0 and x[j - 1] > a:
            x[j], residual[j], radius[j] = x[j - 1], residual[j - 1], radius[j - 1]
            evaluations[j], kinds[j] = evaluations[j - 1], kinds[j - 1]
            j -= 1
        x[j], residual[j], radius[j], evaluations[j], kinds[j] = a, b, c, d, e


@kernel(fastmath=False)
def found_already(x, count, new):
    """Whether `new`, from one side of the edge, is a root found from the other."""
    found = False
    for i in range(count):
        found = found or abs(x[i] - new) <= 8.0 * UNIT * abs(x[i])
    return found


@kernel(fastmath=False)
def real_roots_of_one(c, low_end, high_end, tables, rows, integers, x, residual, radius, evaluations, kinds):
    """Number of the distinct real roots of c in [low_end, high_end]; -1 of zero, -2 where c is not finite.

    c (n,); tables (2, d, n), rows (SCRATCH_ROWS, scratch_columns(d)), integers (2, the same): scratch for d = n - 1 or
    more. x, residual, radius, evaluations, kinds (n,): the answers.
    """
    bottom, top = span_of(c)
    if top < 0:
        return top
    degree = top - bottom
    count = 0
    if bottom > 0 and low_end <= 0.0 <= high_end:
        x[0], residual[0], radius[0], evaluations[0] = 0.0, 0.0, 0.0, 0
        kinds[0] = status.CONVERGED if bottom % 2 else status.TOUCHING
        count = 1
    if degree == 0:
        return count
    stretch, shift = units_of(c, bottom, degree)
    high, low = tables[0], tables[1]
    places, found_kinds, work = rows[3], integers[0], integers[1]
    for is_reversed in range(2 if degree > 2 else 1):
        load_scaled(c, bottom, degree, stretch, shift, is_reversed, high[0], low[0])
        found = 1
        if degree == 1:
            places[0], found_kinds[0], work[0] = -high[0, 0] / high[0, 1], status.CONVERGED, 0
        elif degree == 2:
            found = quadratic(high[0], places, found_kinds)
            for i in range(found):
                work[i] = 0
                if found_kinds[i] == status.CONVERGED:
                    places[i] = polish(high[0], low[0], degree, places[i])
        else:
            edge = (1.0 + 4.0 * UNIT) / EDGE if is_reversed else EDGE
            found = roots_within(high, low, degree, edge, rows[0], rows[1], rows[2], places, found_kinds, work)
        first = count
        if degree == 2:
            load_scaled(c, bottom, degree, stretch, shift, True, rows[6], rows[7])
        for i in range(found):
            heads, tails, place, turned = high[0], low[0], places[i], is_reversed
            if degree == 2 and abs(place) > EDGE:  # its square may overflow
                heads, tails, place, turned = rows[6], rows[7], 1.0 / place, 1
            answer, rest, disc, kind = verify(
                heads, tails, degree, shift, stretch, place, turned, found_kinds[i], rows[4], rows[5]
            )
            far = not 1.0 <= FARTHEST * abs(places[i]) <= FARTHEST * FARTHEST
            if far and 0.0 < abs(answer) < math.inf:
                answer, rest, disc, kind = verify_near_one(
                    c, bottom, degree, answer, found_kinds[i], rows[8], rows[9], rows[4], rows[5]
                )
            # A root at zero of the divided-out powers of x is none of these.
            if low_end <= answer <= high_end and not (is_reversed and found_already(x, first, answer)):
                if bottom > 0:  # of P, not of P / x**bottom
                    power, more = power_of(abs(answer), bottom)
                    rest = shifted(rest * power, more)
                x[count], residual[count], radius[count], evaluations[count] = answer, rest, disc, work[i]
                kinds[count] = kind
                count += 1
    sort_roots(x, residual, radius, evaluations, kinds, count)
    return count
