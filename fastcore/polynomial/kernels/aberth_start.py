"""From a row of coefficients to a lane: exact zeros and infinite roots off, scaled by powers of two, starting points.

Source: Bini 1996, section 3: the upper hull of the points (k, log |c_k|) gives the moduli of the starting points.
"""

import math

import numpy as np

from fastcore._core.jit import kernel
from fastcore.polynomial.kernels.aberth_sweeps import ACTIVE, FORWARD, LAST, REVERSED, ROOT_I, ROOT_R
from fastcore.polynomial.kernels.error_free import two_product
from fastcore.polynomial.kernels.scaling import exponent, scaled, shifted

NO_ROOT = 2.0**1000  # where slots without a root are put: beyond all roots that a row can have
_WIDE = 120  # b**2 and 4 a c so many binary orders apart: the smaller is nothing to the larger


@kernel(fastmath=False)
def is_finite(values):
    """Whether all coefficients are."""
    total = 0.0
    for k in range(values.shape[0]):
        for part in range(values.shape[1]):
            total += values[k, part] * 0.0
    return total == 0.0


@kernel(fastmath=False)
def ends(values):
    """(first, last) coefficient that is not zero; (0, -1) of the zero polynomial."""
    first, last = 0, values.shape[0] - 1
    while last >= 0 and values[last, 0] == 0.0 and values[last, values.shape[1] - 1] == 0.0:
        last -= 1
    while first <= last and values[first, 0] == 0.0 and values[first, values.shape[1] - 1] == 0.0:
        first += 1
    return (first, last) if last >= 0 else (0, -1)


@kernel(fastmath=False)
def sizes_of(values, first, last, logs):
    """log2 of the larger part of each coefficient, within 0.09; -1e9 of zero."""
    for k in range(first, last + 1):
        size = max(abs(values[k, 0]), abs(values[k, values.shape[1] - 1]))
        if size == 0.0:
            logs[k - first] = -1e9
        else:
            e = exponent(size)
            logs[k - first] = e + (scaled(size, -e) - 1.0)


@kernel(fastmath=False)
def scale_of(logs, degree):
    """(s, e): with z = 2**s w, the coefficients times 2**(k s + e) are of like size at both ends, and below 2**1023."""
    slope = math.floor((logs[0] - logs[degree]) / degree + 0.5)
    highest = logs[0]
    for k in range(degree + 1):
        if logs[k] > -1e8:
            logs[k] += k * slope
            highest = max(highest, logs[k])
    return slope, -int((highest + min(logs[0], logs[degree])) * 0.5)


@kernel(fastmath=False)
def fill_coefficients(values, first, degree, slope, shift, lanes, lane):
    """Scaled coefficients of one lane, forward and reversed."""
    for k in range(degree + 1):
        power = k * slope + shift
        re = shifted(values[first + k, 0], power)
        im = shifted(values[first + k, 1], power) if values.shape[1] == 2 else 0.0
        size = abs(re) if im == 0.0 else math.hypot(re, im)
        for start, place in ((FORWARD, k), (REVERSED, degree - k)):
            lanes[start, place, lane] = re
            lanes[start + 1, place, lane] = im
            lanes[start + 2, place, lane] = size


@kernel(fastmath=False)
def place_points(logs, degree, hull, lanes, lane):
    """Starting points on circles: one for each edge of the upper hull."""
    top = 0
    hull[0] = 0
    for k in range(1, degree + 1):
        if logs[k] < -1e8:
            continue
        while top > 0:
            a, b = hull[top - 1], hull[top]
            if (logs[b] - logs[a]) * (k - a) > (logs[k] - logs[a]) * (b - a):
                break
            top -= 1
        top += 1
        hull[top] = k
    for edge in range(top):
        a, b = hull[edge], hull[edge + 1]
        radius = math.exp2((logs[a] - logs[b]) / (b - a))
        for j in range(b - a):
            angle = 2.0 * math.pi * (j / (b - a) + a / degree) + 0.7
            lanes[ROOT_R, a + j, lane] = radius * math.cos(angle)
            lanes[ROOT_I, a + j, lane] = radius * math.sin(angle)
            lanes[ACTIVE, a + j, lane] = 1.0


@kernel(fastmath=False)
def place_exact(degree, lanes, lane):
    """The roots of a real polynomial of degree 1 or 2, relative errors at most 5 u.

    The discriminant is Kahan's, whose relative error is at most 2 u: Jeannerod, Louvet, Muller 2013, "Further analysis
    of Kahan's algorithm".
    """
    c, b = lanes[FORWARD, 0, lane], lanes[FORWARD, 1, lane]
    if degree == 1:
        lanes[ROOT_R, 0, lane] = -c / b
        lanes[ROOT_I, 0, lane] = 0.0
        return
    a = lanes[FORWARD, 2, lane]
    first, second = 0.0, 0.0
    imaginary = 0.0
    if 2 * exponent(b) > exponent(a) + exponent(c) + _WIDE:
        first, second = -c / b, -b / a
    else:
        half = -0.5 * b
        square, square_rest = two_product(half, half)
        product, product_rest = two_product(a, c)
        discriminant = (square - product) + (square_rest - product_rest)
        if discriminant >= 0.0:
            q = half + math.copysign(math.sqrt(discriminant), half)
            first, second = (c / q, q / a) if q != 0.0 else (0.0, 0.0)
        else:
            first = second = half / a
            imaginary = math.sqrt(-discriminant) / abs(a)
    lanes[ROOT_R, 0, lane], lanes[ROOT_I, 0, lane] = first, -imaginary
    lanes[ROOT_R, 1, lane], lanes[ROOT_I, 1, lane] = second, imaginary


@kernel(fastmath=False)
def prepare_lane(values, first, last, logs, hull, lanes, lane):
    """Fill one lane, and return (s, e): root = 2**s times the lane's, coefficients 2**(k s + e) times the row's."""
    degree = last - first
    sizes_of(values, first, last, logs)
    slope, shift = scale_of(logs, degree)
    fill_coefficients(values, first, degree, slope, shift, lanes, lane)
    if degree <= 2 and values.shape[1] == 1:
        place_exact(degree, lanes, lane)
    else:
        place_points(logs, degree, hull, lanes, lane)
    return slope, shift


@kernel(fastmath=False)
def clear_lanes(lanes):
    """No coefficients, no roots."""
    for number in range(lanes.shape[0]):
        value = NO_ROOT if number == ROOT_R else np.inf if number == LAST else 0.0
        for k in range(lanes.shape[1]):
            for lane in range(lanes.shape[2]):
                lanes[number, k, lane] = value
