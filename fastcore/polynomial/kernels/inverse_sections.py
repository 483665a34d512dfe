"""Sections of the values of an inverse: intervals of y, each with one monotone piece of the curve."""

import numpy as np

from fastcore._core.jit import kernel
from fastcore.polynomial.kernels.derivative_chain import chain_size, critical_points, fill_chain, sign_at_infinity
from fastcore.polynomial.kernels.error_free import (
    compensated_start,
    compensated_step,
    horner_with_bound,
    two_sum,
)
from fastcore.polynomial.kernels.monotone import LARGEST, find_root, taylor

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
def solution(c, y, tail, a, b, rises, x):
    """Where P is y + tail in [a, b], on which it rises or falls, first looked for at x."""
    heads, tails = c.copy(), np.zeros(c.size)
    heads[0], rest = two_sum(c[0], -y)
    heads[0], tails[0] = two_sum(heads[0], rest - tail)
    if not a < x < b:
        x = a + 0.5 * (b - a) if b - a <= LARGEST else 0.0
    x, _, _ = find_root(heads, tails, 0, c.size - 1, a, b, rises, x, 2.0**-50, 300)
    return min(max(x, a), b)


@kernel(fastmath=False)
def turning_points(c, low, high):
    """Ends of the monotone pieces of P on [low, high], ascending: low, where the curve turns, high.

    c (n,), n > 1, finite, the last one not 0; infinite ends become the largest numbers.
    """
    degree = c.size - 1
    size = chain_size(degree)
    heads, tails = np.zeros(size), np.zeros(size)
    heads[: degree + 1] = c
    fill_chain(heads, tails, degree)
    found, spare = np.empty(degree + 1), np.empty(degree + 1)
    count = critical_points(heads, tails, degree, low, high, found, spare)
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
def new_section(section, c, points, piece, low, high):
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
            x = solution(c, value, 0.0, a, b, (end == 1) == (side == 1), 0.5 * a + 0.5 * b)
            set_end(section, end, c, x, value, 0.0, False)


@kernel(fastmath=False)
def lay_sections(c, points, which):
    """(S, SECTION): sections ascending in y, disjoint, that together answer what `which` says.

    c, points : as `turning_points`
    which : number of a piece, LOWEST or HIGHEST
    """
    pieces = points.size - 1
    sections = np.zeros((2 * pieces, SECTION))
    if which >= 0:
        new_section(sections[0], c, points, which, -np.inf, np.inf)
        sections[0, CUT] = -np.inf
        return sections[:1].copy()
    first, last = pieces, pieces  # sections are put before and behind those there are
    low, high = np.inf, -np.inf
    for step in range(pieces):
        piece = step if which == LOWEST else pieces - 1 - step
        one, _ = exact_value(c, points[piece])
        other, _ = exact_value(c, points[piece + 1])
        if step == 0:
            new_section(sections[last], c, points, piece, -np.inf, np.inf)
            last += 1
        else:
            if min(one, other) < low:
                first -= 1
                new_section(sections[first], c, points, piece, -np.inf, low)
                sections[first + 1, CUT] = np.nextafter(low, -np.inf)  # low itself has an answer by an earlier piece
            if max(one, other) > high:
                new_section(sections[last], c, points, piece, high, np.inf)
                sections[last, CUT] = high
                last += 1
        low, high = min(low, one, other), max(high, one, other)
    sections[first, CUT] = -np.inf
    return sections[first:last].copy()


@kernel(fastmath=False)
def least_slopes(c, a, b):
    """Points in (a, b) where abs(P') has a minimum above 0, ascending."""
    degree = c.size - 2
    if degree < 2:
        return np.empty(0)
    size = chain_size(degree)
    heads, tails = np.zeros(size), np.zeros(size)
    for k in range(degree + 1):
        heads[k] = c[k + 1] * (k + 1.0)
    fill_chain(heads, tails, degree)
    found, spare = np.empty(degree + 1), np.empty(degree + 1)
    count = critical_points(heads, tails, degree, a, b, found, spare)
    kept = 0
    for i in range(count):
        slope = second = third = 0.0
        for k in range(degree, -1, -1):
            third = third * found[i] + second
            second = second * found[i] + slope
            slope = slope * found[i] + heads[k]
        if slope * third > 0.0:
            found[kept] = found[i]
            kept += 1
    return found[:kept].copy()


@kernel(fastmath=False)
def split_sections(c, sections, everywhere):
    """The sections cut where the slope is least: all of them, or those that are open on both sides and have no end.

    Near such a point bins must be as narrow as near a critical one.
    """
    result = np.zeros((sections.shape[0] * (c.size + 1), SECTION))
    count = 0
    for i in range(sections.shape[0]):
        section = sections[i]
        open_ends = section[VALUE] == -np.inf and section[VALUE + 1] == np.inf
        a, b = min(section[AT], section[AT + 1]), max(section[AT], section[AT + 1])
        cuts = np.empty(0)
        if everywhere or open_ends:
            cuts = least_slopes(c, a, b)
            if open_ends and cuts.size == 0:
                cuts = np.array([-c[c.size - 2] / ((c.size - 1) * c[c.size - 1])])  # the mean of all roots
        rises = section[AT] < section[AT + 1]
        result[count] = section
        for j in range(cuts.size):
            x = cuts[j] if rises else cuts[cuts.size - 1 - j]
            value, tail = exact_value(c, x)
            if result[count, VALUE] < value < section[VALUE + 1]:
                set_end(result[count], 1, c, x, value, tail, False)
                count += 1
                result[count] = section
                set_end(result[count], 0, c, x, value, tail, False)
                result[count, CUT] = value
        count += 1
    return result[:count].copy()
