"""Sections of the values of an inverse: intervals of y, each with one monotone piece of the curve."""

import numpy as np

from fastcore._core.jit import kernel
from fastcore.polynomial.kernels.derivative_chain import sign_at_infinity
from fastcore.polynomial.kernels.error_free import (
    compensated_start,
    compensated_step,
    horner_with_bound,
    two_sum,
)
from fastcore.polynomial.kernels.inverse_solver import solution
from fastcore.polynomial.kernels.monotone import LARGEST, taylor

# Elements of a section, and of each of its ends, 0 the one of the lower y and 1 of the higher:
VALUE = 0  # P there, rounded; infinite ones of open ends
FLOOR = 2  # distances from the value are raised to this, the place of the last row
LEAST = 4  # below this distance there is no row
TOP = 6  # nor beyond this one
CUT = 7  # y above it belong to this section or later ones
AT = 8  # x there
TAIL = 10  # what P is more than VALUE
BAND = 12  # bound of the rounding error of P there
CRITICAL = 14  # 1.0 where the curve turns
SECTION = 16

LOWEST = -1  # which piece answers: that of the lowest x, or of the highest, or the one of this number
HIGHEST = -2


@kernel(fastmath=False)
def exact_value(c, x):
    """(value, tail): P(x) as a double-double number, of compensated Horner's precision; value infinite, tail 0."""
    value, error, size = compensated_start(c[c.size - 1])
    for k in range(c.size - 2, -1, -1):
        value, error, size = compensated_step(value, error, size, x, c[k])
    value, tail = two_sum(value, error)
    if abs(value) <= LARGEST:
        return value, tail
    return sign_at_infinity(c[c.size - 1], c.size - 1, x), 0.0


@kernel(fastmath=False)
def turning_points(c, low, high, found, count):
    """Ends of the monotone pieces of P on [low, high], ascending: low, where the curve turns, high.

    c (n,), n > 1; found : `critical` found `count` points; infinite ends become the largest numbers
    """
    points = np.empty(count + 2)
    points[0] = last = max(low, -LARGEST)
    turns, direction = 0, 0.0
    value, tail = exact_value(c, last)
    for i in range(count + 1):
        x = found[i] if i < count else min(high, LARGEST)
        there, tail_there = exact_value(c, x)
        change = there - value if there != value else tail_there - tail
        if change * direction < 0.0:
            turns += 1
            points[turns] = last
        if abs(change) > 0.0:
            direction = 1.0 if change > 0.0 else -1.0
        last, value, tail = x, there, tail_there
    points[turns + 1] = last
    return points[: turns + 2].copy()


@kernel(fastmath=False)
def set_end(section, end, c, x, value, tail, turns):
    """One end of a section, at x."""
    section[VALUE + end], section[AT + end], section[TAIL + end] = value, x, tail
    section[CRITICAL + end] = 1.0 if turns else 0.0
    section[BAND + end] = 0.0
    if abs(value) < np.inf:
        _, section[BAND + end] = horner_with_bound(c, x)


@kernel(fastmath=False)
def turns_within_rounding(c, x):
    """Whether P has an extremum so near x that its value differs by less than the rounding error of P."""
    value, bound = horner_with_bound(c, x)
    _, slope, curvature, _ = taylor(c, 0, c.size - 1, x)
    return abs(value) <= LARGEST and slope * slope < 4.0 * abs(curvature) * bound


@kernel(fastmath=False)
def new_section(section, c, points, piece, low, high, solver):
    """The part of a piece with low < y < high; where the piece ends before, up to its end."""
    last = points.size - 2
    for side in range(2):
        x = points[piece + side]
        value, tail = exact_value(c, x)
        other, _ = exact_value(c, points[piece + 1 - side])
        end = 1 if value > other or (value == other and side == 1) else 0
        turns = 0 < piece + side <= last or turns_within_rounding(c, x)
        if low <= value <= high:
            set_end(section, end, c, x, value, tail, turns)
        else:
            a, b = points[piece], points[piece + 1]
            value = high if end == 1 else low
            x = solution(solver, c, value, a, b, (end == 1) == (side == 1), 0.5 * a + 0.5 * b)
            set_end(section, end, c, x, value, 0.0, False)


@kernel(fastmath=False)
def lay_sections(c, points, which, solver):
    """(S, SECTION): sections ascending in y, disjoint, that together answer what `which` says.

    c, points : as `turning_points`
    which : number of a piece, LOWEST or HIGHEST
    solver : address of `search`
    """
    pieces = points.size - 1
    sections = np.zeros((2 * pieces, SECTION))
    if which >= 0:
        new_section(sections[0], c, points, which, -np.inf, np.inf, solver)
        sections[0, CUT] = -np.inf
        return sections[:1].copy()
    first, last = pieces, pieces  # sections are put before and behind those there are
    low, high = np.inf, -np.inf
    for step in range(pieces):
        piece = step if which == LOWEST else pieces - 1 - step
        one, _ = exact_value(c, points[piece])
        other, _ = exact_value(c, points[piece + 1])
        if step == 0:
            new_section(sections[last], c, points, piece, -np.inf, np.inf, solver)
            last += 1
        else:
            if min(one, other) < low:
                first -= 1
                new_section(sections[first], c, points, piece, -np.inf, low, solver)
                sections[first + 1, CUT] = np.nextafter(low, -np.inf)  # low itself has an answer by an earlier piece
            if max(one, other) > high:
                new_section(sections[last], c, points, piece, high, np.inf, solver)
                sections[last, CUT] = high
                last += 1
        low, high = min(low, one, other), max(high, one, other)
    sections[first, CUT] = -np.inf
    return sections[first:last].copy()


@kernel(fastmath=False)
def is_least_slope(c, x):
    """Whether abs(P') has a minimum above 0 where P'' is 0, at x."""
    slope = second = third = 0.0
    for k in range(c.size - 1, 0, -1):
        third = third * x + 2.0 * second
        second = second * x + slope
        slope = slope * x + c[k] * k
    return slope * third > 0.0


@kernel(fastmath=False)
def split_section(c, section, cuts, result):
    """The section cut where the slope is least, into result (R, SECTION); how many there are.

    Near such a point bins must be as narrow as near a critical one. cuts : ascending in y, where P'' is 0.
    """
    count = 0
    result[0, :] = section
    a, b = min(section[AT], section[AT + 1]), max(section[AT], section[AT + 1])
    for x in cuts:
        if not (a < x < b and is_least_slope(c, x)):
            continue
        value, tail = exact_value(c, x)
        if result[count, VALUE] < value < section[VALUE + 1]:
            set_end(result[count], 1, c, x, value, tail, False)
            count += 1
            result[count, :] = section
            set_end(result[count], 0, c, x, value, tail, False)
            result[count, CUT] = value
    return count + 1
